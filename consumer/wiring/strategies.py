"""Strategies' code asked in processes of its own, for commands that must survive it."""

from contextlib import AbstractAsyncContextManager

from consumer.adapters.engine_pool.checkers import StrategyCheckers
from consumer.adapters.engine_pool.settings import EngineProcessSettings
from consumer.ports import StrategyChecker
from consumer.settings import StrategySettings


def open_checker(settings: StrategySettings) -> AbstractAsyncContextManager[StrategyChecker]:
    """A checker as a worker has one."""
    processes = EngineProcessSettings(
        slots=1, market_data_url="", artifacts_url="", memory_mb=settings.engine_memory_mb
    )
    return StrategyCheckers(processes, settings.strategy_load_seconds)
