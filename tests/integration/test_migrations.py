"""The history of the database on real Postgres: up, down, up again, and the same as the models say."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from pytest_alembic import runner, tests
from pytest_alembic.config import Config as RunnerConfig
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

import migrations
from consumer.adapters.postgres.schema.base import metadata
from consumer.adapters.postgres.schema.migrating import (
    SchemaOutdated,
    SchemaTooNew,
    check_schema,
    downgrade,
    head_revision,
    migrate,
)
from consumer.adapters.postgres.schema.own_objects import comparison_options, include_object
from consumer.adapters.postgres.schema.tables import OPERATIONAL_TABLES, SHARED_TABLES, VERSION_TABLE
from consumer.errors import StartFailed, StoreUnavailable

pytestmark = pytest.mark.integration

SHARED_NAMES = {table.name for table in SHARED_TABLES}
OWN_NAMES = {table.name for table in OPERATIONAL_TABLES}


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(database_url, poolclass=NullPool)
    yield engine
    await engine.dispose()


async def test_an_empty_database_gets_every_table(database_url: str, engine: AsyncEngine) -> None:
    report = await migrate(database_url)

    assert (report.from_revision, report.to_revision, report.is_changed) == (None, head_revision(), True)
    assert set(report.created_tables) == SHARED_NAMES | OWN_NAMES
    assert report.adopted_tables == report.added == report.notes == ()
    assert await table_names(engine) == SHARED_NAMES | OWN_NAMES | {VERSION_TABLE}
    assert await check_schema(database_url) == ()


async def test_a_second_migration_changes_nothing(database_url: str, engine: AsyncEngine) -> None:
    await migrate(database_url)
    before = await snapshot(engine)

    report = await migrate(database_url, adopt=True)

    assert not report.is_changed
    assert report.created_tables == report.adopted_tables == report.added == ()
    assert await snapshot(engine) == before


async def test_down_leaves_an_empty_database_and_up_again_gives_the_same(
    database_url: str, engine: AsyncEngine
) -> None:
    await migrate(database_url)
    first = await snapshot(engine)

    await downgrade(database_url)
    assert await table_names(engine) == {VERSION_TABLE}
    with pytest.raises(SchemaOutdated, match="run `backtest migrate`"):
        await check_schema(database_url)

    await migrate(database_url)
    assert await snapshot(engine) == first


async def test_the_history_passes_pytest_alembic(engine: AsyncEngine) -> None:
    def check(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", next(iter(migrations.__path__)))
        config.set_main_option("path_separator", "os")
        config.attributes["compared_with"] = comparison_options()
        with runner(config=RunnerConfig.from_raw_config(config), engine=connection) as history:
            tests.test_single_head_revision(history)
            tests.test_upgrade(history)
            tests.test_model_definitions_match_ddl(history)
            tests.test_up_down_consistency(history)

    async with engine.begin() as connection:
        await connection.run_sync(check)


async def test_the_history_and_the_models_give_the_same_database(database_url: str, engine: AsyncEngine) -> None:
    await migrate(database_url)
    async with engine.begin() as connection:
        assert await connection.run_sync(drift) == []
        await connection.execute(text("CREATE SCHEMA from_models"))
        await connection.execute(text("SET LOCAL search_path TO from_models"))
        await connection.run_sync(metadata.create_all)

    # Also what Alembic's comparison does not look at: checks, predicates of indexes, storage parameters, cascades.
    from_models = await snapshot(engine, "from_models")
    assert len(from_models) > 100
    assert await snapshot(engine) == from_models


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE backtest_runs ALTER spread_pips SET DEFAULT 1.6",
        "ALTER TABLE backtest_runs ALTER symbol TYPE varchar(21)",
        "ALTER TABLE backtest_outbox ALTER headers SET NOT NULL",
        "ALTER TABLE backtest_requests ADD COLUMN note text",
        "DROP INDEX idx_backtest_symbol",
        "ALTER TABLE backtest_runs DROP CONSTRAINT fk_backtest_strategy",
    ],
)
async def test_drift_would_be_seen(database_url: str, engine: AsyncEngine, change: str) -> None:
    await migrate(database_url)
    async with engine.begin() as connection:
        await connection.execute(text(change))
        assert await connection.run_sync(drift)


async def test_what_another_service_adds_is_no_drift(database_url: str, engine: AsyncEngine) -> None:
    await migrate(database_url)
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE accounts (id serial PRIMARY KEY)"))
        await connection.execute(text("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)"))
        await connection.execute(
            text("ALTER TABLE backtest_runs ADD account integer REFERENCES accounts, ADD note text UNIQUE")
        )
        await connection.execute(text("CREATE INDEX ON backtest_runs (account)"))
        assert await connection.run_sync(drift) == []

    assert not (await migrate(database_url)).is_changed
    await downgrade(database_url)
    assert {"accounts", "alembic_version"} <= await table_names(engine)


async def test_migrations_at_the_same_time_do_the_work_once(database_url: str) -> None:
    reports = await asyncio.gather(*(migrate(database_url) for _ in range(5)))

    assert sorted(report.is_changed for report in reports) == [False, False, False, False, True]
    assert {report.to_revision for report in reports} == {head_revision()}


async def test_a_migration_that_fails_half_way_leaves_nothing(database_url: str, engine: AsyncEngine) -> None:
    # The name of an index of revision 0002 is taken, so that 0001 succeeds and 0002 does not.
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE taken (idx_backtest_outbox_lease int)"))
        await connection.execute(text("CREATE INDEX idx_backtest_outbox_lease ON taken (idx_backtest_outbox_lease)"))

    with pytest.raises(StartFailed, match="idx_backtest_outbox_lease"):
        await migrate(database_url)

    assert await table_names(engine) == {"taken"}


async def test_a_database_of_a_newer_release_is_left_alone(database_url: str, engine: AsyncEngine) -> None:
    await migrate(database_url)
    async with engine.begin() as connection:
        await connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))

    for attempt in (migrate(database_url), check_schema(database_url), downgrade(database_url)):
        with pytest.raises(SchemaTooNew, match="9999"):
            await attempt


async def test_checking_an_empty_database_says_what_to_do_and_makes_nothing(
    database_url: str, engine: AsyncEngine
) -> None:
    with pytest.raises(SchemaOutdated, match="has no tables of backtest-consumer: run `backtest migrate`"):
        await check_schema(engine)

    assert await table_names(engine) == set()


async def test_downgrade_keeps_shared_tables_with_rows_and_up_again_takes_them_over(
    database_url: str, engine: AsyncEngine
) -> None:
    await migrate(database_url)
    async with engine.begin() as connection:
        await connection.execute(text("INSERT INTO strategies (name) VALUES ('kept')"))

    await downgrade(database_url)
    assert await table_names(engine) == {"strategies", VERSION_TABLE}

    report = await migrate(database_url)
    assert report.adopted_tables == ("strategies",)
    async with engine.connect() as connection:
        assert (await connection.scalars(text("SELECT name FROM strategies"))).all() == ["kept"]


async def test_downgrade_keeps_a_shared_table_that_another_service_refers_to(
    database_url: str, engine: AsyncEngine
) -> None:
    await migrate(database_url)
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE charts (run_id integer REFERENCES backtest_runs (id))"))

    await downgrade(database_url)

    assert await table_names(engine) == {"charts", "backtest_runs", "strategies", VERSION_TABLE}


async def test_a_shared_table_held_by_a_long_transaction_is_not_waited_for_forever(
    database_url: str, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumer.adapters.postgres.schema.migrating.LOCK_TIMEOUT_MILLISECONDS", 50)
    await migrate(database_url)
    await downgrade(database_url)
    async with engine.begin() as other_service:
        await create_tables_of_another_service(other_service)
    async with engine.begin() as other_service:
        await other_service.execute(text("LOCK TABLE backtest_runs IN ROW EXCLUSIVE MODE"))

        with pytest.raises(StoreUnavailable, match="another session holds a shared table"):
            await migrate(database_url)

    assert "backtest_trades" in (await migrate(database_url)).created_tables


async def test_a_server_that_is_away_is_told_from_one_that_refuses(database_url: str) -> None:
    missing_database = database_url.replace("?", "_missing?") if "?" in database_url else f"{database_url}_missing"
    with pytest.raises(StartFailed, match="does not exist"):
        await migrate(missing_database)
    with pytest.raises(StoreUnavailable):
        await migrate("postgresql+asyncpg://postgres@127.0.0.1:1/nobody")


async def create_tables_of_another_service(connection: AsyncConnection) -> None:
    """Make all shared tables but backtest_trades, as another service would."""
    await connection.run_sync(metadata.create_all, tables=list(SHARED_TABLES[:2]))


def drift(connection: Connection) -> list[object]:
    options = {"version_table": VERSION_TABLE, "include_object": include_object, "compare_server_default": True}
    context = MigrationContext.configure(connection, opts=options)
    return list(compare_metadata(context, metadata))


async def table_names(engine: AsyncEngine) -> set[str]:
    async with engine.connect() as connection:
        rows = await connection.scalars(text("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'"))
        return set(rows)


async def snapshot(engine: AsyncEngine, schema: str = "public") -> list[str]:
    """Describe all that is in a schema but the version table, one sentence each, in a fixed order."""
    query = """
        WITH ours AS (
            SELECT * FROM pg_class
            WHERE relnamespace = CAST(:schema AS regnamespace) AND relkind IN ('r', 'i', 'S')
                AND relname <> :version_table
        )
        SELECT concat_ws(' ', relname, relkind::text, reloptions::text) FROM ours
        UNION ALL
        SELECT concat_ws(' ', relname, attnum, attname, format_type(atttypid, atttypmod), attnotnull, attidentity::text,
            pg_get_expr(adbin, adrelid))
        FROM ours JOIN pg_attribute ON attrelid = ours.oid AND attnum > 0 AND NOT attisdropped
            LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        UNION ALL
        SELECT concat_ws(' ', relname, conname, pg_get_constraintdef(pg_constraint.oid))
        FROM ours JOIN pg_constraint ON conrelid = ours.oid
        UNION ALL
        SELECT concat_ws(' ', relname, pg_get_indexdef(ours.oid)) FROM ours WHERE relkind = 'i'
    """
    async with engine.begin() as connection:
        # With the schema in the path, Postgres leaves its name out of what it shows, but for indexes.
        await connection.execute(text(f"SET LOCAL search_path TO {schema}"))
        rows = await connection.scalars(text(query), {"schema": schema, "version_table": VERSION_TABLE})
        return sorted(row.replace(f"{schema}.", "") for row in rows if VERSION_TABLE not in row)
