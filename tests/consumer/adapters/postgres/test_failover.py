"""Which of several servers a connection leads to, and what happens to connections when a server stops taking writes."""

import asyncio
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from consumer.adapters.postgres.history import connected
from consumer.adapters.postgres.pool import SessionPool, open_pool, transaction
from consumer.adapters.postgres.schema.migrating import check_schema, migrate
from consumer.devstack import StackKind
from consumer.devstack.postgres_server import EmbeddedPostgres
from consumer.devstack.temporary_directory import temporary_directory
from consumer.errors import StartFailed, StoreUnavailable
from tests.support.tcp_switch import open_switch
from tests.support.waiting import eventually

RECOVERED_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Pair:
    """Two servers with the same database; the standby takes no writes until it is promoted."""

    primary: EmbeddedPostgres
    standby: EmbeddedPostgres

    def url(self, *hosts: EmbeddedPostgres, **parameters: str) -> str:
        authority = self.primary.database_url.partition("://")[2].rpartition("@")[0]
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        return f"postgresql://{authority}@{','.join(map(host_of, hosts))}/backtest?{query}"


def host_of(server: EmbeddedPostgres) -> str:
    return server.database_url.rpartition("@")[2].partition("/")[0]


def port_of(server: EmbeddedPostgres) -> int:
    return int(host_of(server).rpartition(":")[2])


@asynccontextmanager
async def open_pair() -> AsyncIterator[Pair]:
    with temporary_directory() as directory:
        async with AsyncExitStack() as stack:
            primary = EmbeddedPostgres(directory / "primary", durable=True, throwaway=True)
            stack.push_async_callback(primary.stop)
            await primary.start()
            await migrate(primary.database_url)
            await primary.stop()
            await asyncio.to_thread(_copy, directory / "primary", directory / "standby")
            standby = EmbeddedPostgres(directory / "standby", durable=True, throwaway=True)
            stack.push_async_callback(standby.stop)
            await asyncio.gather(primary.start(), standby.start())
            yield Pair(primary, standby)


def _copy(primary: Path, standby: Path) -> None:
    subprocess.run(["cp", "-a", str(primary), str(standby)], check=True)
    (standby / "data" / "standby.signal").touch()


@pytest.fixture(scope="module")
async def pair(stack_kind: StackKind) -> AsyncIterator[Pair]:
    """Do not promote the standby."""
    if stack_kind != "embedded":
        pytest.skip("a standby is made of the files of a server of ours")
    async with open_pair() as pair:
        yield pair


async def is_on_standby(url: str) -> bool:
    async with connected(url) as connection:
        return bool(await connection.fetchval("SELECT pg_is_in_recovery()"))


@pytest.mark.parametrize(
    ("target", "is_standby"),
    [
        ("any", True),
        ("read-write", False),
        ("primary", False),
        ("read-only", True),
        ("standby", True),
        ("prefer-standby", True),
    ],
)
async def test_a_reader_is_led_to_the_host_it_asked_for(pair: Pair, target: str, is_standby: bool) -> None:
    url = pair.url(pair.standby, pair.primary, target_session_attrs=target)
    assert await is_on_standby(url) is is_standby


async def test_a_reader_that_prefers_a_standby_takes_what_there_is(pair: Pair) -> None:
    assert not await is_on_standby(pair.url(pair.primary, target_session_attrs="prefer-standby"))
    assert await is_on_standby(pair.url(pair.primary, pair.standby, target_session_attrs="prefer-standby"))


@pytest.mark.parametrize("parameters", [{}, {"target_session_attrs": "any"}, {"target_session_attrs": "primary"}])
async def test_who_writes_is_led_to_the_host_that_takes_writes(pair: Pair, parameters: dict[str, str]) -> None:
    url = pair.url(pair.standby, pair.primary, **parameters)
    async with open_pool(url, max_connections=1, name="writer") as pool, transaction(pool) as connection:
        await connection.execute("CREATE TEMPORARY TABLE written (x int)")
    assert not (await migrate(url)).is_changed


async def test_a_worker_on_a_standby_alone_is_told_so(pair: Pair) -> None:
    for attempt in (check_schema, migrate, write_by_pool):
        with pytest.raises(StoreUnavailable, match="takes no writes: it is a standby"):
            await attempt(pair.url(pair.standby))
        with pytest.raises(StartFailed, match="target_session_attrs=standby, and this is to write"):
            await attempt(pair.url(pair.standby, target_session_attrs="standby"))


async def test_every_host_is_named_with_what_is_the_matter_with_it(pair: Pair) -> None:
    url = pair.url(pair.standby, pair.primary).replace(host_of(pair.primary), "127.0.0.1:1")
    with pytest.raises(StoreUnavailable) as caught:
        await write_by_pool(url)
    assert f"{host_of(pair.standby)} takes no writes: it is a standby" in str(caught.value)
    assert "127.0.0.1:1: " in str(caught.value)


async def read_by_command(url: str) -> None:
    async with connected(url) as connection:
        await connection.fetch("SELECT 1")


async def write_by_pool(url: str) -> None:
    async with open_pool(url, max_connections=1, name="writer") as pool:
        await pool.check_writable()


