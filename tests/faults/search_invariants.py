"""The invariants of searches: no combination lost or counted twice, one terminal event, events in order.

As invariants.py has them for runs; the checker calls both.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import polars as pl

from schemas.topics import Topic
from tests.faults.evidence import Event, Evidence

LIVE_STATES = frozenset({"queued", "pending", "running"})
TERMINAL_KINDS = frozenset({"completed", "failed", "cancelled"})


def search_events_have_one_content(evidence: Evidence) -> Iterator[str]:
    """However often an event is delivered, and on whichever topic: the same id, the same bytes, the same key."""
    seen: dict[str, tuple[bytes | None, bytes | None]] = {}
    for topic in (Topic.OPTIMIZATION_PROGRESS, Topic.OPTIMIZATION_COMPLETED):
        for event in evidence.events(topic):
            content = (event.record.key, event.record.value)
            if seen.setdefault(event.id, content) != content:
                yield f"event {event.id} appears with two contents"


def search_sequence_rises(evidence: Evidence) -> Iterator[str]:
    """No started or terminal event first appears after one of higher sequence; percent never falls by sequence."""
    for number, events in _lives(evidence).items():
        highest = 0
        by_sequence: dict[int, str] = {}
        for event in events:
            if by_sequence.setdefault(event.sequence, event.id) != event.id:
                yield f"search {number}: events {by_sequence[event.sequence]} and {event.id} share a sequence"
            if event.sequence < highest and event.kind != "progress":
                yield f"search {number}: {event.kind} {event.id} first appears after sequence {highest}"
            highest = max(highest, event.sequence)
        percents = [event.data["progress_pct"] for event in sorted(events, key=_sequence)]
        if percents != sorted(percents):
            yield f"search {number}: percents fall: {percents}"


def a_request_has_one_search(evidence: Evidence) -> Iterator[str]:
    """One search for each accepted request, and no other."""
    counts = Counter(row["request_id"] for row in evidence.searches.values())
    accepted = {name: row for name, row in evidence.search_requests.items() if row["outcome"] == "accepted"}
    for request_id, count in counts.items():
        if count > 1 or request_id not in accepted:
            yield f"request {request_id!r} was given {count} searches"
    for request_id, row in accepted.items():
        if row["optimization_id"] not in evidence.searches:
            yield f"request {request_id!r} was accepted as search {row['optimization_id']}, which is nowhere queued"


def no_combination_is_counted_twice(evidence: Evidence) -> Iterator[str]:
    """What is done never overlaps, and the count is what is done."""
    for number, search in evidence.searches.items():
        ranges = _done(evidence, number)
        overlaps = [(before, after) for before, after in pairwise(ranges) if before[1] > after[0]]
        if overlaps:
            yield f"search {number}: ranges overlap: {overlaps}"
        counted = sum(last - first for first, last in ranges)
        if counted != search["done"]:
            yield f"search {number}: {counted} combinations are done, {search['done']} are counted"


def no_combination_is_lost(evidence: Evidence) -> Iterator[str]:
    """A completed search has every combination, in its shards, its row and its file."""
    for number, search in evidence.searches.items():
        if search["state"] != "completed":
            continue
        covered = [at for first, last in _done(evidence, number) for at in range(first, last)]
        if covered != list(range(search["total"])):
            yield f"search {number}: {len(covered)} of {search['total']} combinations are done"
        row = evidence.optimizations.get(number)
        if row is None:
            continue
        if (row["completed_combinations"], row["total_combinations"]) != (search["total"], search["total"]):
            yield f"search {number}: its row counts {row['completed_combinations']} of {row['total_combinations']}"
        height = pl.scan_parquet(row["results_file_path"]).select(pl.len()).collect().item()
        if height != search["total"]:
            yield f"search {number}: its file has {height} of {search['total']} combinations"
        if row["best_run_id"] is not None and row["best_run_id"] not in evidence.runs:
            yield f"search {number}: its best run {row['best_run_id']} is nowhere"


def no_search_is_left_undone(evidence: Evidence) -> Iterator[str]:
    """Every search, its row, its steps and its request are at an end."""
    for number, search in evidence.searches.items():
        row = evidence.optimizations.get(number)
        if search["state"] in LIVE_STATES or (row is not None and row["status"] in LIVE_STATES):
            yield f"search {number} is {search['state']}, its row {row['status'] if row else 'gone'}"
        elif row is not None and row["status"] != search["state"]:
            yield f"search {number} is {search['state']}, its row {row['status']}"
    for (number, shard), step in evidence.shards.items():
        if step["state"] in LIVE_STATES:
            yield f"search {number}: step {shard} is {step['state']}"


def one_end_of_search(evidence: Evidence) -> Iterator[str]:
    """Each accepted request has one distinct terminal event, the same on both topics and the last; a rejected one its
    rejection.
    """
    on_completed: dict[str, set[str]] = {}
    for event in evidence.events(Topic.OPTIMIZATION_COMPLETED):
        on_completed.setdefault(event.data["request_id"], set()).add(event.id)
    for request_id, request in evidence.search_requests.items():
        if len(on_completed.get(request_id, ())) != 1:
            found = sorted(on_completed.get(request_id, ()))
            yield f"request {request_id!r} has terminal events {found} on optimization.completed"
        if request["outcome"] != "accepted":
            continue
        life = _lives(evidence).get(request["optimization_id"], [])
        ends = {event.id for event in life if event.kind in TERMINAL_KINDS}
        if ends != on_completed.get(request_id, set()):
            yield f"request {request_id!r}: optimization.progress ends otherwise than optimization.completed"
        if sum(event.kind == "started" for event in life) > 1:
            yield f"request {request_id!r} was started more than once"
        last = max(life, key=_sequence, default=None)
        search = evidence.searches.get(request["optimization_id"])
        if last is not None and search is not None and (last.id not in ends or last.sequence != search["sequence"]):
            yield f"request {request_id!r}: ended with sequence {search['sequence']}, its last event is {last.id}"
    for request_id in on_completed.keys() - evidence.search_requests.keys():
        yield f"{request_id!r} has a terminal event, and nobody asked for it"


def search_digests(evidence: Evidence) -> dict[str, str]:
    """Result digest by what was searched."""
    return {
        evidence.search_requests[event.data["request_id"]]["specification"]: event.data["result_digest"]
        for event in evidence.events(Topic.OPTIMIZATION_COMPLETED)
        if event.kind == "completed"
    }


def _lives(evidence: Evidence) -> dict[int, list[Event]]:
    """First appearances of each search's events on optimization.progress, in the order of the topic."""
    found: dict[int, list[Event]] = {}
    seen: set[str] = set()
    for event in evidence.events(Topic.OPTIMIZATION_PROGRESS):
        if event.id not in seen:
            seen.add(event.id)
            found.setdefault(event.data["optimization_id"], []).append(event)
    return found


def _done(evidence: Evidence, number: int) -> list[tuple[int, int]]:
    return sorted(
        (step["first"], step["last"])
        for (search, _), step in evidence.shards.items()
        if search == number and step["kind"] == "range" and step["state"] == "done"
    )


def _sequence(event: Event) -> int:
    return event.sequence


AT_EVERY_MOMENT = (
    search_events_have_one_content,
    search_sequence_rises,
    a_request_has_one_search,
    no_combination_is_counted_twice,
)
AT_REST = (no_combination_is_lost, no_search_is_left_undone, one_end_of_search)
