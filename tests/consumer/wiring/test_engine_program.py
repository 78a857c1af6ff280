"""Real runs in real engine children: specification in, figures and files out, the same as in this process."""

import asyncio
import io
import tomllib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from consumer.adapters.engine_pool.pool import EngineProcesses, EngineProcessSettings
from consumer.adapters.engine_pool.trade_rows import trades_csv
from consumer.adapters.files.market_data import ParquetMarketData
from consumer.adapters.postgres.schema.tables import backtest_trades
from consumer.installed.registry import GROUP, load_strategy
from consumer.ports import EngineProgress, EngineTask, StopSignal
from consumer.ports.outcomes import Completed, EngineOutcome, Failed, Stopped
from consumer.preparation.inputs import assemble
from consumer.preparation.snapshot import specification_from_json, specification_to_json
from consumer.rules.columns import METRIC_COLUMNS
from engine.deciders.chosen import choose_strategy
from engine.errors import InvalidSpecification
from engine.market.bars import TIME
from engine.market.instruments import packaged_instruments
from engine.results.result import TRADE_COLUMNS, BacktestResult
from engine.simulate import run_backtest
from engine.specification import ExecutionMode, Specification
from engine.strategies.rules import Rules
from engine.strategies.sma_cross import SmaCross
from tests.consumer.pools import until
from tests.consumer.wiring import user_strategies

