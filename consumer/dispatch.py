"""Claims queued runs onto free slots, keeps their leases, delivers cancels, and lets go of them when the worker
stops.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import assert_never

import structlog

from consumer.active_runs import ActiveRun, ActiveRuns
from consumer.execute_run import RunPorts, execute_run
from consumer.ports import Beat, BeatAnswer, BeatResult, ClaimResult, EndedRun, EngineProgress, EventWriter, LapsedLease
from consumer.ports.outcomes import Cancelled, Completed, Failed, Returned, RunOutcome, Superseded
from consumer.rules.events import progress_percent
from consumer.telemetry import Telemetry

log = structlog.get_logger(__name__)

SHORT_RUN_SECONDS = 0.1
"""Below this mean, claiming a few runs ahead of the slots hides the claim's round trip."""
CLAIMS_AHEAD_A_SLOT = 4


@dataclass(slots=True)
class Dispatcher:
    """Owns the runs claimed by this worker."""

    ports: RunPorts
    writer: EventWriter
    telemetry: Telemetry
    work_arrived: asyncio.Event
    slots: int
    active: ActiveRuns = field(default_factory=dict, init=False)
    tasks: set[asyncio.Task[None]] = field(default_factory=set, init=False)
    draining: bool = field(default=False, init=False)
    claiming: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    """Held while a claim is under way: a drain waits for its answer, whose runs are to be given back too."""
    lapsed: frozenset[LapsedLease] = field(default=frozenset(), init=False)
    """Leases seen lapsed by the last sweep."""
    abandoned: frozenset[LapsedLease] = field(default=frozenset(), init=False)
    """Of those, the ones that the sweep before had seen too: to be claimed."""
    claim_unsure: bool = field(default=False, init=False)
    """The answer to a claim was lost: the table may say that we own runs we do not know of."""
    mean_run_seconds: float = field(default=1.0, init=False)
    slots_lent: int = field(default=0, init=False)
    """Slots at which steps of searches are, or that are kept free for one: no runs are claimed ahead meanwhile."""

    async def claim_once(self) -> bool:
        """Claim what fits and start it. True when there may be more."""
        async with self.claiming:
            return await self._claim_once()

    async def _claim_once(self) -> bool:
        room = self.capacity() - len(self.active) - self.slots_lent
        if self.draining or room < self.smallest_claim() or not self.ports.engine.is_ready:
            return False
        if self.ports.relay.is_cut_off:  # of its runs nobody would hear
            return False
        abandoned = [lease for lease in self.abandoned if lease.run_id not in self.active]
        try:
            if self.claim_unsure:
                await self.ports.queue.forget_unknown(list(self.active))
                self.claim_unsure = False
            result = await self.ports.queue.claim(room, lapsed=abandoned)
        except BaseException:  # a cancellation loses the answer too
            self.claim_unsure = True
            raise
        self.abandoned = frozenset()
        self.take_note(result)
        for claim in result.claims:
            self.ports.relay.add(claim.events)
            self.start(ActiveRun(claim, self.ports.clock.monotonic()))
        return len(result.claims) == room

    def capacity(self) -> int:
        """Slots, and a few claims ahead while runs are so short that fetching the next one would leave a slot idle."""
        is_short = self.mean_run_seconds < SHORT_RUN_SECONDS and not self.slots_lent
        ahead = CLAIMS_AHEAD_A_SLOT * self.slots if is_short else 0
        return self.slots + ahead

    def smallest_claim(self) -> int:
        """One, unless runs are claimed ahead and enough of them wait here: then several at once, at the cost of one."""
        return max(1, (self.capacity() - self.slots) // 2)

    def start(self, run: ActiveRun) -> None:
        if self.draining:
            run.drain()
        self.active[run.claim.run_id] = run
        self.telemetry.runs_active(len(self.active))
        task = asyncio.create_task(self.see_through(run), name=f"run {run.claim.run_id}")
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def see_through(self, run: ActiveRun) -> None:
        """Execute one run and account for its outcome."""
        run_id = run.claim.run_id
        try:
            outcome = await execute_run(run, self.ports)
            self.log_outcome(run, outcome)
        except Exception:
            # Its lease runs out, and a worker that can handle it takes it.
            log.exception("run_abandoned", run_id=run_id, epoch=run.claim.epoch)
        finally:
            seconds = self.ports.clock.monotonic() - run.claimed_at
            self.mean_run_seconds += 0.2 * (seconds / max(1, len(self.active) / self.slots) - self.mean_run_seconds)
            if self.active.get(run_id) is run:  # else it was given back and is claimed here again
                del self.active[run_id]
                self.telemetry.runs_active(len(self.active))
            self.work_arrived.set()

    def log_outcome(self, run: ActiveRun, outcome: RunOutcome) -> None:
        facts, epoch = run.claim.facts, run.claim.epoch
        seconds = round(self.ports.clock.monotonic() - run.claimed_at, 6)
        fields = {"run_id": facts.run_id, "request_id": facts.request_id, "epoch": epoch, "seconds": seconds}
        match outcome:
            case Completed():
                fields["strategy_version"] = outcome.strategy_version
                log.info("run_finished", outcome="completed", trades=outcome.trade_count, **fields)
                self.telemetry.run_finished("completed", seconds)
            case Failed(code, message):
                log.warning("run_finished", outcome="failed", code=code, message=message, **fields)
                self.telemetry.run_finished("failed", seconds)
            case Cancelled(reason):
                log.info("run_finished", outcome="cancelled", reason=reason, **fields)
                self.telemetry.run_finished("cancelled", seconds)
            case Superseded():
                log.warning("run_superseded", **fields)
            case Returned(why):
                log.warning("run_returned", why=why, **fields)
            case _:
                assert_never(outcome)

    def take_note(self, result: ClaimResult) -> None:
        """Relay and log runs that ended without being executed."""
        self.ports.relay.add(result.events)
        for ended in result.ended:
            self.log_ended(ended)

    def log_ended(self, ended: EndedRun) -> None:
        log.info(
            "run_finished",
            run_id=ended.run_id,
            request_id=ended.request_id,
            epoch=ended.epoch,
            outcome=ended.outcome,
            seconds=0.0,
        )
        self.telemetry.run_finished(ended.outcome, 0.0)

    async def beat_once(self) -> None:
        """Extend all leases and report what moved since the last time."""
        asked = dict(self.active)
        answers = await self.ports.queue.beat([self.make_beat(run) for run in asked.values()])
        self.heed(asked, answers)
        # A run that ended meanwhile has its terminal event: progress is late.
        live = [answer.event for run_id, answer in answers.items() if self.active.get(run_id) is asked[run_id]]
        self.ports.relay.add(event for event in live if event is not None)

    def make_beat(self, run: ActiveRun) -> Beat:
        progress = run.progress
        llm = run.llm
        if progress is None or run.stop_why is not None:
            return Beat(run.claim)
        if progress.bars_done <= run.reported_bars and llm == run.reported_llm:
            return Beat(run.claim)
        run.reported_bars, run.reported_llm = progress.bars_done, llm
        run.sequence += 1
        eta = eta_seconds(run, progress, self.ports.clock.monotonic())
        event = self.writer.progress(run.claim.facts, run.sequence, run.claim.attempt, progress, eta, llm)
        return Beat(run.claim, progress_percent(progress), event)

    async def look_for_cancels(self) -> None:
        """Ask the store which runs must stop; called several times a second."""
        asked = dict(self.active)
        self.heed(asked, await self.ports.queue.cancels_wanted([run.claim for run in asked.values()]))

    def heed(self, asked: ActiveRuns, answers: Mapping[int, BeatResult]) -> None:
        """Stop what must stop. asked: the runs that the question was about; an answer about an earlier claim of a run
        that is claimed here again is about none of ours.
        """
        for run_id, result in answers.items():
            run = asked[run_id]
            match result.answer:
                case BeatAnswer.ALIVE:
                    pass
                case BeatAnswer.CANCEL:
                    run.cancel(result.reason)
                case BeatAnswer.FENCED:
                    run.fence()
                case _:
                    assert_never(result.answer)

    async def sweep(self) -> None:
        """End what is cancelled and waits for no slot, and find runs whose worker is gone.

        A lease counts as abandoned when two sweeps in a row saw it lapsed. After a store that stood still for longer
        than a lease all leases are lapsed: the first sweep sees that too, and their owners renew them before the next.
        """
        self.take_note(await self.ports.queue.sweep())
        lapsed = await self.ports.queue.lapsed()
        self.lapsed, self.abandoned = lapsed, lapsed & self.lapsed
        self.work_arrived.set()

    async def drain(self, patience_seconds: float, grace_seconds: float) -> None:
        """Claim nothing more; let running runs finish within `patience_seconds`, give the rest back within
        the grace.
        """
        self.draining = True
        await self._wait_for_runs(patience_seconds)
        for run in self.active.values():
            run.drain()
        try:
            async with asyncio.timeout(grace_seconds):
                async with self.claiming:
                    pass  # runs of a claim under way have been started, and told to drain
                await self._wait_for_runs(None)
        except TimeoutError:
            log.warning("runs_left_to_their_leases", runs=sorted(self.active))
        for task in self.tasks:
            task.cancel()  # the store is away: the leases will lapse
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _wait_for_runs(self, timeout_seconds: float | None) -> None:
        if self.tasks and timeout_seconds != 0:
            await asyncio.wait(set(self.tasks), timeout=timeout_seconds)


def eta_seconds(run: ActiveRun, progress: EngineProgress, now: float) -> float | None:
    """Seconds to the end at the pace since the claim; None while there is no pace."""
    elapsed = now - run.claimed_at
    if progress.bars_done <= 0 or elapsed <= 0:
        return None
    return round(elapsed / progress.bars_done * (progress.bars_total - progress.bars_done), 3)
