"""The checker's eyes for searches: a flawless story passes, and each invariant is broken once and named."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from consumer.ports import Record
from schemas.topics import Topic
from tests.faults.checker import check
from tests.faults.evidence import Evidence
from tests.faults.search_invariants import AT_EVERY_MOMENT, AT_REST

REQUEST = Record(
    "optimization.requested", 0, 0, b"r", json.dumps({"id": "r", "source": "s", "specversion": "1.0",
    "type": "optimization.requested", "data": {"optimization_id": 7}}).encode(),
)  # fmt: skip


def flawless(folder: Path) -> Evidence:
    """One request for the search of row 7: four combinations in two ranges."""
    results = folder / "results.parquet"
    pl.DataFrame({"fast": [1, 2, 3, 4]}).write_parquet(results)
    data = {"request_id": "r", "optimization_id": 7, "progress_pct": 0}
    end = {**data, "sequence": 3, "progress_pct": 100, "result_digest": "d"}
    life = (
        output(Topic.OPTIMIZATION_PROGRESS, 0, "started", {**data, "sequence": 1}),
        output(Topic.OPTIMIZATION_PROGRESS, 1, "progress", {**data, "sequence": 2, "progress_pct": 50}),
        output(Topic.OPTIMIZATION_PROGRESS, 2, "completed", end),
    )
    records: dict[str, tuple[Record, ...]] = {topic.value: () for topic in Topic}
    records[REQUEST.topic] = (REQUEST,)
    records[Topic.OPTIMIZATION_PROGRESS.value] = life
    records[Topic.OPTIMIZATION_COMPLETED.value] = (output(Topic.OPTIMIZATION_COMPLETED, 0, "completed", end),)
    from tests.faults.input_records import Wanted, read_input

    wanted = read_input(REQUEST)
    assert isinstance(wanted, Wanted)
    request = {
        "request_id": "r",
        "outcome": "accepted",
        "optimization_id": 7,
        "content_hash": wanted.content_hash,
        "specification": "s",
    }
    row = {
        "status": "completed",
        "completed_combinations": 4,
        "total_combinations": 4,
        "results_file_path": str(results),
        "best_run_id": None,
    }
    return Evidence(
        records=records,
        committed={(REQUEST.topic, 0): 1},
        requests={},
        executions={},
        runs={},
        trades={},
        cancels=(),
        outbox=(),
        search_requests={"r": request},
        searches={7: {"request_id": "r", "state": "completed", "done": 4, "total": 4, "sequence": 3}},
        shards={
            (7, 0): step("survey", 0, 0),
            (7, 1): step("range", 0, 2),
            (7, 2): step("range", 2, 4),
            (7, 3): {**step("gather", 0, 0), "state": "dropped"},
        },
        optimizations={7: row},
    )


def step(kind: str, first: int, last: int) -> dict[str, Any]:
    return {"kind": kind, "first": first, "last": last, "state": "done"}


def output(topic: Topic, offset: int, kind: str, data: dict[str, Any]) -> Record:
    value = {"id": f"opt/7/{data['sequence']}", "type": f"optimization.{kind}", "data": data}
    return Record(topic.value, 0, offset, b"opt-7", json.dumps(value).encode())


def test_a_flawless_search_has_no_findings(tmp_path: Path) -> None:
    assert check(flawless(tmp_path)) == []


Break = Callable[[Evidence], Evidence]


def shards(**changes: Any) -> Break:
    number = changes.pop("number")
    return lambda found: replace(
        found, shards={**found.shards, (7, number): {**found.shards.get((7, number), {}), **changes}}
    )


def kept(table: str, key: Any, **changes: Any) -> Break:
    def changed(found: Evidence) -> Evidence:
        tables: dict[str, Any] = {table: {key: {**getattr(found, table)[key], **changes}}}
        return replace(found, **tables)

    return changed


def emitted(topic: Topic, *records: Record) -> Break:
    return lambda found: replace(found, records={**found.records, topic.value: records})


def without(topic: Topic, offset: int) -> Break:
    return lambda found: replace(
        found,
        records={
            **found.records,
            topic.value: tuple(each for each in found.records[topic.value] if each.offset != offset),
        },
    )


DATA = {"request_id": "r", "optimization_id": 7, "progress_pct": 0}
BREAKS: list[tuple[str, Break]] = [
    ("no_combination_is_counted_twice", shards(number=2, first=1)),
    ("no_combination_is_counted_twice", kept("searches", 7, done=5)),
    ("no_combination_is_lost", shards(number=2, state="dropped")),
    ("no_combination_is_lost", kept("optimizations", 7, completed_combinations=3)),
    ("no_combination_is_lost", kept("optimizations", 7, best_run_id=3)),
    ("no_search_is_left_undone", shards(number=3, state="running")),
    ("no_search_is_left_undone", kept("searches", 7, state="running")),
    ("one_end_of_search", without(Topic.OPTIMIZATION_COMPLETED, 0)),
    ("one_end_of_search", without(Topic.OPTIMIZATION_PROGRESS, 2)),
    ("one_end_of_search", kept("searches", 7, sequence=9)),
    ("a_request_has_one_search", kept("searches", 7, request_id="other")),
    (
        "search_sequence_rises",
        emitted(
            Topic.OPTIMIZATION_PROGRESS,
            output(Topic.OPTIMIZATION_PROGRESS, 0, "completed", {**DATA, "sequence": 3}),
            output(Topic.OPTIMIZATION_PROGRESS, 1, "started", {**DATA, "sequence": 1}),
        ),
    ),
    (
        "search_events_have_one_content",
        emitted(
            Topic.OPTIMIZATION_COMPLETED, output(Topic.OPTIMIZATION_COMPLETED, 0, "failed", {**DATA, "sequence": 3})
        ),
    ),
]


@pytest.mark.parametrize(("invariant", "breaks"), BREAKS)
def test_each_invariant_notices_what_it_is_for(tmp_path: Path, invariant: str, breaks: Break) -> None:
    assert invariant in {finding.invariant for finding in check(breaks(flawless(tmp_path)))}


def test_every_invariant_is_broken_here() -> None:
    names = {each.__name__ for each in (*AT_EVERY_MOMENT, *AT_REST)}
    assert names == {name for name, _ in BREAKS}
