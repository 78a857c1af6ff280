import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.json_text import OversizedInteger
from schemas.outgoing import parse_event, render
from schemas.problems import MAX_PROBLEMS, FieldProblem, InvalidRequestError
from schemas.rejected import rejection
from schemas.requested import BacktestRequested, parse_requested, set_fields
from tests.support.builders import NOON, request_data, without


def problems(data: dict[str, Any], duplicate_keys: tuple[str, ...] = ()) -> dict[str, str]:
    with pytest.raises(InvalidRequestError) as caught:
        parse_requested(data, duplicate_keys)
    assert {problem.code for problem in caught.value.problems} == {"invalid_request"}
    assert all(problem.message.isprintable() and problem.field.isprintable() for problem in caught.value.problems)
    return {problem.field: problem.message for problem in caught.value.problems}


EVERYTHING: dict[str, Any] = {
    "run_id": 2_147_483_647,
    "request_id": "é" * 255,
    "strategy_id": 1,
    "symbol": "US500.cash_#-",
    "start_date": "2024-01-01T02:00:00+02:00",
    "end_date": "2024-01-01T00:00:00.000001Z",
    "timeframe": "H1",
    "context_tfs": ["H4", "D1"],
    "primary_tf": "H1",
    "initial_balance": 1,
    "spread_pips": 0,
    "execution_mode": "intra_candle",
    "max_llm_calls": 0,
    "commission_per_lot": 0.0,
    "tp_partial_close_ratio": 1,
    "strategy_params": {"fast": 10, "nested": [{"x": None, "y": 1.5, "z": True, "w": "ü"}]},
    "volume": 0.01,
    "risk_pct": 1.0,
    "on_opposite": "ignore",
    "stop_to_entry": False,
    "account_currency": "EUR",
    "spread_source": "bars",
    "warm_up_bars": 0,
    "slippage_pips": 0.2,
    "commission_pct": 0.01,
    "leverage": 30,
    "stop_out_pct": 50,
    "skip_llm": True,
    "llm_replay": True,
}


def test_every_field_of_the_contract_is_known() -> None:
    assert set(EVERYTHING) == set(BacktestRequested.model_fields)

    request = parse_requested(EVERYTHING)

    assert set_fields(request) == set(EVERYTHING)
    assert request.start_date == datetime(2024, 1, 1, tzinfo=UTC)
    assert request.end_date == datetime(2024, 1, 1, microsecond=1, tzinfo=UTC)
    assert str(request.start_date) == "2024-01-01 00:00:00+00:00"
    assert isinstance(request.initial_balance, float)
    assert isinstance(request.tp_partial_close_ratio, float)


def test_unset_and_null_fields_are_none_and_not_set() -> None:
    request = parse_requested(request_data(timeframe=None, initial_balance=None, strategy_params=None, run_id=None))

    assert request.timeframe is None
    assert request.initial_balance is None
    assert set_fields(request) == {"strategy_id", "symbol", "start_date", "end_date"}


def test_run_id_alone_is_a_request() -> None:
    assert set_fields(parse_requested({"run_id": 4})) == {"run_id"}


def test_a_request_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        parse_requested(request_data()).symbol = "GBPUSD"  # type: ignore[misc]  # the point of the test


