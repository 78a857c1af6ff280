"""What becomes of a batch, decided without a store."""

from dataclasses import replace

from consumer.ports import RunRow
from consumer.rules.recording import (
    Accepted,
    KeptCancels,
    NewRun,
    SourceTurns,
    decide_all,
    named_runs,
    named_strategies,
    number,
    place,
    sort_out_repeats,
)
from schemas.cancelled import REASON_ROW
from tests.consumer.rules.test_admission import ROW, STRATEGY
from tests.support.messages import ADMIT, requested


def accepted(request_id: str = "a", row: RunRow | None = None, source: str = "upstream") -> Accepted:
    request = requested(request_id, source=source, **({"run_id": row.id} if row is not None else {}))
    decisions = decide_all([request], {row.id: row} if row is not None else {}, {1: STRATEGY}, ADMIT)
    assert not decisions.rejected
    return decisions.accepted[0]


def one(each: Accepted, cancels: KeptCancels) -> NewRun:
    [run] = number([each], [100], cancels)
    return run


def test_the_first_of_an_id_counts_in_the_table_and_in_the_batch() -> None:
    first, again, other = requested("a"), requested("a"), requested("a", spread_pips=2.0)
    known = requested("b")

    repeats = sort_out_repeats([first, again, other, known], {"b": (b"another hash",)})

    assert (repeats.unseen, repeats.duplicates, repeats.conflicts) == ((first,), (again,), (other, known))


def test_of_two_requests_for_one_row_the_second_is_refused() -> None:
    row = ROW
    decisions = decide_all(
        [requested("a", run_id=7), requested("b", run_id=7)], {7: row}, {row.strategy_id: STRATEGY}, ADMIT
    )
    assert [each.request.request_id for each in decisions.accepted] == ["a"]
    assert [each.problems[0].code for each in decisions.rejected] == ["run_not_pending"]


def test_a_request_that_names_a_run_is_decided_by_the_strategy_of_the_row() -> None:
    requests = [requested("a", run_id=7), requested("b", strategy_id=3)]
    assert named_runs(requests) == [7]
    assert named_strategies(requests, {7: replace(ROW, strategy_id=2)}) == [2, 3]


def test_a_kept_cancel_counts_for_the_run_that_a_request_names_and_not_for_one_numbered_here() -> None:
    named = one(accepted(row=ROW), {7: "why"})
    numbered = one(accepted(), {100: "why"})

    assert (named.run_id, named.cancelled) == (7, "why")
    assert (numbered.run_id, numbered.cancelled) == (100, None)
    assert one(accepted("a"), {"a": None}).cancelled == "requested"
    assert one(accepted(row=replace(ROW, status="cancelled")), {}).cancelled == REASON_ROW


def test_a_source_is_placed_behind_its_own_last_run_and_level_with_the_head() -> None:
    sources = ("busy", "busy", "quiet", "new")
    runs = [one(accepted(str(index), source=source), {}) for index, source in enumerate(sources)]
    turns = {"busy": SourceTurns(5, 9), "quiet": SourceTurns(5, 2), "new": SourceTurns(5, None)}

    assert place(runs, turns) == [10, 11, 5, 5]
    assert place(runs[3:], {"new": SourceTurns(None, None)}) == [1]
