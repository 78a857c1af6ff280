"""Reading what a model says: bounded, exact, and told what is wrong."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.deciders.advised.answers import Said, UnreadableAnswer, read_answer


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"action": "HOLD"}', Said("HOLD")),
        ('  {"action":"CLOSE","stop_loss":null,"take_profits":null,"confidence":null,"reason":null}\n', Said("CLOSE")),
        ('```json\n{"action": "BUY", "stop_loss": 1}\n```', Said("BUY", 1.0)),
        (
            '{"action":"SELL","stop_loss":1.5,"take_profits":[1,0.5],"confidence":1,"reason":"x","more":[1]}',
            Said("SELL", 1.5, (1.0, 0.5), 1.0, "x"),
        ),
    ],
)
def test_an_answer_is_read(text: str, expected: Said) -> None:
    assert read_answer(text) == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "it is not one JSON object"),
        ("BUY", "it is not one JSON object"),
        ("[]", "it is not one JSON object"),
        ('{"action": "BUY"} and more', "it is not one JSON object"),
        ("[" * 100_000, "longer than 65536"),
        ("[" * 60_000, "it is not one JSON object"),
        ('{"action": "buy"}', 'action must be one of BUY, SELL, CLOSE, HOLD, not "buy"'),
        ("{}", "action must be one of BUY, SELL, CLOSE, HOLD, not null"),
        ('{"action": ["BUY"]}', "action must be one of"),
        ('{"action": "BUY", "stop_loss": "1.1"}', 'stop_loss must be a number, not "1.1"'),
        ('{"action": "BUY", "stop_loss": true}', "stop_loss must be a number, not true"),
        ('{"action": "BUY", "stop_loss": NaN}', "it is not one JSON object"),
        ('{"action": "BUY", "stop_loss": 1e999}', "stop_loss must be a finite number"),
        ('{"action": "BUY", "stop_loss": 1' + "0" * 400 + "}", "stop_loss must be a finite number"),
        ('{"action": "BUY", "take_profits": 1.2}', "take_profits must be a list of numbers, not 1.2"),
        ('{"action": "BUY", "take_profits": [1.2, null]}', "each of take_profits must be a number, not null"),
        ('{"action": "BUY", "confidence": 1.01}', "confidence must be from 0 to 1, not 1.01"),
        ('{"action": "BUY", "confidence": -0.1}', "confidence must be from 0 to 1, not -0.1"),
        ('{"action": "BUY", "reason": 3}', "reason must be text"),
    ],
)
def test_what_cannot_be_read_is_told(text: str, told: str) -> None:
    with pytest.raises(UnreadableAnswer, match=re.escape(told)):
        read_answer(text)


def test_a_reason_is_cut_and_storable() -> None:
    read = read_answer(json.dumps({"action": "BUY", "reason": "\0\ud800" + "x" * 900}))
    assert len(read.reason) == 500
    assert "\0" not in read.reason
    read.reason.encode()


_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_FIELDS = ("action", "stop_loss", "take_profits", "confidence", "reason")


@given(st.text(max_size=50) | st.dictionaries(st.sampled_from(_FIELDS), _JSON | st.just("BUY")).map(json.dumps))
def test_nothing_that_a_model_says_does_anything_else(text: str) -> None:
    try:
        found: Said | str = read_answer(text)
    except UnreadableAnswer as error:
        found = str(error)
    assert isinstance(found, Said) or len(found) < 200
