"""Strategies' code asked in processes of its own, for commands that must survive it."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from consumer.adapters.engine_pool.catalogue import ProcessCatalogue
from consumer.adapters.engine_pool.checkers import StrategyCheckers
from consumer.adapters.engine_pool.settings import EngineProcessSettings
from consumer.adapters.files.instruments import read_instruments
from consumer.ports import StrategyChecker
from consumer.ports.instrument_rows import InstrumentRows
from consumer.ports.strategies import StrategyCatalogue
from consumer.preparation.known_instruments import KnownInstruments
from consumer.requests.strategy_rows import RowJudge
from consumer.rules.admission import Admission
from consumer.settings import ModelSettings, StoreSettings, StrategySettings
from consumer.wiring.models import model_terms


def open_checker(settings: StrategySettings) -> AbstractAsyncContextManager[StrategyChecker]:
    """A checker as a worker has one."""
    return StrategyCheckers(_processes(settings), settings.strategy_load_seconds)


def open_catalogue(settings: StrategySettings) -> StrategyCatalogue:
    """What strategies say of themselves; a process is there only while one is asked."""
    return ProcessCatalogue(_processes(settings), settings.strategy_load_seconds)


def _processes(settings: StrategySettings) -> EngineProcessSettings:
    return EngineProcessSettings(slots=1, market_data_url="", artifacts_url="", memory_mb=settings.engine_memory_mb)


@asynccontextmanager
async def open_row_judge(
    stores: StoreSettings, strategies: StrategySettings, models: ModelSettings, rows: InstrumentRows
) -> AsyncIterator[RowJudge]:
    """What a row of `strategies` is held against, as a worker with these settings would judge."""
    instruments = KnownInstruments(read_instruments(stores.instruments_file), rows)
    admission = Admission(instruments, stores.account_currency, model_terms(models))
    async with open_checker(strategies) as checker:
        yield RowJudge(admission, checker, instruments.learn)
