"""Sends a request or a cancel as an upstream service would, and follows a request to its end."""

import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import typer

from consumer.adapters.kafka.connection import KafkaConnection
from consumer.adapters.kafka.reader import TopicReader, open_reader
from consumer.adapters.kafka.sender import send_record
from consumer.adapters.kafka.topics import TopicSettings, create_topics
from consumer.commands.connections import kafka_settings
from consumer.commands.display.live_runs import Show, run_bars
from consumer.ports import Delivery, Record
from consumer.requests.event_feed import EventFeed
from consumer.requests.states import is_terminal
from consumer.settings import KafkaSettings
from schemas.cancel_requested import CancelRequested
from schemas.completed import Completed
from schemas.outgoing import CONTENT_TYPE_HEADER, TerminalEvent, render, request_key, run_key
from schemas.requested import BacktestRequested
from schemas.topics import Topic

SOURCE: Final = "backtest-cli"
DEAD_LETTER_PATIENCE_SECONDS: Final = 3.0
"""For a worker to refuse a request whose id had been used before, once the outcome of the earlier one is known."""


async def submit_and_report(
    request: BacktestRequested,
    request_id: str,
    *,
    is_new: bool,
    wait: bool,
    wait_timeout: float | None,
    as_json: bool,
) -> int:
    """Send the request, print its id, wait where asked to, and return the exit status.

    is_new: the id was made just now, so that no answers to it can be there already.
    """
    settings, connection = kafka_settings()
    await prepare_topics(settings, connection)
    if not wait:
        partition, offset = await send_request(connection, request, request_id)
        sent = {"request_id": request_id, "topic": str(Topic.REQUESTED), "partition": partition, "offset": offset}
        typer.echo(json.dumps(sent) if as_json else request_id)
        return 0
    async with watch_request(connection, request_id, may_be_known=not is_new) as watch:
        sent_to = await send_request(connection, request, request_id)
        if not as_json:
            typer.echo(request_id)
            sys.stdout.flush()
        with run_bars() as show:
            ended = await watch.until_end(sent_to, show, deadline_after(wait_timeout))
    return _report_end(ended, request_id, wait_timeout, as_json=as_json)


def _report_end(
    ended: "TerminalEvent | DeadLettered | None", request_id: str, wait_timeout: float | None, *, as_json: bool
) -> int:
    match ended:
        case None:
            data: dict[str, Any] = {"request_id": request_id, "status": "timeout"}
            typer.echo(f"backtest: not ended after {wait_timeout:g} s; it goes on", err=True)
        case DeadLettered(reason, message):
            data = {"request_id": request_id, "status": "dead_lettered", "reason": reason, "message": message}
            typer.echo(f"backtest: the request went to the dead-letter topic: {reason}: {message}", err=True)
        case _:
            data = ended.model_dump(mode="json")
    if as_json:
        typer.echo(json.dumps(data))
    return 0 if isinstance(ended, Completed) else 1


async def prepare_topics(settings: KafkaSettings, connection: KafkaConnection) -> None:
    """Make the topics as a worker would, so that the first request may come before the first worker."""
    if settings.kafka_create_topics:
        shape = TopicSettings(settings.kafka_topic_partitions, settings.kafka_replication_factor)
        await create_topics(connection, shape)


async def send_request(connection: KafkaConnection, request: BacktestRequested, request_id: str) -> tuple[int, int]:
    """Send the request under this id; returns partition and offset. The same id again is the same event again."""
    value = render(request, event_id=request_id, source=SOURCE, time=datetime.now(UTC))
    key = run_key(request.run_id) if request.run_id is not None else request_key(request_id)
    return await send_record(connection, Delivery(Topic.REQUESTED, key, value, (CONTENT_TYPE_HEADER,)))


async def send_cancel(connection: KafkaConnection, cancel: CancelRequested, event_id: str) -> None:
    """Send a cancel."""
    value = render(cancel, event_id=event_id, source=SOURCE, time=datetime.now(UTC))
    key = run_key(cancel.run_id) if cancel.run_id is not None else request_key(cancel.request_id or "")
    await send_record(connection, Delivery(Topic.CANCEL_REQUESTED, key, value, (CONTENT_TYPE_HEADER,)))


@dataclass(frozen=True, slots=True)
class DeadLettered:
    """The request was not taken at all."""

    reason: str
    message: str


@dataclass(slots=True)
class RequestWatch:
    """The answers to one request."""

    reader: TopicReader
    request_id: str

    async def until_end(
        self, sent_to: tuple[int, int], show: Show, deadline: float
    ) -> TerminalEvent | DeadLettered | None:
        """Show each new event of the request, and return its last one; None when the monotonic deadline comes first."""
        feed = EventFeed(self.reader)
        ended: TerminalEvent | None = None
        while (now := time.monotonic()) < deadline:
            told = await feed.read(min(0.5, deadline - now))
            dead = next(filter(None, (_dead_letter_of(record, sent_to) for record in feed.others)), None)
            if dead is not None:
                return dead
            for news in told:
                if news.event.request_id != self.request_id:
                    continue
                show(news.event)
                if is_terminal(news.event):
                    ended = news.event
                    patience = DEAD_LETTER_PATIENCE_SECONDS if self.was_there_before(news.record) else 0.0
                    deadline = min(deadline, time.monotonic() + patience)
        return ended

    def was_there_before(self, record: Record) -> bool:
        """Whether the record is older than this watch: then it answers an earlier request with the same id."""
        return any(
            partition.topic == record.topic and partition.partition == record.partition and record.offset < end
            for partition, end in self.reader.ends.items()
        )


@asynccontextmanager
async def watch_request(
    connection: KafkaConnection, request_id: str, *, may_be_known: bool
) -> AsyncIterator[RequestWatch]:
    """Watch for answers; enter it before sending. may_be_known: the id was not made just now, so look back too."""
    topics = (Topic.PROGRESS, Topic.COMPLETED, Topic.DEAD_LETTER)
    async with open_reader(connection, topics, from_beginning=may_be_known) as reader:
        yield RequestWatch(reader, request_id)


def _dead_letter_of(record: Record, sent_to: tuple[int, int]) -> DeadLettered | None:
    """What the dead-letter topic says of the record that was sent to this partition and offset."""
    if record.topic != Topic.DEAD_LETTER:
        return None
    headers = {name: (value or b"").decode("utf-8", "replace") for name, value in record.headers}
    place = (headers.get("dlq-topic"), headers.get("dlq-partition"), headers.get("dlq-offset"))
    if place != (str(Topic.REQUESTED), str(sent_to[0]), str(sent_to[1])):
        return None
    return DeadLettered(headers.get("dlq-reason", ""), headers.get("dlq-message", ""))


def deadline_after(seconds: float | None) -> float:
    """The monotonic deadline that a waiting time means; None: none."""
    return time.monotonic() + seconds if seconds is not None else float("inf")
