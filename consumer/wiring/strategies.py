"""Strategies' code asked in processes of its own, for commands that must survive it."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from consumer.adapters.engine_pool.checkers import StrategyCheckers
from consumer.adapters.engine_pool.settings import EngineProcessSettings
from consumer.adapters.files.instruments import read_instruments
from consumer.ports import StrategyChecker
from consumer.requests.strategy_rows import RowJudge
from consumer.rules.admission import Admission
from consumer.settings import StoreSettings, StrategySettings


def open_checker(settings: StrategySettings) -> AbstractAsyncContextManager[StrategyChecker]:
    """A checker as a worker has one."""
    processes = EngineProcessSettings(
        slots=1, market_data_url="", artifacts_url="", memory_mb=settings.engine_memory_mb
    )
    return StrategyCheckers(processes, settings.strategy_load_seconds)


@asynccontextmanager
async def open_row_judge(stores: StoreSettings, strategies: StrategySettings) -> AsyncIterator[RowJudge]:
    """What a row of `strategies` is held against, as a worker with these settings would judge."""
    admission = Admission(read_instruments(stores.instruments_file), stores.account_currency)
    async with open_checker(strategies) as checker:
        yield RowJudge(admission, checker)
