"""Postgres, for commands that read what happened, remove what is old, add strategies, or ask whether it is fit."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from consumer.adapters.postgres.history import connected
from consumer.adapters.postgres.history import open_history as open_history_at
from consumer.adapters.postgres.instrument_rows import PostgresInstruments
from consumer.adapters.postgres.pool import SessionPool, open_pool
from consumer.adapters.postgres.retention import open_retention as open_retention_at
from consumer.adapters.postgres.search_history import open_search_history as open_search_history_at
from consumer.adapters.postgres.strategy_rows import open_strategies as open_strategies_at
from consumer.ports.history import History
from consumer.ports.instrument_rows import InstrumentRows
from consumer.ports.retention import RetentionTables
from consumer.ports.search_history import SearchHistory
from consumer.ports.strategy_rows import StrategyRows
from consumer.settings import DatabaseSettings


@asynccontextmanager
async def open_history(settings: DatabaseSettings) -> AsyncIterator[History]:
    """What the database tells. Raises StoreUnavailable, StartFailed."""
    async with open_history_at(_url(settings)) as history:
        yield history


@asynccontextmanager
async def open_search_history(settings: DatabaseSettings) -> AsyncIterator[SearchHistory]:
    """What the database tells of searches. Raises StoreUnavailable, StartFailed."""
    async with open_search_history_at(_url(settings)) as history:
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


@asynccontextmanager
async def open_instrument_rows(settings: DatabaseSettings) -> AsyncIterator[InstrumentRows]:
    """The instruments that the database has. Raises StoreUnavailable, StartFailed."""
    async with connected(_url(settings)) as connection:
        yield PostgresInstruments(connection)


@asynccontextmanager
async def open_for_a_look(settings: DatabaseSettings) -> AsyncIterator[SessionPool]:
    """One connection as a worker makes them, for who wants to know whether a worker could work."""
    async with open_pool(_url(settings), max_connections=1, name="backtest look") as pool:
        await pool.check_writable()
        yield pool


async def is_behind_pooler(settings: DatabaseSettings) -> bool:
    """Whether a pooler stands before the database. Raises StoreUnavailable, also where it takes no writes."""
    async with open_for_a_look(settings) as pool:
        return pool.is_behind_pooler


def _url(settings: DatabaseSettings) -> str:
    return settings.database_url.get_secret_value()
