import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from cloudevents.kafka import KafkaMessage, from_structured
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.cancel_requested import CancelRequested
from schemas.cancelled import Cancelled
from schemas.completed import Completed
from schemas.envelope import EnvelopeError, open_envelope
from schemas.failed import ErrorBody, Failed
from schemas.outgoing import (
    CONTENT_TYPE_HEADER,
    EventData,
    EventError,
    dead_letter_id,
    parse_event,
    rejected_event_id,
    render,
    request_key,
    run_event_id,
    run_key,
)
from schemas.problems import REJECTION_CODES, FieldProblem, first_code
from schemas.progress import Progress
from schemas.rejected import rejection
from schemas.requested import parse_requested
from schemas.started import Started
from tests.support.builders import NOON, completed, progress, request_data, run_fields

PROBLEM = FieldProblem("symbol", "unknown_symbol", "is not a known symbol")
EVENTS: list[EventData] = [
    Started(**run_fields(progress_pct=0, sequence=1)),
    progress(),
    progress(simulated_time=None, equity=None, eta_seconds=None),
    completed(),
    Failed(**run_fields(error=ErrorBody(code="no_data", message="no bars", details=[]))),
    Cancelled(**run_fields(reason="requested", attempt=0)),
    rejection("request-1", request_data(run_id=9), [PROBLEM]),
]


def rendered(event: Any, **changes: Any) -> bytes:
    return render(event, **{"event_id": "run/17/3", "source": "backtest-consumer/g", "time": NOON, **changes})


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_is_read_back_as_it_was(event: EventData) -> None:
    assert parse_event(rendered(event)) == event
    assert parse_event(rendered(event, subject="run/17"), [CONTENT_TYPE_HEADER]) == event


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_the_cloudevents_package_reads_every_event(event: EventData) -> None:
    message = KafkaMessage(headers=dict([CONTENT_TYPE_HEADER]), key=None, value=rendered(event, subject="run/17"))
    read = from_structured(message)
    assert read["id"] == "run/17/3"
    assert read["source"] == "backtest-consumer/g"
    assert read["type"] == event.event_type
    assert read["time"] == "2024-05-06T12:00:00Z"
    assert read["subject"] == "run/17"
    data = read.get_data()
    assert data is not None
    assert data["status"] == event.status


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_a_subscriber_ignores_what_it_does_not_know(event: EventData) -> None:
    document = json.loads(rendered(event))
    document["traceparent"] = "x"
    document["data"]["new_field"] = {"a": 1}
    assert parse_event(json.dumps(document).encode()) == event


def test_a_progress_event_is_these_bytes() -> None:
    assert rendered(progress()) == (
        b'{"specversion":"1.0","id":"run/17/3","source":"backtest-consumer/g","type":"backtest.progress",'
        b'"time":"2024-05-06T12:00:00Z","datacontenttype":"application/json","data":{"run_id":17,"request_id":"request-1",'
        b'"strategy_id":7,"symbol":"EURUSD","timeframe":"H1","progress_pct":40,"sequence":3,"attempt":1,"status":"running",'
        b'"bars_done":40,"bars_total":100,"simulated_time":"2024-01-02T00:00:00Z","equity":10050.25,"trades":2,"eta_seconds":0.75}}'
    )


COMMON = {"run_id", "request_id", "strategy_id", "symbol", "timeframe", "status", "progress_pct", "sequence", "attempt"}


@pytest.mark.parametrize(
    ("event", "more"),
    [
        (EVENTS[0], set[str]()),
        (EVENTS[1], {"bars_done", "bars_total", "simulated_time", "equity", "trades", "eta_seconds"}),
        (
            EVENTS[3],
            {
                "metrics",
                "data_file_path",
                "artifacts",
                "result_digest",
                "engine_version",
                "duration_seconds",
                "warnings",
            },
        ),
        (EVENTS[4], {"error"}),
        (EVENTS[5], {"reason"}),
        (EVENTS[6], {"error"}),
    ],
)
def test_events_carry_exactly_the_fields_of_the_contract(event: EventData, more: set[str]) -> None:
    assert set(json.loads(rendered(event))["data"]) == COMMON | more


