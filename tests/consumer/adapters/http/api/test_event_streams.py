"""What many readers of everything share, and what becomes of one that takes nothing any more."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from consumer.adapters.http.api import event_streams
from consumer.adapters.http.api.event_streams import PART_CHARACTERS, EventStream
from consumer.broadcaster import Event, Tick


def test_readers_share_the_text_of_what_came_and_get_it_in_small_parts_of_whole_events() -> None:
    tick = Tick(1, [Event((False, number), 1, "completed", "x" * 1_000) for number in range(200)])
    first = event_streams._texts(tick, {})
    assert event_streams._texts(tick, {(False, 7): 0}) is first
    assert max(map(len, first)) < PART_CHARACTERS + 1_100
    assert all(part.endswith("\n\n") for part in first)
    assert "".join(first).count("event: completed\n") == 200
    assert "".join(event_streams._texts(tick, {(False, 7): 1})).count("event: completed\n") == 199


async def test_a_reader_that_takes_nothing_any_more_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_streams, "SEND_SECONDS", 0.05)
    left: list[bool] = []

    async def parts() -> AsyncIterator[str]:
        while True:
            yield "event: state\n\n"

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    async with asyncio.timeout(10):
        await EventStream(parts(), lambda: left.append(True))({"type": "http"}, receive, send)
    assert left == [True]
