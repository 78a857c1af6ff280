"""Postgres, for commands that read what happened, remove what is old, or add strategies."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from consumer.adapters.postgres.history import open_history as open_history_at
from consumer.adapters.postgres.retention import open_retention as open_retention_at
from consumer.adapters.postgres.strategy_rows import open_strategies as open_strategies_at
from consumer.ports.history import History
from consumer.ports.retention import RetentionTables
from consumer.ports.strategy_rows import StrategyRows
from consumer.settings import DatabaseSettings


@asynccontextmanager
async def open_history(settings: DatabaseSettings) -> AsyncIterator[History]:
    """What the database tells. Raises StoreUnavailable, StartFailed."""
    async with open_history_at(_url(settings)) as history:
        yield history


@asynccontextmanager
async def open_retention(settings: DatabaseSettings) -> AsyncIterator[RetentionTables]:
    """The tables for the one retention command at work. Raises StoreUnavailable, and StartFailed beside another."""
    async with open_retention_at(_url(settings)) as tables:
        yield tables


@asynccontextmanager
async def open_strategies(settings: DatabaseSettings) -> AsyncIterator[StrategyRows]:
    """The rows of `strategies`, to be added to and changed. Raises StoreUnavailable, StartFailed."""
    async with open_strategies_at(_url(settings)) as rows:
        yield rows


def _url(settings: DatabaseSettings) -> str:
    return settings.database_url.get_secret_value()
