"""An upstream that asks over HTTP: by the same key again until it is told something, and it remembers what."""

from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import httpx

from tests.faults.api import AnyBody, Api
from tests.faults.checker import Finding
from tests.faults.posted import Accepted, Posted, PostedCancel
from tests.support.waiting import eventually

RUNS, SEARCHES = "/v1/backtest", "/v1/optimization"
ANSWER_SECONDS = 240.0
"""As long as servers may be away, and an API may take to start beside all that goes on."""


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

    def kept(self) -> dict[str, Any]:
        """As of now, as keyword arguments of Evidence."""
        posted = {key: each.copy() for key, each in self.told.items()}
        return {"posted": posted, "posted_cancels": tuple(self.cancels)}

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
