from datetime import datetime, timedelta, timezone
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from schemas.dead_letter import DeadLetter, DeadLetterReason, dead_letter, truncated
from tests.support.builders import NOON


def letter(**changes: Any) -> DeadLetter:
    arguments: dict[str, Any] = {
        "key": b"key",
        "value": b"\xff",
        "headers": [],
        "reason": DeadLetterReason.UNDECODABLE,
        "message": "the value is not UTF-8",
        "topic": "backtest.requested",
        "partition": 2,
        "offset": 41,
        "time": NOON,
    }
    return dead_letter(**{**arguments, **changes})


def test_a_dead_letter_is_the_record_as_it_came_and_why() -> None:
    own = [("trace", b"1"), ("trace", None), ("trace", b"1"), ("", b"\xff")]
    assert letter(headers=own, key=None) == DeadLetter(
        key=None,
        value=b"\xff",
        headers=(
            *own,
            ("dlq-reason", b"undecodable"),
            ("dlq-message", b"the value is not UTF-8"),
            ("dlq-topic", b"backtest.requested"),
            ("dlq-partition", b"2"),
            ("dlq-offset", b"41"),
            ("dlq-time", b"2024-05-06T12:00:00Z"),
        ),
    )


def test_time_is_in_utc_and_the_message_one_bounded_line() -> None:
    headers = dict(
        letter(time=datetime(2024, 5, 6, 21, tzinfo=timezone(timedelta(hours=9))), message="é\0\ud800\n" * 1000).headers
    )
    assert headers["dlq-time"] == b"2024-05-06T12:00:00Z"
    message = headers["dlq-message"]
    assert message is not None
    text = message.decode()
    assert text.startswith("é\\x00\\ud800\\n")
    assert len(text) == 1000


def test_a_second_death_keeps_the_first_and_ends_with_the_newest() -> None:
    again = letter(headers=letter().headers, reason=DeadLetterReason.CONFLICT)
    assert [value for name, value in again.headers if name == "dlq-reason"] == [b"undecodable", b"conflict"]


def test_a_truncated_letter_keeps_its_first_64_kib_and_says_so() -> None:
    whole = letter(key=b"k" * 70_000, value=b"v" * 70_000, headers=[("a", b"1"), ("b", b"x" * 70_000), ("c", b"3")])
    cut = truncated(whole)
    assert (cut.key, cut.value) == (b"k" * 65_536, b"v" * 65_536)
    assert cut.headers == (("a", b"1"), *whole.headers[-6:], ("dlq-truncated", b"true"))
    assert truncated(cut) == cut


def test_reasons_are_those_of_the_contract() -> None:
    assert set(DeadLetterReason) == {"undecodable", "wrong_type", "too_large", "conflict", "invalid_request"}


RECORD_HEADERS = st.lists(st.tuples(st.text(st.characters()), st.none() | st.binary()))


@given(st.none() | st.binary(), st.none() | st.binary(), RECORD_HEADERS, st.text(st.characters()))
def test_any_record_becomes_a_letter_that_holds_it(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]], message: str
) -> None:
    whole = letter(key=key, value=value, headers=headers, message=message)
    assert (whole.key, whole.value, list(whole.headers[:-6])) == (key, value, headers)
    small = truncated(whole)
    assert (small.key, small.value) == (key, value)
    assert len(small.headers) == len(whole.headers) + 1
