"""Strategies' code asked in place, for tests of what uses a checker. Implements `StrategyChecker`."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass

from consumer.ports import StrategyCheck, Verdict


@dataclass(frozen=True, slots=True)
class InMemoryChecker:
    """Every check is a lot of its own, as soon as `ask` has its answer."""

    ask: Callable[[StrategyCheck], Awaitable[Verdict]]

    async def check(self, checks: Collection[StrategyCheck]) -> AsyncIterator[Mapping[StrategyCheck, Verdict]]:
        asked = {asyncio.ensure_future(self.ask(check)): check for check in checks}
        while asked:
            done, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            yield {asked.pop(answer): answer.result() for answer in done}
