from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.identity import content_hash, content_text, raw_content_hash, raw_content_text, request_identity
from schemas.json_text import OversizedInteger, canonical_json
from schemas.requested import content_of, parse_requested
from tests.support.builders import request_data


def hash_of(**changes: Any) -> bytes:
    return content_hash(parse_requested(request_data(**changes)))


@pytest.mark.parametrize(
    ("data_request_id", "envelope_id", "expected"),
    [
        ("mine", "event", "mine"),
        (None, "event", "event"),
        (None, None, "backtest.requested/3/99/1700000000000"),
        ("", "event", "event"),
        (5, "event", "event"),
        ("x" * 256, "event", "event"),
        ("x" * 255, "event", "x" * 255),
        ("a\0", "event", "event"),
        ("\ud800", None, "backtest.requested/3/99/1700000000000"),
        (["a"], None, "backtest.requested/3/99/1700000000000"),
    ],
)
def test_identity_is_the_first_usable_name(data_request_id: object, envelope_id: str | None, expected: str) -> None:
    assert request_identity(data_request_id, envelope_id, "backtest.requested", 3, 99, 1_700_000_000_000) == expected


DEFAULTS: dict[str, Any] = {
    "initial_balance": 10_000,
    "spread_pips": 1.5,
    "execution_mode": "close_price",
    "max_llm_calls": 100,
    "commission_per_lot": 0,
    "tp_partial_close_ratio": 0.5,
    "strategy_params": {},
    "spread_source": "fixed",
}


@pytest.mark.parametrize("changes", [{name: value} for name, value in DEFAULTS.items()] + [DEFAULTS])
def test_a_default_written_out_is_the_same_content(changes: dict[str, Any]) -> None:
    assert hash_of(**changes) == hash_of()


@pytest.mark.parametrize(
    "changes",
    [
        {"request_id": "another"},
        {"timeframe": None, "volume": None},
        {"start_date": "2024-01-01T05:30:00.000000+05:30"},
    ],
)
def test_writing_the_same_content_otherwise_changes_nothing(changes: dict[str, Any]) -> None:
    assert hash_of(**changes) == hash_of()


def test_an_integer_is_the_same_content_as_its_float_in_a_float_field() -> None:
    assert hash_of(initial_balance=5000, volume=1) == hash_of(initial_balance=5000.0, volume=1.0)


def test_primary_tf_equal_to_timeframe_says_nothing_new() -> None:
    assert hash_of(timeframe="H1", primary_tf="H1") == hash_of(timeframe="H1")
    assert hash_of(primary_tf="H1") != hash_of()


OTHERS: list[dict[str, Any]] = [
    {},
    {"strategy_id": 8},
    {"symbol": "eurusd"},
    {"start_date": "2024-01-01T00:00:00.000001Z"},
    {"timeframe": "M15"},
    {"context_tfs": []},
    {"context_tfs": ["H4", "D1"]},
    {"context_tfs": ["D1", "H4"]},
    {"initial_balance": 10_000.000000000002},
    {"strategy_params": {"a": 1}},
    {"strategy_params": {"a": 1.0}},
    {"strategy_params": {"a": None}},
    {"strategy_params": {"a": "1"}},
    {"stop_to_entry": True},
    {"on_opposite": "reverse"},
    {"volume": 0.1},
    {"risk_pct": 0.1},
    {"account_currency": "USD"},
    {"run_id": 1},
    {"run_id": 1, "spread_pips": 1.5},
]


def test_every_difference_of_content_is_another_hash() -> None:
    hashes = [hash_of(**changes) for changes in OTHERS]
    assert len(set(hashes)) == len(OTHERS)
    assert {len(digest) for digest in hashes} == {32}


def test_with_run_id_the_row_fills_what_is_unset() -> None:
    assert content_of(parse_requested({"run_id": 3, "request_id": "r"})) == {
        "run_id": 3,
        "strategy_params": {},
        "spread_source": "fixed",
    }


def test_costs_of_the_account_set_to_nothing_are_the_content_of_a_request_without_them() -> None:
    off = {"slippage_pips": 0, "commission_pct": -0.0, "leverage": None, "stop_out_pct": 0.0}
    assert content_of(parse_requested(request_data(**off))) == content_of(parse_requested(request_data()))
    assert hash_of(**off) == hash_of()
    asked = [{"slippage_pips": 0.1}, {"commission_pct": 0.1}, {"leverage": 0.1}, {"leverage": 0.1, "stop_out_pct": 0.1}]
    assert len({hash_of(), *(hash_of(**changes) for changes in asked)}) == 5


