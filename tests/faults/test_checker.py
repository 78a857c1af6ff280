"""The checker by itself: a flawless story passes, and each invariant is broken once and named."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from consumer.ports import Record
from schemas.topics import Topic
from tests.faults.checker import (
    check,
    digests,
    failures_are_expected,
    no_process_left_over,
    replay_changed_nothing,
    results_equal_a_quiet_run,
)
from tests.faults.evidence import Evidence, Trades
from tests.faults.input_records import Wanted, read_input
from tests.faults.invariants import AT_EVERY_MOMENT, AT_REST, METRIC_COLUMNS

REQUEST = Record(
    "backtest.requested", 0, 0, b"r", json.dumps({"id": "r", "source": "s", "specversion": "1.0",
    "type": "backtest.requested", "data": {"run_id": 1}}).encode(),
)  # fmt: skip
POISON = Record("backtest.requested", 0, 1, None, b"\xff", (("trace", b"\x01"), ("trace", None)))
CANCEL = Record("backtest.cancel_requested", 0, 0, None, b'{"run_id": 2}')
METRICS: dict[str, Any] = {
    **dict.fromkeys(METRIC_COLUMNS, 0.5),
    "total_trades": 2,
    "net_profit": 3.0,
    "final_equity": 10_003.0,
}


def flawless() -> Evidence:
    """One request that became run 1, completed by its second attempt and epoch, and one record of poison."""
    data = {"request_id": "r", "run_id": 1, "attempt": 2, "progress_pct": 0}
    end = {
        **data, "sequence": 4, "progress_pct": 100, "status": "completed", "metrics": METRICS, "result_digest": "d",
        "data_file_path": "/bars/x.csv", "artifacts": {"trades": "/a/runs/1/2/trades.parquet"},
    }  # fmt: skip
    life = (
        output(Topic.PROGRESS, 0, "started", {**data, "sequence": 1, "attempt": 1}),
        output(Topic.PROGRESS, 1, "started", {**data, "sequence": 2}),
        output(Topic.PROGRESS, 2, "progress", {**data, "sequence": 3, "progress_pct": 40}),
        output(Topic.PROGRESS, 3, "completed", end),
        output(Topic.PROGRESS, 4, "completed", end),
    )
    letter = Record(
        Topic.DEAD_LETTER.value, 0, 0, None, b"\xff",
        (*POISON.headers, ("dlq-topic", b"backtest.requested"), ("dlq-partition", b"0"), ("dlq-offset", b"1")),
    )  # fmt: skip
    wanted = read_input(REQUEST)
    assert isinstance(wanted, Wanted)
    row = {"id": 1, "status": "completed", "progress_pct": 100, "error_message": None, "data_file_path": "/bars/x.csv"}
    return Evidence(
        records={
            "backtest.requested": (REQUEST, POISON),
            "backtest.cancel_requested": (),
            "backtest.progress": life,
            "backtest.completed": (output(Topic.COMPLETED, 0, "completed", end),),
            "backtest.requested.dlq": (letter,),
        },
        committed={("backtest.requested", 0): 2},
        requests={
            "r": {
                "request_id": "r", "outcome": "accepted", "run_id": 1, "content_hash": wanted.content_hash,
                "specification": '{"engine": {"symbol": "EURUSD"}}',
            }
        },
        executions={1: {"request_id": "r", "state": "completed", "epoch": 2, "attempts": 2, "sequence": 4}},
        runs={1: {**row, **{name: METRICS[name] for name in METRIC_COLUMNS}}},
        trades={1: Trades((1.0, 2.0), 10_003.0)},
        cancels=(),
        outbox=(),
    )  # fmt: skip


def output(topic: Topic, offset: int, kind: str, data: dict[str, Any]) -> Record:
    event = {"id": f"run/{data['run_id']}/{data['sequence']}", "type": f"backtest.{kind}", "data": data}
    return Record(topic.value, 0, offset, str(data["run_id"]).encode(), json.dumps(event).encode())


def records(evidence: Evidence, topic: str, change: Callable[[list[Record]], list[Record]]) -> Evidence:
    return replace(evidence, records={**evidence.records, topic: tuple(change(list(evidence.records[topic])))})


def changed(record: Record, **data: Any) -> Record:
    """The event with other data, an id that fits them, and `kind` as its type."""
    event = json.loads(record.value or b"")
    kind = data.pop("kind", str(event["type"]).removeprefix("backtest."))
    return output(Topic(record.topic), record.offset, kind, {**event["data"], **data})


def row(evidence: Evidence, table: str, key: Any, **columns: Any) -> Evidence:
    rows = dict(getattr(evidence, table))
    rows[key] = {**rows[key], **columns}
    tables: dict[str, Any] = {table: rows}
    return replace(evidence, **tables)


def both_ends(evidence: Evidence, **data: Any) -> Evidence:
    """The terminal event otherwise, on both topics alike."""
    evidence = records(evidence, "backtest.progress", lambda life: [*life[:3], changed(life[3], **data)])
    return records(evidence, "backtest.completed", lambda ends: [changed(ends[0], **data)])


BROKEN: dict[str, list[Callable[[Evidence], Evidence]]] = {
    "committed_offsets_are_durable": [
        lambda e: replace(e, requests={}),
        lambda e: records(e, "backtest.requested.dlq", lambda _: []),
        lambda e: replace(
            records(e, "backtest.cancel_requested", lambda _: [CANCEL]),
            committed={**e.committed, ("backtest.cancel_requested", 0): 1},
        ),
    ],
    "every_event_has_one_content": [
        lambda e: records(e, "backtest.progress", lambda life: [*life, changed(life[3], result_digest="other")])
    ],
    "sequence_rises": [
        lambda e: records(e, "backtest.progress", lambda life: [life[1], life[0], *life[2:]]),
        lambda e: records(e, "backtest.progress", lambda life: [life[0], *life[2:], life[1]]),
    ],
    "attempts_never_fall": [
        lambda e: records(e, "backtest.progress", lambda life: [*life[:2], changed(life[2], attempt=1), *life[3:]]),
        lambda e: records(e, "backtest.progress", lambda life: [*life[:3], changed(life[3], progress_pct=30)]),
    ],
    "a_request_has_one_run": [
        lambda e: replace(e, executions={**e.executions, 2: e.executions[1]}),
        lambda e: replace(e, executions={}),
        lambda e: row(e, "requests", "r", outcome="rejected"),
    ],
    "no_record_is_lost": [
        lambda e: replace(e, requests={}, committed={}),
        lambda e: row(e, "requests", "r", content_hash=b"other"),
        lambda e: records(e, "backtest.cancel_requested", lambda _: [CANCEL]),
    ],
    "nothing_is_left_undone": [
        lambda e: row(e, "executions", 1, state="queued"),
        lambda e: row(e, "runs", 1, status="running"),
        lambda e: row(e, "requests", "r", outcome="waiting"),
        lambda e: replace(e, outbox=({"event_id": "run/1/4", "kind": "terminal"},)),
        lambda e: replace(e, committed={}),
    ],
    "one_terminal_row": [
        lambda e: row(e, "runs", 1, status="failed"),
        lambda e: replace(e, runs={}),
    ],
    "one_terminal_event": [
        lambda e: records(e, "backtest.completed", lambda _: []),
        lambda e: records(e, "backtest.progress", lambda life: life[:3]),
        lambda e: records(e, "backtest.completed", lambda ends: [*ends, changed(ends[0], sequence=5)]),
        lambda e: records(e, "backtest.completed", lambda ends: [*ends, changed(ends[0], run_id=9)]),
    ],
    "terminal_event_is_last": [
        lambda e: records(e, "backtest.progress", lambda life: [*life, changed(life[2], sequence=7)]),
        lambda e: row(e, "executions", 1, sequence=9),
    ],
    "no_write_below_the_highest_epoch": [
        lambda e: row(e, "executions", 1, epoch=3),
        lambda e: row(e, "executions", 1, attempts=3),
        lambda e: both_ends(e, attempt=1),
    ],
    "row_trades_and_event_agree": [
        *(lambda e, name=name: row(e, "runs", 1, **{name: None}) for name in METRIC_COLUMNS),
        lambda e: row(e, "runs", 1, data_file_path=None),
        lambda e: row(e, "runs", 1, progress_pct=99),
        lambda e: replace(e, trades={1: Trades((3.0,), 10_003.0)}),
        lambda e: replace(e, trades={1: Trades((1.0, 2.1), 10_003.0)}),
        lambda e: replace(e, trades={1: Trades((1.0, 2.0), 10_003.1)}),
        lambda e: both_ends(e, kind="cancelled", status="cancelled", reason="row"),
    ],
    "every_poison_record_is_kept": [
        lambda e: records(e, "backtest.requested.dlq", lambda _: []),
        lambda e: records(e, "backtest.requested.dlq", lambda letters: [replace(letters[0], value=b"\xfe")]),
        lambda e: records(e, "backtest.requested.dlq", lambda letters: [replace(letters[0], key=b"k")]),
        lambda e: records(
            e, "backtest.requested.dlq", lambda letters: [replace(letters[0], headers=letters[0].headers[1:])]
        ),
        lambda e: records(e, "backtest.requested", lambda inputs: inputs[:1]),
    ],
    "every_posted_request_went_out": [lambda e: row(e, "requests", "r", emitted_hash=b"of a record that is not there")],
    "every_cancel_was_asked_for": [
        lambda e: both_ends(e, kind="cancelled", status="cancelled", reason="requested"),
        lambda e: both_ends(e, kind="cancelled", status="cancelled", reason="run_deleted"),
    ],
}


def test_a_flawless_story_passes() -> None:
    assert check(flawless()) == []


@pytest.mark.parametrize(
    ("name", "number"), [(name, number) for name, changes in BROKEN.items() for number in range(len(changes))]
)
def test_what_breaks_an_invariant_is_found_by_its_name(name: str, number: int) -> None:
    assert name in {finding.invariant for finding in check(BROKEN[name][number](flawless()))}


def test_every_invariant_is_broken_here() -> None:
    assert set(BROKEN) == {invariant.__name__ for invariant in (*AT_EVERY_MOMENT, *AT_REST)}


def test_the_record_of_a_posted_request_is_that_request() -> None:
    wanted = read_input(REQUEST)
    assert isinstance(wanted, Wanted)
    posted = row(flawless(), "requests", "r", content_hash=b"of the body", emitted_hash=wanted.content_hash)
    assert check(posted) == []


def test_progress_that_was_replaced_may_come_late() -> None:
    late = records(flawless(), "backtest.progress", lambda life: [*life[:2], life[3], life[2], life[4]])
    assert check(late) == []


def test_another_digest_than_the_quiet_one_is_found() -> None:
    evidence = flawless()
    assert results_equal_a_quiet_run(evidence, digests(evidence)) == []
    assert results_equal_a_quiet_run(evidence, dict.fromkeys(digests(evidence), "other")) != []
    assert results_equal_a_quiet_run(evidence, {}) != []


def test_a_failure_that_is_nobodys_wish_is_found() -> None:
    failed = both_ends(flawless(), kind="failed", status="failed", error={"code": "crash_loop"})
    assert failures_are_expected(failed, {"crash_loop"}) == []
    assert failures_are_expected(failed, ()) != []


def test_a_process_that_is_left_over_is_found_by_its_environment() -> None:
    marker = f"CHECKER_MARKER={uuid4()}"
    name, _, value = marker.partition("=")
    assert no_process_left_over(marker) == []
    sleeper = subprocess.Popen(
        [sys.executable, "-c", "input()"], env={**os.environ, name: value}, stdin=subprocess.PIPE
    )
    try:
        [finding] = no_process_left_over(marker)
        assert (finding.invariant, str(sleeper.pid) in finding.what) == ("no_process_left_over", True)
    finally:
        sleeper.communicate(b"\n")
    assert no_process_left_over(marker) == []


def test_a_replay_that_changes_something_is_found() -> None:
    before = flawless()
    after = row(before, "executions", 1, epoch=3)
    assert replay_changed_nothing(before, before) == []
    assert replay_changed_nothing(before, after) != []
    more = records(before, "backtest.progress", lambda life: [*life, life[0]])
    assert replay_changed_nothing(before, more) != []


def test_a_byte_order_mark_makes_no_poison_of_a_request() -> None:
    """As the decoder has it."""
    story = flawless()
    marked = replace(REQUEST, value=b"\xef\xbb\xbf" + (REQUEST.value or b""))
    records = {**story.records, "backtest.requested": (marked, POISON)}
    assert check(replace(story, records=records)) == []


def test_ten_thousand_cancels_are_judged_in_seconds() -> None:
    story = flawless()
    kept = tuple({"run_id": number, "request_id": None, "reason": None} for number in range(2, 10_002))
    sent = tuple(
        Record("backtest.cancel_requested", 0, offset, None, json.dumps({"run_id": row["run_id"]}).encode())
        for offset, row in enumerate(kept)
    )
    records = {**story.records, "backtest.cancel_requested": sent}
    committed = {**story.committed, ("backtest.cancel_requested", 0): len(sent)}
    started = time.process_time()
    assert check(replace(story, records=records, cancels=kept, committed=committed)) == []
    assert time.process_time() - started < 5
