"""What an engine child does for a task: specification to bars to figures to files. Loaded in the child, and only there.

Bars stay in the child's memory between tasks (`ParquetMarketData` keeps them until their files change), the strategy
object does not: each simulation makes its own. What a strategy's module keeps in globals is its author's to reset.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from io import BytesIO
from pathlib import Path
from typing import Final, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import polars as pl

from consumer.adapters.engine_pool.settings import EngineProcessSettings
from consumer.adapters.engine_pool.task import Execute, TaskControl
from consumer.adapters.files.artifacts import LEDGER, ArtifactFiles, bars_digest
from consumer.adapters.files.instruments import read_instruments
from consumer.adapters.files.market_data import ParquetMarketData, microseconds
from consumer.errors import Unavailable
from consumer.ports import EngineTask
from consumer.ports.outcomes import Completed
from consumer.preparation.inputs import assemble
from consumer.preparation.registry import load_strategy
from consumer.preparation.snapshot import specification_from_json
from consumer.rules.columns import METRIC_COLUMNS
from engine.deciders.chosen import ChosenStrategy, choose_strategy
from engine.deciders.guard import guarded
from engine.errors import InvalidSpecification, StrategyError
from engine.market.bars import Bars, bars_from_frame
from engine.market.instruments import instrument_for, packaged_instruments
from engine.market.timeframes import timeframe
from engine.prepared import RunData
from engine.results.result import BacktestResult
from engine.simulate import run_backtest
from engine.specification import ExecutionMode, Specification
from engine.strategies.sma_cross import SmaCross
from engine.watch import Progress

DISTRIBUTION: Final = "backtest-consumer"
_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 2.0
_DIGESTS_KEPT: Final = 64
"""Of ranges of the same bars."""
_CSV_TIME: Final = "%Y-%m-%d %H:%M:%S%.6f+00"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Result = TypeVar("Result")


def open_engine(settings: EngineProcessSettings) -> Execute:
    """Open the stores, compile the kernels, and return what executes a task.

    That raises what the engine raises, StopRequested, and Unavailable for a store that stays away.
    """
    market_data = ParquetMarketData(settings.market_data_url)
    artifacts = ArtifactFiles(settings.artifacts_url)
    registry = read_instruments(Path(settings.instruments_file) if settings.instruments_file else None)
    patience = settings.store_patience_seconds
    own_version = engine_version()
    charts = _ChartBars()
    warm_up()

    def execute(task: EngineTask, control: TaskControl) -> Completed:
        started = time.monotonic()
        specification = specification_from_json(task.specification)
        strategy = chosen_strategy(specification)
        data = _patiently(lambda: assemble(specification, market_data, registry), control, patience)
        instrument = instrument_for(specification.symbol, registry)

        def report(at: Progress) -> None:
            control.report(at.bars_done, at.bars_total, at.simulated_time_us, at.equity, at.trades)

        result = run_backtest(specification, instrument, data, strategy, on_progress=report)
        tables = {"trades": result.trades, "equity": result.equity, LEDGER: result.booked}
        saved = _patiently(lambda: artifacts.save_run(task.run_id, task.epoch, tables), control, patience)
        bars, digest = charts.of(specification, data.bars)
        bars_file = _patiently(lambda: artifacts.save_bars(bars, digest), control, patience)
        return Completed(
            columns={name: getattr(result.metrics, name) for name in METRIC_COLUMNS},
            metrics=result.to_json_dict(),
            trades_csv=trades_csv(task.run_id, result),
            trade_count=result.trades.height,
            data_file_path=bars_file,
            artifacts=saved,
            result_digest=result.result_digest,
            engine_version=own_version,
            warnings=tuple(result.warnings),
            duration_seconds=time.monotonic() - started,
        )

    return execute


def engine_version() -> str:
    """The installed version of this program."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "0+not.installed"


