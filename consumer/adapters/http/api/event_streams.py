"""Streams of server-sent events: of one run or search, and of all of them."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import structlog
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from consumer.adapters.http.api.services import Services
from consumer.broadcaster import Event, Follower, Key, Tick
from consumer.errors import Unavailable
from consumer.ports.standings import Row
from consumer.reports.json_values import plain
from consumer.rules.told import ENDED, end_of, state_of

log = structlog.get_logger(__name__)

MEDIA_TYPE: Final = "text/event-stream"
HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
COMMENT: Final = ": still here\n\n"
COMMENT_SECONDS: Final = 15.0
DEBOUNCE_SECONDS: Final = 0.05
"""Between two sends: progress that comes within is one event."""
LATE_SECONDS: Final = 1.0
"""For the event of an end that the tables tell of already: it says more than they do."""
PAGE: Final = 500
OVERLAP_SECONDS: Final = 30.0
"""In which events may come that the states at the beginning of a stream of everything include already."""
AGAIN_SECONDS: Final = 1.0
PART_CHARACTERS: Final = 16_384
SEND_SECONDS: Final = 30.0
"""For a reader to take something; one that takes nothing any more must not keep what came meanwhile in memory."""


class _ReaderStalled(Exception):
    """It took nothing for SEND_SECONDS."""


class EventStream(StreamingResponse):
    """Leaves with its client, whether anything was sent or not."""

    def __init__(self, parts: AsyncIterator[str], leave: Callable[[], None]) -> None:
        super().__init__(parts, headers=HEADERS, media_type=MEDIA_TYPE)
        self.leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_in_time(message: Message) -> None:
            try:
                async with asyncio.timeout(SEND_SECONDS):
                    await send(message)
            except TimeoutError as error:
                raise _ReaderStalled from error

        try:
            await super().__call__(scope, receive, send_in_time)
        except _ReaderStalled:
            log.info("stream_ended", error=f"its reader took nothing for {SEND_SECONDS:g} s")
        finally:
            self.leave()


def stream(request: Request, parts: AsyncIterator[str], leave: Callable[[], None] = lambda: None) -> Response:
    """The answer; a HEAD gets none of it. leave: called in any case, once the client is gone."""
    if request.state.is_head:
        leave()
        return Response(headers=HEADERS, media_type=MEDIA_TYPE)
    return EventStream(parts, leave)


def last_event_id(request: Request) -> int | None:
    """The sequence that the client has seen."""
    given = request.headers.get("last-event-id", "").strip()
    return int(given) if given.isascii() and given.isdigit() and len(given) < 19 else None


def has_seen_end(row: Row, seen: int | None) -> bool:
    return row["status"] in ENDED and seen is not None and row["sequence"] <= seen


async def one(services: Services, key: Key, row: Row, follower: Follower) -> AsyncIterator[str]:
    """`state`, then what is new, until the end. row: where it stood once the follower was there."""
    is_over = row["status"] in ENDED
    # Without its id: who has seen no more than that it ended has not had the event of its end.
    yield told("state", state_of(row), None if is_over else row["sequence"])
    if is_over:
        yield told(row["status"], end_of(row), row["sequence"])
        return
    seen = row["sequence"]
    while not services.broadcaster.is_stopping:
        if not await _is_set(follower.woken, COMMENT_SECONDS):
            yield COMMENT
            continue
        if follower.has_ended and not follower.waiting:
            await _woken_by_event(follower)
        for event in follower.take():
            if event.sequence <= seen:
                continue
            seen = event.sequence
            yield told(event.word, event.data, seen)
            if event.is_last:
                return
        if follower.has_ended:
            yield await _end_by_tables(services, key, row)
            return
        await asyncio.sleep(DEBOUNCE_SECONDS)


async def everything(services: Services) -> AsyncIterator[str]:
    """`state` of all that has not ended, then all that is new."""
    broadcaster = services.broadcaster
    at = broadcaster.tick_number  # before the look: no event falls between
    seen: dict[Key, int] = {}
    try:
        async for states in _states(services, seen):
            yield states
    except Unavailable as error:
        log.info("stream_ended", error=str(error))
        return  # the client comes again
    yield COMMENT
    overlap_ends = time.monotonic() + OVERLAP_SECONDS
    while not broadcaster.is_stopping:
        ticked = broadcaster.ticked
        if at == broadcaster.tick_number and not await _is_set(ticked, COMMENT_SECONDS):
            yield COMMENT
            continue
        new = broadcaster.since(at)
        if new is None:
            return  # too far behind: the client comes again, and begins with what stands now
        at = broadcaster.tick_number
        if seen and time.monotonic() > overlap_ends:
            seen.clear()
        for text in _texts(new, seen):
            yield text


def _texts(new: Tick, seen: Mapping[Key, int]) -> Iterable[str]:
    """What is new of it in parts, made once for all who have seen none of it, and small ones: each reader that is slow
    has one waiting.
    """
    if any(event.sequence <= seen.get(event.key, 0) for event in new.events):
        return _parts(event for event in new.events if event.sequence > seen.get(event.key, 0))
    if not new.texts:
        new.texts.extend(_parts(new.events))
    return new.texts


def _parts(events: Iterable[Event]) -> Iterator[str]:
    """Whole events, as many as there are up to PART_CHARACTERS."""
    part: list[str] = []
    size = 0
    for event in events:
        part.append(told(event.word, event.data, None))
        size += len(part[-1])
        if size >= PART_CHARACTERS:
            yield "".join(part)
            part, size = [], 0
    if part:
        yield "".join(part)


async def _states(services: Services, seen: dict[Key, int]) -> AsyncIterator[str]:
    for is_search, pages in ((False, services.standings.active_runs), (True, services.standings.active_searches)):
        after = 0
        while rows := await pages(after, PAGE):
            after = rows[-1]["optimization_id" if is_search else "run_id"]
            for row in rows:
                seen[is_search, row["optimization_id" if is_search else "run_id"]] = row["sequence"]
            yield "".join(told("state", state_of(row), None) for row in rows)


def told(word: str, data: "dict[str, Any] | str", number: int | None) -> str:
    text = data if isinstance(data, str) else json.dumps(plain(data), separators=(",", ":"))
    identity = f"id: {number}\n" if number is not None else ""
    return f"{identity}event: {word}\ndata: {text}\n\n"


async def _is_set(event: asyncio.Event, timeout_seconds: float) -> bool:
    try:
        async with asyncio.timeout(timeout_seconds):
            return await event.wait()
    except TimeoutError:
        return False


async def _woken_by_event(follower: Follower) -> None:
    follower.woken.clear()
    await _is_set(follower.woken, LATE_SECONDS)


async def _end_by_tables(services: Services, key: Key, known: Row) -> str:
    """How it ended, where its event does not come; it waits for Postgres as long as the client does."""
    is_search, number = key
    while True:
        try:
            row = await (services.standings.search(number) if is_search else services.standings.run(number))
            break
        except Unavailable:
            await asyncio.sleep(AGAIN_SECONDS)
    if row is None:
        gone = {**known, "status": "cancelled", "sequence": known["sequence"] + 1, "cancel_reason": "run_deleted"}
        return told("cancelled", end_of(gone), gone["sequence"])
    return told(row["status"], end_of(row), row["sequence"])
