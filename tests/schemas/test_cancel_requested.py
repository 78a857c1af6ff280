from typing import Any

import pytest

from schemas.cancel_requested import MAX_REASON_CHARACTERS, CancelRequested, parse_cancel_requested
from schemas.problems import InvalidRequestError


def problems(data: dict[str, Any], duplicate_keys: tuple[str, ...] = ()) -> dict[str, str]:
    with pytest.raises(InvalidRequestError) as caught:
        parse_cancel_requested(data, duplicate_keys)
    return {problem.field: problem.message for problem in caught.value.problems}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"run_id": 5}, CancelRequested(run_id=5)),
        ({"run_id": 5, "request_id": None, "reason": None}, CancelRequested(run_id=5)),
        ({"request_id": "r", "reason": "too slow"}, CancelRequested(request_id="r", reason="too slow")),
        ({"request_id": "r", "reason": ""}, CancelRequested(request_id="r")),
        (
            {"run_id": 5, "reason": "é" * MAX_REASON_CHARACTERS},
            CancelRequested(run_id=5, reason="é" * MAX_REASON_CHARACTERS),
        ),
    ],
)
def test_a_cancel_names_exactly_one_target(data: dict[str, Any], expected: CancelRequested) -> None:
    assert parse_cancel_requested(data) == expected


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        ({}, {"run_id", "request_id"}),
        ({"run_id": None}, {"run_id", "request_id"}),
        ({"run_id": 1, "request_id": "r"}, {"run_id", "request_id"}),
        ({"run_id": 0}, {"run_id"}),
        ({"run_id": 2**31}, {"run_id"}),
        ({"run_id": "1"}, {"run_id"}),
        ({"run_id": True}, {"run_id"}),
        ({"request_id": ""}, {"request_id"}),
        ({"request_id": "a\0"}, {"request_id"}),
        ({"run_id": 1, "reason": 5, "why": "x"}, {"reason", "why"}),
        ({"run_id": 1, "reason": "\0"}, {"reason"}),
        ({"run_id": 1, "reason": "\ud800"}, {"reason"}),
        ({"run_id": 1, "reason": "x" * (MAX_REASON_CHARACTERS + 1)}, {"reason"}),
        ({"run_id": 1, "\ud800": 1}, {"\\ud800"}),
    ],
)
def test_what_breaks_the_schema_is_refused_by_field(data: dict[str, Any], fields: set[str]) -> None:
    assert set(problems(data)) == fields


def test_a_repeated_key_is_refused() -> None:
    assert problems({"run_id": 1}, ("run_id",)) == {"run_id": "stands more than once in its object"}
