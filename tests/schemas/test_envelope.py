import base64
import json

import pytest
from cloudevents.http import CloudEvent
from cloudevents.kafka import to_binary, to_structured
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.envelope import MAX_VALUE_BYTES, Envelope, EnvelopeError, Headers, open_envelope
from schemas.json_text import MAX_DEPTH, OversizedInteger
from schemas.problems import FieldProblem, InvalidRequestError
from schemas.requested import BacktestRequested, parse_requested
from tests.support.builders import binary_headers, cloud_event, request_data, structured, without

REQUESTED = "backtest.requested"
STRUCTURED_HEADER: Headers = [("content-type", b"application/cloudevents+json; charset=UTF-8")]


def refusal(value: bytes | None, headers: Headers = ()) -> tuple[str, str]:
    with pytest.raises(EnvelopeError) as caught:
        open_envelope(value, headers, REQUESTED)
    assert caught.value.message.isprintable()
    return caught.value.reason, caught.value.message


@pytest.mark.parametrize(
    "headers", [(), STRUCTURED_HEADER, [("Content-Type", b"Application/CloudEvents+JSON")], [("other", None)]]
)
def test_structured_event_is_opened_with_or_without_its_content_type(headers: Headers) -> None:
    envelope = open_envelope(structured(subject="s", time="2024-01-01T00:00:00Z"), headers, REQUESTED)

    assert (envelope.id, envelope.source, envelope.type) == ("request-1", "upstream", REQUESTED)
    assert (envelope.subject, envelope.time) == ("s", "2024-01-01T00:00:00Z")
    assert envelope.data == request_data()
    assert envelope.duplicate_keys == ()


def test_binary_event_takes_its_attributes_from_headers() -> None:
    envelope = open_envelope(json.dumps(request_data()).encode(), binary_headers(ce_subject="süd".encode()), REQUESTED)

    assert (envelope.id, envelope.source, envelope.type, envelope.subject) == (
        "request-1",
        "upstream",
        REQUESTED,
        "süd",
    )
    assert envelope.data == request_data()


def test_binary_header_names_are_read_in_any_case() -> None:
    headers = [(name.upper(), value) for name, value in binary_headers()]
    assert open_envelope(b"{}", headers, REQUESTED).id == "request-1"


def test_plain_json_has_no_identity_of_its_own() -> None:
    envelope = open_envelope(json.dumps(request_data()).encode(), [("content-type", b"text/plain")], REQUESTED)

    assert (envelope.id, envelope.source, envelope.type) == (None, None, REQUESTED)
    assert envelope.data == request_data()


def test_plain_json_with_a_byte_order_mark_is_opened() -> None:
    assert open_envelope(b"\xef\xbb\xbf {}\n", (), REQUESTED).data == {}


def test_data_base64_is_opened_as_json() -> None:
    encoded = base64.b64encode(b'{"symbol": "EURUSD"}').decode()
    value = json.dumps(without(cloud_event(data_base64=encoded), "data")).encode()
    assert open_envelope(value, (), REQUESTED).data == {"symbol": "EURUSD"}


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/json", "application/vnd.x+json; charset=utf-8", None]
)
def test_json_content_types_are_read(content_type: str | None) -> None:
    assert open_envelope(structured(datacontenttype=content_type), (), REQUESTED).data == request_data()


