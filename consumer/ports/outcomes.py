"""How every record and every run can end: closed sets, matched with assert_never by whoever acts on them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from consumer.ports.advice import AdviceFigures
from schemas.problems import FieldProblem


class RecordOutcome(StrEnum):
    """What became of one input record."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    WAITING = "waiting"
    """Kept, and decided once a client's lock on its strategy's row is gone."""
    DUPLICATE = "duplicate"
    DEAD_LETTERED = "dead_lettered"
    CANCEL_KEPT = "cancel_kept"


@dataclass(frozen=True, slots=True)
class Completed:
    """The simulation ran to its end; everything that the row, the trades and the event say."""

    columns: dict[str, float | int | None]
    """Metric columns of backtest_runs, by name."""
    metrics: dict[str, Any]
    """The event's `metrics`: what `backtest run --json` prints."""
    trades_csv: bytes
    """Rows of backtest_trades for COPY: CSV, no header, NULL empty; run_id, then the contract's columns from
    position_id.
    """
    trade_count: int
    data_file_path: str
    artifacts: dict[str, str]
    result_digest: str
    engine_version: str
    strategy_version: str | None
    """SHA-256 of the code that decided (consumer.installed.strategy_code)."""
    warnings: tuple[str, ...]
    duration_seconds: float
    """Of the child's work, from its side; from the claim to the result, once the worker has it."""
    llm: AdviceFigures | None = None
    """Of calls to language models, once the worker has them; None: no model decides."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The run cannot complete, and trying again would not help."""

    code: str
    message: str
    details: tuple[FieldProblem, ...] = ()
    """Each field at fault, where the fault lies in fields."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Somebody asked for the end: reason is `requested`, `row`, `run_deleted`, or the cancel event's own."""

    reason: str


@dataclass(frozen=True, slots=True)
class ChildDied:
    """The engine child died under the run; the run may be tried again until MAX_ATTEMPTS."""

    description: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """The engine stopped because it was told to (cancel, fence or drain); there is no result."""


@dataclass(frozen=True, slots=True)
class Superseded:
    """Another epoch owns the run: this worker wrote nothing and writes nothing more."""


@dataclass(frozen=True, slots=True)
class Returned:
    """The run went back to the queue (drain, or a death below MAX_ATTEMPTS)."""

    why: str


EngineOutcome = Completed | Failed | ChildDied | Stopped
"""What an engine child can answer."""

TerminalOutcome = Completed | Failed | Cancelled
"""What a run's row and terminal event can say."""

RunOutcome = TerminalOutcome | Superseded | Returned
"""How one worker's handling of one claim can end."""
