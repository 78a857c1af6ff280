"""Language models as a run's advisors: the calls themselves, and the ledger that is paid by.

What is asked and what an answer means, the engine says (`engine.deciders.advised`); which calls may be made,
`rules.budget`; who makes them when, `consumer.advice`.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

Author = Literal["system", "user", "assistant"]
Messages = tuple[tuple[Author, str], ...]
"""Who says what, oldest first."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question of a run, as the engine asked it."""

    bar_time: datetime
    """Open of the deciding bar, UTC."""
    role: str
    messages: Messages


@dataclass(frozen=True, slots=True)
class AdviceFailed:
    """The run must end: code is llm_unavailable, llm_refused or llm_replay_miss."""

    code: str
    message: str


Advice = tuple[str | None, ...] | AdviceFailed
"""To each question of an ask what the model said; None: the budget had no room for the call."""
Advise = Callable[[Sequence[Question]], Awaitable[Advice]]
"""How a run asks. Cancelled, it stops waiting at once; a call that is out goes on, since it is paid for."""


@dataclass(frozen=True, slots=True)
class AdviceFigures:
    """What a run's calls came to, over all its attempts."""

    llm_calls_used: int = 0
    """Ever sent for it, or about to be."""
    llm_calls_cached: int = 0
    """Answers that it has from other runs' calls."""
    llm_cost: float | None = 0.0
    """Account currency; None where a price is not known."""
    llm_input_tokens: int = 0
    llm_output_tokens: int = 0


# --- calls -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model said, and what that cost."""

    text: str
    """No NUL, no lone surrogate, of bounded length."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class CallFailed:
    """The provider is away, overloaded or says nothing of use: the same call may succeed later."""

    message: str
    retry_after_seconds: float | None = None
    """As it asked."""
    was_sent: bool = True
    """False: nothing of the call has left this machine."""


@dataclass(frozen=True, slots=True)
class CallRefused:
    """The provider will not answer this call, however often it is sent."""

    message: str


CallOutcome = Reply | CallFailed | CallRefused


@dataclass(frozen=True, slots=True)
class CallSettings:
    """What beside model and messages shapes an answer."""

    max_tokens: int
    temperature: float


class ModelCaller(Protocol):
    """Sends calls. It neither retries nor follows redirects, and no secret is in anything it returns."""

    async def call(self, model: str, messages: Messages, settings: CallSettings) -> CallOutcome:
        """Send one request. Never raises for what the provider does; cancelled, it lets go of the connection."""
        ...

    async def close(self) -> None:
        """Let go of all connections."""
        ...


# --- the ledger ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Call:
    """A call before it is sent."""

    run_id: int
    epoch: int
    number: int
    """From 1 within the run, over all attempts."""
    question: Question
    key: str
    model: str


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """The answer to a key, and the run whose call it was."""

    text: str
    run_id: int


@dataclass(frozen=True, slots=True)
class CallsMade:
    """What the ledger has of a run."""

    last_number: int
    """The highest that was ever given. One below it may be nobody's: of calls that are begun together a later one may
    stand there when the worker dies before the earlier one does. It counts towards the budget all the same."""
    unanswered: int
    """Of those, failed ones and those whose answer was lost or is still out."""
    figures: AdviceFigures


class CallLedger(Protocol):
    """Every call to a model, kept for good. Raises StoreUnavailable."""

    async def made(self, run_id: int) -> CallsMade: ...

    async def answers(self, keys: Collection[str], run_id: int | None) -> Mapping[str, KnownAnswer]:
        """The first answer there was to each of the keys that has one; run_id: of this run's calls only."""
        ...

    async def begin(self, call: Call) -> bool:
        """Make the call durable, before it is sent. False: fenced, another epoch owns the run or it has ended.

        Idempotent for the same call: where the answer to the first time was lost it may be begun again.
        """
        ...

    async def settle(
        self, call: Call, outcome: Reply | CallFailed | CallRefused, latency_ms: int, *, shared: bool
    ) -> KnownAnswer | None:
        """Keep what came of a call, fenced or not: it was paid for. Idempotent.

        Returns the answer that counts for its key from now on, the first one there was (not shared: of this run's
        calls); None where the call has none.
        """
        ...

    async def note_limit(self, specification: str, key: str) -> None:
        """Remember that runs of this specification (its hash) have no budget for this question. Idempotent."""
        ...

    async def is_limit(self, specification: str, key: str) -> bool: ...

    async def calls_of(self, run_id: int) -> Sequence[Mapping[str, Any]]:
        """The run's calls by number: the columns of backtest_llm_calls."""
        ...


class KeptMessages(Protocol):
    """Reads what was asked."""

    def read_messages(self, key: str) -> bytes:
        """What was asked under a key: a JSON object of model, settings and messages. Raises ArtifactsUnavailable."""
        ...


class MessageStore(Protocol):
    """Keeps what was asked, once a key."""

    def save_messages(self, key: str, document: bytes) -> str:
        """Keep it under its key unless it is there; its path or URL. Raises ArtifactsUnavailable."""
        ...