def trades_csv(run_id: int, result: BacktestResult) -> bytes:
    """Rows for COPY into backtest_trades: run_id, then the columns from position_id on; floats as their shortest text
    that reads back as the same double, an empty field is NULL, an empty text is quoted. Raises StrategyError."""
    run_ids = pl.Series("run_id", [run_id], dtype=pl.Int64).new_from_index(0, result.trades.height)
    rows = pl.DataFrame([run_ids, *result.trades.get_columns()])
    buffer = BytesIO()
    rows.write_csv(buffer, include_header=False, datetime_format=_CSV_TIME)
    content = buffer.getvalue()
    if b"\0" in content:
        # Postgres takes no NUL in text: the run would never get its terminal row.
        raise StrategyError("a decision's pattern_name or pattern_metadata holds a NUL character")
    return content


def warm_up() -> None:
    """Simulate a little in every mode, so that the first run finds everything compiled and loaded."""
    bars = _some_bars(400)
    for mode in ExecutionMode:
        specification = Specification(
            symbol="EURUSD",
            timeframe="H1",
            start=_EPOCH,
            end=_EPOCH + timedelta(days=365),
            strategy_key="sma_cross",
            strategy_params={},
            execution_mode=mode,
            stop_loss_pips=20.0,
            take_profit_pips=30.0,
        )
        strategy = choose_strategy(SmaCross, "sma_cross", {"fast": 3, "slow": 8})
        instrument = packaged_instruments()["EURUSD"]
        result = run_backtest(specification, instrument, RunData(bars=bars), strategy, on_progress=lambda _: None)
        trades_csv(1, result)


def chosen_strategy(specification: Specification) -> ChosenStrategy:
    """The specification's strategy with its parameters. Raises UnknownStrategy, InvalidParams, InvalidSpecification."""
    key = specification.strategy_key
    if key is None:
        raise InvalidSpecification("the specification of the run names no strategy")
    found = load_strategy(key)
    return guarded(lambda: choose_strategy(found, key, specification.strategy_params), "checking the parameters")  # type: ignore[no-any-return]  # guarded passes its step's value through


def _patiently(step: Callable[[], Result], control: TaskControl, patience_seconds: float) -> Result:
    """Take a step, again and again while its store is away, for so long. Then raises its Unavailable."""
    deadline = time.monotonic() + patience_seconds
    pause = _FIRST_PAUSE_SECONDS
    while True:
        try:
            return step()
        except Unavailable:
            if time.monotonic() + pause > deadline:
                raise
            control.pause(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


class _ChartBars:
    """The bars with start <= open time < end, for chart replay, and their digest: hashed once for runs that share them.

    Kept by the object that holds them, which goes when the market data's cache lets go of it.
    """

    def __init__(self) -> None:
        self._digests: WeakKeyDictionary[Bars, dict[tuple[int, int], str]] = WeakKeyDictionary()

    def of(self, specification: Specification, bars: Bars) -> tuple[pl.DataFrame, str]:
        rows = bars.between(microseconds(specification.start), microseconds(specification.end))
        frame = bars.rows(*rows).frame
        digests = self._digests.setdefault(bars, {})
        if rows not in digests:
            if len(digests) == _DIGESTS_KEPT:
                digests.clear()
            digests[rows] = bars_digest(frame)
        return frame, digests[rows]


def _some_bars(count: int) -> Bars:
    """Hourly bars that rise and fall, so that there are trades."""
    close = 1.1 + 0.01 * np.sin(np.arange(count) / 7.0)
    frame = pl.DataFrame(
        {
            "time": pl.datetime_range(
                _EPOCH, _EPOCH + timedelta(hours=count - 1), "1h", time_unit="us", time_zone="UTC", eager=True
            ),
            "open": close,
            "high": close + 0.001,
            "low": close - 0.001,
            "close": close,
            "volume": np.zeros(count),
        }
    )
    return bars_from_frame(frame, timeframe("H1"), "warm-up")
