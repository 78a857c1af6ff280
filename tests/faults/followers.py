"""A subscriber over HTTP: it follows a run or search from process to process, by the last sequence seen, to its end."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import httpx

from tests.faults.api import Api
from tests.faults.posted import Followed
from tests.support.waiting import eventually

TERMINAL = ("completed", "failed", "cancelled")
END_SECONDS = 600.0
"""As long as a round may take; a deadline, so that nothing hangs."""


@dataclass(slots=True)
class Follower:
    """Of one run or search. alive: the API processes that may be asked."""

    path: str
    """Of the run or search."""
    alive: Callable[[], Sequence[Api]]
    turns: "count[int]" = field(default_factory=count)
    seen: int = 0
    wrong: list[str] = field(default_factory=list)
    """What the streams must not have said."""
    end: tuple[str, int] | None = None
    """Status and sequence."""

    async def follow(self) -> Followed:
        """To the end, and once more: there is nothing after it. Raises AssertionError when the end never comes."""
        await eventually(self._listen, f"the end of {self.path}", seconds=END_SECONDS)
        await eventually(self._is_told_of_no_more, f"204 for {self.path}", seconds=END_SECONDS)
        assert self.end is not None
        number = int(self.path.rpartition("/")[2])
        return Followed("optimization" in self.path, number, *self.end, tuple(self.wrong))

    async def _listen(self) -> bool:
        """On one connection; whether it brought the end."""
        highest = 0
        try:
            async with self._stream() as answer:
                if answer.status_code == 204:
                    self.wrong.append(f"204 after {self.seen}, before its end")
                async for word, data, sequence in _events(answer):
                    if word != "state" and sequence <= highest:
                        self.wrong.append(f"{word} of {sequence} after {highest}")
                    highest = max(highest, sequence)
                    self.seen = max(self.seen, sequence)
                    if word in TERMINAL:
                        self.end = (str(data["status"]), sequence)
        except httpx.TransportError:
            pass  # it died, or was told to stop: the next one is asked
        return self.end is not None

    async def _is_told_of_no_more(self) -> bool:
        try:
            async with self._stream() as answer:
                if answer.status_code == 200:
                    self.wrong.append(f"a stream after the end, {self.seen}")
                return answer.status_code in {200, 204}
        except httpx.TransportError:
            return False

    def _stream(self) -> Any:
        alive = self.alive()
        if not alive:
            raise httpx.ConnectError("no API is up")
        api = alive[next(self.turns) % len(alive)]
        return api.client.stream(
            "GET", f"{self.path}/events", headers={"Last-Event-ID": str(self.seen)} if self.seen else {}, timeout=40
        )


async def _events(answer: httpx.Response) -> AsyncIterator[tuple[str, dict[str, Any], int]]:
    """Word, data and id (0: none) of each event; nothing of an answer that is no stream."""
    if answer.status_code != 200:
        return
    told: dict[str, str] = {}
    async for line in answer.aiter_lines():
        name, _, value = line.partition(": ")
        if name in {"id", "event", "data"}:
            told[name] = value
        elif not line and told:
            yield told["event"], json.loads(told["data"]), int(told.get("id", 0))
            told = {}