LLM = {"llm_calls_used": 3, "llm_calls_cached": 1, "llm_cost": None, "llm_input_tokens": 900, "llm_output_tokens": 30}


@pytest.mark.parametrize("make", [progress, completed])
def test_calls_to_language_models_are_told_of_runs_that_a_model_has_a_say_in(make: Callable[..., EventData]) -> None:
    event = make(**LLM)
    told = json.loads(rendered(event))["data"]
    assert {name: told[name] for name in LLM} == LLM
    assert parse_event(rendered(event)) == event


def test_the_same_instant_in_another_zone_is_the_same_bytes() -> None:
    tokyo = timezone(timedelta(hours=9))
    assert rendered(progress(), time=NOON.astimezone(tokyo)) == rendered(progress())
    moved = progress(simulated_time=datetime(2024, 1, 2, 9, tzinfo=tokyo))
    assert rendered(moved) == rendered(progress())


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_not_finite_never_leaves(number: float) -> None:
    for build in (
        lambda: progress(equity=number),
        lambda: completed(metrics={"sharpe_ratio": number}),
        lambda: completed(metrics={"a": [number]}),
    ):
        with pytest.raises(ValidationError, match="finite"):
            build()
    slipped_past = progress().model_copy(update={"equity": number})
    with pytest.raises(ValueError, match="not JSON compliant"):
        rendered(slipped_past)


def test_a_time_without_an_offset_is_not_rendered() -> None:
    with pytest.raises(ValueError, match="offset"):
        rendered(progress(), time=NOON.replace(tzinfo=None))


def test_metrics_keep_their_order_and_their_nulls() -> None:
    event = completed(metrics={"z": None, "a": 1, "null_reasons": {"z": "no trades"}})
    assert (
        json.dumps(json.loads(rendered(event))["data"]["metrics"])
        == '{"z": null, "a": 1, "null_reasons": {"z": "no trades"}}'
    )


@pytest.mark.parametrize(
    "build",
    [
        lambda: progress(sequence=0),
        lambda: progress(progress_pct=101),
        lambda: progress(run_id="17"),
        lambda: completed(progress_pct=99),
        lambda: completed(status="failed"),
        lambda: progress(simulated_time=datetime(2024, 1, 1)),  # noqa: DTZ001 - naive is the point
    ],
)
def test_an_event_that_breaks_its_schema_is_not_built(build: Any) -> None:
    with pytest.raises(ValidationError):
        build()


def test_an_unusable_event_is_named_to_the_subscriber() -> None:
    document = json.loads(rendered(progress()))
    document["data"]["equity"] = "much"
    del document["data"]["trades"]
    with pytest.raises(EventError, match=r"^backtest\.progress with unusable equity, trades$"):
        parse_event(json.dumps(document).encode())


def test_what_is_no_outgoing_event_is_told_apart() -> None:
    with pytest.raises(EnvelopeError) as caught:
        parse_event(rendered(parse_requested(request_data())))
    assert caught.value.reason == "wrong_type"
    with pytest.raises(EnvelopeError) as caught:
        parse_event(b'{"run_id": 1}')
    assert caught.value.reason == "undecodable"


def test_a_request_is_rendered_without_its_unset_fields_and_read_back() -> None:
    request = parse_requested(request_data(request_id="r", volume=None, strategy_params={"fast": 10, "none": None}))
    envelope = open_envelope(rendered(request, event_id="r"), (), "backtest.requested")
    assert envelope.data == {
        "request_id": "r",
        "strategy_id": 7,
        "symbol": "EURUSD",
        "start_date": "2024-01-01T00:00:00Z",
        "end_date": "2024-02-01T00:00:00Z",
        "strategy_params": {"fast": 10, "none": None},
    }
    assert parse_requested(envelope.data) == request


