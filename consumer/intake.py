"""From a record to something durable: decode, decide, record in one transaction, and only then let its offset be
committed.

Every record ends in one RecordOutcome, and no record stops its partition: what cannot be decoded, and what the store
refuses for itself, goes to the dead-letter topic byte for byte.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import assert_never

import structlog

from consumer.errors import StoreUnavailable
from consumer.outbox_relay import OutboxRelay
from consumer.ports import (
    Admit,
    Batch,
    CancelToRecord,
    EventWriter,
    IntakeResult,
    OutgoingEvent,
    Record,
    RecordSource,
    RequestJournal,
    RequestToRecord,
)
from consumer.retries import retry_while_unavailable
from consumer.telemetry import Telemetry
from schemas.cancel_requested import parse_cancel_requested
from schemas.dead_letter import DeadLetterReason
from schemas.envelope import EnvelopeError, open_envelope
from schemas.identity import content_text, hash_of_content, raw_content_hash, raw_content_text, request_identity
from schemas.problems import InvalidRequestError
from schemas.requested import parse_requested, usable_part
from schemas.topics import EventType, Topic

log = structlog.get_logger(__name__)

DEFECT_PAUSE_SECONDS = 1.0
"""Before a batch that met a defect here is tried again."""
SPARED_CALLS = 15
"""One look at the queue's length in so many, where nobody depends on it."""


@dataclass(slots=True)
class Intake:
    """Reads the input topics for as long as the source yields batches."""

    source: RecordSource
    journal: RequestJournal
    relay: OutboxRelay
    writer: EventWriter
    admit: Admit
    telemetry: Telemetry
    work_arrived: asyncio.Event
    """Set when runs were queued: the dispatcher claims at once."""
    max_queued: int
    held: bool = field(default=False, init=False)
    calls_spared: int = field(default=SPARED_CALLS, init=False)

    async def run(self) -> None:
        async for batch in self.source.batches():
            result = await self.record_at_last(batch.records)
            self.source.mark_durable(batch)
            self.announce(batch, result)

    async def record_at_last(self, records: Sequence[Record]) -> IntakeResult:
        """Record a batch, whatever it takes: to go on without it would let a later batch commit past its records."""
        while True:
            try:
                return await self.record(records)
            except Exception:
                log.exception("batch_not_recorded", records=len(records))
                await asyncio.sleep(DEFECT_PAUSE_SECONDS)

    async def record(self, records: Sequence[Record]) -> IntakeResult:
        """Make a batch durable, however long Postgres is away."""
        requests, cancels, dead_letters = decode_all(records, self.writer)

        async def attempt() -> IntakeResult:
            return await self.journal.record_batch(requests, cancels, dead_letters, self.admit)

        try:
            return await retry_while_unavailable(attempt, StoreUnavailable)
        except Exception as error:
            # One of them holds what the store refuses: find it by halves, and let the others through.
            log.exception("batch_refused", records=len(records))
            if len(records) == 1:
                return await self.set_aside(records[0], error)
            middle = len(records) // 2
            return merge([await self.record(records[:middle]), await self.record(records[middle:])])

    async def set_aside(self, record: Record, error: Exception) -> IntakeResult:
        """Dead-letter a record that decodes and yet cannot be stored: a defect here, but never a stopped partition."""
        message = f"the record cannot be stored: {type(error).__name__}: {error}"
        letter = self.writer.dead_letter(record, DeadLetterReason.UNDECODABLE, message)

        async def attempt() -> IntakeResult:
            return await self.journal.record_batch([], [], [letter], self.admit)

        return await retry_while_unavailable(attempt, StoreUnavailable)

    def announce(self, batch: Batch, result: IntakeResult) -> None:
        self.telemetry.records_recorded(result.outcomes)
        log.info("batch_recorded", records=len(batch.records), **result.outcomes)
        self.relay.add(result.events)
        if result.new_runs:
            self.work_arrived.set()

    async def watch_queue(self) -> None:
        """Hold request partitions while the queue is full; cancels keep coming. Called every second or so; a worker
        that reads no requests counts at few of the calls, for its metric alone.
        """
        self.calls_spared += 1
        if not self.source.reads_requests and self.calls_spared < SPARED_CALLS:
            return
        self.calls_spared = 0
        queued = await self.journal.queued_count()
        self.telemetry.queue_length(queued)
        if (queued >= self.max_queued) != self.held:
            self.held = not self.held
            log.warning("requests_held" if self.held else "requests_resumed", queued=queued, max_queued=self.max_queued)
            self.source.hold_requests(self.held)