def test_events_of_the_cloudevents_package_are_read_in_both_modes() -> None:
    event = CloudEvent.create(
        {"id": "7", "source": "/up", "type": REQUESTED, "datacontenttype": "application/json"}, request_data()
    )
    for message in (to_structured(event), to_binary(event)):
        assert isinstance(message.value, bytes)
        envelope = open_envelope(message.value, list(message.headers.items()), REQUESTED)
        assert (envelope.id, envelope.source, envelope.data) == ("7", "/up", request_data())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "tombstone"),
        (b"", "not JSON"),
        (b"\xff{}", "not UTF-8 at byte 0"),
        (b"{", "not JSON"),
        (b"{} x", "not JSON"),
        (b"[1]", "not a JSON object but a list"),
        (b"null", "not a JSON object but null"),
        (b"true", "not a JSON object but a truth value"),
        (b'"text"', "not a JSON object but text"),
        (b"NaN", "not a JSON object but a number"),
        (b"1" * 5000, "not a JSON object but a number"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        (b"[" * 100_000, "nested deeper than 100 levels"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested deeper than 100 levels"),
        (structured(id=None), "has no id"),
        (structured(id=""), "has no id"),
        (structured(id=5), "id is not text but a number"),
        (structured(id="x" * 256), "id has 256 characters, more than 255"),
        (structured(id="a\0b"), "id must not contain NUL"),
        (structured(id="\ud800"), "id must not contain half of a surrogate pair"),
        (structured(source=None), "has no source"),
        (structured(source=["x"]), "source is not text but a list"),
        (structured(source="x" * 513), "source has 513 characters"),
        (structured(type=None), "has no type"),
        (structured(type={}), "type is not text but an object"),
        (structured(specversion="0.3"), "specversion is '0.3', only '1.0' is read"),
        (structured(specversion=1.0), "specversion is 1.0"),
        (structured(data=None), "has no data"),
        (structured(data=[1]), "data is not a JSON object but a list"),
        (structured(data="{}"), "data is not a JSON object but text"),
        (structured(data_base64="e30="), "both data and data_base64"),
        (structured(data=None, data_base64="not base64!"), "is not base64"),
        (structured(data=None, data_base64="é"), "is not base64"),
        (structured(data=None, data_base64=5), "data_base64 is not text but a number"),
        (structured(data=None, data_base64="/w=="), "data_base64 is not UTF-8"),
        (structured(data=None, data_base64="WzFd"), "data_base64 is not a JSON object"),
        (structured(datacontenttype="text/plain"), "datacontenttype 'text/plain' is not JSON"),
        (structured(datacontenttype="\ud800"), "datacontenttype '\\ud800' is not JSON"),
        (structured(datacontenttype=7), "datacontenttype 7 is not JSON"),
        (b'{"specversion":"1.0","id":"a","id":"b","source":"s"}', "names 'id' more than once"),
    ],
)
def test_what_is_no_event_is_undecodable(value: bytes | None, expected: str) -> None:
    reason, message = refusal(value)
    assert reason == "undecodable"
    assert expected in message


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (binary_headers(ce_id=None), "has no id"),
        (binary_headers(ce_id=b""), "has no id"),
        (binary_headers(ce_source=None), "has no source"),
        (binary_headers(ce_type=None), "has no type"),
        (binary_headers(ce_id=b"\xff"), "header ce_id is not UTF-8"),
        (binary_headers(ce_id=b"a\0"), "id must not contain NUL"),
        (binary_headers(ce_specversion=b"0.3"), "specversion is '0.3'"),
        ([*binary_headers(), ("ce_id", b"other")], "header 'ce_id' stands twice"),
        ([("ce_traceparent", b"x")], "has no id"),
        (binary_headers(**{"content-type": b"text/plain"}), "content-type 'text/plain' is not JSON"),
        ([("content-type", b"application/cloudevents-batch+json")], "not a single CloudEvent in JSON"),
        ([("content-type", b"application/cloudevents+avro")], "not a single CloudEvent in JSON"),
        (STRUCTURED_HEADER, "has no id"),
    ],
)
def test_unusable_headers_are_undecodable(headers: Headers, expected: str) -> None:
    reason, message = refusal(json.dumps(request_data()).encode(), headers)
    assert reason == "undecodable"
    assert expected in message


@pytest.mark.parametrize(
    ("value", "expected"), [(b"", "has no data"), (b"{", "not JSON"), (b"[]", "not a JSON object")]
)
def test_binary_event_without_an_object_is_undecodable(value: bytes, expected: str) -> None:
    reason, message = refusal(value, binary_headers())
    assert reason == "undecodable"
    assert expected in message


def test_header_repeated_with_the_same_value_is_read_once() -> None:
    assert open_envelope(b"{}", [*binary_headers(), ("ce_id", b"request-1")], REQUESTED).id == "request-1"


def test_structured_content_type_wins_over_binary_headers() -> None:
    headers = [*STRUCTURED_HEADER, ("ce_id", b"other")]
    assert open_envelope(structured(), headers, REQUESTED).id == "request-1"


@pytest.mark.parametrize("data", [request_data(), None, "text"])
def test_another_type_is_wrong_type_whatever_it_carries(data: object) -> None:
    reason, message = refusal(structured(type="backtest.cancel_requested", data=data))
    assert reason == "wrong_type"
    assert message == "the CloudEvent's type is 'backtest.cancel_requested', expected 'backtest.requested'"
    assert refusal(b"\xff", binary_headers(ce_type=b"other"))[0] == "wrong_type"


def test_a_value_of_exactly_one_mebibyte_is_taken_and_one_byte_more_is_not() -> None:
    padding = b" " * (MAX_VALUE_BYTES - 2)
    assert open_envelope(b"{}" + padding, (), REQUESTED).data == {}
    assert refusal(b"{}" + padding + b" ")[0] == "too_large"


def test_identity_of_255_characters_is_taken() -> None:
    assert open_envelope(structured(id="é" * 255), (), REQUESTED).id == "é" * 255


def test_subject_and_time_that_are_no_text_are_left_out() -> None:
    envelope = open_envelope(structured(subject=5, time={}), (), REQUESTED)
    assert (envelope.subject, envelope.time) == (None, None)