def test_a_cancel_is_rendered() -> None:
    envelope = open_envelope(rendered(CancelRequested(run_id=3)), (), "backtest.cancel_requested")
    assert envelope.data == {"run_id": 3}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"run_id": 9, "strategy_id": 2**40, "symbol": "X", "timeframe": "H1"}, (9, 2**40, "X", "H1")),
        ({"run_id": "9", "strategy_id": True, "symbol": 5, "timeframe": "\0"}, (None, None, None, None)),
        ({"run_id": 2**63, "strategy_id": 1.0, "symbol": "x" * 256, "timeframe": "\ud800"}, (None, None, None, None)),
        ({}, (None, None, None, None)),
    ],
)
def test_a_rejection_names_what_the_request_named(data: dict[str, Any], expected: tuple[Any, ...]) -> None:
    event = rejection("r", data, [PROBLEM])
    assert (event.run_id, event.strategy_id, event.symbol, event.timeframe) == expected
    assert (event.attempt, event.sequence, event.progress_pct, event.status) == (0, 1, 0, "rejected")


def test_a_rejection_carries_every_problem_and_the_first_code() -> None:
    listed = [PROBLEM, *(FieldProblem(f"f{number}", "invalid_request", "is wrong") for number in range(3))]
    error = rejection("r", {}, listed).error
    assert error.code == "invalid_request"
    assert error.message == "symbol is not a known symbol; f0 is wrong; f1 is wrong; and 1 more"
    assert error.details == listed


def test_rejection_codes_are_ordered_as_the_contract_has_them() -> None:
    told = (
        "invalid_request unknown_strategy strategy_inactive invalid_params unknown_symbol symbol_not_allowed "
        "unknown_timeframe mode_unavailable run_not_found run_not_pending run_disagrees"
    )
    assert tuple(told.split()) == REJECTION_CODES


@given(st.lists(st.sampled_from(REJECTION_CODES), min_size=1))
def test_the_first_code_stands_before_all_others(codes: list[str]) -> None:
    chosen = first_code([FieldProblem("f", code, "m") for code in codes])
    assert chosen in codes
    assert all(REJECTION_CODES.index(chosen) <= REJECTION_CODES.index(code) for code in codes)


def test_a_code_nobody_knows_is_an_error_of_ours() -> None:
    for codes in (["typo"], ["invalid_request", "typo"], []):
        with pytest.raises(ValueError, match="not the codes of a rejection"):
            first_code([FieldProblem("f", code, "m") for code in codes])


def test_ids_are_stable_distinct_and_fit_their_column() -> None:
    assert run_event_id(17, 3) == "run/17/3"
    assert rejected_event_id("r") == "request/r/rejected"
    assert dead_letter_id("backtest.requested", 2, 9) == "dead-letter/backtest.requested/2/9"
    long_ids = [rejected_event_id("é" * length) for length in range(230, 256)]
    assert len(set(long_ids)) == len(long_ids)
    assert max(map(len, long_ids)) <= 255
    assert (run_key(17), request_key("é")) == (b"17", b"request/\xc3\xa9")


@given(st.text(), st.text(), st.datetimes(timezones=st.just(UTC)), st.none() | st.text())
def test_the_same_arguments_give_the_same_ascii_bytes(
    event_id: str, source: str, time: datetime, subject: str | None
) -> None:
    first, second = (render(progress(), event_id=event_id, source=source, time=time, subject=subject) for _ in range(2))
    assert first == second
    assert first.isascii()
    assert json.loads(first)["id"] == event_id


def test_a_completed_event_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        completed().run_id = 3  # type: ignore[misc]  # the point of the test
    assert isinstance(completed(), Completed)
    assert isinstance(progress(), Progress)
