"""What must hold of requests over HTTP, whatever died or was away: an answer 202 is one run, a refusal is nothing.

As invariants.py has them for runs; the checker calls both. They judge what an upstream was told, where it kept that.
"""

from collections.abc import Iterator, Mapping

from schemas.topics import OUTPUT_TOPICS, Topic
from tests.faults.evidence import Evidence, Row
from tests.faults.input_records import Wanted, read_input
from tests.faults.invariants import TERMINAL_KINDS, Invariant
from tests.faults.posted import Posted

COLUMNS = ("strategy_id", "symbol", "spread_pips", "execution_mode", "initial_balance", "max_llm_calls")
ENDED_OTHERWISE = {"completed", "failed"}


def a_key_has_one_run(evidence: Evidence) -> Iterator[str]:
    """However often and at whichever process a key is posted, the answer 202 is the same, byte by byte."""
    for key, posted in evidence.posted.items():
        if len({each.content for each in posted.accepted}) > 1:
            yield f"{key!r} was told of {sorted({each.number for each in posted.accepted})}"


def no_accepted_post_is_lost(evidence: Evidence) -> Iterator[str]:
    """From the moment of an answer 202 on its request is in the table, accepted as the run or search that it named."""
    for key, number, posted in _accepted(evidence):
        request = (evidence.search_requests if posted.is_search else evidence.requests).get(key)
        made = (evidence.searches if posted.is_search else evidence.executions).get(number)
        column = "optimization_id" if posted.is_search else "run_id"
        if request is None:
            yield f"{key!r} was accepted as {number}, and is in no table"
        elif (request["outcome"], request[column]) != ("accepted", number):
            yield f"{key!r} was accepted as {number}, the table has {request['outcome']}, {request[column]}"
        elif made is None or made["request_id"] != key:
            yield f"{key!r} was accepted as {number}, which is nowhere queued for it"


def an_accepted_post_ends_once(evidence: Evidence) -> Iterator[str]:
    """It has one row at an end, and one distinct terminal event."""
    of_runs = _ends(evidence, Topic.COMPLETED, "run_id")
    of_searches = _ends(evidence, Topic.OPTIMIZATION_COMPLETED, "optimization_id")
    for key, number, posted in _accepted(evidence):
        row = _rows(evidence, posted).get(number)
        if row is None or row["status"] not in TERMINAL_KINDS:
            yield f"{key!r} became {number}, whose row is {row['status'] if row else 'gone'}"
        ends = (of_searches if posted.is_search else of_runs).get(number, set())
        if len(ends) != 1:
            yield f"{key!r} became {number}, which has {len(ends)} terminal events"


def what_was_posted_is_what_ran(evidence: Evidence) -> Iterator[str]:
    """Of two contents under one key the accepted one has the run."""
    for key, number, posted in _accepted(evidence):
        row = _rows(evidence, posted).get(number) or {}
        for each in posted.accepted:
            told = {name: each.body[name] for name in COLUMNS if name in each.body and name in row}
            ran = {name: row[name] for name in told}
            if ran != told:
                yield f"{key!r} was accepted with {told}, and {number} is of {ran}"


def a_refused_post_leaves_nothing(evidence: Evidence) -> Iterator[str]:
    """What was never accepted is in no table and no topic."""
    refused = {key for key, each in evidence.posted.items() if not each.accepted and not each.is_emitted_too}
    for key in sorted(refused & {*evidence.requests, *evidence.search_requests}):
        yield f"{key!r} was refused, and is in the table of requests"
    for read in map(read_input, evidence.inputs):
        if isinstance(read, Wanted) and read.request_id in refused:
            yield f"{read.request_id!r} was refused, and went out as {read.place}"
    for topic in OUTPUT_TOPICS:
        if topic is not Topic.DEAD_LETTER:
            for event in evidence.events(topic):
                if event.data["request_id"] in refused:
                    yield f"{event.data['request_id']!r} was refused, and has the event {event.id}"


def a_cancel_that_was_accepted_ends_its_run(evidence: Evidence) -> Iterator[str]:
    """What had not ended when the cancel was answered ends cancelled, and says nothing else."""
    for cancel in evidence.posted_cancels:
        found = (evidence.searches if cancel.is_search else evidence.executions).get(cancel.number)
        state = found["state"] if found is not None else "gone"
        if cancel.status not in ENDED_OTHERWISE and state != "cancelled":
            what = "search" if cancel.is_search else "run"
            yield f"{what} {cancel.number} was {cancel.status} when its cancel was accepted, and is {state}"


def a_follower_sees_the_end(evidence: Evidence) -> Iterator[str]:
    """Who follows over HTTP, whatever dies meanwhile, sees the end as the tables have it, once and after all else."""
    for each in evidence.followed:
        what = f"{'search' if each.is_search else 'run'} {each.number}"
        found = (evidence.searches if each.is_search else evidence.executions).get(each.number)
        if found is not None and (found["state"], found["sequence"]) != (each.status, each.sequence):
            yield f"{what} is {found['state']} by {found['sequence']}, told as {each.status} by {each.sequence}"
        yield from (f"{what}: {wrong}" for wrong in each.wrong)


def _accepted(evidence: Evidence) -> Iterator[tuple[str, int, Posted]]:
    for key, posted in evidence.posted.items():
        if posted.accepted:
            yield key, posted.accepted[0].number, posted


def _rows(evidence: Evidence, posted: Posted) -> Mapping[int, Row]:
    return evidence.optimizations if posted.is_search else evidence.runs


def _ends(evidence: Evidence, topic: Topic, number: str) -> dict[int, set[tuple[str, bytes | None]]]:
    found: dict[int, set[tuple[str, bytes | None]]] = {}
    for event in evidence.events(topic):
        if event.kind in TERMINAL_KINDS:
            found.setdefault(event.data[number], set()).add((event.id, event.record.value))
    return found


AT_EVERY_MOMENT: tuple[Invariant, ...] = (a_key_has_one_run, no_accepted_post_is_lost)
AT_REST: tuple[Invariant, ...] = (
    an_accepted_post_ends_once,
    what_was_posted_is_what_ran,
    a_refused_post_leaves_nothing,
    a_cancel_that_was_accepted_ends_its_run,
    a_follower_sees_the_end,
)
