"""What an engine child does for a task: specification to bars to figures to files. Loaded in the child, and only there.

Bars stay in the child's memory between tasks (`ParquetMarketData` keeps them until their files change), the strategy
object does not: each simulation makes its own. What a strategy's module keeps in globals is its author's to reset.
"""

import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, TypeVar
from weakref import WeakKeyDictionary

import polars as pl

from consumer.adapters.engine_pool.settings import EngineProcessSettings
from consumer.adapters.engine_pool.task import Execute, TaskControl
from consumer.adapters.engine_pool.trade_rows import trades_csv
from consumer.adapters.engine_pool.warm_up import warm_up
from consumer.adapters.files.artifacts import LEDGER, ArtifactFiles, bars_digest
from consumer.adapters.files.instruments import read_instruments
from consumer.adapters.files.market_data import ParquetMarketData
from consumer.adapters.files.search_files import SearchArtifacts
from consumer.errors import Unavailable
from consumer.optimization.steps import SearchSteps
from consumer.ports import EngineTask
from consumer.ports.outcomes import Completed
from consumer.ports.searches import StepDone, StepTask
from consumer.preparation.inputs import assemble, spelled_as_known
from consumer.preparation.questions import in_words_of_ports
from consumer.preparation.snapshot import recorded_instruments, specification_from_json
from consumer.preparation.strategy import decider_of
from consumer.rules.columns import METRIC_COLUMNS
from engine.deciders.advised.advisor import Answer, Question
from engine.market.bars import Bars
from engine.market.instruments import instrument_for
from engine.numeric.columns import Columns
from engine.numeric.times import as_us
from engine.simulate import run_backtest
from engine.watch import CHUNK_BARS, Progress

DISTRIBUTION: Final = "backtest-consumer"
ADVISED_CHUNK_BARS: Final = 4
_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 2.0
_DIGESTS_KEPT: Final = 64
"""Of ranges of the same bars."""

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

    steps = SearchSteps(market_data, registry, SearchArtifacts(settings.artifacts_url), time.monotonic, own_version)

    def execute(task: EngineTask | StepTask, control: TaskControl) -> Completed | StepDone:
        if isinstance(task, StepTask):
            return StepDone(steps.take(task, control, lambda step: _patiently(step, control, patience)))
        return run(task, control)

    def run(task: EngineTask, control: TaskControl) -> Completed:
        started = time.monotonic()
        known = {**registry, **recorded_instruments(task.specification)}
        specification = spelled_as_known(specification_from_json(task.specification), known)
        strategy = decider_of(specification, _Advisor(control))
        needed = strategy.warm_up(specification)
        data = _patiently(lambda: assemble(specification, market_data, known, needed), control, patience)
        instrument = instrument_for(specification.symbol, known)

        def report(at: Progress) -> None:
            control.report(at.bars_done, at.bars_total, at.simulated_time_us, at.equity, at.trades)

        # Who waits for a model wants to know where the run stands: it is told at nearly every bar.
        chunk_bars = ADVISED_CHUNK_BARS if specification.advice is not None else CHUNK_BARS
        result = run_backtest(specification, instrument, data, strategy, on_progress=report, chunk_bars=chunk_bars)
        tables: dict[str, pl.DataFrame | Columns] = {
            "trades": result.recorded_trade_columns,
            "equity": result.equity_columns,
            LEDGER: result.booked,
        }
        if result.indicators is not None:
            tables["indicators"] = result.indicators
        saved = _patiently(lambda: artifacts.save_run(task.run_id, task.epoch, tables), control, patience)
        rows = data.bars.between(as_us(specification.start), as_us(specification.end))
        bars, digest = charts.of(rows, data.bars)

        def save_bars() -> str:
            return artifacts.save_bars(bars, digest, lambda: market_data.as_csv(data.bars, *rows))

        bars_file = _patiently(save_bars, control, patience)
        return Completed(
            columns={name: getattr(result.metrics, name) for name in METRIC_COLUMNS},
            metrics=result.to_json_dict(),
            trades_csv=trades_csv(task.run_id, result),
            trade_count=result.trail.rows.size,
            data_file_path=bars_file,
            artifacts=saved,
            result_digest=result.result_digest,
            engine_version=own_version,
            strategy_version=result.strategy_version,
            warnings=tuple(result.warnings),
            duration_seconds=time.monotonic() - started,
        )

    return execute


class _Advisor:
    """Implements engine.deciders.advised.advisor.Advisor: asks the worker."""

    def __init__(self, control: TaskControl) -> None:
        self._control = control

    def ask(self, questions: Sequence[Question]) -> Sequence[Answer | None]:
        answers = self._control.ask([in_words_of_ports(each) for each in questions])
        return [None if text is None else Answer(text) for text in answers]


def engine_version() -> str:
    """The installed version of this program."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "0+not.installed"


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

    def of(self, rows: tuple[int, int], bars: Bars) -> tuple[pl.DataFrame, str]:
        frame = bars.rows(*rows).frame
        digests = self._digests.setdefault(bars, {})
        if rows not in digests:
            if len(digests) == _DIGESTS_KEPT:
                digests.clear()
            digests[rows] = bars_digest(frame)
        return frame, digests[rows]
