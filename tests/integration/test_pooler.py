"""The whole system through PgBouncer, in its defaults and by transaction, and what it must not leave there."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from consumer.adapters.postgres.pool import SessionPool, open_pool
from consumer.adapters.postgres.retention import open_retention
from consumer.devstack import StackKind
from consumer.errors import AlreadyAtWork, StoreUnavailable
from tests.support.front_door import FrontDoor, Worker, open_front_door
from tests.support.pooler import needs_pgbouncer, open_pooler
from tests.support.waiting import eventually

pytestmark = [pytest.mark.integration, needs_pgbouncer, pytest.mark.timeout(240)]

SERVER_SESSIONS = 3


@pytest.fixture(scope="module")
async def door(tmp_path_factory: pytest.TempPathFactory, stack_kind: StackKind) -> AsyncIterator[FrontDoor]:
    async with open_front_door(tmp_path_factory.mktemp("pooler"), stack_kind) as opened:
        yield opened


@pytest.mark.parametrize("pool_mode", ["session", "transaction"])
async def test_a_worker_and_every_command_work_through_a_pooler(door: FrontDoor, pool_mode: str) -> None:
    sessions = str(SERVER_SESSIONS if pool_mode == "transaction" else 20)
    async with open_pooler(door.stack.database_url, pool_mode=pool_mode, default_pool_size=sessions) as pooler:
        url = pooler.in_front_of(door.stack.database_url)
        await done(door, url, "migrate")
        assert "a pooler stands before it" in await done(door, url, "doctor")
        added = await done(door, url, "strategy", "add", pool_mode, "--key", "sma_cross", "--primary-tf", "H1")
        strategy = added.strip()
        async with door.worker(database_url=url, slots="2"):
            requests = [await door.request(int(strategy), request_id=f"{pool_mode}-{number}") for number in range(6)]
            rows = [await door.row_of(request, "completed") for request in requests]
            for request in requests:
                await door.terminal_event(request)
            await done(door, url, "rerun", str(rows[0]["id"]), "--wait")
            await done(door, url, "report", str(rows[0]["id"]))
            await done(door, url, "runs", "--json")
            await done(door, url, "strategy", "edit", strategy, "--lot-size", "0.2")
            await done(door, url, "runs", "prune", "--older-than", "90d")
        if pool_mode == "transaction":
            await nothing_is_left_in_the_servers_sessions(url)


async def done(door: FrontDoor, url: str, *arguments: str) -> str:
    """What a command says that ends well."""
    ended = await door.command(*arguments, database_url=url)
    assert ended.status == 0, (arguments, ended.stdout, ended.stderr)
    return ended.stdout


async def nothing_is_left_in_the_servers_sessions(url: str) -> None:
    """Look into every session that the pooler has: all of them are asked at the same time."""
    async with open_pool(url, max_connections=SERVER_SESSIONS, name="look") as pool:
        held = await asyncio.gather(*(look_while_others_do(pool) for _ in range(SERVER_SESSIONS)))
    assert len({session["pid"] for session in held}) == SERVER_SESSIONS
    for session in held:
        assert (session["seqscan"], session["prepared"], session["locks"]) == ("on", 0, 0)
        assert session["idle_timeout"] in {"0", "0ms"}
        assert session["is_read_only"] == "off"


async def look_while_others_do(pool: SessionPool) -> dict[str, Any]:
    async with pool.acquire() as connection, connection.transaction():
        row = await connection.fetchrow(
            "SELECT pg_backend_pid() AS pid, current_setting('enable_seqscan') AS seqscan,"
            " current_setting('idle_in_transaction_session_timeout') AS idle_timeout,"
            " current_setting('default_transaction_read_only') AS is_read_only,"
            " (SELECT count(*) FROM pg_prepared_statements WHERE name <> '') AS prepared,"
            " (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) AS locks,"
            " pg_sleep(0.5)"
        )
        assert row is not None
        return dict(row)


async def test_connections_that_are_made_at_the_same_time_all_notice_the_pooler(door: FrontDoor) -> None:
    """One of them took what another had found for its own finding, and kept named statements."""
    async with open_pooler(door.stack.database_url, default_pool_size="2") as pooler:
        for _ in range(5):
            async with open_pool(pooler.in_front_of(door.stack.database_url), max_connections=8, name="all") as pool:
                statements = [f"SELECT $1::int + {number}" for number in range(8)]
                for _ in range(3):
                    found = await asyncio.gather(*(pool.fetchval(statement, 1) for statement in statements))
                    assert found == list(range(1, 9))


async def test_only_one_prune_works_at_a_time_also_through_a_pooler(door: FrontDoor) -> None:
    async with open_pooler(door.stack.database_url) as pooler:
        url = pooler.in_front_of(door.stack.database_url)
        async with open_retention(url):
            with pytest.raises(AlreadyAtWork):
                async with open_retention(door.stack.database_url):
                    pass
        async with open_retention(door.stack.database_url):
            pass


async def test_a_pooler_that_restarts_costs_a_run_nothing(door: FrontDoor, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    params = json.dumps({"gate_file": str(gate), "sign_file": str(tmp_path / "sign")})
    strategy = await door.add_strategy("test_gate", strategy_params=params)
    async with open_pooler(door.stack.database_url) as pooler:
        url = pooler.in_front_of(door.stack.database_url)
        async with door.worker(database_url=url, lease_seconds="3") as worker:
            request = await door.request(strategy)
            await door.row_of(request, "running")
            for _ in range(2):
                await pooler.stop()
                await until_it_is_noticed(worker)
                await pooler.start()
            gate.touch()
            terminal = await door.terminal_event(request)
    assert (terminal.kind, terminal.data["attempt"]) == ("completed", 1)


async def until_it_is_noticed(worker: Worker) -> None:
    """Until the worker has said once more that Postgres does not answer."""
    before = worker.log_text().count("Postgres")

    async def has_noticed() -> bool:
        return worker.log_text().count("Postgres") > before

    await eventually(has_noticed, "the worker notices that the pooler is away")


async def test_a_certificate_is_checked_as_the_url_says(door: FrontDoor, tmp_path: Path) -> None:
    authority, other = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    other.cert_pem.write_to_path(tmp_path / "other.pem")
    pem = authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.bytes()
    async with open_pooler(door.stack.database_url, certificate=pem) as pooler:
        url = pooler.in_front_of(door.stack.database_url)
        for query, is_fine in (
            ("sslmode=require", True),
            (f"sslmode=verify-full&sslrootcert={tmp_path / 'authority.pem'}", True),
            (f"sslmode=verify-full&sslrootcert={tmp_path / 'other.pem'}", False),
            ("sslmode=verify-full&sslrootcert=system", False),
            ("sslmode=disable", False),
        ):
            ended = await door.command("migrate", database_url=f"{url}?{query}")
            assert (ended.status == 0) is is_fine, (query, ended.stderr)
            if not is_fine:
                assert ended.stderr.count("\n") == 1, ended.stderr
                with pytest.raises(StoreUnavailable):
                    async with open_pool(f"{url}?{query}", max_connections=1, name="tls") as pool:
                        await pool.check_writable()