def test_numbers_that_are_no_numbers_get_through_to_be_refused_by_field() -> None:
    value = b'{"a": NaN, "b": -Infinity, "c": 1e999, "d": %s, "e": -%s}' % (b"9" * 5000, b"8" * 5000)
    data = open_envelope(value, (), REQUESTED).data
    assert data["a"] != data["a"]
    assert (data["b"], data["c"]) == (float("-inf"), float("inf"))
    assert (data["d"], data["e"]) == (OversizedInteger("9" * 5000), OversizedInteger("-" + "8" * 5000))


def test_repeated_keys_in_data_are_named_from_the_top_of_data() -> None:
    data = '{"symbol": "A", "symbol": "B", "strategy_params": {"list": [{"x": 1, "x": 2, "x": 3}], "y": {}}}'
    expected = ("symbol", "strategy_params.list.0.x")
    event = '{"specversion":"1.0","id":"a","source":"s","type":"backtest.requested","data":%s}' % data  # noqa: UP031 - braces
    for value in (data, event):
        envelope = open_envelope(value.encode(), (), REQUESTED)
        assert envelope.duplicate_keys == expected
        assert envelope.data["symbol"] == "B"


def nested(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


def test_nesting_is_taken_up_to_its_limit_and_no_further() -> None:
    assert open_envelope(nested(MAX_DEPTH), (), REQUESTED).data
    assert refusal(nested(MAX_DEPTH + 1))[1] == "the value is not JSON: nested deeper than 100 levels"


JSON_TEXTS = st.recursive(
    st.sampled_from(
        ["null", "true", "NaN", "-Infinity", "1e999", "0", "-1", "9" * 4400, '"x"', '"\\ud800"', '"\\u0000"', '""']
    ),
    lambda children: (
        st.lists(children, max_size=3).map(lambda items: f"[{','.join(items)}]")
        | st.lists(
            st.tuples(st.sampled_from(["id", "data", "symbol", "run_id", "\\ud800", ""]), children), max_size=4
        ).map(
            lambda pairs: "{%s}" % ",".join(f'"{name}":{text}' for name, text in pairs)  # noqa: UP031 - braces
        )
    ),
    max_leaves=12,
)
ATTRIBUTES = [
    "specversion",
    "id",
    "source",
    "type",
    "data",
    "data_base64",
    "datacontenttype",
    "subject",
    "time",
    "symbol",
]
EVENT_TEXTS = st.dictionaries(
    st.sampled_from(ATTRIBUTES), JSON_TEXTS | st.sampled_from(['"1.0"', '"backtest.requested"', '"e30="'])
).map(
    lambda members: "{%s}" % ",".join(f'"{name}":{text}' for name, text in members.items())  # noqa: UP031 - braces
)
VALUES = (
    st.none()
    | st.binary()
    | st.text().map(lambda text: text.encode("utf-8", "surrogatepass"))
    | (JSON_TEXTS | EVENT_TEXTS).map(str.encode)
)
HEADER_NAMES = (
    st.sampled_from(["content-type", "ce_id", "ce_source", "ce_type", "ce_specversion", "CE_ID", "ce_", "ce_time"])
    | st.text()
)
HEADER_VALUES = (
    st.none()
    | st.binary()
    | st.sampled_from([b"backtest.requested", b"1.0", b"application/json", b"application/cloudevents+json"])
)


@given(VALUES, st.lists(st.tuples(HEADER_NAMES, HEADER_VALUES), max_size=6))
@example(b'{"specversion":"1.0","id":"a","source":"s","type":"backtest.requested","data":{"a":NaN}}', [])
def test_no_input_raises_anything_but_an_envelope_error(
    value: bytes | None, headers: list[tuple[str, bytes | None]]
) -> None:
    opened = opened_or_refused(value, headers)
    if isinstance(opened, EnvelopeError):
        assert opened.reason in {"undecodable", "wrong_type", "too_large"}
        assert opened.message.isprintable()
        assert len(opened.message) < 1_000
    else:
        assert opened.type == REQUESTED
        assert isinstance(opened.data, dict)
        assert opened.id is None or 0 < len(opened.id.encode()) <= 4 * 255
        assert accepted_or_refused(opened)


def opened_or_refused(value: bytes | None, headers: Headers) -> Envelope | EnvelopeError:
    try:
        return open_envelope(value, headers, REQUESTED)
    except EnvelopeError as error:
        return error


def accepted_or_refused(envelope: Envelope) -> BacktestRequested | tuple[FieldProblem, ...]:
    """What follows decoding raises nothing but its one exception either."""
    try:
        return parse_requested(envelope.data, envelope.duplicate_keys)
    except InvalidRequestError as error:
        return error.problems
