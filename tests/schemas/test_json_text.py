import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.json_text import (
    JsonTextError,
    OversizedInteger,
    canonical_json,
    decode_json,
    printable,
    shown,
    shown_key,
    storable,
    strict_json,
    utc_text,
    why_unusable,
    why_unusable_text,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a\n\0\ud800é", "'a\\n\\x00\\ud800é'"),
        ("x" * 1_000, "'" + "x" * 56 + "..."),
        (10**100, "1" + "0" * 56 + "..."),
        (OversizedInteger("-" + "9" * 5000), "-" + "9" * 56 + "..."),
        (float("-inf"), "-Infinity"),
        (None, "null"),
        ({"a": 1}, "an object"),
        ([1], "a list"),
        (datetime(2024, 1, 1, tzinfo=UTC), "2024-01-01T00:00:00Z"),
        (b"x", "bytes"),
    ],
)
def test_a_value_is_quoted_on_one_bounded_line(value: Any, expected: str) -> None:
    assert shown(value) == expected


def test_a_key_is_quoted_bare_and_bounded() -> None:
    assert shown_key("fast") == "fast"
    assert shown_key("\0" * 1_000) == "\\x00" * 19 + "\\..."
    assert shown_key(5) == "5"


@given(st.text(st.characters()))
def test_printable_text_is_printable_and_leaves_printable_text_alone(text: str) -> None:
    assert printable(text).isprintable()
    assert printable(printable(text)) == printable(text)


def test_what_is_not_json_cannot_be_held() -> None:
    assert list(why_unusable({"a": (1, b"x"), "b": object()})) == [
        ("a.1", "must be a JSON value"),
        ("b", "must be a JSON value"),
    ]
    assert list(why_unusable({1: 2})) == [("", "must have names of text without NUL or lone surrogates")]
    assert list(why_unusable([-(2**63), 2**63 - 1, True, None, 1.5, "é"])) == []
    with pytest.raises(TypeError, match="bytes is not JSON"):
        canonical_json({"a": b"x"})


def test_utc_text_has_microseconds_only_when_there_are_any() -> None:
    assert utc_text(datetime(2024, 1, 1, 0, 0, 0, 1, tzinfo=UTC)) == "2024-01-01T00:00:00.000001Z"
    with pytest.raises(ValueError, match="without an offset"):
        utc_text(datetime(2024, 1, 1))  # noqa: DTZ001 - naive is the point


def test_decoding_says_where_it_stopped() -> None:
    with pytest.raises(JsonTextError, match="line 2 column 5"):
        decode_json('{"a": 1,\n"b" 2}')


@given(st.text(st.sampled_from('{}[]":,0123456789.eE-+ntrufalsNI \\ud8')))
def test_decoding_raises_only_its_own_error(text: str) -> None:
    try:
        value = decode_json(text).value
    except JsonTextError:
        return
    assert decode_json(canonical_json(value)).value == value or "NaN" in text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"a": {"b": 1, "b": 2}}', "key 'a.b' is there twice"),
        ("[NaN]", "NaN is not a JSON number"),
        ('{"a": -Infinity}', "-Infinity is not a JSON number"),
        ("1e999", "Infinity is not a JSON number"),
        ("9" * 5000, "is not a JSON number"),
        ("{", "line 1"),
        ("[" * 101 + "]" * 101, "deeper"),
    ],
)
def test_strict_text_that_would_lose_or_make_up_a_value_is_refused(text: str, why: str) -> None:
    with pytest.raises(JsonTextError, match=re.escape(why)):
        strict_json(text)


def test_strict_text_is_read_as_it_stands() -> None:
    assert strict_json('{"a": [1, 2.5, "x", null, true]}') == {"a": [1, 2.5, "x", None, True]}


@given(st.text(st.characters()))
def test_what_is_made_storable_can_be_held_and_what_can_be_held_stays(text: str) -> None:
    assert why_unusable_text(storable(text)) is None
    if why_unusable_text(text) is None:
        assert storable(text) == text