def test_content_is_kept_as_known_ascii_text() -> None:
    assert content_text(parse_requested(request_data(strategy_params={"b": "é", "a": None}))) == (
        '{"commission_per_lot":0.0,"end_date":"2024-02-01T00:00:00Z","execution_mode":"close_price",'
        '"initial_balance":10000.0,"max_llm_calls":100,"spread_pips":1.5,"spread_source":"fixed","start_date":"2024-01-01T00:00:00Z",'
        '"strategy_id":7,'
        '"strategy_params":{"a":null,"b":"\\u00e9"},"symbol":"EURUSD","tp_partial_close_ratio":0.5}'
    )


def test_content_handed_out_is_not_shared() -> None:
    request = parse_requested(request_data())
    content_of(request)["strategy_params"]["x"] = 1
    assert content_of(request)["strategy_params"] == {}


def test_data_that_do_not_validate_count_as_sent() -> None:
    assert raw_content_hash({"b": 1, "a": {"y": 1, "x": 2}}) == raw_content_hash(
        {"a": {"x": 2, "y": 1}, "b": 1, "request_id": "r"}
    )
    different: list[dict[str, Any]] = [
        {}, {"a": None}, {"a": 1}, {"a": 1.0}, {"a": "1"}, {"a": float("nan")}, {"a": float("inf")},
        {"a": {"request_id": 1}}, {"a": "\ud800"}, {"a": "\0"}, {"a\0": 1},
        {"a": OversizedInteger("9" * 5000)}, {"a": OversizedInteger("8" * 5000)},
    ]  # fmt: skip
    assert len({raw_content_hash(data) for data in different}) == len(different)
    assert raw_content_hash({"a": 1}, ("a",)) != raw_content_hash({"a": 1})


def test_valid_and_invalid_content_are_never_the_same() -> None:
    request = parse_requested(request_data())
    assert raw_content_hash(content_of(request)) != content_hash(request)


def test_any_data_can_be_kept_as_text_that_postgres_takes() -> None:
    text = raw_content_text({"a\0": "\ud800\0", "b": float("nan"), "c": OversizedInteger("9")})
    assert text == '{"a\\u0000":"\\ud800\\u0000","b":NaN,"c":{"integer":"9"}}'


@given(
    st.dictionaries(st.text(st.characters()), st.none() | st.floats() | st.integers() | st.text(st.characters())),
    st.randoms(),
)
def test_canonical_text_does_not_depend_on_order(members: dict[str, Any], random: Any) -> None:
    shuffled = list(members.items())
    random.shuffle(shuffled)
    text = canonical_json(members)
    assert canonical_json(dict(shuffled)) == text
    assert text.isascii()
    assert "\0" not in text


ENDS = st.integers(1, 10**15).map(
    lambda microseconds: datetime(2024, 1, 2, tzinfo=UTC) + timedelta(microseconds=microseconds)
)
CONTENTS = st.fixed_dictionaries(
    {
        "strategy_id": st.integers(1, 3),
        "symbol": st.sampled_from(["EURUSD", "GBPUSD"]),
        "start_date": st.sampled_from([datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, 0, 0, 0, 1, tzinfo=UTC)]),
        "end_date": ENDS,
        "initial_balance": st.sampled_from([10_000, 10_000.0, 5_000]),
        "strategy_params": st.dictionaries(
            st.sampled_from("ab"), st.sampled_from([1, 1.5, "x", None, [1]]), max_size=2
        ),
    },
    optional={
        "spread_pips": st.sampled_from([1.5, 0, 2]),
        "timeframe": st.sampled_from(["H1", "M15"]),
        "stop_to_entry": st.booleans(),
        "context_tfs": st.lists(st.sampled_from(["H4", "D1"]), max_size=2),
    },
)


@given(CONTENTS, CONTENTS, st.integers(-14, 14))
def test_contents_are_equal_exactly_when_hashes_are(one: dict[str, Any], other: dict[str, Any], hours: int) -> None:
    zone = timezone(timedelta(hours=hours))
    rewritten = {
        name: value.astimezone(zone).isoformat() if isinstance(value, datetime) else value
        for name, value in reversed(one.items())
    }
    first, second, same = (
        parse_requested(data) for data in (one, other, {**rewritten, "request_id": "r", "volume": None})
    )

    assert content_hash(first) == content_hash(same)
    defaults = {"spread_pips": 1.5}
    assert (content_hash(first) == content_hash(second)) == ({**defaults, **one} == {**defaults, **other})
