"""Claims steps of searches onto slots that no run wants, keeps their leases, delivers cancels, and lets go of them.

Runs come first: a step is claimed onto a slot for which no run waits. Where runs keep every slot busy, searches still
have a turn: the next slot that is free is kept for one step, whenever as much time has passed since the last one ended
as that one took. A step is about a second of work, so a run never waits for longer than that.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import assert_never

import structlog

from consumer.active_runs import StopWhy
from consumer.dispatch import Dispatcher
from consumer.errors import StoreUnavailable
from consumer.execute_step import ActiveStep, StepPorts, clear_up, execute_step
from consumer.ports import BeatAnswer, BeatResult
from consumer.ports.searches import LapsedShard, SearchChange, ShardKey
from consumer.telemetry import Telemetry

log = structlog.get_logger(__name__)

ActiveSteps = dict[ShardKey, ActiveStep]


@dataclass(slots=True)
class SearchDispatcher:
    """Owns the steps claimed by this worker. runs: who owns its runs, on the same slots."""

    ports: StepPorts
    runs: Dispatcher
    telemetry: Telemetry
    work_arrived: asyncio.Event
    active: ActiveSteps = field(default_factory=dict, init=False)
    tasks: set[asyncio.Task[None]] = field(default_factory=set, init=False)
    draining: bool = field(default=False, init=False)
    has_work: bool = field(default=False, init=False)
    """Whether the last look, or claim, found a search with a step to take: without one no claim is tried."""
    lapsed: frozenset[LapsedShard] = field(default=frozenset(), init=False)
    abandoned: frozenset[LapsedShard] = field(default=frozenset(), init=False)
    claim_unsure: bool = field(default=False, init=False)
    claiming: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    last_ended: float = field(default=float("-inf"), init=False)
    last_took: float = field(default=0.0, init=False)
    """Of the last step: when it ended, and the seconds it took."""

    async def look(self) -> None:
        """Ask whether any search has a step to take; called a few times a second, whatever runs do."""
        try:
            self.has_work = await self.ports.queue.open_searches() > 0
        except StoreUnavailable:
            self.has_work = False  # others tell of it
        self.lend()
        if self.has_work or self.abandoned:
            self.work_arrived.set()

    def lend(self) -> None:
        """Have runs leave the slots that steps are at, and one more when searches have their turn."""
        is_due = bool(self.has_work or self.abandoned) and not self.active and not self.draining
        is_due = is_due and self.ports.clock.monotonic() - self.last_ended >= self.last_took
        self.runs.slots_lent = len(self.active) + int(is_due)

    async def claim_once(self) -> None:
        """Claim what fits and start it; after runs had their chance."""
        async with self.claiming:
            room = self.room()
            if room <= 0 or not (self.has_work or self.abandoned):
                return
            try:
                await self._claim(room)
            except StoreUnavailable as error:  # runs are claimed by the same loop, and must not pause for it
                log.warning("no_step_claimed", error=str(error))

    async def _claim(self, room: int) -> None:
        abandoned = [lease for lease in self.abandoned if lease.key not in self.active]
        try:
            if self.claim_unsure:
                await self.ports.queue.forget_unknown(list(self.active))
                self.claim_unsure = False
            change = await self.ports.queue.claim(room, lapsed=abandoned)
        except BaseException:  # a cancellation loses the answer too
            self.claim_unsure = True
            raise
        self.abandoned = frozenset()
        self.take_note(change)
        self.ports.relay.add(change.events)
        for claim in change.claims:
            self.start(ActiveStep(claim, self.ports.clock.monotonic()))
        self.has_work = len(change.claims) == room

    def room(self) -> int:
        """Slots that are free once runs have theirs."""
        if self.draining or not self.ports.engine.is_ready or self.ports.relay.is_cut_off:
            return 0
        return self.runs.slots - len(self.runs.active) - len(self.active)

    def start(self, step: ActiveStep) -> None:
        if self.draining:
            step.end(StopWhy.DRAINED)
        self.active[step.claim.key] = step
        self.lend()
        facts = step.claim.facts
        task = asyncio.create_task(self.see_through(step), name=f"search {facts.optimization_id} {step.claim.number}")
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def see_through(self, step: ActiveStep) -> None:
        """Take one step, and account for what it came to."""
        claim = step.claim
        try:
            change = await execute_step(step, self.ports)
            if change is not None:
                self.take_note(change)
        except Exception:
            # Its lease runs out, and a worker that can handle it takes it.
            log.exception("step_abandoned", optimization_id=claim.facts.optimization_id, shard=claim.number)
        finally:
            now = self.ports.clock.monotonic()
            self.last_ended, self.last_took = now, now - step.claimed_at
            if self.active.get(claim.key) is step:
                del self.active[claim.key]
            self.has_work = True  # what it made possible is there at once
            self.lend()
            self.work_arrived.set()

    def take_note(self, change: SearchChange) -> None:
        """Log searches that ended."""
        for ended in change.ended:
            facts = ended.facts
            log.info(
                "search_finished",
                optimization_id=facts.optimization_id,
                request_id=facts.request_id,
                outcome=ended.outcome,
                why=ended.why,
            )
            self.telemetry.search_finished(ended.outcome)

    async def beat_once(self) -> None:
        """Extend all leases."""
        asked = dict(self.active)
        if asked:
            self.heed(asked, await self.ports.queue.beat([step.claim for step in asked.values()]))

    async def look_for_cancels(self) -> None:
        """Ask the store which steps must stop; called several times a second."""
        asked = dict(self.active)
        if asked:
            self.heed(asked, await self.ports.queue.cancels_wanted([step.claim for step in asked.values()]))

    def heed(self, asked: ActiveSteps, answers: Mapping[ShardKey, BeatResult]) -> None:
        for key, result in answers.items():
            step = asked[key]
            match result.answer:
                case BeatAnswer.ALIVE:
                    pass
                case BeatAnswer.CANCEL:
                    step.end(StopWhy.CANCELLED, result.reason)
                case BeatAnswer.FENCED:
                    step.end(StopWhy.FENCED)
                case _:
                    assert_never(result.answer)

    async def sweep(self) -> None:
        """End what is cancelled and waits for no slot, and find steps whose worker is gone: two sweeps in a row must
        have seen their leases lapsed (Dispatcher.sweep says why).
        """
        change = await self.ports.queue.sweep()
        self.take_note(change)
        self.ports.relay.add(change.events)
        for ended in change.ended:
            await clear_up(ended.facts.optimization_id, self.ports)
        lapsed = await self.ports.queue.lapsed()
        self.lapsed, self.abandoned = lapsed, lapsed & self.lapsed

    async def drain(self, patience_seconds: float, grace_seconds: float) -> None:
        """Claim nothing more; let steps finish within `patience_seconds`, give the rest back within the grace."""
        self.draining = True
        if self.tasks and patience_seconds > 0:
            await asyncio.wait(set(self.tasks), timeout=patience_seconds)
        for step in self.active.values():
            step.end(StopWhy.DRAINED)
        try:
            async with asyncio.timeout(grace_seconds):
                async with self.claiming:
                    pass  # steps of a claim under way have been started, and told to drain
                if self.tasks:
                    await asyncio.wait(set(self.tasks))
        except TimeoutError:
            log.warning("steps_left_to_their_leases", steps=sorted(self.active))
        for task in self.tasks:
            task.cancel()  # the store is away: the leases will lapse
        await asyncio.gather(*self.tasks, return_exceptions=True)
