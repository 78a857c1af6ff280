"""How a run can end without being asked again, as pure functions that every store shares."""

import json
from dataclasses import dataclass
from typing import Any, assert_never

from consumer.ports import RunFacts
from consumer.ports.outcomes import Cancelled, Completed, Failed, TerminalOutcome
from schemas.cancelled import REASON_ROW, REASON_RUN_DELETED


class SpecificationCorrupt(Exception):
    """A kept specification is not what was admitted: somebody else wrote into the table. Its run must fail alone."""

    def __init__(self, run_id: int) -> None:
        super().__init__(f"the specification of run {run_id} cannot be read")
        self.run_id = run_id


@dataclass(frozen=True, slots=True)
class Ending:
    """One run that ends now. sequence: of its terminal event. has_row: whether backtest_runs still holds it.

    fence: somebody may still be executing the run under a lease that lapsed, and must find itself superseded.
    """

    facts: RunFacts
    attempt: int
    sequence: int
    progress_pct: int
    has_row: bool
    outcome: TerminalOutcome
    fence: bool = False


def cancel_reason(row_status: str | None, noted: str | None) -> str | None:
    """Why the run must end cancelled; None: it need not. row_status: None when the row is gone."""
    if row_status is None:
        return REASON_RUN_DELETED
    if noted is not None:
        return noted
    return None if is_live(row_status) else REASON_ROW


def is_live(row_status: str) -> bool:
    """Whether a run may go on by its row. Any other word set from outside is a cancel: results have nowhere to go."""
    return row_status in {"pending", "running"}


def crash_loop(deaths: int, last: str) -> Failed:
    """The outcome of a run under which children or workers died MAX_ATTEMPTS times."""
    return Failed("crash_loop", f"gave up after {deaths} deaths under this run; the last: {last}")


def lapsed_for_good(deaths: int) -> Failed:
    """The outcome of a run whose worker was gone for the last time."""
    return crash_loop(deaths, "its worker was gone and its lease ran out")


def state_of(outcome: TerminalOutcome) -> str:
    """The word for it in backtest_executions.state and backtest_runs.status."""
    match outcome:
        case Completed():
            return "completed"
        case Failed():
            return "failed"
        case Cancelled():
            return "cancelled"
        case _:
            assert_never(outcome)


def final_progress(ending: Ending) -> int:
    return 100 if isinstance(ending.outcome, Completed) else ending.progress_pct


def facts_of(run_id: int, request_id: str, stored_specification: str) -> tuple[RunFacts, dict[str, Any]]:
    """The run's facts and the admitted specification, from backtest_requests.specification.

    Raises SpecificationCorrupt for what `stored_specification` did not write.
    """
    try:
        stored = json.loads(stored_specification)
        specification = stored["engine"]
        named = stored["strategy_id"], specification["symbol"], specification["timeframe"]
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise SpecificationCorrupt(run_id) from error
    if not (isinstance(specification, dict) and [type(each) for each in named] == [int, str, str]):
        raise SpecificationCorrupt(run_id)
    return RunFacts(run_id, request_id, *named), specification


def stored_specification(strategy_id: int, specification: dict[str, Any]) -> str:
    """What `facts_of` reads."""
    return json.dumps({"strategy_id": strategy_id, "engine": specification}, sort_keys=True)