BARS_FILE = Path(__file__).parents[2] / "data" / "gbpusd_h1.parquet"
PROJECT = Path(__file__).parents[3] / "pyproject.toml"
BUILT_IN = tomllib.loads(PROJECT.read_text())["project"]["entry-points"][GROUP].keys() - {"rules"}
START, END = datetime(2017, 3, 1, tzinfo=UTC), datetime(2017, 6, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def market_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("market")
    (root / "GBPUSD" / "H1").mkdir(parents=True)
    (root / "GBPUSD" / "H1" / "2017.parquet").write_bytes(BARS_FILE.read_bytes())
    return root


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    user_strategies.install(folder)
    return folder


@pytest.fixture(scope="module")
def engine_settings(
    market_data: Path, installed: Path, tmp_path_factory: pytest.TempPathFactory
) -> EngineProcessSettings:
    return EngineProcessSettings(
        slots=1,
        market_data_url=str(market_data),
        artifacts_url=str(tmp_path_factory.mktemp("artifacts")),
        environment={"PYTHONPATH": str(installed)},
    )


@pytest.fixture(scope="module")
async def pool(engine_settings: EngineProcessSettings) -> AsyncIterator[EngineProcesses]:
    async with EngineProcesses(engine_settings) as processes:
        yield processes


def specification(**changes: Any) -> Specification:
    defaults: dict[str, Any] = {
        "symbol": "GBPUSD",
        "timeframe": "H1",
        "start": START,
        "end": END,
        "strategy_key": "test_cross",
        "strategy_params": {"fast": 5, "slow": 20},
        "execution_mode": ExecutionMode.INTRA_CANDLE,
        "stop_loss_pips": 25.0,
        "take_profit_pips": 40.0,
        "commission_per_lot": 7.0,
    }
    return Specification(**{**defaults, **changes})


async def run(pool: EngineProcesses, run_id: int = 1, **changes: Any) -> EngineOutcome:
    document = specification_to_json(specification(**changes))
    return await pool.run(EngineTask(run_id, 2, document), lambda _: None, StopSignal())


def simulated_here(
    wanted: Specification, market_data: Path, strategy: type[Any] = SmaCross, version: str | None = None
) -> BacktestResult:
    registry = packaged_instruments()
    chosen = choose_strategy(strategy, "here", wanted.strategy_params, version)
    data = assemble(wanted, ParquetMarketData(str(market_data)), registry, chosen.warm_up(wanted))
    return run_backtest(wanted, registry[wanted.symbol], data, chosen)


def read_back(content: bytes) -> pl.DataFrame:
    names: list[str] = ["run_id", *TRADE_COLUMNS]
    kinds = dict.fromkeys(names, pl.String())
    return pl.read_csv(content, has_header=False, schema=kinds)


async def test_a_run_in_a_child_gives_the_figures_of_the_same_run_here(
    pool: EngineProcesses, market_data: Path, engine_settings: EngineProcessSettings
) -> None:
    outcome = await run(pool, 12)

    assert isinstance(outcome, Completed)
    assert len(outcome.strategy_version or "") == 64
    here = simulated_here(specification(), market_data, version=outcome.strategy_version)
    assert here.trades.height > 20
    assert outcome.metrics == here.to_json_dict()
    assert outcome.columns == {name: here.to_json_dict()[name] for name in METRIC_COLUMNS}
    assert outcome.result_digest == here.result_digest
    assert outcome.strategy_version == here.strategy_version
    assert outcome.trade_count == here.trades.height
    assert outcome.warnings == here.warnings
    folder = Path(engine_settings.artifacts_url) / "runs" / "12" / "2"
    assert {Path(place).parent for place in outcome.artifacts.values()} == {folder}
    assert_frame_equal(pl.read_parquet(outcome.artifacts["trades"]), here.recorded_trades)
    assert_frame_equal(pl.read_parquet(outcome.artifacts["equity"]), here.equity)
    assert_frame_equal(pl.read_ipc_stream(outcome.artifacts["ledger"]), here.booked)


async def test_rules_in_a_child_are_the_rules_of_a_command(pool: EngineProcesses, market_data: Path) -> None:
    document = {
        "params": {"n": 20},
        "indicators": {"trend": {"timeframe": "H4", "value": "ema(close, n)"}},
        "buy": "crosses_above(close, sma(close, n)) and close > trend",
        "sell": "crosses_below(close, sma(close, n)) and close < trend",
        "stop_loss": "2 * atr(14)",
    }
    asked = {"strategy_key": "rules", "strategy_params": document, "stop_loss_pips": None}
    outcome = await run(pool, 14, **asked)
    assert isinstance(outcome, Completed)
    here = simulated_here(specification(**asked), market_data, Rules, outcome.strategy_version)
    assert here.trades.height > 20
    assert outcome.result_digest == here.result_digest


async def test_rules_that_take_too_long_end_at_the_deadline(tmp_path: Path) -> None:
    minutes = 430_000
    times = pl.datetime_range(START, START + timedelta(minutes=minutes - 1), "1m", time_unit="us", eager=True)
    bars = {name: [1.2] * minutes for name in ("open", "high", "low", "close")}
    own = tmp_path / "market" / "GBPUSD" / "M1" / "2017.parquet"
    own.parent.mkdir(parents=True)
    pl.DataFrame({"time": times, **bars}).write_parquet(own)
    settings = EngineProcessSettings(
        slots=1, market_data_url=str(tmp_path / "market"), artifacts_url=str(tmp_path), run_timeout_seconds=1
    )
    nested = " or ".join(f"any(all(any(close > {i}, {i}), {i}), {i})" for i in range(1, 1_200))
    async with EngineProcesses(settings) as pool:
        asked = {"strategy_key": "rules", "timeframe": "M1", "end": times[-1]}
        outcome = await run(pool, 15, **asked, strategy_params={"buy": nested})
    assert outcome == Failed("timeout", "the run took longer than RUN_TIMEOUT_SECONDS, 1 s")


async def test_every_built_in_strategy_runs_in_a_child_as_here(pool: EngineProcesses, market_data: Path) -> None:
    """Own contexts included, which no request names."""
    levels = {"stop_loss_atr": 2.0, "take_profit_atr": 3.0, "trailing_atr": 4.0}
    for run_id, key in enumerate(sorted(BUILT_IN), 100):
        params = {"memory": 500} if key == "nearest_patterns" else levels
        changes: dict[str, Any] = {"strategy_key": key, "strategy_params": params, "stop_loss_pips": None}
        outcome = await run(pool, run_id, **changes)
        assert isinstance(outcome, Completed), key
        here = simulated_here(specification(**changes), market_data, load_strategy(key), outcome.strategy_version)
        assert here.trades.height > 0, key
        assert outcome.result_digest == here.result_digest, key
        assert outcome.warnings == here.warnings, key


async def test_a_symbol_in_another_case_is_the_same_run(pool: EngineProcesses, market_data: Path) -> None:
    outcome = await run(pool, 13, symbol="gbpusd")
    assert isinstance(outcome, Completed)
    here = simulated_here(specification(), market_data, version=outcome.strategy_version)
    assert outcome.result_digest == here.result_digest


async def test_the_bars_file_of_a_run_holds_its_range_and_is_shared(pool: EngineProcesses) -> None:
    first, second = await run(pool, 1), await run(pool, 2, spread_pips=0.0)

    assert isinstance(first, Completed)
    assert isinstance(second, Completed)
    assert first.data_file_path == second.data_file_path
    stored = pl.read_csv(first.data_file_path, try_parse_dates=True)
    wanted = pl.read_parquet(BARS_FILE).filter(pl.col("time").is_between(START, END, closed="left"))
    assert_frame_equal(
        stored.with_columns(pl.col("time").cast(TIME)), wanted.select(stored.columns), check_dtypes=False
    )


async def test_runs_of_other_ranges_or_over_overwritten_bars_name_other_bars(tmp_path: Path) -> None:
    own = tmp_path / "market" / "GBPUSD" / "H1" / "2017.parquet"
    own.parent.mkdir(parents=True)
    own.write_bytes(BARS_FILE.read_bytes())
    settings = EngineProcessSettings(
        slots=1, market_data_url=str(tmp_path / "market"), artifacts_url=str(tmp_path / "artifacts")
    )
    async with EngineProcesses(settings) as pool:
        places = [await bars_file_of(pool, start) for start in (START, datetime(2017, 3, 2, tzinfo=UTC), START)]
        pl.read_parquet(BARS_FILE).with_columns(pl.col("volume") + 1.0).write_parquet(own)
        places.append(await bars_file_of(pool, START))

    assert places[0] == places[2]
    assert len(set(places)) == 3
    firsts = [pl.read_csv(place, try_parse_dates=True).row(0, named=True) for place in places]
    assert firsts[1]["time"] > firsts[0]["time"]
    assert firsts[3]["volume"] == firsts[0]["volume"] + 1.0


async def bars_file_of(pool: EngineProcesses, start: datetime) -> str:
    outcome = await run(pool, start=start, strategy_key="sma_cross")
    assert isinstance(outcome, Completed)
    return outcome.data_file_path


async def test_every_float_of_a_trade_reads_back_as_the_same_double(pool: EngineProcesses, market_data: Path) -> None:
    here = simulated_here(specification(), market_data).trades
    outcome = await run(pool, 77)

    assert isinstance(outcome, Completed)
    rows = read_back(outcome.trades_csv)
    assert rows["run_id"].unique().to_list() == ["77"]
    for name, kind in here.schema.items():
        if kind == pl.Float64:
            told = [None if text is None else float(text) for text in rows[name]]
            assert told == here[name].to_list()


@pytest.mark.integration
async def test_postgres_copies_the_rows_in_as_they_are(
    pool: EngineProcesses, market_data: Path, database_url: str
) -> None:
    wanted = {"strategy_key": "test_every_tenth", "strategy_params": {"every": 7}}
    here = simulated_here(specification(**wanted), market_data, user_strategies.EveryTenth).trades
    outcome = await run(pool, 5, **wanted)
    assert isinstance(outcome, Completed)
    assert '""' in outcome.trades_csv.decode()

    connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
    try:
        columns = [each for each in backtest_trades.columns if each.name != "id"]
        dialect_types = {"INTEGER": "integer", "FLOAT": "double precision", "TEXT": "text", "DATETIME": "timestamptz"}
        kinds = [f"{each.name} {dialect_types.get(str(each.type), str(each.type))}" for each in columns]
        await connection.execute(f"CREATE TABLE copied ({', '.join(kinds)})")
        await connection.copy_to_table("copied", source=io.BytesIO(outcome.trades_csv), format="csv")
        rows = await connection.fetch("SELECT * FROM copied")
    finally:
        await connection.close()

    assert [each.name for each in columns] == ["run_id", *TRADE_COLUMNS]
    assert [tuple(row)[1:] for row in rows] == here.rows()


async def test_a_child_told_the_same_twice_gives_the_same_bytes(pool: EngineProcesses) -> None:
    """The strategy counts in its object: one object a simulation, or the second run would differ."""
    wanted = {"strategy_key": "test_every_tenth", "strategy_params": {}}

    first, second = await run(pool, 1, **wanted), await run(pool, 1, **wanted)

    assert isinstance(first, Completed)
    assert isinstance(second, Completed)
    assert first.result_digest == second.result_digest
    assert first.trades_csv == second.trades_csv


async def test_the_last_progress_of_a_run_is_its_last_bar(pool: EngineProcesses) -> None:
    told: list[EngineProgress] = []
    document = specification_to_json(specification(strategy_key="test_every_tenth", strategy_params={}))

    outcome = await pool.run(EngineTask(1, 1, document), told.append, StopSignal())

    assert isinstance(outcome, Completed)
    assert told[-1].bars_done == told[-1].bars_total
    assert told[-1].trades == outcome.trade_count or told[-1].trades == outcome.trade_count - 1
    assert START < told[-1].simulated_time <= END


async def test_a_strategy_that_never_returns_is_stopped(pool: EngineProcesses) -> None:
    document = specification_to_json(specification(strategy_key="test_endless", strategy_params={}))
    stop = StopSignal()
    await run(pool)
    running = pool.run(EngineTask(31, 1, document), lambda _: None, stop)
    stop_soon = until(
        lambda: bool(pool.child_pids) and "run=31" in Path(f"/proc/{pool.child_pids[0]}/cmdline").read_text()
    )

    task = asyncio.ensure_future(running)
    await stop_soon
    stop.set()

    assert await asyncio.wait_for(task, 5) == Stopped()


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ({"strategy_key": "test_raises", "strategy_params": {}}, "strategy_error", "LookupError: no such level"),
        ({"strategy_key": "test_exits", "strategy_params": {}}, "strategy_error", "SystemExit: I give up"),
        ({"strategy_key": "test_hungry", "strategy_params": {}}, "out_of_memory", "more memory"),
        ({"strategy_key": "test_nul", "strategy_params": {}}, "strategy_error", "NUL"),
        ({"strategy_key": "test_missing", "strategy_params": {}}, "unknown_strategy", "test_missing"),
        ({"strategy_key": None, "strategy_params": {}}, "invalid_request", "no strategy"),
        ({"strategy_params": {"fast": 0}}, "invalid_params", "fast"),
        ({"symbol": "EURUSD"}, "no_data", "EURUSD"),
        ({"start": datetime(2019, 1, 1, tzinfo=UTC), "end": datetime(2019, 2, 1, tzinfo=UTC)}, "no_data", "GBPUSD"),
        ({"account_currency": "EUR"}, "no_conversion", "EUR"),
    ],
)
async def test_a_run_that_cannot_be_done_fails_with_its_code(
    pool: EngineProcesses, changes: dict[str, Any], code: str, said: str
) -> None:
    outcome = await run(pool, **changes)

    assert isinstance(outcome, Failed)
    assert (outcome.code, said in outcome.message) == (code, True)


