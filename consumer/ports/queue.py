"""The queue: leases over runs, and every write that they fence."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from consumer.ports.events import OutgoingEvent, RunFacts
from consumer.ports.outcomes import TerminalOutcome


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run one run, until a higher epoch exists."""

    facts: RunFacts
    epoch: int
    attempt: int
    """From 1; rises with every claim."""
    deaths: int
    sequence: int
    """Of the last event written (the started event)."""
    specification: dict[str, Any]
    """As admitted (consumer.preparation.snapshot reads it)."""
    events: tuple[OutgoingEvent, ...] = ()
    """The run's unsent events, the new `started` one included, sequence rising: this worker relays them now."""

    @property
    def run_id(self) -> int:
        return self.facts.run_id


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """Runs to execute, and events of runs that ended instead (cancelled meanwhile, crash_loop)."""

    claims: tuple[Claim, ...]
    events: tuple[OutgoingEvent, ...] = ()
    ended: tuple["EndedRun", ...] = ()


@dataclass(frozen=True, slots=True)
class EndedRun:
    """A run that ended without being executed by this call, for the log."""

    run_id: int
    request_id: str
    epoch: int
    outcome: str


@dataclass(frozen=True, slots=True)
class LapsedLease:
    """One lease as it was seen after it had run out. Renewed, it is another one."""

    run_id: int
    epoch: int
    lease_until: datetime
    """The store's clock."""


@dataclass(frozen=True, slots=True)
class Beat:
    """One run's heartbeat; with `progress`, its newest progress too."""

    claim: Claim
    progress_pct: int | None = None
    event: OutgoingEvent | None = None


class BeatAnswer(StrEnum):
    """What a heartbeat learnt."""

    ALIVE = "alive"
    FENCED = "fenced"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class BeatResult:
    """answer; for CANCEL its reason; the stored progress event, for the relay."""

    answer: BeatAnswer
    reason: str = ""
    event: OutgoingEvent | None = None


@dataclass(frozen=True, slots=True)
class FinishResult:
    """How the run really ended (a cancel may have won), with its unsent events; None: fenced, nothing was written."""

    outcome: TerminalOutcome
    events: tuple[OutgoingEvent, ...]


class RunQueue(Protocol):
    """Leases over runs, on the store's clock. Every write is fenced by (run_id, epoch, state running)."""

    async def lapsed(self) -> frozenset[LapsedLease]:
        """Leases that have run out and whose runs could be claimed, the oldest of them; changes nothing."""
        ...

    async def claim(self, count: int, *, lapsed: Collection[LapsedLease] = ()) -> ClaimResult:
        """Claim up to `count` runs: first those of `lapsed` leases, then the oldest queued ones by turn.

        A lapsed lease that was renewed or taken meanwhile is passed over. One that is taken counts as a death; at
        MAX_ATTEMPTS deaths the run ends failed (crash_loop) instead. Never waits for a lock; two workers never get
        the same run. One transaction with the started events.
        """
        ...

    async def beat(self, beats: Sequence[Beat]) -> Mapping[int, BeatResult]:
        """Extend leases, store progress, and ask for cancels, for all runs of this worker in one statement."""
        ...

    async def cancels_wanted(self, claims: Sequence[Claim]) -> Mapping[int, BeatResult]:
        """Which of these runs must stop (CANCEL or FENCED); read only, cheap, called several times a second."""
        ...

    async def finish(self, claim: Claim, outcome: TerminalOutcome) -> FinishResult | None:
        """End the run in one transaction: row, trades, terminal event, unsent progress dropped.

        A row that says cancelled or is gone, and a noted cancel, turn the outcome into Cancelled and drop results; a
        row whose configuration is not the one that was executed turns Completed into Failed (run_disagrees).
        Idempotent for the same epoch: finishing again returns the first outcome's events. None: fenced.
        """
        ...

    async def give_back(self, claim: Claim, *, died: bool) -> bool:
        """Put a claimed run back at its old place in the queue; `died` counts a death. False: fenced."""
        ...

    async def sweep(self) -> ClaimResult:
        """End queued (and lapsed) runs that are cancelled or whose row is gone, without any slot; claims nothing."""
        ...

    async def forget_unknown(self, known: Sequence[int]) -> int:
        """Give back runs that this worker owns by the table but does not know of (a claim whose answer was lost)."""
        ...
