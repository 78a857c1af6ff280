"""The reducer behind `backtest follow`: the same state whatever order, repetition and starting point a topic has."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.requests.states import RunStates, is_terminal, key_of, read_event, states_of
from schemas.cancelled import Cancelled
from schemas.failed import ErrorBody
from schemas.outgoing import EventData, render
from schemas.progress import Progress
from schemas.rejected import Rejected
from schemas.started import Started
from tests.support.builders import progress, run_fields

NOON = datetime(2024, 5, 6, 12, tzinfo=UTC)


@st.composite
def lives(draw: st.DrawFn) -> list[EventData]:
    """All events of a few runs and of a few rejected requests, as they were written."""
    events: list[EventData] = []
    for run_id in range(1, draw(st.integers(1, 4)) + 1):
        sequences = sorted(draw(st.sets(st.integers(1, 50), min_size=1, max_size=8)))
        ends = draw(st.booleans())
        for place, sequence in enumerate(sequences):
            is_last = ends and place == len(sequences) - 1
            events.append(cancelled(run_id, sequence) if is_last else at(run_id, sequence))
    events += [rejected(f"bad-{number}", run_id=number) for number in range(draw(st.integers(0, 2)))]
    return events


@given(lives(), st.data())
def test_shuffled_redeliveries_lead_to_the_same_state(written: list[EventData], data: st.DataObject) -> None:
    repeated = data.draw(st.lists(st.sampled_from(written), max_size=30))
    delivered = data.draw(st.permutations([*written, *repeated]))
    assert states_of(delivered) == states_of(written)
    newest = {key_of(event): event.sequence for event in sorted(written, key=lambda event: event.sequence)}
    assert {key: event.sequence for key, event in states_of(delivered).items()} == newest


@given(lives(), st.data())
def test_an_event_is_new_once_and_never_goes_back(written: list[EventData], data: st.DataObject) -> None:
    states = RunStates()
    told = [event for event in data.draw(st.permutations([*written, *written])) if states.take(event)]
    for key in {key_of(event) for event in written}:
        sequences = [event.sequence for event in told if key_of(event) == key]
        assert sequences == sorted(set(sequences))
    assert [event for event in written if states.take(event)] == []


@given(lives(), st.integers(0, 10))
def test_a_subscriber_that_starts_late_ends_with_the_same_terminal_events(
    written: list[EventData], skipped: int
) -> None:
    ends = [event for event in written if is_terminal(event)]
    completed_topic = states_of(ends)
    late = states_of([*written[skipped:], *ends])
    assert {key: event for key, event in late.items() if is_terminal(event)} == completed_topic


def test_a_rejection_says_nothing_about_a_run_that_its_request_named() -> None:
    states = states_of([at(5, 3), rejected("again", run_id=5)])
    assert states == {5: at(5, 3), "again": rejected("again", run_id=5)}


def test_a_later_attempt_wins_though_it_is_less_far() -> None:
    before = at(5, 8, attempt=1, progress_pct=70)
    after = Started(**run_fields(run_id=5, sequence=9, attempt=2, progress_pct=0))
    assert states_of([after, before]) == {5: after}


def test_records_are_read_as_they_stand_on_the_topic() -> None:
    event = cancelled(3, 4)
    value = render(event, event_id="run/3/4", source="backtest-consumer/g", time=NOON)
    assert read_event(value) == event
    assert read_event(None) is None


def test_types_of_a_newer_release_are_passed_over_and_garbage_is_not() -> None:
    newer = b'{"specversion":"1.0","id":"1","source":"s","type":"backtest.paused","data":{}}'
    assert read_event(newer) is None
    with pytest.raises(ValueError, match="not JSON"):
        read_event(b"{")


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (Started(**run_fields(progress_pct=0)), False),
        (Cancelled(**run_fields(), reason="row"), True),
    ],
)
def test_terminal_events_are_told_from_others(event: EventData, expected: bool) -> None:
    assert is_terminal(event) is expected


def at(run_id: int, sequence: int, **changes: Any) -> Progress:
    return progress(run_id=run_id, sequence=sequence, **changes)


def cancelled(run_id: int, sequence: int) -> Cancelled:
    return Cancelled(**run_fields(run_id=run_id, sequence=sequence), reason="requested")


def rejected(request_id: str, run_id: int | None = None) -> Rejected:
    return Rejected(
        run_id=run_id,
        request_id=request_id,
        strategy_id=None,
        symbol=None,
        timeframe=None,
        error=ErrorBody(code="run_not_pending", message="run_id is not pending", details=[]),
    )
