"""Finds requests of the past, in their topic or in the table, in a form in which they can be emitted again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from consumer.ports import Record
from consumer.ports.history import History
from consumer.ports.requests import TopicReader, Topics
from consumer.requests.repeating import repeated_request
from consumer.requests.replaying import OldRequest
from engine.errors import InputRefused
from schemas.envelope import EnvelopeError, open_envelope
from schemas.identity import request_identity
from schemas.problems import InvalidRequestError
from schemas.requested import BacktestRequested, parse_requested
from schemas.topics import EventType, Topic

REPLAY_SOURCE: Final = "backtest-replay"
"""Of what a replay emits; requests from there are never replayed themselves."""


@dataclass(frozen=True, slots=True)
class Range:
    """since <= time < until; None: open."""

    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Offsets:
    """first <= offset < end, of one partition of the request topic; None: open."""

    partition: int
    first: int | None = None
    end: int | None = None


async def requests_in_topic(
    topics: Topics, history: History, limits: Range, offsets: Offsets | None = None
) -> list[OldRequest]:
    """Every record of the request topic in that range, partition by partition in order.

    Raises InputRefused for a partition that the topic does not have.
    """
    records = await records_of_topic(topics, Topic.REQUESTED, limits, offsets)
    return [await _old_request(record, history) for record in records]


async def records_of_topic(topics: Topics, topic: Topic, limits: Range, offsets: Offsets | None) -> list[Record]:
    """Those of a request topic in that range, partition by partition in order. Raises InputRefused."""
    async with topics.reading([topic], from_beginning=True) as reader:
        records = await _records_in(reader, limits)
        if offsets is not None:
            _check_partition(topic, offsets.partition, reader)
            records = [record for record in records if _is_among(record, offsets)]
    return records


async def requests_in_table(history: History, limits: Range, state: str | None) -> list[OldRequest]:
    """Every accepted request received in that range, the oldest first. state: of the run now; None: any."""
    rows = await history.accepted_requests(limits.since, limits.until, state)
    return [
        await _executable(f"run {row['run_id']}", row["request_id"], row["data"], history)
        for row in rows
        if row["source"] != REPLAY_SOURCE
    ]


async def _records_in(reader: TopicReader, limits: Range) -> list[Record]:
    first = await reader.offsets_at(limits.since) if limits.since else reader.beginnings
    end = await reader.offsets_at(limits.until) if limits.until else reader.ends
    records: list[Record] = []
    while not await reader.has_caught_up():
        records += await reader.read(0.5)
    return [
        record
        for record in records
        if first[record.topic, record.partition] <= record.offset < end[record.topic, record.partition]
    ]


def _check_partition(topic: Topic, partition: int, reader: TopicReader) -> None:
    partitions = sorted(number for _, number in reader.ends)
    if partition not in partitions:
        raise InputRefused(f"{topic} has no partition {partition}, but {partitions[0]} to {partitions[-1]}")


def _is_among(record: Record, offsets: Offsets) -> bool:
    return (
        record.partition == offsets.partition
        and (offsets.first is None or record.offset >= offsets.first)
        and (offsets.end is None or record.offset < offsets.end)
    )


async def _old_request(record: Record, history: History) -> OldRequest:
    origin = f"{record.topic}/{record.partition}/{record.offset}"
    try:
        envelope = open_envelope(record.value, record.headers, EventType.REQUESTED)
    except EnvelopeError as error:
        return OldRequest(origin, origin, None, f"{error.reason}: {error.message}")
    place = (record.topic, record.partition, record.offset, record.timestamp_ms)
    identity = request_identity(envelope.data.get("request_id"), envelope.id, *place)
    if envelope.source == REPLAY_SOURCE:
        return OldRequest(origin, identity, None, "is of a replay itself")
    return await _executable(origin, identity, envelope.data, history, envelope.duplicate_keys)


async def _executable(
    origin: str, request_id: str, data: Mapping[str, Any], history: History, repeated: Sequence[str] = ()
) -> OldRequest:
    """The request, detached from its row: the row has been executed, or will be by the request that is there."""
    try:
        request: BacktestRequested = parse_requested(dict(data), repeated)
        if request.run_id is not None:
            row = await history.run(request.run_id)
            if row is None:
                why = f"run {request.run_id}, which held its configuration, is gone"
                return OldRequest(origin, request_id, None, why)
            request = repeated_request(row, data)
    except (InvalidRequestError, InputRefused) as error:
        return OldRequest(origin, request_id, None, f"invalid_request: {error}")
    return OldRequest(origin, request_id, request)
