"""Searches of a worker or an API: kept in Postgres."""

from consumer.adapters.postgres.pool import Pool
from consumer.adapters.postgres.searches import PostgresSearchTables
from consumer.optimization.journal import SearchRecorder
from consumer.optimization.keeper import SearchKeeper
from consumer.ports import Clock, EventWriter
from consumer.rules.search_events import SearchEventRenderer
from consumer.settings import ServiceSettings


def postgres_searches(
    pool: Pool, writer: EventWriter, clock: Clock, owner: str, settings: ServiceSettings
) -> tuple[SearchKeeper, SearchRecorder]:
    """Who takes their steps, and who records requests for them."""
    tables = PostgresSearchTables(pool, owner, settings.lease_seconds)
    events = SearchEventRenderer(f"backtest-consumer/{settings.kafka_group_id}", clock)
    keeper = SearchKeeper(
        tables, events, owner, settings.lease_seconds, settings.max_attempts, settings.progress_interval_seconds
    )
    return keeper, SearchRecorder(tables, keeper, events, writer)