BAD_VALUES: list[tuple[str, Any, str]] = [
    ("strategy_id", 0, "must be at least 1, is 0"),
    ("strategy_id", 2**31, "must be at most 2147483647, is 2147483648"),
    ("strategy_id", 10**400, "must be at most 2147483647, is 1000"),
    ("strategy_id", True, "must be an integer, is true"),
    ("strategy_id", 1.0, "must be an integer, is 1.0"),
    ("strategy_id", "1", "must be an integer, is '1'"),
    ("strategy_id", OversizedInteger("9" * 5000), "must not be an integer of 5000 digits"),
    ("strategy_id", float("nan"), "must be an integer, is NaN"),
    ("run_id", -1, "must be at least 1, is -1"),
    ("run_id", {}, "must be an integer, is an object"),
    ("request_id", "", "must not be empty"),
    ("request_id", "x" * 256, "must have at most 255 characters, has 256"),
    ("request_id", "a\0", "must not contain NUL, is 'a\\x00'"),
    ("request_id", "\ud800", "must not contain half of a surrogate pair"),
    ("request_id", 5, "must be text, is 5"),
    ("symbol", "", "must be 1 to 20 letters, digits or ._-#, the first a letter or digit, is ''"),
    ("symbol", "EUR/USD", "must be 1 to 20 letters, digits or ._-#, the first a letter or digit, is 'EUR/USD'"),
    ("symbol", "EURUSD\n", "must be 1 to 20 letters, digits or ._-#, the first a letter or digit, is 'EURUSD\\n'"),
    ("symbol", "É", "must be 1 to 20 letters, digits or ._-#, the first a letter or digit, is 'É'"),
    ("symbol", "x" * 21, "must be 1 to 20 letters"),
    ("symbol", "..", "must be 1 to 20 letters"),
    ("symbol", "-EURUSD", "must be 1 to 20 letters"),
    ("symbol", "A\0", "must be 1 to 20 letters"),
    ("symbol", "\udfff", "must not contain half of a surrogate pair"),
    ("start_date", "2024-01-01", "must be an ISO 8601 date and time with an offset"),
    ("start_date", "2024-01-01T00:00:00", "must carry an offset, such as Z or +00:00, is '2024-01-01T00:00:00'"),
    ("start_date", 1704067200, "must be ISO 8601 text with an offset, is 1704067200"),
    ("start_date", "2024-02-30T00:00:00Z", "must be a date and time that exists"),
    ("start_date", "0001-01-01T00:00:00+01:00", "must be a date and time that exists"),
    ("start_date", "9999-12-31T23:59:59-01:00", "must be a date and time that exists"),
    ("start_date", "0001-01-01T00:00:00Z", "must not be the calendar's first or last moment"),
    ("start_date", "9999-12-31T23:59:59.999999Z", "must not be the calendar's first or last moment"),
    ("start_date", "2024-01-01T24:00:00Z", "must be an ISO 8601 date and time"),
    ("start_date", "2024-W01-1T00:00:00Z", "must be an ISO 8601 date and time"),
    ("start_date", "٢٠٢٤-01-01T00:00:00Z", "must be an ISO 8601 date and time"),
    ("start_date", "2024-01-01T00:00:00.0000001Z", "must not be finer than a microsecond"),
    ("start_date", "2024-01-01T00:00:00Z\n", "must be an ISO 8601 date and time"),
    ("start_date", "\ud800", "must be an ISO 8601 date and time"),
    ("end_date", float("inf"), "must be ISO 8601 text with an offset, is Infinity"),
    ("timeframe", "", "must not be empty"),
    ("timeframe", "x" * 11, "must have at most 10 characters, has 11"),
    ("timeframe", 15, "must be text, is 15"),
    ("primary_tf", "M\0", "must not contain NUL"),
    ("context_tfs", "H4", "must be a list, is 'H4'"),
    ("initial_balance", 0, "must be at least 0.01, is 0"),
    ("initial_balance", 5e-324, "must be at least 0.01, is 5e-324"),
    ("initial_balance", 1e-320, "must be at least 0.01"),
    ("initial_balance", 1.1e15, "must be at most 1000000000000000"),
    ("spread_pips", 1e308, "must be at most 1000000"),
    ("commission_per_lot", 1e308, "must be at most 1000000000"),
    ("slippage_pips", -0.1, "must be at least 0, is -0.1"),
    ("commission_pct", 101, "must be at most 100"),
    ("leverage", 0, "must be at least"),
    ("leverage", "30", "must be a number within the range of a float, is '30'"),
    ("stop_out_pct", float("nan"), "must be a finite number, is NaN"),
    ("stop_out_pct", 50, "needs leverage, of whose margin it is"),
    ("warm_up_bars", -1, "must be at least 0, is -1"),
    ("warm_up_bars", 1_000_001, "must be at most 1000000, is 1000001"),
    ("warm_up_bars", 1.5, "must be an integer, is 1.5"),
    ("initial_balance", float("nan"), "must be a finite number, is NaN"),
    ("initial_balance", float("inf"), "must be a finite number, is Infinity"),
    ("initial_balance", 10**400, "must be a number within the range of a float, is 1000"),
    ("initial_balance", True, "must be a number within the range of a float, is true"),
    ("initial_balance", "1", "must be a number within the range of a float, is '1'"),
    ("spread_pips", -1, "must be at least 0, is -1"),
    ("spread_pips", float("-inf"), "must be a finite number, is -Infinity"),
    ("execution_mode", "open", "must be close_price, intra_candle or next_open, is 'open'"),
    ("execution_mode", [], "must be close_price, intra_candle or next_open, is a list"),
    ("max_llm_calls", -1, "must be at least 0, is -1"),
    ("max_llm_calls", 2**31, "must be at most 2147483647"),
    ("commission_per_lot", -0.01, "must be at least 0, is -0.01"),
    ("tp_partial_close_ratio", 1.01, "must be at most 1"),
    ("tp_partial_close_ratio", -0.01, "must be at least 0"),
    ("volume", 0, "must be greater than 0, is 0"),
    ("risk_pct", 0, "must be greater than 0, is 0"),
    ("risk_pct", 1.5, "must be at most 1"),
    ("on_opposite", "flip", "must be reverse, close or ignore, is 'flip'"),
    ("stop_to_entry", 1, "must be true or false, is 1"),
    ("account_currency", "usd", "must be three capital letters, is 'usd'"),
    ("account_currency", "USDT", "must be three capital letters"),
    ("spread_source", "file", "must be fixed or bars, is 'file'"),
    ("strategy_params", [], "must be an object, is a list"),
    ("strategy_params", "{}", "must be an object, is '{}'"),
]


