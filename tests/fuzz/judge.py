"""What must hold of any record whatever, as the decoder and admission see it: no input stops a partition."""

import json

from consumer.decoding import decode
from consumer.ports import Admitted, CancelToRecord, OutgoingEvent, Record, RequestToRecord
from consumer.ports.searches import SearchToRecord
from schemas.dead_letter import DeadLetterReason
from schemas.outgoing import parse_event
from schemas.problems import first_code
from tests.consumer.rules.test_admission import STRATEGY
from tests.support.messages import ADMIT, event_writer

WRITER = event_writer()


def judge(record: Record) -> str:
    """Decode, admit and answer one record; what became of it. AssertionError: it could have stopped its partition."""
    match decode(record, WRITER):
        case OutgoingEvent() as letter:
            return dead_lettered(record, letter)
        case CancelToRecord(run_id=run_id, request_id=request_id, reason=reason, optimization_id=optimization_id):
            assert [run_id, request_id, optimization_id].count(None) == 2
            assert all(is_storable(text) for text in (request_id, reason) if text is not None)
            return "cancel"
        case RequestToRecord() as request:
            return answered(request)
        case SearchToRecord() as search:
            assert is_storable(search.data)
            return "search"


def dead_lettered(record: Record, letter: OutgoingEvent) -> str:
    headers = dict(letter.headers)
    message = headers["dlq-message"] or b""
    assert not message.startswith(b"the record cannot be decoded")  # that is what a defect of the decoder becomes
    assert DeadLetterReason((headers["dlq-reason"] or b"").decode())
    assert (letter.key, letter.value, letter.headers[: len(record.headers)]) == (
        record.key,
        record.value,
        record.headers,
    )
    return str(headers["dlq-reason"])


def answered(request: RequestToRecord) -> str:
    """It becomes a row that Postgres holds, or a rejection that the broker takes."""
    assert 0 < len(request.request_id) <= 255
    assert all(is_storable(text) for text in (request.request_id, request.source, request.data))
    strategy = STRATEGY if request.request.strategy_id is not None else None
    answer = ADMIT(request.request, strategy, None, request.problems)
    if isinstance(answer, Admitted):
        assert not request.problems
        assert is_storable(json.dumps([answer.specification, answer.columns], allow_nan=False, default=str))
        return "accepted"
    assert set(request.problems) <= set(answer.problems)
    rejection = WRITER.rejected(request, answer.problems)
    assert rejection.value is not None
    assert len(rejection.value) < 1_000_000
    assert parse_event(rejection.value)
    return first_code(answer.problems)


def is_storable(text: str) -> bool:
    """Whether a text column of Postgres takes it."""
    text.encode("utf-8")
    return "\0" not in text
