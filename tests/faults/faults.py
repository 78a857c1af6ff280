"""What can go wrong, as it does in life: processes die or stand still, servers leave, answers and disks are lost."""

import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

import psutil

from consumer.adapters.kafka.topics import TOPIC_CONFIGS
from schemas.topics import Topic
from tests.faults.checker import Finding, no_process_left_over
from tests.faults.evidence import read_topics
from tests.faults.field import AWAY, LEASE_SECONDS, OUTPUT_TOPICS, Field, event, lasting, persistently
from tests.faults.load import BY_MODEL, ENOUGH, FEBRUARY, LONG_SEARCH, REQUESTED, SEARCH_REQUESTED, TIGHT
from tests.faults.worker_process import Worker
from tests.support import kafka_admin
from tests.support.waiting import eventually

MOST_WORKERS = 3
TAKEN_OVER_SECONDS = 10.0
ORPHANS_GONE_SECONDS = 4.0
"""The promise is 2 s; a machine that does other things as well is given more."""


@dataclass(slots=True)
class Trouble:
    """Makes faults, each drawn from `random`; collects what only the one who made a fault can see."""

    place: Field
    random: Random
    findings: list[Finding] = field(default_factory=list)
    sent: int = 0
    """Requests, by faults."""

    async def worker_killed(self) -> None:
        """SIGKILL for a worker alone, at work if one is: its children must end by themselves."""
        if worker := await self._pick(at_work=True):
            children = worker.children()
            worker.send(signal.SIGKILL)
            await worker.ended()
            await self.look_for_orphans(children)
            await self.place.start_worker()

    async def worker_killed_while_postgres_is_away(self) -> None:
        """With records in its hands that it cannot store."""
        await self.place.stack.postgres.stop()
        await lasting(self.random.uniform(1.2, 2.5))
        await self.tree_killed()
        await self.place.stack.postgres.start()

    async def all_killed_while_kafka_is_away(self) -> None:
        """With events in their hands that they cannot send: a run has ended, if one was under way."""
        before = await self._epochs()
        await self.place.stack.kafka.kill()

        async def has_ended() -> bool:
            return len(before.keys() & (await self._epochs()).keys()) < len(before)

        if before:
            with suppress(AssertionError):
                await eventually(has_ended, "a run ended", seconds=TAKEN_OVER_SECONDS)
        for worker in (*self.place.alive, *(api.process for api in self.place.posts.alive)):
            await self._kill_tree(worker)
        await self.place.stack.kafka.start()
        await self.place.start_worker()
        if self.place.posts.apis:
            await self.place.start_api()

    async def engine_child_killed(self) -> None:
        """SIGKILL for an engine child, busy or idle."""
        if (worker := await self._pick()) and (children := worker.engine_children()):
            with suppress(psutil.Error):
                self.random.choice(children).kill()

    async def tree_killed(self) -> None:
        """SIGKILL for a worker and all that it started, as when a machine goes down."""
        if worker := await self._pick():
            await self._kill_tree(worker)
            await self.place.start_worker()

    async def worker_stopped_past_its_lease(self) -> None:
        """SIGSTOP for one that runs something, until another has taken it or could have; then SIGCONT: a zombie."""
        if worker := await self._pick(at_work=True):
            before = await self._epochs()
            worker.send(signal.SIGSTOP)
            await lasting(LEASE_SECONDS)
            await self._taken_over(before)
            worker.send(signal.SIGCONT)

    async def searcher_stopped_past_its_lease(self) -> None:
        """The same for one at a step of a search that has more to do: its part is there, and arrives when another has
        simulated the same and was counted.
        """
        self.sent += 1
        await self.place.send(event(SEARCH_REQUESTED, f"stopped-{self.sent}", LONG_SEARCH))
        if worker := await self._pick(at_work=True, marks=("opt=",)):
            before = await self._shards("running")
            worker.send(signal.SIGSTOP)
            await lasting(LEASE_SECONDS)

            async def is_counted() -> bool:
                done = await self._shards("done")
                return any(done.get(key, 0) > epoch for key, epoch in before.items())

            with suppress(AssertionError):
                await eventually(is_counted, "a step that another has taken and done", seconds=TAKEN_OVER_SECONDS)
            worker.send(signal.SIGCONT)

    async def worker_killed_at_a_call(self) -> None:
        """While the model thinks: the call is paid for, and its answer lost."""
        before = self.place.model.calls.total()
        self.place.model.be("slow")
        self.sent += 1
        data = {"strategy_id": BY_MODEL, **FEBRUARY, "max_llm_calls": self.random.choice((ENOUGH, TIGHT))}
        data |= {"execution_mode": "close_price", "spread_pips": 0.5}
        await self.place.send(event(REQUESTED, f"called-{self.sent}", data))

        async def is_out() -> bool:
            return self.place.model.calls.total() > before

        with suppress(AssertionError):
            await eventually(is_out, "a call that is out", seconds=TAKEN_OVER_SECONDS)
        for worker in self.place.alive:
            await self._kill_tree(worker)
        self.place.model.be("well")
        await self.place.start_worker()

    async def model_away(self) -> None:
        """It answers 500, or hangs up."""
        self.place.model.be(self.random.choice(("away", "busy")))
        await lasting(self.random.uniform(1.0, 3.0))
        self.place.model.be("well")

    async def model_slow(self) -> None:
        """Longer than a lease."""
        self.place.model.be("slow")
        await lasting(self.random.uniform(1.0, 2 * LEASE_SECONDS))
        self.place.model.be("well")

    async def worker_terminated(self) -> None:
        """SIGTERM, and a new one."""
        if worker := await self._pick():
            worker.send(signal.SIGTERM)
            await self.exits_well(worker)
            await self.place.start_worker()

    async def worker_joins(self) -> None:
        if len(self.place.alive) < MOST_WORKERS:
            await self.place.start_worker()

    async def worker_leaves(self) -> None:
        if len(self.place.alive) > 1 and (worker := await self._pick()):
            worker.send(signal.SIGTERM)
            await self.exits_well(worker)

    async def kafka_killed(self) -> None:
        await self.place.stack.kafka.kill()
        await lasting(self.random.uniform(0, 2))
        await self.place.stack.kafka.start()

    async def kafka_paused(self) -> None:
        """The broker keeps its connections and says nothing; now and then for longer than clients wait."""
        await self.place.stack.kafka.pause()
        await lasting(self.random.choice((0.5, 1.5, 4.0, 12.0)))
        await self.place.stack.kafka.resume()

    async def postgres_restarted(self) -> None:
        await self.place.stack.postgres.restart()

    async def postgres_killed(self) -> None:
        await self.place.stack.postgres.kill()
        await self.place.stack.postgres.start()

    async def postgres_stopped_past_a_lease(self) -> None:
        await self.place.stack.postgres.stop()
        await lasting(LEASE_SECONDS * self.random.uniform(1.1, 2))
        await self.place.stack.postgres.start()

    async def connections_terminated(self) -> None:
        with suppress(*AWAY):
            await self.place.stack.postgres.terminate_connections(self.place.stack.database_url)

    async def postgres_takes_no_writes(self) -> None:
        """As on a standby behind the same address, or by an administrator's word; now and then past a lease."""
        await self.place.let_postgres_write(writes=False)
        await lasting(LEASE_SECONDS * self.random.choice((0.3, 1.0, 3.0)))
        await self.place.let_postgres_write()

    async def pooler_restarted(self) -> None:
        """Killed: its clients' connections go with it, whatever they were in."""
        if self.place.pooler is not None:
            await self.place.pooler.stop()
            await lasting(self.random.choice((0.0, 0.5, 2.0)))
            await self.place.pooler.start()

    async def strategy_locked(self) -> None:
        """By a client outside, who takes his time."""
        with suppress(*AWAY):
            async with self.place.outside() as connection, connection.transaction():
                await connection.execute(
                    "SELECT 1 FROM strategies WHERE id = ANY($1) FOR UPDATE",
                    self.random.choice(([1], [3], [1, 2, 3, 4])),
                )
                await lasting(LEASE_SECONDS * self.random.uniform(0.3, 4))

    async def acknowledgements_lost(self) -> None:
        """Events reach the broker, and nobody hears that they did."""
        for lossy in (True, False):
            for worker in self.place.processes:
                worker.proxy.loses_acknowledgements = lossy
            if lossy:
                await lasting(self.random.uniform(0.5, 2))

    async def one_worker_without_kafka(self) -> None:
        """For longer than a lease; the others go on, with its events too."""
        if worker := await self._pick(at_work=True):
            worker.proxy.cut()
            await lasting(LEASE_SECONDS * self.random.uniform(0.5, 5))
            worker.proxy.is_cut = False

    async def kafka_refuses_events(self) -> None:
        """A topic takes nothing that is longer than a few bytes, or than some events are."""
        topic = self.random.choice((Topic.PROGRESS, Topic.COMPLETED, Topic.DEAD_LETTER))
        limit = str(self.random.choice((100, 700, 1_200)))
        servers = self.place.stack.kafka_bootstrap_servers
        with suppress(*AWAY):
            await kafka_admin.configure(servers, topic, {**TOPIC_CONFIGS[topic], "max.message.bytes": limit})
            await lasting(self.random.uniform(0.5, 4))
        await persistently(lambda: kafka_admin.configure(servers, topic, TOPIC_CONFIGS[topic]))

    async def kafka_topic_deleted(self) -> None:
        """An output topic is deleted, and comes back as the broker's default or not at all. What stood there had been
        read: so nobody sends in the moment when it goes.
        """
        topic = self.random.choice(OUTPUT_TOPICS)
        servers = self.place.stack.kafka_bootstrap_servers
        stopped = [process for process in self.place.processes if process.is_alive]
        for worker in stopped:
            worker.send(signal.SIGSTOP)
        await lasting(0.3)
        found = (await persistently(lambda: read_topics(servers)))[topic]
        await persistently(lambda: kafka_admin.delete(servers, topic))
        self.place.deleted[topic] = self.place.deleted.get(topic, ()) + found
        if self.random.random() < 0.5:
            await persistently(lambda: kafka_admin.make_or_find(servers, topic))
        for worker in stopped:
            worker.send(signal.SIGCONT)
        await lasting(self.random.uniform(0.5, 3))

    async def disk_full(self) -> None:
        """Engine children can write no file: the kernel refuses the bytes, after some were written."""
        limited: list[tuple[psutil.Process, tuple[int, int]]] = []
        for worker in self.place.alive:
            for child in worker.engine_children():
                with suppress(psutil.Error):
                    before = child.rlimit(psutil.RLIMIT_FSIZE)
                    child.rlimit(psutil.RLIMIT_FSIZE, (100, before[1]))
                    limited.append((child, before))
        await lasting(self.random.uniform(0.5, 2))
        for child, before in limited:
            with suppress(psutil.Error):
                child.rlimit(psutil.RLIMIT_FSIZE, before)

    async def clock_stepped(self) -> None:
        """The workers' wall clocks jump by hours, either way; the database's does not."""
        self.place.clock_file.write_text(str(self.random.choice((-7200, -30, 45, 86_400))))

    async def _pick(self, *, at_work: bool = False, marks: tuple[str, ...] = ("run=", "opt=")) -> Worker | None:
        """A worker that is up, now and then one that has only just started; if it can be, one that runs something."""
        if not self.place.alive:
            await self.place.start_worker()
        worker = self.random.choice((await self._at_work(marks) if at_work else []) or self.place.alive)
        if self.random.random() < 0.8:

            async def is_up() -> bool:
                return not worker.is_alive or "worker_started" in worker.log_text()

            with suppress(AssertionError):  # a server may be away: then it dies while it waits
                await eventually(is_up, "the worker up", seconds=15)
        return worker if worker.is_alive else None

    async def _kill_tree(self, worker: Worker) -> None:
        children = worker.children()
        worker.send(signal.SIGKILL)
        for child in children:
            with suppress(psutil.Error):
                child.kill()
        await worker.ended()

    async def _at_work(self, marks: tuple[str, ...]) -> list[Worker]:
        """Workers that run something, waiting a little for one; none where nothing comes."""

        def is_at_work(worker: Worker) -> bool:
            return any(mark in title for title in worker.titles() for mark in marks)

        async def probe() -> list[Worker]:
            return [worker for worker in self.place.alive if is_at_work(worker)]

        with suppress(AssertionError):
            return await eventually(probe, "a worker at work", seconds=5)
        return []

    async def _epochs(self) -> dict[int, int]:
        """Epochs of the runs under way; none while Postgres is away."""
        with suppress(*AWAY):
            statement = "SELECT run_id, epoch FROM backtest_executions WHERE state = 'running'"
            return {row["run_id"]: row["epoch"] for row in await self.place.database_now(statement)}
        return {}

    async def _shards(self, state: str) -> dict[tuple[int, int], int]:
        """Epochs of the ranges of searches in this state; none while Postgres is away."""
        with suppress(*AWAY):
            statement = (
                "SELECT optimization_id, number, epoch FROM backtest_search_shards WHERE state = $1 AND kind = 'range'"
            )
            rows = await self.place.database_now(statement, state)
            return {(row["optimization_id"], row["number"]): row["epoch"] for row in rows}
        return {}

    async def _taken_over(self, before: dict[int, int]) -> None:
        """Wait until one of these runs has a higher epoch, but not for long: there may be nobody to take it."""
        if not before:
            return

        async def is_taken() -> bool:
            now = await self._epochs()
            return any(now.get(run_id, 0) > epoch for run_id, epoch in before.items())

        with suppress(AssertionError):
            await eventually(is_taken, "a run taken over", seconds=TAKEN_OVER_SECONDS)

    async def exits_well(self, worker: Worker, *, seconds: float = 30) -> None:
        """With status 0, in time; it was told to stop."""
        try:
            status = await worker.ended(seconds)
        except TimeoutError:
            self.findings.append(Finding("a_worker_told_to_stop_stops", f"process {worker.number} did not end"))
            worker.send(signal.SIGKILL)
            return
        # Before it has set up its signal handlers SIGTERM ends it as it ends any program.
        if status not in {0, -signal.SIGTERM, -signal.SIGKILL}:
            self.findings.append(Finding("a_worker_told_to_stop_stops", f"process {worker.number} ended with {status}"))

    async def look_for_orphans(self, children: list[psutil.Process]) -> None:
        async def are_gone() -> bool:
            return not any(_is_there(child) for child in children)

        try:
            await eventually(are_gone, "children gone", seconds=ORPHANS_GONE_SECONDS)
        except AssertionError:
            left = [child.pid for child in children if _is_there(child)]
            self.findings.append(Finding(no_process_left_over.__name__, f"processes {left} outlived their worker"))
            for process in left:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)


