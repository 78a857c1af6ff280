"""How a run ends, whoever ends it: pure functions, so that a store only reads what they take and writes the answer."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, assert_never

from consumer.ports import BeatAnswer, BeatResult, Claim, EndedRun, OutgoingEvent, RunFacts
from consumer.ports.outcomes import Cancelled, Completed, Failed, TerminalOutcome
from consumer.rules.ownership import Standing
from schemas.cancelled import REASON_REQUESTED, REASON_ROW, REASON_RUN_DELETED


class SpecificationCorrupt(Exception):
    """A kept specification is not what was admitted: somebody else wrote into the table. Its run must fail alone."""

    def __init__(self, run_id: int) -> None:
        super().__init__(f"the specification of run {run_id} cannot be read")
        self.run_id = run_id


@dataclass(frozen=True, slots=True)
class Ending:
    """One run that ends now."""

    facts: RunFacts
    epoch: int
    """The execution's from now on: a higher one where somebody may still be executing the run under a lease that
    lapsed, and must find himself superseded.
    """
    attempt: int
    sequence: int
    """Of its terminal event."""
    progress_pct: int
    has_row: bool
    """Whether backtest_runs still holds the run."""
    outcome: TerminalOutcome

    @property
    def ended(self) -> EndedRun:
        """For the log, where nobody executes the run."""
        return EndedRun(self.facts.run_id, self.facts.request_id, self.epoch, state_of(self.outcome))


def finished(claim: Claim, found: Standing, row_status: str | None, outcome: TerminalOutcome) -> Ending:
    """The end that a run's owner writes; a cancel that came meanwhile wins. row_status: None when the row is gone."""
    reason = cancel_reason(row_status, found.cancel_noted)
    return Ending(
        facts=claim.facts,
        epoch=claim.epoch,
        attempt=claim.attempt,
        sequence=found.sequence + 1,
        progress_pct=found.progress_pct,
        has_row=row_status is not None,
        outcome=outcome if reason is None else Cancelled(reason),
    )


def finished_before(
    found: Standing, row_status: str | None, error_message: str | None, outcome: TerminalOutcome
) -> TerminalOutcome:
    """How a run ended whose owner finishes it again: the answer to the first time was lost."""
    if found.state == state_of(outcome):
        return outcome
    if found.state == "cancelled":
        return Cancelled(cancel_reason(row_status, found.cancel_noted) or REASON_REQUESTED)
    code, _, message = (error_message or "").partition(": ")
    return Failed(code, message)


def cancelled_unclaimed(found: Iterable[tuple[Standing, str | None]]) -> list[Ending]:
    """The ends of those among runs that wait, or whose lease ran out, that are to be cancelled.

    found: with the status in its row each; None when the row is gone.
    """
    return [
        _ended_from_outside(each, Cancelled(reason), has_row=row_status is not None)
        for each, row_status in found
        if (reason := cancel_reason(row_status, each.cancel_noted)) is not None
    ]


def given_up(lapsed: Iterable[Standing], max_attempts: int) -> list[Ending]:
    """The ends of those among runs whose lease ran out that it happened to once too often."""
    return [
        _ended_from_outside(each, crash_loop(deaths, "its worker was gone and its lease ran out"), has_row=True)
        for each in lapsed
        if (deaths := each.deaths + 1) >= max_attempts
    ]


def _ended_from_outside(found: Standing, outcome: TerminalOutcome, *, has_row: bool) -> Ending:
    return Ending(
        facts=found.facts,
        epoch=found.epoch + int(found.state == "running"),
        attempt=found.attempts,
        sequence=found.sequence + 1,
        progress_pct=found.progress_pct,
        has_row=has_row,
        outcome=outcome,
    )


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


def alive(cancel_noted: str | None, stored: OutgoingEvent | None) -> BeatResult:
    """The answer to a heartbeat that found its run in the claim's hands. stored: its progress, for the relay."""
    if cancel_noted is not None:
        return BeatResult(BeatAnswer.CANCEL, cancel_noted, stored)
    return BeatResult(BeatAnswer.ALIVE, "", stored)


def asked_to_stop(is_owned: bool, row_status: str | None, cancel_noted: str | None) -> BeatResult:
    """The answer to the question whether a claimed run must stop. row_status: None when the row is gone."""
    return alive(cancel_reason(row_status, cancel_noted), None) if is_owned else BeatResult(BeatAnswer.FENCED)


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
        llm_replay = stored.get("llm_replay", False) is True
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise SpecificationCorrupt(run_id) from error
    if not (isinstance(specification, dict) and [type(each) for each in named] == [int, str, str]):
        raise SpecificationCorrupt(run_id)
    return RunFacts(run_id, request_id, *named, llm_replay), specification


def stored_specification(strategy_id: int, specification: dict[str, Any], *, llm_replay: bool = False) -> str:
    """What `facts_of` reads."""
    replay = {"llm_replay": True} if llm_replay else {}
    return json.dumps({"strategy_id": strategy_id, "engine": specification, **replay}, sort_keys=True)
