"""The worker as a process: how it starts without servers, what it tells over HTTP, how it stops."""

import asyncio
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from consumer.devstack import StackKind
from consumer.devstack.free_ports import free_ports
from tests.support.front_door import FrontDoor, open_front_door
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
async def door(tmp_path_factory: pytest.TempPathFactory, stack_kind: StackKind) -> AsyncIterator[FrontDoor]:
    async with open_front_door(tmp_path_factory.mktemp("worker-process"), stack_kind) as opened:
        yield opened


def nowhere(**settings: str) -> dict[str, str]:
    """The environment of a worker whose servers are not there."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BACKTEST_")}
    return {
        **kept,
        "BACKTEST_DATABASE_URL": "postgresql+asyncpg://someone:hunter2@127.0.0.1:1/backtest",
        "BACKTEST_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        **settings,
    }


WORKER = [sys.executable, "-m", "consumer", "worker"]


def test_without_servers_it_exits_1_with_one_line_that_names_the_server_and_no_secret() -> None:
    environment = nowhere(BACKTEST_START_TIMEOUT_SECONDS="0.5", BACKTEST_LOG_LEVEL="critical")
    ended = subprocess.run(WORKER, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1
    assert "127.0.0.1:1" in ended.stderr or "Postgres" in ended.stderr
    assert "hunter2" not in ended.stderr


async def test_it_starts_without_patience_where_its_servers_answer(door: FrontDoor) -> None:
    async with door.worker(start_timeout_seconds="0") as worker:

        async def started() -> bool:
            return bool(worker.log_events("worker_started"))

        await eventually(started, "the worker's start")


async def test_a_place_for_artefacts_that_takes_no_files_ends_the_start_and_not_each_run(
    door: FrontDoor, tmp_path: Path
) -> None:
    (tmp_path / "a file").touch()
    url = str(tmp_path / "a file" / "artifacts")
    environment = {**door.environment(), "BACKTEST_ARTIFACTS_URL": url, "BACKTEST_START_TIMEOUT_SECONDS": "0"}

    ended = await asyncio.to_thread(
        subprocess.run, WORKER, env=environment, capture_output=True, text=True, timeout=60, check=False
    )

    assert ended.returncode == 1
    assert f"BACKTEST_ARTIFACTS_URL takes no files: {url}" in ended.stderr.splitlines()[-1]


def test_without_settings_it_exits_2_and_names_them() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BACKTEST_")}
    ended = subprocess.run(WORKER, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert "BACKTEST_DATABASE_URL" in ended.stderr
    assert "BACKTEST_KAFKA_BOOTSTRAP_SERVERS" in ended.stderr


def test_sigterm_while_it_waits_for_its_servers_ends_it_with_0() -> None:
    environment = nowhere(BACKTEST_START_TIMEOUT_SECONDS="60", BACKTEST_LOG_FORMAT="json")
    with subprocess.Popen(WORKER, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "waiting_for_server" in line:
                process.send_signal(signal.SIGTERM)
                break
        assert process.wait(10) == 0


async def test_it_tells_health_readiness_and_metrics_over_http(door: FrontDoor) -> None:
    [port] = free_ports(1)
    strategy_id = await door.add_strategy()
    async with door.worker(http_port=str(port)):

        async def is_ready() -> bool:
            return answer(port, "readyz")[0] == 200

        await eventually(is_ready, "readiness")
        assert answer(port, "healthz")[0] == 200
        await door.terminal_event(await door.request(strategy_id))
        _, metrics = answer(port, "metrics")
        assert 'backtest_runs_finished_total{outcome="completed"} 1.0' in metrics


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
async def test_closed_standard_streams_do_not_end_a_stopping_worker_by_sigabrt(door: FrontDoor, closed: str) -> None:
    """The next socket got the stream's number, and was closed with it."""
    command = f"exec {shlex.join(WORKER)} {closed}"
    process = await asyncio.create_subprocess_exec("sh", "-c", command, env=door.environment())

    async def is_up() -> bool:
        rows = await door.database.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE $1", f"%/{process.pid}/%"
        )
        return bool(rows)

    await eventually(is_up, "the worker's connections", seconds=60)
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 30) == 0


@pytest.mark.skipif(shutil.which("unshare") is None or os.geteuid() != 0, reason="namespaces are root's")
async def test_as_a_containers_first_process_it_leaves_no_zombies_and_ends_as_it_is_told(
    door: FrontDoor, tmp_path: Path
) -> None:
    params = json.dumps({"sign_file": str(tmp_path / "sign")})
    strategy_id = await door.add_strategy("test_orphans", strategy_params=params)
    log_file = tmp_path / "log"
    with log_file.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *WORKER),
            env=door.environment(),
            stderr=log,
        )
    try:
        await door.terminal_event(await door.request(strategy_id), seconds=120)
        [first] = psutil.Process(process.pid).children()

        async def are_gone() -> bool:
            return not [each for each in first.children(recursive=True) if each.status() == psutil.STATUS_ZOMBIE]

        await eventually(are_gone, "no zombies")
        first.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 30) == 0
        assert "worker_stopped" in log_file.read_text()
    finally:
        with suppress(ProcessLookupError):
            process.kill()


async def test_sigterm_with_kafka_away_ends_it_with_0_within_ten_seconds(door: FrontDoor, tmp_path: Path) -> None:
    gate = json.dumps({"sign_file": str(tmp_path / "sign"), "gate_file": str(tmp_path / "gate")})
    strategy_id = await door.add_strategy("test_gate", strategy_params=gate)
    async with door.worker() as worker:
        request_id = await door.request(strategy_id)

        async def runs() -> bool:
            return (tmp_path / "sign").exists()

        await eventually(runs, "the strategy at work")
        await door.stack.kafka.pause()
        try:
            worker.process.send_signal(signal.SIGTERM)

            async def has_ended() -> bool:
                return worker.process.returncode is not None

            await eventually(has_ended, "the end of the worker", seconds=10)
        finally:
            await door.stack.kafka.resume()
        assert worker.process.returncode == 0
    assert (await door.row_of(request_id, "pending", seconds=1))["status"] == "pending"


def answer(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""