async def test_parameters_at_fault_are_listed_by_field(pool: EngineProcesses) -> None:
    outcome = await run(pool, strategy_params={"fast": 0, "colour": 1})

    assert isinstance(outcome, Failed)
    assert {each.field for each in outcome.details} == {"strategy_params.fast", "strategy_params.colour"}


async def test_an_artefact_store_that_is_away_is_waited_for_then_given_up(
    engine_settings: EngineProcessSettings, tmp_path: Path
) -> None:
    blocked = tmp_path / "artifacts"
    blocked.write_text("a file where the folder should be")
    changed = {name: getattr(engine_settings, name) for name in ("market_data_url", "environment")} | {
        "slots": 1,
        "artifacts_url": str(blocked),
    }

    async with EngineProcesses(EngineProcessSettings(**changed, store_patience_seconds=0.2)) as impatient:
        given_up = await run(impatient)

    async with EngineProcesses(EngineProcessSettings(**changed, store_patience_seconds=60)) as patient:
        document = specification_to_json(specification())

        def mend(_: EngineProgress) -> None:
            blocked.unlink(missing_ok=True)

        mended = await patient.run(EngineTask(1, 1, document), mend, StopSignal())

    assert isinstance(given_up, Failed)
    assert given_up.code == "artifacts_unavailable"
    assert isinstance(mended, Completed)


