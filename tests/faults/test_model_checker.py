"""The checker's invariants over calls to models: each is broken once and named."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from consumer.ports import Record
from tests.faults import model_invariants
from tests.faults.checker import check, results_equal_a_quiet_run
from tests.faults.evidence import Evidence
from tests.faults.test_checker import flawless

KEY, OTHER = "ab" * 32, "cd" * 32


def call(number: int, state: str = "answered", **changes: Any) -> dict[str, Any]:
    return {"run_id": 1, "number": number, "epoch": 1, "key": KEY, "state": state, **changes}


def advised() -> Evidence:
    """The flawless run, with two calls: the answer to the first was lost with its worker."""
    evidence = flawless()
    records = {topic: tuple(map(_with_calls, found)) for topic, found in evidence.records.items()}
    runs = {1: {**evidence.runs[1], "max_llm_calls": 2}}
    calls = (call(1, "asked"), call(2, epoch=2))
    return replace(evidence, records=records, runs=runs, llm_calls=calls, model_calls={KEY: 2})


def _with_calls(record: Record) -> Record:
    if record.value is None or b"backtest.completed" not in record.value:
        return record
    event = json.loads(record.value)
    event["data"]["llm_calls_used"] = 2
    return replace(record, value=json.dumps(event).encode())


def test_a_run_with_a_lost_call_is_in_order() -> None:
    assert check(advised()) == []


BROKEN: dict[str, Callable[[Evidence], Evidence]] = {
    "every_call_to_a_model_is_in_the_ledger": lambda seen: replace(seen, model_calls={KEY: 2, OTHER: 1}),
    "no_run_calls_beyond_its_budget": lambda seen: replace(seen, runs={1: {**seen.runs[1], "max_llm_calls": 1}}),
    "no_call_begins_under_an_old_epoch": lambda seen: replace(
        seen, llm_calls=(call(1, epoch=2), call(2, "asked", epoch=1))
    ),
    "no_answer_is_paid_for_twice": lambda seen: replace(seen, llm_calls=(call(1), call(2))),
    "a_completed_run_says_what_its_calls_came_to": lambda seen: replace(seen, llm_calls=(), model_calls={}),
}


@pytest.mark.parametrize("name", list(BROKEN))
def test_what_must_not_be_is_named(name: str) -> None:
    assert name in {finding.invariant for finding in check(BROKEN[name](advised()))}


def test_every_invariant_is_broken_here() -> None:
    known = (*model_invariants.AT_EVERY_MOMENT, *model_invariants.AT_REST)
    assert {each.__name__ for each in known} == set(BROKEN)


def test_a_run_that_faults_took_calls_from_may_end_its_asking_earlier_than_in_quiet() -> None:
    assert results_equal_a_quiet_run(advised(), {}) == []
    assert results_equal_a_quiet_run(replace(advised(), llm_calls=(call(1), call(2))), {}) != []