@pytest.mark.parametrize("attempt", [check_schema, migrate, read_by_command, write_by_pool])
async def test_tls_that_a_server_does_not_have_is_told_in_one_line_by_every_way_in(
    pair: Pair, attempt: Callable[[str], Awaitable[Any]]
) -> None:
    with pytest.raises(StoreUnavailable, match="rejected SSL upgrade") as caught:
        await attempt(pair.url(pair.primary, sslmode="require"))
    assert "\n" not in str(caught.value)
    await attempt(pair.url(pair.primary, sslmode="disable", application_name="told", connect_timeout="5"))


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the system has no such option")
async def test_a_server_that_is_gone_without_a_word_is_given_up_by_the_system_after_eight_seconds(pair: Pair) -> None:
    """Tried by hand with a link that was taken down: 8.1 s, and the next host answered 1.2 s later."""
    async with open_pool(pair.url(pair.primary), max_connections=1, name="keen") as pool, pool.acquire() as connection:
        connected: Any = connection
        used = connected._transport.get_extra_info("socket")
        assert used.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 8_000
        assert used.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert used.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 2


@pytest.mark.parametrize("parameter", ["sslrootcert", "sslcert", "sslcrl"])
async def test_a_file_that_holds_no_certificate_is_told_by_its_parameter(
    pair: Pair, tmp_path: Path, parameter: str
) -> None:
    file = tmp_path / "file.pem"
    file.write_text("no certificate")
    for attempt in (migrate, read_by_command, write_by_pool):
        with pytest.raises(StoreUnavailable, match=f"the file of its parameter {parameter}: "):
            await attempt(pair.url(pair.primary, sslmode="verify-ca", **{parameter: str(file)}))


async def test_a_root_certificate_that_is_nowhere_is_told(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(StoreUnavailable, match=r"BACKTEST_DATABASE_URL: root certificate file .* does not exist"):
        await write_by_pool(pair.url(pair.primary, sslmode="verify-full"))


async def test_an_application_name_of_the_url_is_what_the_server_shows(pair: Pair) -> None:
    async with open_pool(pair.url(pair.primary, application_name="mine"), max_connections=1, name="ours") as pool:
        assert await pool.fetchval("SHOW application_name") == "mine"


async def test_connections_leave_a_server_that_was_told_to_take_no_writes_and_come_back(pair: Pair) -> None:
    async with open_pool(pair.url(pair.primary), max_connections=2, name="writer") as pool, read_only(pair.primary):
        with pytest.raises(StoreUnavailable, match="default_transaction_read_only is on"):
            await pool.check_writable()
        with pytest.raises(StoreUnavailable, match="default_transaction_read_only is on"):
            await write(pool)
    async with open_pool(pair.url(pair.primary), max_connections=2, name="writer") as pool:
        await write(pool)
        async with read_only(pair.primary):
            with pytest.raises(StoreUnavailable, match="read-only transaction"):
                await write(pool)
        await eventually(lambda: is_written(pool), "writes again", seconds=RECOVERED_SECONDS)


@pytest.mark.parametrize("old_server", ["stays, as a standby does", "is gone", "stays behind its connections"])
async def test_a_pool_recovers_soon_after_its_address_leads_to_another_server(
    stack_kind: StackKind, old_server: str
) -> None:
    if stack_kind != "embedded":
        pytest.skip("a standby is made of the files of a server of ours")
    async with open_pair() as pair, open_switch(port_of(pair.primary)) as switch:
        url = pair.url(pair.primary).replace(host_of(pair.primary), f"127.0.0.1:{switch.port}")
        async with open_pool(url, max_connections=3, name="writer") as pool:
            await asyncio.gather(*(write(pool) for _ in range(3)))
            if old_server == "is gone":
                await pair.primary.kill()
            else:
                await make_read_only(pair.primary)
            with pytest.raises(StoreUnavailable):
                await write(pool)
            await promote(pair.standby)
            switch.target_port = port_of(pair.standby)
            if old_server == "stays, as a standby does":
                switch.cut()
            await eventually(lambda: is_written(pool), "writes on the other server", seconds=RECOVERED_SECONDS)
            await asyncio.gather(*(write(pool) for _ in range(3)))


async def write(pool: SessionPool) -> None:
    async with transaction(pool) as connection:
        await connection.execute("INSERT INTO strategies (name) VALUES (gen_random_uuid()::text)")


async def is_written(pool: SessionPool) -> bool:
    try:
        await write(pool)
    except StoreUnavailable:
        return False
    return True


@asynccontextmanager
async def read_only(server: EmbeddedPostgres) -> AsyncIterator[None]:
    await make_read_only(server)
    try:
        yield
    finally:
        await tell(
            server, "SET default_transaction_read_only = off", "ALTER SYSTEM RESET default_transaction_read_only"
        )


async def make_read_only(server: EmbeddedPostgres) -> None:
    await tell(server, "ALTER SYSTEM SET default_transaction_read_only = on")


async def promote(server: EmbeddedPostgres) -> None:
    await tell(server, "SELECT pg_promote()")


async def tell(server: EmbeddedPostgres, *statements: str) -> None:
    """As an administrator does; what he changed holds when this returns."""
    connection = await asyncpg.connect(server.database_url.replace("+asyncpg", ""))
    try:
        for statement in statements:
            await connection.execute(statement)
        if not any("pg_promote" in statement for statement in statements):
            before = await connection.fetchval("SELECT pg_conf_load_time()")
            await connection.execute("SELECT pg_reload_conf()")

            async def is_loaded() -> bool:
                return bool(await connection.fetchval("SELECT pg_conf_load_time() > $1", before))

            await eventually(is_loaded, "the configuration read again")
    finally:
        await connection.close()