def test_a_specification_survives_json_whole() -> None:
    wanted = specification(strategy_params={"nested": {"a": [1, 0.1, None]}}, risk_pct=0.1 + 0.2, skip_hours=(22, 23))

    assert specification_from_json(specification_to_json(wanted)) == wanted


def test_a_snapshot_from_before_there_were_costs_of_the_account_is_read_as_one_without_them() -> None:
    names = {"slippage_pips", "commission_pct", "leverage", "stop_out_pct"}
    asked = {"slippage_pips": 0.2, "commission_pct": 0.01, "leverage": 30.0, "stop_out_pct": 50.0}

    assert names.isdisjoint(specification_to_json(specification()))
    assert specification_from_json(specification_to_json(specification())) == specification()
    assert specification_from_json(specification_to_json(specification(**asked))) == specification(**asked)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"colour": "red"}, "colour is unknown"),
        ({"spread_pips": None}, "spread_pips"),
        ({"spread_pips": "1.5"}, "spread_pips"),
        ({"execution_mode": "sometimes"}, "execution_mode"),
        ({"start": "2017-03-01T00:00:00"}, "offset"),
    ],
)
def test_a_specification_of_another_version_is_refused(change: dict[str, Any], said: str) -> None:
    document = specification_to_json(specification()) | change

    with pytest.raises(InvalidSpecification, match=said):
        specification_from_json(document)


def test_a_specification_that_misses_a_field_is_refused() -> None:
    document = specification_to_json(specification())
    del document["stop_to_entry"]

    with pytest.raises(InvalidSpecification, match="stop_to_entry is missing"):
        specification_from_json(document)


def test_no_rows_are_no_bytes(market_data: Path) -> None:
    nothing = simulated_here(specification(strategy_params={"fast": 4000, "slow": 5000}), market_data)

    assert trades_csv(1, nothing) == b""