@pytest.mark.parametrize(("field", "value", "message"), BAD_VALUES)
def test_a_bad_value_is_refused_with_its_field_alone(field: str, value: Any, message: str) -> None:
    found = problems(request_data(**{field: value}))
    assert list(found) == [field]
    assert found[field].startswith(message)


@pytest.mark.parametrize(("field", "value", "_"), BAD_VALUES)
def test_a_bad_value_makes_a_rejection_that_can_be_sent(field: str, value: Any, _: str) -> None:
    data = request_data(**{field: value})
    event = rejection(
        "r", data, [FieldProblem(name, "invalid_request", message) for name, message in problems(data).items()]
    )
    assert parse_event(render(event, event_id="e", source="s", time=NOON)) == event


def test_all_fields_at_fault_are_listed_at_once() -> None:
    data = {
        "symbol": "",
        "start_date": "2024-02-01T00:00:00Z",
        "end_date": "2024-01-01T00:00:00Z",
        "timeframe": "H1",
        "primary_tf": "H4",
        "context_tfs": ["H4", 5, "x" * 11],
        "volume": float("nan"),
        "strategy_params": {"a": float("inf"), "b": [2**63, {"c\0": 1, "d": "\ud800"}], "e": 1.5},
        "spread": 1,
        "\ud800": 1,
    }
    assert problems(data, ("volume", "strategy_params.e")) == {
        "volume": "stands more than once in its object",
        "strategy_params.e": "stands more than once in its object",
        "symbol": "must be 1 to 20 letters, digits or ._-#, the first a letter or digit, is ''",
        "context_tfs.1": "must be text, is 5",
        "context_tfs.2": "must have at most 10 characters, has 11",
        "strategy_params.a": "must be a finite number, is Infinity",
        "strategy_params.b.0": "must be an integer of at most 64 bits",
        "strategy_params.b.1": "must have names of text without NUL or lone surrogates",
        "strategy_params.b.1.d": "must not contain half of a surrogate pair",
        "strategy_id": "is required without run_id",
        "start_date": "must be before end_date",
        "end_date": "must be after start_date",
        "primary_tf": "must equal timeframe 'H1', is 'H4'",
        "spread": "is not a known field",
        "\\ud800": "is not a known field",
    }


@pytest.mark.parametrize("field", ["strategy_id", "symbol", "start_date", "end_date"])
def test_required_fields_are_required_without_run_id_only(field: str) -> None:
    assert problems(without(request_data(), field)) == {field: "is required without run_id"}
    assert problems(request_data(**{field: None})) == {field: "is required without run_id"}
    assert parse_requested({**without(request_data(), field), "run_id": 1}).run_id == 1


def test_an_unusable_run_id_does_not_make_the_rest_required() -> None:
    assert list(problems({"run_id": "x"})) == ["run_id"]


@pytest.mark.parametrize("end", ["2024-01-01T00:00:00Z", "2024-01-01T01:00:00+01:00", "2023-12-31T23:59:59.999999Z"])
def test_a_range_that_is_empty_or_reversed_is_refused(end: str) -> None:
    assert list(problems(request_data(end_date=end))) == ["start_date", "end_date"]
    assert list(problems({"run_id": 1, "start_date": "2024-01-01T00:00:00Z", "end_date": end})) == [
        "start_date",
        "end_date",
    ]


