"""Reads a stream of server-sent events as a browser does."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx


@dataclass(frozen=True, slots=True)
class Told:
    """One event."""

    word: str
    data: dict[str, Any]
    number: int | None


@dataclass(slots=True)
class EventSource:
    """An open stream. status and headers are there at once."""

    response: httpx.Response
    comments: int = 0
    told: list[Told] = field(default_factory=list)

    lines: AsyncIterator[str] = field(init=False)

    def __post_init__(self) -> None:
        self.lines = self.response.aiter_lines()

    async def events(self) -> AsyncIterator[Told]:
        """Each as it comes, until the server closes; called again, it goes on."""
        fields: dict[str, str] = {}
        async for line in self.lines:
            if line.startswith(":"):
                self.comments += 1
            elif line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif fields:
                number = int(fields["id"]) if "id" in fields else None
                event = Told(fields["event"], json.loads(fields["data"]), number)
                fields = {}
                self.told.append(event)
                yield event

    async def to_the_end(self) -> list[Told]:
        return [event async for event in self.events()]

    async def until(self, word: str, **data: Any) -> Told:
        """The first such event."""
        async for event in self.events():
            if event.word == word and data.items() <= event.data.items():
                return event
        raise AssertionError(f"the stream ended without {word} {data}: {self.told}")


@asynccontextmanager
async def event_source(
    client: httpx.AsyncClient, path: str, last_event_id: int | None = None
) -> AsyncIterator[EventSource]:
    headers = {"Accept": "text/event-stream"}
    if last_event_id is not None:
        headers["Last-Event-ID"] = str(last_event_id)
    async with client.stream("GET", path, headers=headers, timeout=60) as response:
        yield EventSource(response)