Fault = Callable[[Trouble], Awaitable[None]]

FAULTS: dict[Fault, int] = {
    Trouble.worker_killed: 4,
    Trouble.engine_child_killed: 3,
    Trouble.tree_killed: 2,
    Trouble.worker_killed_while_postgres_is_away: 2,
    Trouble.all_killed_while_kafka_is_away: 2,
    Trouble.worker_stopped_past_its_lease: 4,
    Trouble.searcher_stopped_past_its_lease: 3,
    Trouble.worker_terminated: 2,
    Trouble.worker_joins: 2,
    Trouble.worker_leaves: 1,
    Trouble.kafka_killed: 2,
    Trouble.kafka_paused: 2,
    Trouble.postgres_restarted: 2,
    Trouble.postgres_killed: 1,
    Trouble.postgres_stopped_past_a_lease: 2,
    Trouble.connections_terminated: 4,
    Trouble.postgres_takes_no_writes: 3,
    Trouble.pooler_restarted: 3,
    Trouble.strategy_locked: 3,
    Trouble.acknowledgements_lost: 3,
    Trouble.one_worker_without_kafka: 4,
    Trouble.kafka_refuses_events: 3,
    Trouble.kafka_topic_deleted: 2,
    Trouble.disk_full: 3,
    Trouble.clock_stepped: 2,
    Trouble.worker_killed_at_a_call: 3,
    Trouble.model_away: 3,
    Trouble.model_slow: 2,
}
"""With the weight of each."""


def name_of(fault: Fault) -> str:
    return str(getattr(fault, "__name__", fault)).replace("_", " ")


def of_one_server(first: Fault, second: Fault) -> bool:
    """Whether two faults cannot happen at once: both start and stop the same server, or a topic is deleted, at which
    nobody may send.
    """
    if Trouble.kafka_topic_deleted in {first, second}:
        return True
    of_the_model = {Trouble.worker_killed_at_a_call, Trouble.model_away, Trouble.model_slow}
    if {first, second} <= of_the_model:
        return True
    return any(server in name_of(first) and server in name_of(second) for server in ("kafka", "postgres"))


def _is_there(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
