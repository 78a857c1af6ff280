"""Postgres connections that break at any step, and which of its errors are worth another try."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from consumer.adapters.postgres.pool import open_pool, transaction, translated
from consumer.errors import StoreTooSlow, StoreUnavailable
from consumer.ports import Beat
from consumer.ports.outcomes import Failed
from tests.consumer.queue_steps import beat_of, claim_one, queue
from tests.consumer.stores import PostgresStore, WorkerPorts
from tests.support.messages import ADMIT, cancel, completed, requested

STATEMENTS = {"execute", "fetch", "fetchrow", "fetchval", "copy_to_table"}


@dataclass(slots=True)
class CutPool:
    """A pool whose server ends the connection before statement number `at`, or around the commit after the last."""

    pool: Any
    outside: Any
    at: int
    after_commit: bool = False
    count: int = 0
    cut: bool = field(default=False)

    def get_max_size(self) -> int:
        return 8

    @asynccontextmanager
    async def acquire(self, timeout: float) -> AsyncIterator["CutConnection"]:  # noqa: ASYNC109 - asyncpg's word
        async with self.pool.acquire(timeout=timeout) as connection:
            yield CutConnection(self, connection)

    def __getattr__(self, name: str) -> Any:
        if name not in STATEMENTS:
            return getattr(self.pool, name)

        async def run(*arguments: Any, **named: Any) -> Any:
            async with self.acquire(timeout=10.0) as connection:
                return await getattr(connection, name)(*arguments, **named)

        return run

    async def step(self, connection: Any) -> None:
        """Count one statement, and end the connection where it is the one."""
        self.count += 1
        if self.count == self.at:
            self.cut = True
            await self.outside.execute("SELECT pg_terminate_backend($1, 2000)", connection.get_server_pid())


@dataclass(slots=True)
class CutConnection:
    owner: CutPool
    connection: Any

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        transaction = self.connection.transaction()
        await transaction.start()
        try:
            yield
            if not self.owner.after_commit:
                await self.owner.step(self.connection)
        except BaseException:
            if not self.connection.is_closed():
                await transaction.rollback()
            raise
        await transaction.commit()
        if self.owner.after_commit:
            await self.owner.step(self.connection)
            if self.owner.cut:
                raise asyncpg.ConnectionDoesNotExistError("the answer to the commit was lost")

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.connection, name)
        if name not in STATEMENTS:
            return method

        async def run(*arguments: Any, **named: Any) -> Any:
            await self.owner.step(self.connection)
            return await method(*arguments, **named)

        return run


Operation = Callable[[WorkerPorts, Any], Awaitable[Any]]


async def nothing(worker: WorkerPorts) -> Any:
    return None


async def one_queued(worker: WorkerPorts) -> Any:
    return await queue(worker, "queued")


async def one_claimed(worker: WorkerPorts) -> Any:
    await queue(worker, "claimed")
    return await claim_one(worker)


async def record(worker: WorkerPorts, _: Any) -> Any:
    batch = [requested("a"), requested("b", symbol="NOSUCH"), requested("c")]
    return await worker.journal.record_batch(batch, [cancel(request_id="c")], [], ADMIT)


async def state(store: PostgresStore) -> dict[str, Any]:
    """Everything that the operations write, but for times."""
    queries = {
        "requests": "SELECT request_id, outcome FROM backtest_requests ORDER BY 1",
        "runs": "SELECT status, progress_pct, total_trades FROM backtest_runs ORDER BY id",
        "executions": "SELECT request_id, state, epoch, attempts, deaths, sequence FROM backtest_executions ORDER BY 1",
        "outbox": "SELECT kind, sequence FROM backtest_outbox ORDER BY run_id NULLS FIRST, sequence",
        "trades": "SELECT count(*) FROM backtest_trades",
        "cancels": "SELECT request_id FROM backtest_cancels",
    }
    return {name: [tuple(row) for row in await store.outside.fetch(query)] for name, query in queries.items()}


OPERATIONS: dict[str, tuple[Callable[[WorkerPorts], Awaitable[Any]], Operation]] = {
    "record": (nothing, record),
    "claim": (one_queued, lambda worker, _: worker.queue.claim(5)),
    "beat": (one_claimed, lambda worker, claim: worker.queue.beat([beat_of(claim, 2, 40)])),
    "finish": (one_claimed, lambda worker, claim: worker.queue.finish(claim, completed(claim))),
    "give back": (one_claimed, lambda worker, claim: worker.queue.give_back(claim, died=True)),
    "forget": (one_claimed, lambda worker, _: worker.queue.forget_unknown([])),
    "sweep": (one_queued, lambda worker, _: worker.queue.sweep()),
    "cancels": (one_claimed, lambda worker, claim: worker.queue.cancels_wanted([claim])),
    "adopt": (one_claimed, lambda worker, _: worker.outbox.adopt(5, 1_000_000)),
    "delete": (one_claimed, lambda worker, claim: worker.outbox.delete(claim.events)),
    "renew": (one_claimed, lambda worker, claim: worker.outbox.renew(claim.events)),
}


def cutting(worker: WorkerPorts, store: PostgresStore, at: int, *, after_commit: bool) -> tuple[WorkerPorts, CutPool]:
    pool = CutPool(worker.queue.pool, store.outside, at, after_commit)  # type: ignore[attr-defined]  # the Postgres one
    journal, outbox = replace(worker.journal, pool=pool), replace(worker.outbox, pool=pool)  # type: ignore[type-var]  # dataclasses
    run_queue = replace(worker.queue, pool=pool)  # type: ignore[type-var]  # a dataclass
    return WorkerPorts(journal, run_queue, outbox, worker.calls), pool


@pytest.mark.parametrize("after_commit", [False, True])
@pytest.mark.parametrize("name", OPERATIONS)
async def test_a_connection_that_breaks_at_any_step_is_unavailable_and_leaves_all_or_nothing(
    postgres_store: PostgresStore, name: str, after_commit: bool
) -> None:
    """And doing it again afterwards ends as if nothing had happened, but for a claim: its runs are found and
    given back.
    """
    prepare, operate = OPERATIONS[name]
    quiet = None
    worker = await postgres_store.worker()
    for at in range(40):  # 0: no cut, to know how it ends
        await postgres_store.clear()
        prepared = await prepare(worker)
        await postgres_store.change_all(cancelled=name == "sweep")
        before = await state(postgres_store)
        cut_worker, pool = cutting(worker, postgres_store, at, after_commit=after_commit)
        if at == 0:
            await operate(cut_worker, prepared)
            quiet = await state(postgres_store)
            continue
        try:
            await operate(cut_worker, prepared)
        except StoreUnavailable:
            assert await state(postgres_store) in (before, quiet)
        if not pool.cut:
            assert at > 1, "at least one statement was cut"
            return
        if name == "claim":
            await worker.queue.forget_unknown([])
            assert [claim.deaths for claim in (await worker.queue.claim(5)).claims] == [0]
        else:
            await operate(worker, prepared)
            assert await state(postgres_store) == quiet
    raise AssertionError("it never came through")


@pytest.mark.parametrize(
    ("code", "about_the_data"),
    [
        ("22003", True),  # numeric_value_out_of_range
        ("22021", True),  # character_not_in_repertoire: NUL
        ("23505", True),  # unique_violation
        ("23514", True),  # check_violation
        ("54000", True),  # program_limit_exceeded: a row too long for an index
        ("P0001", True),  # raise_exception: a trigger of another service
        ("25006", False),  # read_only_sql_transaction: a standby
        ("25P04", False),  # transaction_timeout
        ("40001", False),  # serialization_failure
        ("40P01", False),  # deadlock_detected
        ("42501", False),  # insufficient_privilege
        ("42P01", False),  # undefined_table
        ("53100", False),  # disk_full
        ("53300", False),  # too_many_connections
        ("55P03", False),  # lock_not_available
        ("57014", False),  # query_canceled
        ("57P01", False),  # admin_shutdown
        ("58030", False),  # io_error
        ("XX000", False),  # internal_error
        ("0A000", False),  # feature_not_supported: cached plan must not change result type
        ("ZZ999", False),  # a word of a later Postgres
    ],
)
async def test_only_errors_about_the_data_are_not_tried_again(
    migrated_database: str, code: str, about_the_data: bool
) -> None:
    statement = f"DO $$ BEGIN RAISE EXCEPTION 'told' USING ERRCODE = '{code}'; END $$"
    async with open_pool(migrated_database, max_connections=1, name="errors") as pool:
        with pytest.raises(asyncpg.PostgresError if about_the_data else StoreUnavailable), translated():
            await pool.execute(statement)


async def test_a_figure_that_no_column_holds_is_refused_and_not_tried_for_ever(postgres_store: PostgresStore) -> None:
    worker = await postgres_store.worker()
    await queue(worker, "a")
    claim = await claim_one(worker)
    for columns in ({"total_trades": 2**40}, {"win_rate": "high"}, {"no_such_column": 1}):
        with pytest.raises(Exception) as caught:  # noqa: PT011 - each is another error
            await worker.queue.finish(claim, completed(claim, columns=columns))
        assert not isinstance(caught.value, StoreUnavailable)
    with pytest.raises(asyncpg.DataError):
        await worker.queue.finish(claim, completed(claim, data_file_path="a\0b"))
    assert await postgres_store.trades(claim.run_id) == 0
    assert (await worker.queue.beat([Beat(claim)]))[claim.run_id].answer == "alive"


@pytest.mark.parametrize("date", ["infinity", "-infinity", "0044-03-15 BC", "20000-01-01"])
async def test_a_row_with_a_date_that_python_does_not_have_is_a_rejection_or_a_failure(
    postgres_store: PostgresStore, date: str
) -> None:
    worker = await postgres_store.worker()
    run_id = await postgres_store.add_run(strategy_id=await postgres_store.add_strategy())
    spoil = f"UPDATE backtest_runs SET start_date = '{date}' WHERE id = $1"
    await postgres_store.outside.execute(spoil, run_id)

    result = await worker.journal.record_batch([requested("a", run_id=run_id)], [], [], ADMIT)

    assert result.outcomes == {"rejected": 1}
    assert b'"field":"start_date","code":"invalid_request"' in (result.events[0].value or b"")
    await queue(worker, "b")
    claim = await claim_one(worker)
    await postgres_store.outside.execute(spoil, claim.run_id)
    finished = await worker.queue.finish(claim, completed(claim))
    assert finished is not None
    assert isinstance(finished.outcome, Failed)
    assert finished.outcome.code == "run_disagrees"


async def test_a_server_that_is_away_is_unavailable() -> None:
    async with open_pool("postgresql+asyncpg://nobody@127.0.0.1:1/none", max_connections=1, name="away") as pool:
        with pytest.raises(StoreUnavailable, match="Postgres"), translated():
            await pool.fetch("SELECT 1")


async def test_a_server_that_falls_silent_is_unavailable_in_the_time_of_a_statement(
    postgres_store: PostgresStore,
) -> None:
    server = urlsplit(postgres_store.database_url)
    passing = asyncio.Event()
    passing.set()
    relays: list[asyncio.Task[None] | None] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while part := await reader.read(65_536):
            await passing.wait()
            writer.write(part)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relays.append(asyncio.current_task())
        server_reader, server_writer = await asyncio.open_connection(server.hostname, server.port)
        with suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(pump(reader, server_writer), pump(server_reader, writer))
        for each in (writer, server_writer):
            each.transport.abort()

    async with await asyncio.start_server(relay, "127.0.0.1", 0) as between:
        port = between.sockets[0].getsockname()[1]
        url = postgres_store.database_url.replace(f":{server.port}/", f":{port}/")
        async with open_pool(url, max_connections=1, name="silent", command_seconds=0.2) as pool:
            assert await pool.fetchval("SELECT 1") == 1
            passing.clear()
            async with asyncio.timeout(10):
                with pytest.raises(StoreUnavailable), translated():
                    await pool.fetchval("SELECT 2")
            passing.set()
        for task in filter(None, relays):
            task.cancel()
            await asyncio.wait([task])


async def test_a_worker_that_is_stopped_inside_a_transaction_holds_up_the_others_for_a_lease_at_most(
    postgres_store: PostgresStore,
) -> None:
    worker = await postgres_store.worker()
    await queue(worker, "a")
    async with (
        open_pool(
            postgres_store.database_url, max_connections=1, name="stopped", idle_in_transaction_seconds=0.3
        ) as pool,
        pool.acquire() as stopped,
    ):
        await stopped.execute("BEGIN")
        await stopped.fetch("SELECT 1 FROM backtest_runs FOR UPDATE")

        claim = None
        async with asyncio.timeout(20):
            while claim is None:
                claim = next(iter((await worker.queue.claim(1, lapsed=await worker.queue.lapsed())).claims), None)


async def test_a_statement_that_a_role_has_no_time_for_is_not_taken_for_a_server_that_is_away(
    postgres_store: PostgresStore,
) -> None:
    async with open_pool(postgres_store.database_url, max_connections=1, name="hurried") as pool:

        async def hurried() -> None:
            async with transaction(pool) as connection:
                await connection.execute("SET LOCAL statement_timeout = 20")
                await connection.execute("SELECT pg_sleep(1)")

        with pytest.raises(StoreTooSlow, match="statement timeout"):
            await hurried()
