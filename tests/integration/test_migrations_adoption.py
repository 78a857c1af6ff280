"""Shared tables that another service has made: taken over where they fit, named and left alone where they do not."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import MetaData, Table, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool
from sqlalchemy.sql.schema import ScalarElementColumnDefault

from consumer.adapters.postgres.schema.migrating import SchemaMismatch, check_schema, downgrade, migrate
from consumer.adapters.postgres.schema.tables import (
    OPERATIONAL_TABLES,
    VERSION_TABLE,
    backtest_runs,
    backtest_trades,
    strategies,
)
from tests.integration.test_migrations import snapshot, table_names

pytestmark = pytest.mark.integration

# As a service would write them that knows the contract but not our code: other words for the same, in another order.
OTHER_SERVICE = (
    """
    CREATE TABLE strategies (
        id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name character varying(255) NOT NULL UNIQUE,
        description text,
        execution_mode varchar(30) NOT NULL DEFAULT 'rule_only',
        strategy_key varchar(100),
        strategy_params text NOT NULL DEFAULT '{}',
        primary_tf varchar(10) NOT NULL DEFAULT 'M15'::varchar,
        context_tfs text NOT NULL DEFAULT '[]',
        symbols text NOT NULL DEFAULT '[]',
        lot_size float8, risk_pct double precision, sl_pips float, tp_pips float(53),
        on_opposite varchar(10) NOT NULL DEFAULT 'reverse',
        stop_to_entry bool NOT NULL DEFAULT 't',
        custom_prompt text, skip_hours text, skip_weekdays text,
        skip_hours_timezone varchar(60),
        is_active boolean NOT NULL DEFAULT true,
        created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
        owner_email text NOT NULL DEFAULT 'nobody'
    )
    """,
    """
    CREATE TABLE backtest_runs (
        created_at timestamp with time zone NOT NULL DEFAULT now(),
        id serial PRIMARY KEY,
        strategy_id int NOT NULL REFERENCES strategies ON DELETE CASCADE,
        symbol varchar(20) NOT NULL,
        timeframe varchar(10) NOT NULL,
        start_date timestamptz NOT NULL, end_date timestamptz NOT NULL,
        initial_balance float NOT NULL DEFAULT 10000,
        spread_pips float NOT NULL DEFAULT '1.5',
        execution_mode varchar(20) NOT NULL DEFAULT 'close_price',
        primary_tf varchar(10) NOT NULL DEFAULT 'M15',
        context_tfs text NOT NULL DEFAULT '[]',
        max_llm_calls integer NOT NULL DEFAULT 100,
        status varchar(20) NOT NULL DEFAULT 'pending',
        progress_pct integer NOT NULL DEFAULT (0),
        error_message text,
        total_trades integer, win_rate float, profit_factor float, expectancy float, max_drawdown_pct float,
        recovery_factor float, sharpe_ratio float, sortino_ratio float, total_return_pct float,
        avg_win float, avg_loss float,
        max_consec_wins integer, max_consec_losses integer, avg_spread float,
        commission_per_lot float NOT NULL DEFAULT 0,
        tp_partial_close_ratio float NOT NULL DEFAULT 0.5::real,
        data_file_path text
    )
    """,
    "INSERT INTO strategies (name) VALUES ('theirs')",
    """
    INSERT INTO backtest_runs (strategy_id, symbol, timeframe, start_date, end_date)
    VALUES (1, 'EURUSD', 'H1', '2024-01-01Z', '2024-02-01Z')
    """,
)


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """Connect to a database in which another service has made two of the three shared tables, with a row in each."""
    engine = create_async_engine(database_url, poolclass=NullPool)
    async with engine.begin() as connection:
        await run_all(connection, *OTHER_SERVICE)
    yield engine
    await engine.dispose()


async def test_tables_that_fit_are_taken_over_with_their_rows_and_what_is_missing_is_made(
    database_url: str, engine: AsyncEngine
) -> None:
    before = [line for line in await snapshot(engine) if line.startswith(("strategies ", "backtest_runs "))]

    report = await migrate(database_url)

    assert report.adopted_tables == ("strategies", "backtest_runs")
    assert set(report.created_tables) == {
        "backtest_trades",
        "optimization_runs",
        *(table.name for table in OPERATIONAL_TABLES),
    }
    assert report.added == ()
    assert [line for line in await snapshot(engine) if line.startswith(("strategies ", "backtest_runs "))] == before
    assert await check_schema(database_url) == report.notes
    async with engine.connect() as connection:
        assert (await connection.scalars(text("SELECT symbol FROM backtest_runs"))).all() == ["EURUSD"]


async def test_names_and_missing_indexes_are_noted_and_not_refused(database_url: str, engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await run_all(
            connection,
            "CREATE INDEX by_symbol ON backtest_runs (symbol)",
            "CREATE INDEX recent ON backtest_runs (created_at) WHERE status = 'completed'",
            "ALTER TABLE backtest_runs ADD COLUMN account integer NOT NULL DEFAULT 1, ADD COLUMN note text",
        )

    slow = "has no index, which makes some queries slow: CREATE INDEX CONCURRENTLY"
    assert list((await migrate(database_url)).notes) == [
        f"backtest_runs.created_at {slow} idx_backtest_created ON backtest_runs (created_at)",
        f"backtest_runs.strategy_id {slow} idx_backtest_strategy ON backtest_runs (strategy_id)",
        "backtest_runs.symbol has index by_symbol, named idx_backtest_symbol in the contract",
        "backtest_runs has constraint backtest_runs_pkey, named pk_backtest_runs in the contract",
        "backtest_runs has constraint backtest_runs_strategy_id_fkey, named fk_backtest_strategy in the contract",
    ]


async def test_an_unknown_column_that_demands_a_value_is_noted(database_url: str, engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await run_all(
            connection, "DELETE FROM backtest_runs", "ALTER TABLE backtest_runs ADD COLUMN tenant integer NOT NULL"
        )

    notes = (await migrate(database_url)).notes

    assert "backtest_runs.tenant demands a value, so that rows written by this program will be refused" in notes


MISSING = (
    "ALTER TABLE backtest_runs DROP COLUMN avg_spread, DROP COLUMN commission_per_lot, DROP COLUMN created_at",
    "ALTER TABLE strategies DROP COLUMN stop_to_entry, DROP COLUMN symbols",
)


async def test_missing_columns_are_named_and_nothing_is_changed_without_adopt(
    database_url: str, engine: AsyncEngine
) -> None:
    async with engine.begin() as connection:
        await run_all(connection, *MISSING)
    before = await snapshot(engine)

    with pytest.raises(SchemaMismatch, match="--adopt") as raised:
        await migrate(database_url)

    assert [str(difference) for difference in raised.value.differences] == [
        "strategies.symbols is missing",
        "strategies.stop_to_entry is missing",
        "backtest_runs.avg_spread is missing",
        "backtest_runs.commission_per_lot is missing",
        "backtest_runs.created_at is missing",
    ]
    assert await snapshot(engine) == before


async def test_adopt_adds_missing_columns_with_their_defaults(database_url: str, engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await run_all(connection, *MISSING)

    report = await migrate(database_url, adopt=True)

    assert report.added == (
        "strategies.symbols",
        "strategies.stop_to_entry",
        "backtest_runs.avg_spread",
        "backtest_runs.commission_per_lot",
        "backtest_runs.created_at",
    )
    async with engine.connect() as connection:
        row = (await connection.execute(text("SELECT * FROM backtest_runs"))).mappings().one()
        assert (row["avg_spread"], row["commission_per_lot"]) == (None, 0.0)
        assert row["created_at"].tzinfo is not None
        assert (await connection.execute(text("SELECT symbols, stop_to_entry FROM strategies"))).one() == ("[]", True)
    await check_schema(database_url)
    assert not (await migrate(database_url)).is_changed


async def test_a_missing_column_that_rows_must_fill_is_not_added(database_url: str, engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await run_all(
            connection,
            "ALTER TABLE backtest_runs DROP COLUMN strategy_id, DROP COLUMN avg_spread",
            "ALTER TABLE strategies DROP COLUMN id",
        )
    before = await snapshot(engine)

    with pytest.raises(SchemaMismatch) as raised:
        await migrate(database_url, adopt=True)

    assert [str(difference) for difference in raised.value.differences] == [
        "strategies.id is missing and cannot be added: rows would have no value for it",
        "backtest_runs.strategy_id is missing and cannot be added: rows would have no value for it",
    ]
    assert await snapshot(engine) == before


async def test_adopt_takes_tables_that_an_orm_made_which_have_no_server_defaults(database_url: str) -> None:
    """The models as a service of the shared database declares them: defaults in Python only."""
    engine = create_async_engine(database_url, poolclass=NullPool)
    theirs = without_server_defaults(strategies, backtest_runs, backtest_trades)
    async with engine.begin() as connection:
        await connection.run_sync(theirs.create_all)
        await connection.execute(theirs.tables["strategies"].insert().values(name="theirs"))
    before = await snapshot(engine)
    with pytest.raises(SchemaMismatch, match=r"strategies.is_active has default none, expected true.*--adopt"):
        await migrate(database_url)
    assert await snapshot(engine) == before

    report = await migrate(database_url, adopt=True)

    assert "strategies.is_active default true" in report.added
    assert "backtest_runs.created_at default now()" in report.added
    assert len(report.added) == sum(
        column.server_default is not None for table in (strategies, backtest_runs) for column in table.columns
    )
    assert await check_schema(database_url) == report.notes
    assert not (await migrate(database_url, adopt=True)).is_changed
    async with engine.begin() as connection:
        await run_all(connection, OTHER_SERVICE[-1])  # a plain INSERT relies on the defaults now
        row = (await connection.execute(text("SELECT status, spread_pips, context_tfs FROM backtest_runs"))).one()
    assert row == ("pending", 1.5, "[]")
    await engine.dispose()


async def test_a_column_that_is_wider_than_needed_is_no_difference(database_url: str, engine: AsyncEngine) -> None:
    await migrate(database_url)
    async with engine.begin() as connection:
        await run_all(
            connection,
            "ALTER TABLE strategies ALTER name TYPE varchar(300), ALTER strategy_key TYPE text",
            "ALTER TABLE backtest_runs ALTER symbol TYPE varchar, ALTER error_message TYPE varchar",
        )

    await check_schema(database_url)

    assert not (await migrate(database_url)).is_changed


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (
            "ALTER symbol TYPE varchar(12)",
            "backtest_runs.symbol has type character varying(12), expected character varying(20)",
        ),
        (
            "ALTER error_message TYPE varchar(9)",
            "backtest_runs.error_message has type character varying(9), expected text",
        ),
        ("ALTER win_rate TYPE real", "backtest_runs.win_rate has type real, expected double precision"),
        (
            "ALTER avg_win TYPE numeric(10, 2)",
            "backtest_runs.avg_win has type numeric(10,2), expected double precision",
        ),
        ("ALTER id TYPE bigint", "backtest_runs.id has type bigint, expected integer"),
        (
            "ALTER start_date TYPE timestamp",
            "backtest_runs.start_date has type timestamp without time zone, expected timestamp with time zone",
        ),
        ("ALTER error_message TYPE json USING NULL", "backtest_runs.error_message has type json, expected text"),
        ("ALTER status DROP NOT NULL", "backtest_runs.status is nullable, expected not null"),
        ("ALTER data_file_path SET NOT NULL", "backtest_runs.data_file_path does not take null, expected nullable"),
        ("ALTER spread_pips SET DEFAULT 1.6", "backtest_runs.spread_pips has default 1.6, expected 1.5"),
        (
            "ALTER status SET DEFAULT 'queued'",
            "backtest_runs.status has default 'queued'::character varying, expected 'pending'",
        ),
        ("ALTER context_tfs SET DEFAULT ''", "backtest_runs.context_tfs has default ''::text, expected '[]'"),
        ("ALTER total_trades SET DEFAULT 0", "backtest_runs.total_trades has default 0, expected none"),
        (
            "ALTER created_at SET DEFAULT '2024-01-01Z'",
            "backtest_runs.created_at has default '2024-01-01 00:00:00+00'::timestamp with time zone, expected now()",
        ),
        (
            "ALTER id DROP DEFAULT",
            "backtest_runs.id has nothing that numbers new rows, expected a sequence or identity",
        ),
        ("DROP CONSTRAINT backtest_runs_pkey", "backtest_runs has primary key none, expected (id)"),
        (
            "DROP CONSTRAINT backtest_runs_strategy_id_fkey",
            "backtest_runs.strategy_id has no foreign key to strategies.id, expected one with ON DELETE CASCADE",
        ),
        (
            "ADD FOREIGN KEY (strategy_id) REFERENCES strategies (id) ON DELETE SET NULL",
            (
                "backtest_runs.strategy_id refers to strategies(id) with ON DELETE SET NULL, "
                "expected strategies(id) with ON DELETE CASCADE"
            ),
        ),
        (
            "DROP avg_loss, ADD avg_loss float GENERATED ALWAYS AS (-avg_win) STORED",
            "backtest_runs.avg_loss is computed as (- avg_win), expected an ordinary column",
        ),
    ],
)
@pytest.mark.parametrize("adopt", [False, True], ids=["checked", "adopt"])
async def test_a_difference_is_named_and_nothing_is_changed(
    database_url: str, engine: AsyncEngine, change: str, difference: str, adopt: bool
) -> None:
    async with engine.begin() as connection:
        await run_all(
            connection, "SET LOCAL TIME ZONE 'UTC'", "DELETE FROM backtest_runs", f"ALTER TABLE backtest_runs {change}"
        )
    before = await snapshot(engine)

    with pytest.raises(SchemaMismatch) as raised:
        await migrate(database_url, adopt=adopt)

    assert [str(found) for found in raised.value.differences] == [difference]
    assert await snapshot(engine) == before
    assert VERSION_TABLE not in await table_names(engine)


async def test_all_differences_are_named_at_once(database_url: str, engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await run_all(
            connection,
            "ALTER TABLE strategies DROP CONSTRAINT strategies_name_key, ALTER is_active DROP DEFAULT",
            "CREATE UNIQUE INDEX ON strategies (name) WHERE is_active",
            "ALTER TABLE backtest_runs ALTER symbol TYPE varchar(9), ALTER symbol DROP NOT NULL, DROP avg_spread",
            "CREATE VIEW backtest_trades AS SELECT 1 AS id",
            "CREATE TABLE backtest_outbox (id int)",
        )

    with pytest.raises(SchemaMismatch) as raised:
        await migrate(database_url)
    assert "backtest_outbox exists already, though this program has not made it" in str(raised.value)
    for named in (
        "strategies.is_active has default none, expected true",
        "strategies.name is not unique",
        "backtest_runs.symbol has type character varying(9), expected character varying(20)",
        "backtest_runs.symbol is nullable, expected not null",
        "backtest_runs.avg_spread is missing",
        "backtest_trades is not a table",
    ):
        assert named in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "--adopt" not in str(raised.value)


async def test_a_change_made_after_the_migration_is_found_by_migrate_and_by_check(
    database_url: str, engine: AsyncEngine
) -> None:
    await migrate(database_url)
    async with engine.begin() as connection:
        await run_all(connection, "ALTER TABLE backtest_runs DROP COLUMN avg_win", "DROP TABLE backtest_trades")

    for attempt in (migrate(database_url), check_schema(engine), migrate(database_url, adopt=True)):
        with pytest.raises(SchemaMismatch, match="backtest_trades is missing"):
            await attempt


async def test_downgrade_after_adoption_keeps_the_tables_of_the_other_service(
    database_url: str, engine: AsyncEngine
) -> None:
    await migrate(database_url)
    async with engine.begin() as connection:
        await run_all(connection, "DELETE FROM backtest_runs", "DELETE FROM strategies")

    await downgrade(database_url)

    assert await table_names(engine) == {"strategies", "backtest_runs", VERSION_TABLE}


async def test_the_other_services_rows_and_ours_read_alike(database_url: str, engine: AsyncEngine) -> None:
    """Every default that a service's INSERT relies on is the one that the models give."""
    await migrate(database_url)
    async with engine.connect() as connection:
        for table in (strategies, backtest_runs):
            row = (await connection.execute(text(f"SELECT * FROM {table.name}"))).mappings().one()
            for column in table.columns:
                if isinstance(column.default, ScalarElementColumnDefault):
                    assert row[column.name] == column.default.arg


def without_server_defaults(*tables: Table) -> MetaData:
    theirs = MetaData()
    for table in tables:
        for column in table.to_metadata(theirs).columns:
            column.server_default = None
    return theirs


async def run_all(connection: AsyncConnection, *statements: str) -> None:
    for statement in statements:
        await connection.execute(text(statement))
