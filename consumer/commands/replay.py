"""`backtest replay`: emit requests of the past as new ones, after a look at what each would do."""

import asyncio
import json
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import typer

from consumer.clock import SystemClock
from consumer.commands.connections import database_settings, kafka_settings
from consumer.commands.display.columns import text_columns
from consumer.commands.options import values as options
from consumer.ports.requests import Topics
from consumer.requests.old_requests import REPLAY_SOURCE, Offsets, Range, requests_in_table, requests_in_topic
from consumer.requests.replaying import Effect, Planned, emit_new, plan_with_history
from consumer.requests.replaying_searches import (
    PlannedSearch,
    emit_searches,
    plan_searches,
    searches_in_table,
    searches_in_topic,
)
from consumer.settings import DatabaseSettings
from consumer.wiring.broker import open_topics
from consumer.wiring.database import open_history, open_search_history
from schemas.json_text import printable

app = typer.Typer(add_completion=False)


@app.command()
def replay(
    origin: Annotated[
        Literal["topic", "table"], typer.Option("--from", help="The request topic, or the requests in the database.")
    ] = "topic",
    since: Annotated[
        str | None, typer.Option(help="Sent (table: received) at or after; UTC without an offset.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="And before.")] = None,
    partition: Annotated[
        int | None, typer.Option(min=0, help="Topic only: of this partition (each partition counts its own offsets).")
    ] = None,
    from_offset: Annotated[
        int | None, typer.Option(min=0, help="With --partition: from this offset on, it included.")
    ] = None,
    until_offset: Annotated[int | None, typer.Option(min=0, help="With --partition: and before this one.")] = None,
    status: Annotated[
        Literal["completed", "failed", "cancelled"] | None, typer.Option(help="Table only: runs that ended so.")
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Names the replay; the same one again runs nothing twice. Default: the time.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what each would do, and why.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list on stdout.")] = False,
    searches: Annotated[
        bool, typer.Option("--searches", help="Requests for searches of parameters in place of those for runs.")
    ] = False,
    every: Annotated[
        bool, typer.Option("--all", help="All requests of the topic or the table, where nothing else limits them.")
    ] = False,
    verify: Annotated[
        int | None, typer.Option(metavar="RUN_ID", help="Emit nothing: compute this run again and compare.")
    ] = None,
) -> None:
    """Emit requests of the past again, each under a new id: `<old id>/replay/<label>`.

    With --verify it computes a completed run again from its stored specification and the market data as they are now,
    and compares digest and every figure; exit status 1 where anything differs.

    What had a row of its own (run_id) becomes a request with that row's configuration, since a row executes once.
    Records that never were requests are skipped. Without --dry-run what is new is emitted, the rest is told;
    for that a limit, a label or --all has to be given.
    """
    if verify is not None:
        from consumer.commands.verify_run import show_verification  # here: no other replay needs the engine

        show_verification(verify, as_json=as_json)
        return
    if status is not None and origin == "topic":
        raise typer.BadParameter("only with --from table", param_hint="'--status'")
    offsets = _offsets(origin, partition, from_offset, until_offset)
    is_limited = any(each is not None for each in (since, until, partition, status, label))
    if not (every or is_limited or dry_run):
        raise typer.BadParameter(
            "say which requests: --since, --until, --partition or --status, give the replay a --label,"
            " or ask for all of them",
            param_hint="'--all'",
        )
    limits = Range(options.utc_moment(since, "--since"), options.utc_moment(until, "--until"))
    settings = database_settings()
    topics = open_topics(kafka_settings())
    name = label or f"{SystemClock().now_utc():%Y%m%dT%H%M%SZ}"
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,60}", name):
        raise typer.BadParameter("1 to 60 letters, digits and ._-", param_hint="'--label'")
    replaying = _replay_searches if searches else _replay
    plan = asyncio.run(replaying(settings, topics, origin, limits, offsets, status, name, dry_run=dry_run))
    if as_json:
        typer.echo(json.dumps([_json_of(each) for each in plan]))
    elif plan:
        typer.echo(text_columns([("effect", "request", "from", "why"), *map(_cells, plan)]))
    counts = ", ".join(f"{sum(each.effect is effect for each in plan)} {effect}" for effect in Effect)
    typer.echo(f"{'would be' if dry_run else 'emitted what is new'}: {counts} (label {name})", err=True)


def _offsets(origin: str, partition: int | None, first: int | None, end: int | None) -> Offsets | None:
    if partition is None:
        if first is not None or end is not None:
            raise typer.BadParameter("say of which: each partition counts its own offsets", param_hint="'--partition'")
        return None
    if origin != "topic":
        raise typer.BadParameter("only with --from topic", param_hint="'--partition'")
    return Offsets(partition, first, end)


async def _replay(
    settings: DatabaseSettings,
    topics: Topics,
    origin: str,
    limits: Range,
    offsets: Offsets | None,
    status: str | None,
    label: str,
    *,
    dry_run: bool,
) -> Sequence[Planned | PlannedSearch]:
    async with open_history(settings) as history:
        if origin == "topic":
            found = await requests_in_topic(topics, history, limits, offsets)
        else:
            found = await requests_in_table(history, limits, status)
        plan = await plan_with_history(found, label, history)
    if not dry_run:
        await emit_new(plan, topics, source=REPLAY_SOURCE, now=SystemClock().now_utc())
    return plan


async def _replay_searches(
    settings: DatabaseSettings,
    topics: Topics,
    origin: str,
    limits: Range,
    offsets: Offsets | None,
    status: str | None,
    label: str,
    *,
    dry_run: bool,
) -> Sequence[Planned | PlannedSearch]:
    async with open_history(settings) as history, open_search_history(settings) as kept:
        if origin == "topic":
            found = await searches_in_topic(topics, kept, limits, offsets)
        else:
            found = await searches_in_table(kept, limits, status)
        plan = await plan_searches(found, label, history)
    if not dry_run:
        await emit_searches(plan, topics, now=SystemClock().now_utc())
    return plan


def _cells(planned: Planned | PlannedSearch) -> tuple[str, ...]:
    return (planned.effect, printable(planned.new_id), planned.origin, printable(planned.why))


def _json_of(planned: Planned | PlannedSearch) -> dict[str, Any]:
    return {
        "effect": planned.effect,
        "request_id": planned.new_id,
        "old_request_id": planned.old_id,
        "origin": planned.origin,
        "why": planned.why,
    }
