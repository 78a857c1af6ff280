"""An upstream that asks over HTTP: by the same key again until it is told something, and it remembers what."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import httpx

from tests.faults.api import AnyBody, Api
from tests.faults.checker import Finding
from tests.faults.followers import Follower
from tests.faults.posted import Accepted, Followed, Posted, PostedCancel
from tests.support.waiting import eventually

RUNS, SEARCHES = "/v1/backtest", "/v1/optimization"
ANSWER_SECONDS = 240.0
"""As long as servers may be away, and an API may take to start beside all that goes on."""

LATE_SECONDS = 60.0
"""For a follower, once all has ended; a process that stood still may have to be given up first."""


@dataclass(slots=True)
class Posts:
    """Of one upstream, that knows several API processes."""

    apis: list[Api] = field(default_factory=list)
    """Also those that have ended."""
    told: dict[str, Posted] = field(default_factory=dict)
    """By Idempotency-Key."""
    cancels: list[PostedCancel] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    """Answers that nobody promised."""
    following: list["asyncio.Task[Followed]"] = field(default_factory=list)
    turns: "count[int]" = field(default_factory=count)

    @property
    def alive(self) -> list[Api]:
        return [api for api in self.apis if api.process.is_alive]

    async def post(
        self,
        key: str,
        body: AnyBody,
        *,
        path: str = RUNS,
        first: Api | None = None,
        promised: Collection[int] = (202,),
        is_emitted_too: bool = False,
    ) -> int | None:
        """Ask for a run or a search; its number, None if it was refused. first: who is asked before the others."""
        posted = self.told.setdefault(key, Posted(is_search=path == SEARCHES))
        posted.is_emitted_too |= is_emitted_too
        answer = await self._answer(path, body, key, first)
        self._judge(answer, promised, f"{path} by {key!r}")
        if answer.status_code != 202:
            posted.refused.append(answer.status_code)
            return None
        posted.accepted.append(Accepted(body, answer.content))
        return posted.accepted[-1].number

    async def cancel(self, number: int, *, path: str = RUNS) -> None:
        """Ask for the end of what was accepted; it may have ended."""
        answer = await self._answer(f"{path}/{number}/cancel", {"reason": "changed my mind"}, None, None)
        self._judge(answer, (202, 409), f"the cancel of {path}/{number}")
        if answer.status_code == 202:
            self.cancels.append(PostedCancel(path == SEARCHES, number, answer.json()["status"]))

    def follow(self, number: int, *, path: str = RUNS) -> None:
        """Follow what was accepted, beside all else."""
        follower = Follower(f"{path}/{number}", lambda: self.alive)
        self.following.append(asyncio.create_task(follower.follow(), name=f"follower of {path}/{number}"))

    async def hear_all_ends(self) -> None:
        """Wait for the followers, once everything has ended."""
        if self.following:
            done, late = await asyncio.wait(self.following, timeout=LATE_SECONDS)
            lost = [(each, "still waits") for each in late]
            lost += [(each, str(each.exception())) for each in done if each.exception() is not None]
            for each, what in lost:
                each.cancel()
                self.findings.append(Finding("a_follower_sees_the_end", f"{each.get_name()}: {what}"))
                self.following.remove(each)

    def kept(self) -> dict[str, Any]:
        """As of now, as keyword arguments of Evidence."""
        posted = {key: each.copy() for key, each in self.told.items()}
        done = (each for each in self.following if each.done())
        followed = tuple(each.result() for each in done if each.exception() is None)
        return {"posted": posted, "posted_cancels": tuple(self.cancels), "followed": followed}

    def accepted_runs(self) -> dict[str, Accepted]:
        """The first answer 202 of each key."""
        return {key: each.accepted[0] for key, each in self.told.items() if each.accepted and not each.is_search}

    async def _answer(self, path: str, body: AnyBody, key: str | None, first: Api | None) -> httpx.Response:
        """Of one process after the other, until it is neither silence nor 503."""
        asked = first

        async def attempt() -> list[httpx.Response]:
            nonlocal asked
            if asked is None and (alive := self.alive):
                asked = alive[next(self.turns) % len(alive)]
            answer = await asked.post(path, body, key) if asked is not None else None
            asked = None
            return [] if answer is None or answer.status_code == 503 else [answer]  # an error is no true value

        return (await eventually(attempt, f"an answer to {path}", seconds=ANSWER_SECONDS))[0]

    def _judge(self, answer: httpx.Response, promised: Collection[int], what: str) -> None:
        if answer.status_code not in promised:
            told = f"{what} was answered {answer.status_code}, promised {sorted(promised)}: {answer.text[:300]}"
            self.findings.append(Finding("posts_are_answered_as_promised", told))
