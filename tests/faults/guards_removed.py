"""Each guard of the protocol taken out of a worker, from outside: the checker must notice.

A guard is taken out as a careless author would have left it out, not by breaking something at random.
"""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, Final

from tests.faults.worker_program import patch


def remove_guard(name: str) -> None:
    """Patch this process. Raises KeyError for a name that is none of GUARDS."""
    GUARDS[name]()


def remove_fencing() -> None:
    """Writes are no longer conditional on the epoch: any owner of a running run may report, give back and finish."""
    from consumer.adapters.postgres import queue_statements as statements
    from consumer.adapters.postgres.queue import PostgresQueue

    statements.BEAT = _without(statements.BEAT, "e.epoch = b.epoch AND ")
    statements.CANCELS_WANTED = _without(statements.CANCELS_WANTED, "e.epoch = i.epoch AND ")
    statements.GIVE_BACK = statements.GIVE_BACK.replace("epoch = $2", "$2::int = $2")
    finish: Any = PostgresQueue._finish

    async def unfenced(queue: Any, connection: Any, claim: Any, *rest: Any) -> Any:
        row = await connection.fetchrow("SELECT epoch FROM backtest_executions WHERE run_id = $1", claim.run_id)
        return await finish(queue, connection, replace(claim, epoch=row["epoch"]), *rest)

    patch(PostgresQueue, "_finish", unfenced)


def remove_shard_fencing() -> None:
    """Whoever was at a step of a search may count it and say what became of it, whoever has taken it since."""
    from consumer.adapters.postgres import search_statements as statements
    from consumer.rules.searches import ShardState

    statements.LOOK = _without(statements.LOOK, "d.epoch = i.epoch AND d.state = 'running' AND ")
    statements.BEAT = _without(statements.BEAT, " AND d.epoch = i.epoch")
    statements.GIVE_BACK = statements.GIVE_BACK.replace("epoch = $3", "$3::int = $3")
    patch(ShardState, "is_owned_by", lambda shard, claim: True)


def remove_outbox() -> None:
    """Events are sent after the transaction from memory alone."""
    from consumer.adapters.postgres import endings as postgres_endings
    from consumer.adapters.postgres import journal as postgres_journal
    from consumer.adapters.postgres import queue as postgres_queue

    async def not_stored(connection: Any, events: Sequence[Any], relay: Any) -> tuple[Any, ...]:
        return tuple(events)

    for module in (postgres_endings, postgres_journal, postgres_queue):
        patch(module, "store_events", not_stored)
    statement = _without(postgres_endings._END_RUNS, "ORDER BY i.place")
    postgres_endings._END_RUNS = statement.replace("RETURNING id, event_id", "WHERE false RETURNING id, event_id")
    patch(postgres_endings, "with_row_ids", lambda events, _rows: tuple(events))


def remove_idempotent_insert() -> None:
    """Every delivery of a request makes a run: nobody looks whether the id is known, and the last one wins."""
    from consumer.adapters.postgres import journal as postgres_journal
    from consumer.adapters.postgres import journal_statements as statements
    from consumer.rules.recording import Repeats

    def all_of_them(requests: Sequence[Any], known: Any) -> Repeats:
        return Repeats(tuple({request.request_id: request for request in requests}.values()), (), ())

    patch(postgres_journal, "sort_out_repeats", all_of_them)
    statements.INSERT_REQUESTS = statements.INSERT_REQUESTS.replace(
        "ON CONFLICT (request_id) DO NOTHING",
        "ON CONFLICT (request_id) DO UPDATE SET run_id = excluded.run_id, outcome = excluded.outcome,"
        " specification = excluded.specification, content_hash = excluded.content_hash",
    )


def remove_offset_after_durability() -> None:
    """Offsets may be committed as soon as records were read, as with automatic commits."""
    from consumer.intake import Intake

    async def run(intake: Any) -> None:
        async for batch in intake.source.batches():
            intake.source.mark_durable(batch)
            await intake.take(batch)

    patch(Intake, "run", run)


def remove_terminal_once() -> None:
    """A run that has ended may end again: a cancel is written without a look at the state."""
    from consumer.adapters.postgres import journal_statements as statements

    statements.NOTE_CANCELS = _without(statements.NOTE_CANCELS, " AND e.state IN ('queued', 'running')").replace(
        "e.state, e.epoch",
        "CASE e.state WHEN 'running' THEN 'running' ELSE 'queued' END AS state, e.epoch",
    )