def decode_all(
    records: Sequence[Record], writer: EventWriter
) -> tuple[list[RequestToRecord], list[CancelToRecord], list[OutgoingEvent]]:
    """Sort records into requests (valid or to be rejected), cancels and dead letters. Pure but for dead letters'
    time.
    """
    requests: list[RequestToRecord] = []
    cancels: list[CancelToRecord] = []
    dead_letters: list[OutgoingEvent] = []
    for record in records:
        match decode(record, writer):
            case RequestToRecord() as request:
                requests.append(request)
            case CancelToRecord() as cancel:
                cancels.append(cancel)
            case OutgoingEvent() as letter:
                dead_letters.append(letter)
            case unexpected:
                assert_never(unexpected)
    return requests, cancels, dead_letters


def decode(record: Record, writer: EventWriter) -> RequestToRecord | CancelToRecord | OutgoingEvent:
    """Decode one record; whatever its bytes, it becomes one of the three."""
    try:
        if record.topic == Topic.CANCEL_REQUESTED:
            return decode_cancel(record)
        return decode_request(record)
    except EnvelopeError as error:
        return writer.dead_letter(record, DeadLetterReason(error.reason), error.message)
    except InvalidRequestError as error:
        return writer.dead_letter(record, DeadLetterReason.INVALID_REQUEST, str(error))
    except Exception as error:
        log.exception("decoder_failed", topic=record.topic, partition=record.partition, offset=record.offset)
        message = f"the record cannot be decoded: {type(error).__name__}: {error}"
        return writer.dead_letter(record, DeadLetterReason.UNDECODABLE, message)


def decode_request(record: Record) -> RequestToRecord:
    """Decode and validate a request; one that breaks the schema comes back with its problems. Raises EnvelopeError."""
    envelope = open_envelope(record.value, record.headers, EventType.REQUESTED)
    request_id = request_identity(
        envelope.data.get("request_id"), envelope.id, record.topic, record.partition, record.offset
    )
    source = envelope.source or ""
    try:
        request = parse_requested(envelope.data, envelope.duplicate_keys)
    except InvalidRequestError as error:
        return RequestToRecord(
            request_id=request_id,
            content_hash=raw_content_hash(envelope.data, envelope.duplicate_keys),
            record=record,
            source=source,
            data=raw_content_text(envelope.data),
            given=envelope.data,
            request=usable_part(envelope.data, error.problems),
            problems=error.problems,
        )
    content = content_text(request)
    return RequestToRecord(
        request_id=request_id,
        content_hash=hash_of_content(content),
        record=record,
        source=source,
        data=content,
        given=envelope.data,
        request=request,
    )


def decode_cancel(record: Record) -> CancelToRecord:
    """Decode and validate a cancel. Raises EnvelopeError or InvalidRequestError."""
    envelope = open_envelope(record.value, record.headers, EventType.CANCEL_REQUESTED)
    cancel = parse_cancel_requested(envelope.data, envelope.duplicate_keys)
    return CancelToRecord(record, cancel.run_id, cancel.request_id, cancel.reason)


def merge(results: Sequence[IntakeResult]) -> IntakeResult:
    outcomes: Counter[str] = Counter()
    for result in results:
        outcomes.update(result.outcomes)
    return IntakeResult(
        outcomes,
        tuple(event for result in results for event in result.events),
        tuple(run_id for result in results for run_id in result.new_runs),
    )
