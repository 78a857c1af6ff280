"""`backtest replay`: emit requests of the past as new ones, after a look at what each would do."""

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import typer

from consumer.adapters.kafka.connection import KafkaConnection
from consumer.adapters.kafka.reader import open_reader
from consumer.adapters.kafka.sender import send_records
from consumer.adapters.postgres.reading import accepted_requests, find_run, known_requests
from consumer.commands.connections import database_settings, kafka_settings
from consumer.commands.display.columns import text_columns
from consumer.commands.options import values as options
from consumer.commands.rerun import repeated_request
from consumer.commands.verify_run import show_verification
from consumer.ports import Delivery, Record
from consumer.requests.replaying import Effect, OldRequest, Planned, new_ids, plan_replay
from engine.errors import InputRefused
from schemas.envelope import EnvelopeError, open_envelope
from schemas.identity import request_identity
from schemas.json_text import printable
from schemas.outgoing import CONTENT_TYPE_HEADER, render, request_key
from schemas.problems import InvalidRequestError
from schemas.requested import BacktestRequested, parse_requested
from schemas.topics import EventType, Topic

app = typer.Typer(add_completion=False)

SOURCE = "backtest-replay"


@dataclass(frozen=True, slots=True)
class Range:
    """since <= time < until; None: open."""

    since: datetime | None
    until: datetime | None


@app.command()
def replay(
    origin: Annotated[
        Literal["topic", "table"], typer.Option("--from", help="The request topic, or the requests in the database.")
    ] = "topic",
    since: Annotated[
        str | None, typer.Option(help="Sent (table: received) at or after; UTC without an offset.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="And before.")] = None,
    status: Annotated[
        Literal["completed", "failed", "cancelled"] | None, typer.Option(help="Table only: runs that ended so.")
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Names the replay; the same one again runs nothing twice. Default: the time.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what each would do, and why.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list on stdout.")] = False,
    verify: Annotated[
        int | None, typer.Option(metavar="RUN_ID", help="Emit nothing: compute this run again and compare.")
    ] = None,
) -> None:
    """Emit requests of the past again, each under a new id: `<old id>/replay/<label>`.

    With --verify it computes a completed run again from its stored specification and the market data as they are now,
    and compares digest and every figure; exit status 1 where anything differs.

    What had a row of its own (run_id) becomes a request with that row's configuration, since a row executes once.
    Records that never were requests are skipped. Without --dry-run what is new is emitted, the rest is told.
    """
    if verify is not None:
        show_verification(verify, as_json=as_json)
        return
    if status is not None and origin == "topic":
        raise typer.BadParameter("only with --from table", param_hint="'--status'")
    limits = Range(options.utc_moment(since, "--since"), options.utc_moment(until, "--until"))
    url = database_settings().database_url.get_secret_value()
    _, connection = kafka_settings()
    name = label or f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,60}", name):
        raise typer.BadParameter("1 to 60 letters, digits and ._-", param_hint="'--label'")
    plan = asyncio.run(_replay(connection, url, origin, limits, status, name, dry_run=dry_run))
    if as_json:
        typer.echo(json.dumps([_json_of(each) for each in plan]))
    elif plan:
        typer.echo(text_columns([("effect", "request", "from", "why"), *map(_cells, plan)]))
    counts = ", ".join(f"{sum(each.effect is effect for each in plan)} {effect}" for effect in Effect)
    typer.echo(f"{'would be' if dry_run else 'emitted what is new'}: {counts} (label {name})", err=True)


async def _replay(
    connection: KafkaConnection, url: str, origin: str, limits: Range, status: str | None, label: str, *, dry_run: bool
) -> list[Planned]:
    found = await (_from_topic(connection, url, limits) if origin == "topic" else _from_table(url, limits, status))
    plan = plan_replay(found, label, await known_requests(url, new_ids(found, label)))
    if not dry_run:
        await send_records(connection, [_delivery(each) for each in plan if each.effect is Effect.NEW])
    return plan


async def _from_topic(connection: KafkaConnection, url: str, limits: Range) -> list[OldRequest]:
    async with open_reader(connection, [Topic.REQUESTED], from_beginning=True) as reader:
        first = await reader.offsets_at(limits.since) if limits.since else {}
        end = (
            await reader.offsets_at(limits.until)
            if limits.until
            else {(partition.topic, partition.partition): offset for partition, offset in reader.ends.items()}
        )
        records: list[Record] = []
        while not await reader.has_caught_up():
            records += await reader.read(0.5)
    wanted = [
        record
        for record in records
        if first.get((record.topic, record.partition), 0) <= record.offset < end[record.topic, record.partition]
    ]
    return [await _old_request(record, url) for record in wanted]


async def _from_table(url: str, limits: Range, status: str | None) -> list[OldRequest]:
    rows = await accepted_requests(url, limits.since, limits.until, status)
    return [
        await _executable(f"run {row['run_id']}", row["request_id"], row["data"], url)
        for row in rows
        if row["source"] != SOURCE
    ]


async def _old_request(record: Record, url: str) -> OldRequest:
    origin = f"{record.topic}/{record.partition}/{record.offset}"
    try:
        envelope = open_envelope(record.value, record.headers, EventType.REQUESTED)
    except EnvelopeError as error:
        return OldRequest(origin, origin, None, f"{error.reason}: {error.message}")
    place = (record.topic, record.partition, record.offset)
    identity = request_identity(envelope.data.get("request_id"), envelope.id, *place)
    if envelope.source == SOURCE:
        return OldRequest(origin, identity, None, "is of a replay itself")
    return await _executable(origin, identity, envelope.data, url, envelope.duplicate_keys)


async def _executable(
    origin: str, request_id: str, data: dict[str, Any], url: str, repeated: Sequence[str] = ()
) -> OldRequest:
    """The request, detached from its row: the row has been executed, or will be by the request that is there."""
    try:
        request: BacktestRequested = parse_requested(data, repeated)
        if request.run_id is not None:
            row = await find_run(url, request.run_id)
            if row is None:
                return OldRequest(
                    origin, request_id, None, f"run {request.run_id}, which held its configuration, is gone"
                )
            request = repeated_request(row, data)
    except (InvalidRequestError, InputRefused) as error:
        return OldRequest(origin, request_id, None, f"invalid_request: {error}")
    return OldRequest(origin, request_id, request)


def _delivery(planned: Planned) -> Delivery:
    if planned.request is None:
        raise ValueError(f"{planned.origin} cannot be emitted")
    value = render(planned.request, event_id=planned.new_id, source=SOURCE, time=datetime.now(UTC))
    return Delivery(Topic.REQUESTED, request_key(planned.new_id), value, (CONTENT_TYPE_HEADER,))


def _cells(planned: Planned) -> tuple[str, ...]:
    return (planned.effect, printable(planned.new_id), planned.origin, printable(planned.why))


def _json_of(planned: Planned) -> dict[str, Any]:
    return {
        "effect": planned.effect,
        "request_id": planned.new_id,
        "old_request_id": planned.old_id,
        "origin": planned.origin,
        "why": planned.why,
    }