def test_dates_given_as_datetimes_obey_the_same_rules() -> None:
    early, late = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC)
    assert parse_requested(request_data(start_date=early, end_date=late)).end_date == late
    assert list(problems(request_data(start_date=late, end_date=early))) == ["start_date", "end_date"]
    assert list(problems(request_data(start_date=early.replace(tzinfo=None)))) == ["start_date"]


def test_a_request_cannot_be_built_past_its_checks() -> None:
    for changes in (
        {"strategy_id": None},
        {"end_date": "2023-01-01T00:00:00Z"},
        {"timeframe": "H1", "primary_tf": "H4"},
    ):
        with pytest.raises(ValidationError, match=r"is required|must be before|must equal"):
            BacktestRequested.model_validate(request_data(**changes))
    with pytest.raises(ValidationError, match="a must be a finite number"):
        BacktestRequested.model_validate(request_data(strategy_params={"a": float("nan")}))


def test_primary_tf_without_timeframe_is_left_to_intake() -> None:
    assert parse_requested(request_data(primary_tf="H4")).primary_tf == "H4"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-01-01T00:00:00Z", datetime(2024, 1, 1, tzinfo=UTC)),
        ("2024-01-01 00:00z", datetime(2024, 1, 1, tzinfo=UTC)),
        ("2024-01-01t05:30:00.5+0530", datetime(2024, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)),
        ("2023-12-31T19:00:00,1234560-05", datetime(2024, 1, 1, 0, 0, 0, 123_456, tzinfo=UTC)),
        ("2024-01-01T00:00:00.000000000-00:00", datetime(2024, 1, 1, tzinfo=UTC)),
    ],
)
def test_dates_are_read_in_every_common_form(text: str, expected: datetime) -> None:
    assert parse_requested(request_data(start_date=text)).start_date == expected


@given(st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1), timezones=st.timezones()))  # noqa: DTZ001 - Hypothesis takes naive bounds
def test_any_instant_written_by_python_is_read_back(instant: datetime) -> None:
    text = instant.isoformat()
    if OFFSET_WITH_SECONDS.search(text):  # local mean time of long ago; ISO 8601 has no such offsets
        assert list(problems({"run_id": 1, "end_date": text})) == ["end_date"]
    else:
        assert parse_requested({"run_id": 1, "end_date": text}).end_date == datetime.fromisoformat(text)


OFFSET_WITH_SECONDS = re.compile(r"[+-]\d\d:\d\d:\d\d$")


def test_negative_zero_becomes_zero() -> None:
    request = parse_requested(request_data(spread_pips=-0.0, commission_per_lot=-0.0, tp_partial_close_ratio=-0.0))
    assert [
        str(value) for value in (request.spread_pips, request.commission_per_lot, request.tp_partial_close_ratio)
    ] == ["0.0"] * 3


def test_a_flood_of_mistakes_still_fits_into_one_record() -> None:
    data: dict[str, Any] = {f"{chr(0x1F600) * 90}{number}": 1 for number in range(2_500)}
    deep: Any = float("nan")
    for _ in range(90):
        deep = {chr(0x1F600) * 80: deep}
    data["strategy_params"] = deep
    with pytest.raises(InvalidRequestError) as caught:
        parse_requested(data)

    listed = caught.value.problems
    assert len(listed) <= MAX_PROBLEMS + 1
    assert len(json.dumps(rejection("r" * 255, data, listed).model_dump())) < 1_000_000


def test_problems_beyond_the_limit_are_counted() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parse_requested({"run_id": 1, **{f"x{number}": 1 for number in range(MAX_PROBLEMS + 44)}})
    assert caught.value.problems[-1] == FieldProblem("...", "invalid_request", "and 44 more fields at fault")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.just("\ud800"),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(st.text(st.characters()) | st.just("\udc00"), children, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(EVERYTHING)) | st.text(), JSON_VALUES, max_size=6), st.booleans())
def test_any_object_is_accepted_or_refused_with_at_least_one_field(changes: dict[str, Any], complete: bool) -> None:
    data = {**EVERYTHING, **changes} if complete else changes
    listed = problems_listed(data)
    assert listed is None or len({problem.field for problem in listed}) == len(listed) > 0
    assert listed is None or rejection("r", data, listed).error.code == "invalid_request"


def problems_listed(data: dict[str, Any]) -> tuple[FieldProblem, ...] | None:
    try:
        parse_requested(data)
    except InvalidRequestError as error:
        return error.problems
    return None
