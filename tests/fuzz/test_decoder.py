"""Records of all kinds, made at random and by changing good ones: each is answered, whatever it holds."""

import json
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from consumer.ports import Record
from schemas.topics import Topic
from tests.fuzz.judge import judge
from tests.schemas.test_envelope import HEADER_NAMES, HEADER_VALUES
from tests.schemas.test_requested import EVERYTHING, JSON_VALUES
from tests.support.builders import request_data

TOPICS = st.sampled_from([Topic.REQUESTED.value, Topic.CANCEL_REQUESTED.value])
HEADERS = st.lists(st.tuples(HEADER_NAMES, HEADER_VALUES), max_size=5).map(tuple)
FIELDS = st.sampled_from([*EVERYTHING, "run_id", "request_id", "reason"]) | st.text()


@st.composite
def events(draw: st.DrawFn) -> bytes:
    """An event as JSON, a few of whose attributes and fields are anything; now and then some bytes are changed."""
    data: Any = {**draw(st.sampled_from([EVERYTHING, request_data(), {"run_id": 7}, {"request_id": "r"}, {}]))}
    data.update(draw(st.dictionaries(FIELDS, JSON_VALUES, max_size=3)))
    attributes: dict[str, Any] = {
        "specversion": "1.0", "id": "i", "source": "s",
        "type": draw(st.sampled_from(["backtest.requested", "backtest.cancel_requested", "backtest.completed"])),
        "data": data,
    }  # fmt: skip
    attributes.update(draw(st.dictionaries(st.sampled_from([*attributes, "data_base64"]), JSON_VALUES, max_size=1)))
    text = bytearray(json.dumps(draw(st.sampled_from([attributes, data]))).encode())
    for place, byte in draw(st.lists(st.tuples(st.integers(0, len(text) - 1), st.integers(0, 255)), max_size=2)):
        text[place] = byte
    return bytes(text)


@settings(max_examples=1_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TOPICS, st.none() | st.binary(max_size=40), st.none() | st.binary(max_size=300) | events(), HEADERS)
@example(Topic.REQUESTED.value, None, b"{}", (("", None),))
@example(Topic.REQUESTED.value, b"\xff", b'{"request_id": "\\u0000"}', ())
@example(Topic.CANCEL_REQUESTED.value, None, b'{"request_id": "\\ud800"}', ())
@example(Topic.REQUESTED.value, None, b"[" * 100_000, ())
@example(Topic.REQUESTED.value, None, b'{"strategy_id": ' + b"9" * 5_000 + b"}", ())
def test_every_record_is_answered(
    topic: str, key: bytes | None, value: bytes | None, headers: tuple[tuple[str, bytes | None], ...]
) -> None:
    judge(Record(topic, 0, 3, key, value, headers))