def remove_child_cleanup() -> None:
    """Nothing ends engine children with their worker: no parent-death signal, no watch, no guardian."""
    from consumer.adapters.engine_pool import pool as engine_processes
    from consumer.adapters.engine_pool import spawn as engine_spawn

    def spawn(arguments: list[str], **named: Any) -> Any:
        module = arguments.index("-m") + 1
        if arguments[module] != "consumer.adapters.engine_pool.child":
            return subprocess.Popen(arguments, **named)
        told = [*arguments[:module], "tests.faults.careless_child", *arguments[module + 1 :]]
        return subprocess.Popen(told, **named)

    def no_guardian(marker: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.PIPE)

    patch(engine_spawn, "subprocess", SimpleNamespace(Popen=spawn, DEVNULL=subprocess.DEVNULL))
    patch(engine_processes, "start_guardian", no_guardian)


def remove_call_before_sending() -> None:
    """A call to a model is written down with its answer, as what it cost."""
    from consumer.adapters.postgres.llm_calls import PostgresCalls

    begin: Any = PostgresCalls.begin
    settle: Any = PostgresCalls.settle

    async def not_yet(ledger: Any, call: Any) -> bool:
        return True

    async def both(ledger: Any, call: Any, *outcome: Any, shared: bool) -> Any:
        await begin(ledger, call)
        return await settle(ledger, call, *outcome, shared=shared)

    patch(PostgresCalls, "begin", not_yet)
    patch(PostgresCalls, "settle", both)


def remove_budget_of_all_attempts() -> None:
    """Each attempt of a run has its whole budget."""
    from consumer.advice.run_advice import RunAdvice

    begun: Any = RunAdvice._begun_budget

    async def anew(run: Any) -> Any:
        is_first = run.budget is None
        budget = await begun(run)
        if is_first:
            budget.max_calls += budget.last_number
        return budget

    patch(RunAdvice, "_begun_budget", anew)


def remove_posted_record() -> None:
    """The record of a POST is sent once its run is committed, from memory alone."""
    from consumer.adapters.postgres import posts as postgres_posts

    async def not_stored(connection: Any, events: Sequence[Any], owner: Any) -> tuple[Any, ...]:
        return tuple(events)

    patch(postgres_posts, "store_events", not_stored)


def remove_known_record() -> None:
    """Intake takes the API's own record, which names its run, for other content under a known id."""
    from consumer.adapters.postgres import journal as postgres_journal
    from consumer.adapters.postgres import searches as postgres_searches

    def of_the_body(rows: Iterable[Any]) -> dict[str, tuple[bytes, ...]]:
        return {row["request_id"]: (bytes(row["content_hash"]),) for row in rows}

    for module in (postgres_journal, postgres_searches):
        patch(module, "known_hashes", of_the_body)


def remove_commit_before_answer() -> None:
    """A POST is answered once all is written, and committed a moment later."""
    from consumer.adapters.postgres.journal import Raced, Recording
    from consumer.adapters.postgres.pool import transaction
    from consumer.adapters.postgres.posts import PostgresPosts
    from consumer.errors import StoreBusy

    committing: set[asyncio.Task[None]] = set()

    async def write(posts: Any, requests: Any, admit: Any, answer: "asyncio.Future[Any]") -> None:
        try:
            async with transaction(posts.pool) as connection:
                answer.set_result(await posts._take(Recording(connection, posts.writer, posts.owner), requests, admit))
                await asyncio.sleep(0.3)
        except Exception as error:
            if not answer.done():
                answer.set_exception(error)

    async def take(posts: Any, requests: Any, admit: Any) -> Any:
        while True:
            answer = asyncio.get_running_loop().create_future()
            task = asyncio.create_task(write(posts, requests, admit, answer))
            committing.add(task)
            task.add_done_callback(committing.discard)
            try:
                return await answer
            except (Raced, StoreBusy):
                continue

    patch(PostgresPosts, "take", take)


def remove_key_as_id() -> None:
    """Each POST is a request of its own, whatever its Idempotency-Key."""
    from consumer.adapters.http.api.posting import request_id_of, uuid7
    from consumer.adapters.http.api.routes import submitting

    patch(submitting, "request_id_of", lambda request, data: (str(uuid7()), request_id_of(request, data)[1]))


GUARDS: Final[dict[str, Callable[[], None]]] = {
    "fencing": remove_fencing,
    "shard fencing": remove_shard_fencing,
    "outbox": remove_outbox,
    "idempotent insert": remove_idempotent_insert,
    "offset after durability": remove_offset_after_durability,
    "terminal once": remove_terminal_once,
    "child clean-up": remove_child_cleanup,
    "call before sending": remove_call_before_sending,
    "budget of all attempts": remove_budget_of_all_attempts,
    "posted record": remove_posted_record,
    "known record": remove_known_record,
    "commit before answer": remove_commit_before_answer,
    "key as id": remove_key_as_id,
}


def _without(statement: str, condition: str) -> str:
    """The statement without the condition; a statement that was rewritten meanwhile is an error, not a silent pass."""
    if condition not in statement:
        raise ValueError(f"the guard is not where it was: {condition!r}")
    return statement.replace(condition, "")
