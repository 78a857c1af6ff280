"""The checker's invariants over what was asked for over HTTP: each is broken once and named."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from schemas.topics import Topic
from tests.faults import post_invariants
from tests.faults.checker import check
from tests.faults.evidence import Evidence
from tests.faults.input_records import Wanted, read_input
from tests.faults.posted import Accepted, Followed, Posted, PostedCancel
from tests.faults.test_checker import REQUEST, flawless, output, records, row

BODY = {"spread_pips": 0.5, "initial_balance": 10_000.0}


def answer(run_id: int) -> Accepted:
    return Accepted(BODY, json.dumps({"run_id": run_id, "request_id": "r"}).encode())


def posted() -> Evidence:
    """The flawless run, accepted over HTTP twice, once in vain with other content; and a refused one."""
    wanted = read_input(REQUEST)
    assert isinstance(wanted, Wanted)
    evidence = row(flawless(), "requests", "r", content_hash=b"of the body", emitted_hash=wanted.content_hash)
    evidence = row(evidence, "runs", 1, **BODY)
    told = {"r": Posted(accepted=[answer(1), answer(1)], refused=[409]), "mistake": Posted(refused=[422])}
    return replace(evidence, posted=told)


def told(key: str, found: Posted) -> Callable[[Evidence], Evidence]:
    return lambda seen: replace(seen, posted={**seen.posted, key: found})


def cancelled(status: str) -> Callable[[Evidence], Evidence]:
    return lambda seen: replace(seen, posted_cancels=(PostedCancel(is_search=False, number=1, status=status),))


def followed(status: str, sequence: int, *wrong: str) -> Callable[[Evidence], Evidence]:
    return lambda seen: replace(seen, followed=(Followed(False, 1, status, sequence, wrong),))


def emitted(seen: Evidence) -> Evidence:
    record = replace(REQUEST, offset=2, value=(REQUEST.value or b"").replace(b'"id": "r"', b'"id": "mistake"'))
    return records(seen, "backtest.requested", lambda found: [*found, record])


def ended_twice(seen: Evidence) -> Evidence:
    event = json.loads(seen.records["backtest.completed"][0].value or b"")
    again = output(Topic.COMPLETED, 1, "completed", {**event["data"], "sequence": 5})
    return records(seen, "backtest.completed", lambda found: [*found, again])


def rejected(seen: Evidence) -> Evidence:
    event = output(Topic.COMPLETED, 1, "rejected", {"run_id": None, "request_id": "mistake", "sequence": 1})
    return records(seen, "backtest.completed", lambda found: [*found, event])


BROKEN: dict[str, list[Callable[[Evidence], Evidence]]] = {
    "a_key_has_one_run": [told("r", Posted(accepted=[answer(1), answer(2)]))],
    "no_accepted_post_is_lost": [
        told("lost", Posted(accepted=[answer(9)])),
        told("r", Posted(accepted=[answer(2)])),
        lambda seen: replace(seen, executions={}),
        told("r", Posted(is_search=True, accepted=[answer(1)])),
    ],
    "an_accepted_post_ends_once": [
        ended_twice,
        lambda seen: records(seen, "backtest.completed", lambda _: []),
        lambda seen: row(seen, "runs", 1, status="running"),
        lambda seen: replace(seen, runs={}),
    ],
    "what_was_posted_is_what_ran": [lambda seen: row(seen, "runs", 1, spread_pips=1.5)],
    "a_refused_post_leaves_nothing": [
        lambda seen: replace(seen, requests={**seen.requests, "mistake": seen.requests["r"]}),
        emitted,
        rejected,
    ],
    "a_cancel_that_was_accepted_ends_its_run": [cancelled("running"), cancelled("pending"), cancelled("cancelled")],
    "a_follower_sees_the_end": [
        followed("cancelled", 4),
        followed("completed", 3),
        followed("completed", 4, "204 before its end"),
    ],
}


@pytest.mark.parametrize(
    "seen",
    [
        posted(),
        told("mistake", Posted(refused=[422], is_emitted_too=True))(posted()),
        cancelled("completed")(posted()),
        followed("completed", 4)(posted()),
    ],
)
def test_what_was_posted_and_became_one_run_has_no_findings(seen: Evidence) -> None:
    assert check(seen) == []


@pytest.mark.parametrize(
    ("name", "number"), [(name, number) for name, changes in BROKEN.items() for number in range(len(changes))]
)
def test_what_breaks_an_invariant_is_found_by_its_name(name: str, number: int) -> None:
    assert name in {finding.invariant for finding in check(BROKEN[name][number](posted()))}


def test_every_invariant_is_broken_here() -> None:
    known = (*post_invariants.AT_EVERY_MOMENT, *post_invariants.AT_REST)
    assert {each.__name__ for each in known} == set(BROKEN)


def test_the_record_of_a_posted_request_in_the_dead_letters_is_found() -> None:
    headers: Any = (("dlq-topic", b"backtest.requested"), ("dlq-partition", b"0"), ("dlq-offset", b"0"))
    letter = replace(REQUEST, topic=Topic.DEAD_LETTER.value, headers=headers)
    seen = records(posted(), Topic.DEAD_LETTER.value, lambda found: [*found, letter])
    assert "every_poison_record_is_kept" in {finding.invariant for finding in check(seen)}
