"""Many POSTs a second and many open event streams at one API process, beside a worker: rates, latencies, memory.

python -m tests.benchmarks.service.api_load --posts-a-second 500 --streams 1000 --seconds 30
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import asyncpg
import psutil
import uvloop

from consumer.adapters.postgres.schema.migrating import migrate
from consumer.devstack import devstack
from tests.benchmarks.service.report import table, write_section
from tests.support.api_process import free_port
from tests.support.front_door import JANUARY, write_market_data
from tests.support.waiting import eventually

CONNECTIONS = 32
"""Kept alive, for POSTs."""


@dataclass(slots=True)
class ApiLoad:
    """What was measured of the API's process; seconds and MB."""

    seconds: float
    streams: int
    of_everything: int
    accepted: int = 0
    refused: int = 0
    latencies: list[float] = field(default_factory=list)
    events: int = 0
    cpu_seconds: float = 0.0
    memory_before: float = 0.0
    """With all streams open, nothing posted yet."""
    memory_after: float = 0.0


async def measure_api(
    directory: Path, posts_a_second: int, streams: int, of_everything: int, seconds: float
) -> ApiLoad:
    """Servers, a worker and an API of their own; open streams while POSTs come: so many follow everything, the others
    a run that waits.
    """
    write_market_data(directory / "market-data")
    async with devstack() as stack:
        await migrate(stack.database_url)
        environment = {
            **os.environ,
            **stack.settings_environment(),
            "BACKTEST_MARKET_DATA_URL": str(directory / "market-data"),
            "BACKTEST_ARTIFACTS_URL": str(directory / "artifacts"),
            "BACKTEST_SLOTS": "1",
            "BACKTEST_LOG_LEVEL": "warning",
        }
        port = free_port()
        async with (
            program("worker", environment),
            program("api", {**environment, "BACKTEST_API_PORT": str(port)}) as api,
        ):
            await eventually(lambda: _answers(port), "the API", seconds=90)
            strategy = await _post(port, "/v1/strategies", {"name": "load", "strategy_key": "sma_cross"})
            waiting = await _waiting_run(stack.database_url, strategy["id"])
            paths = ["/v1/events"] * of_everything + [f"/v1/backtest/{waiting}/events"] * (streams - of_everything)
            process = psutil.Process(api.pid)
            return await _under_load(port, process, strategy["id"], posts_a_second, paths, seconds)


async def _waiting_run(database_url: str, strategy_id: int) -> int:
    """A row that nobody has asked to be run: its followers have nothing to read."""
    connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
    run_id: int = await connection.fetchval(
        "INSERT INTO backtest_runs (strategy_id, symbol, timeframe, start_date, end_date)"
        " VALUES ($1, 'EURUSD', 'H1', '2017-01-02Z', '2017-02-01Z') RETURNING id",
        strategy_id,
    )
    await connection.close()
    return run_id


async def _under_load(
    port: int, api: psutil.Process, strategy_id: int, posts_a_second: int, paths: list[str], seconds: float
) -> ApiLoad:
    load = ApiLoad(seconds, len(paths), paths.count("/v1/events"))
    context = multiprocessing.get_context("spawn")
    events, stop = context.Value("q", 0), context.Event()
    readers = context.Process(target=read_streams, args=(port, paths, events, stop), daemon=True)
    readers.start()

    async def are_open() -> bool:
        return bool(events.value >= len(paths))

    await eventually(are_open, "all streams open", seconds=90)
    load.memory_before, cpu_before = api.memory_info().rss / 1e6, sum(api.cpu_times()[:2])
    body = {"strategy_id": strategy_id, "symbol": "EURUSD", "timeframe": "H1", **JANUARY}
    began = time.monotonic()
    await asyncio.gather(
        *(
            _post_steadily(port, body, load, began + number / posts_a_second, CONNECTIONS / posts_a_second, seconds)
            for number in range(CONNECTIONS)
        )
    )
    load.seconds = time.monotonic() - began
    load.cpu_seconds = sum(api.cpu_times()[:2]) - cpu_before
    load.memory_after = api.memory_info().rss / 1e6
    load.events = events.value
    stop.set()
    readers.join(10)
    return load


class Reader(asyncio.Protocol):
    """Counts what comes on a stream; the first is its opening. Parts are not taken apart: what is
    measured is the API, not this.
    """

    def __init__(self, path: str, events: Any) -> None:
        self.path, self.events = path, events

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        head = f"GET {self.path} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        cast("asyncio.Transport", transport).write(head.encode())

    def data_received(self, data: bytes) -> None:
        self.events.value += data.count(b"\n\n")


def read_streams(port: int, paths: list[str], events: Any, stop: Any) -> None:
    """A process of its own: POSTs must not wait for what reads a thousand streams."""

    async def read() -> None:
        loop = asyncio.get_running_loop()
        for path in paths:
            await loop.create_connection(partial(Reader, path, events), "127.0.0.1", port)
        await asyncio.to_thread(stop.wait)

    uvloop.run(read())


async def _post_steadily(
    port: int, body: dict[str, object], load: ApiLoad, first: float, every: float, seconds: float
) -> None:
    """POST at fixed moments, late ones at once: what waits is part of the latency."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    due = first
    while due < first + seconds:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        status, _ = await _ask(reader, writer, "/v1/backtest", body)
        load.latencies.append(time.monotonic() - due)
        if status == 202:
            load.accepted += 1
        else:
            load.refused += 1
        due += every
    writer.close()


async def _post(port: int, path: str, body: dict[str, object]) -> dict[str, int]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    _, content = await _ask(reader, writer, path, body)
    writer.close()
    found: dict[str, int] = json.loads(content)
    return found


async def _ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, body: dict[str, object]
) -> tuple[int, bytes]:
    text = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(text)}"
    writer.write(head.encode() + b"\r\n\r\n" + text)
    answer = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(answer.partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return int(answer.split(b" ")[1]), await reader.readexactly(length)


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


@asynccontextmanager
async def program(command: str, environment: dict[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "consumer", command, env=environment)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


def summary(load: ApiLoad) -> str:
    ordered = sorted(load.latencies)
    rows = [
        ("POSTs accepted a second", f"{load.accepted / load.seconds:.0f}"),
        ("other answers", str(load.refused)),
        ("latency of a POST, median", f"{1000 * ordered[len(ordered) // 2]:.0f} ms"),
        ("latency, 99 of 100", f"{1000 * ordered[int(len(ordered) * 0.99)]:.0f} ms"),
        ("open streams, of them of everything", f"{load.streams}, {load.of_everything}"),
        ("events sent a second", f"{load.events / load.seconds:.0f}"),
        ("CPU of the API", f"{100 * load.cpu_seconds / load.seconds:.0f} %"),
        ("memory before and after", f"{load.memory_before:.0f} MB, {load.memory_after:.0f} MB"),
    ]
    return table(("one API process beside a worker", ""), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts-a-second", type=int, default=500)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--of-everything", type=int, default=20, help="streams that follow all runs")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        load = asyncio.run(
            measure_api(Path(folder), given.posts_a_second, given.streams, given.of_everything, given.seconds)
        )
    print(summary(load))
    if given.write:
        write_section("api", summary(load))


if __name__ == "__main__":
    main()
