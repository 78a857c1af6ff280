"""A desk over an in-memory ledger and a provider that says what a test wants."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from consumer.adapters.memory.llm_calls import MemoryCalls
from consumer.adapters.memory.tables import MemoryTables
from consumer.advice.desk import AdviceDesk, DeskLimits
from consumer.advice.run_advice import AdviceTerms, RunAdvice
from consumer.ports.advice import CallOutcome, CallSettings, Messages, Question, Reply
from tests.support.waiting import eventually

SETTINGS = CallSettings(max_tokens=100, temperature=0.0)
LIMITS = DeskLimits(concurrency=4, requests_per_minute=1000, timeout_seconds=60, patience_seconds=120)
START = datetime(2024, 1, 1, tzinfo=UTC)
HOLD = Reply('{"action": "HOLD"}', 100, 10, 0.5)


@dataclass(slots=True)
class ScriptedCaller:
    """Implements `ModelCaller`: answers by a script, and remembers what was sent."""

    answer: Callable[[int, Messages], CallOutcome] = lambda _number, _messages: HOLD
    """Number of the call, from 1."""
    sent: list[Messages] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    """Answers wait for it."""
    at_once: int = 0
    most_at_once: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    async def call(self, model: str, messages: Messages, settings: CallSettings) -> CallOutcome:
        self.sent.append(messages)
        number = len(self.sent)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.gate.wait()
            return self.answer(number, messages)
        finally:
            self.at_once -= 1

    async def close(self) -> None:
        pass


class KeptMessages(dict[str, bytes]):
    """Implements `MessageStore`."""

    def save_messages(self, key: str, document: bytes) -> str:
        self[key] = document
        return key


@dataclass(slots=True)
class Office:
    """A desk whose sleeps are the clock's."""

    tables: MemoryTables = field(default_factory=MemoryTables)
    caller: ScriptedCaller = field(default_factory=ScriptedCaller)
    limits: DeskLimits = LIMITS
    kept: KeptMessages = field(default_factory=KeptMessages)
    desk: AdviceDesk = field(init=False)
    slept: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        async def sleep(seconds: float) -> None:
            self.slept.append(seconds)
            self.tables.clock.advance(seconds)
            await asyncio.sleep(0)

        ledger = MemoryCalls(self.tables)
        self.desk = AdviceDesk(self.caller, ledger, self.kept, self.tables.clock, self.limits, sleep)

    def run(self, run_id: int = 1, *, max_calls: int = 10, epoch: int = 1, **terms: object) -> RunAdvice:
        """A run that this worker has claimed."""
        self.tables.executions[run_id] = {"epoch": epoch, "state": "running"}
        made = AdviceTerms(
            run_id, epoch, "openai:test", SETTINGS, max_calls, replays=False, specification="ef" * 32, start=START
        )
        return RunAdvice(self.desk, replace(made, **terms))  # type: ignore[arg-type]  # a test's own fields

    async def states(self, run_id: int = 1) -> list[str]:
        return [row["state"] for row in await self.desk.ledger.calls_of(run_id)]


def question(text: str = "What now?", role: str = "decide") -> Question:
    return Question(datetime(2024, 1, 2, tzinfo=UTC), role, (("system", "You decide."), ("user", text)))


async def until(condition: Callable[[], bool]) -> None:
    """Wait until it holds."""

    async def probe() -> bool:
        return condition()

    await eventually(probe, "what the test waits for", seconds=10)
