"""How a run ends, decided without a store."""

from dataclasses import replace

import pytest

from consumer.ports import BeatAnswer, Claim, RunFacts
from consumer.ports.outcomes import Cancelled, Failed, TerminalOutcome
from consumer.rules.endings import asked_to_stop, cancelled_unclaimed, finished, finished_before, given_up
from consumer.rules.ownership import Standing

FACTS = RunFacts(7, "a", 1, "EURUSD", "H1")
RUNNING = Standing(FACTS, "running", 2, 2, 1, 5, 40, None)
CLAIM = Claim(FACTS, epoch=2, attempt=2, deaths=1, sequence=4, specification={})
NO_DATA = Failed("no_data", "there are no bars")


def test_an_owner_ends_its_run_at_its_own_epoch() -> None:
    ending = finished(CLAIM, RUNNING, "running", NO_DATA)
    assert (ending.outcome, ending.epoch, ending.sequence, ending.progress_pct) == (NO_DATA, 2, 6, 40)


@pytest.mark.parametrize(
    ("row_status", "noted", "reason"),
    [("cancelled", None, "row"), (None, None, "run_deleted"), ("running", "why", "why"), (None, "why", "run_deleted")],
)
def test_a_cancel_that_came_meanwhile_wins_over_the_result(
    row_status: str | None, noted: str | None, reason: str
) -> None:
    ending = finished(CLAIM, replace(RUNNING, cancel_noted=noted), row_status, NO_DATA)
    assert (ending.outcome, ending.has_row) == (Cancelled(reason), row_status is not None)


def test_a_run_ended_from_outside_fences_whoever_may_still_execute_it() -> None:
    queued = replace(RUNNING, state="queued")
    endings = cancelled_unclaimed([(RUNNING, "cancelled"), (queued, "cancelled"), (queued, "pending")])
    assert [(ending.epoch, ending.outcome) for ending in endings] == [(3, Cancelled("row")), (2, Cancelled("row"))]


def test_a_lapsed_run_is_given_up_at_the_last_death_allowed() -> None:
    assert given_up([RUNNING], max_attempts=3) == []
    [ending] = given_up([RUNNING], max_attempts=2)
    assert isinstance(ending.outcome, Failed)
    assert (ending.outcome.code, ending.epoch, ending.ended.outcome) == ("crash_loop", 3, "failed")


@pytest.mark.parametrize(
    ("state", "outcome"),
    [("failed", NO_DATA), ("cancelled", Cancelled("requested")), ("completed", Failed("stored", "before"))],
)
def test_a_finish_whose_answer_was_lost_tells_how_the_run_ended(state: str, outcome: TerminalOutcome) -> None:
    found = replace(RUNNING, state=state)
    assert found.was_ended_by(CLAIM)
    assert finished_before(found, "running", "stored: before", NO_DATA) == outcome


def test_a_run_of_another_epoch_is_nobodys_to_answer_for() -> None:
    other = replace(RUNNING, epoch=3)
    assert not other.is_owned_by(CLAIM)
    assert not replace(other, state="failed").was_ended_by(CLAIM)
    assert asked_to_stop(False, "cancelled", "why").answer is BeatAnswer.FENCED
    assert asked_to_stop(True, "running", None).answer is BeatAnswer.ALIVE
