"""Records that come to a lot, few as they are: every partition goes on, and the worker's memory stays what it was."""

import json
import os
import time
from collections.abc import AsyncIterator

import psutil
import pytest
from aiokafka import AIOKafkaProducer

from consumer.devstack import StackKind
from tests.support import kafka_admin
from tests.support.front_door import JANUARY, FrontDoor, Worker, open_front_door
from tests.support.packed_batches import packed_batch, record_of_zeros, send_batch
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

MOST_BYTES = 500_000_000
MEGABYTE = 1_048_576
TIMES = int(os.environ.get("MUCH", "1"))
"""More than once: as much as it was when this was found."""


@pytest.fixture(scope="module")
async def door(tmp_path_factory: pytest.TempPathFactory, stack_kind: StackKind) -> AsyncIterator[FrontDoor]:
    async with open_front_door(tmp_path_factory.mktemp("much-at-once"), stack_kind) as opened:
        configs = {"max.message.bytes": str(9 * MEGABYTE)}
        await kafka_admin.configure(opened.stack.kafka_bootstrap_servers, "backtest.requested", configs)
        yield opened


@pytest.fixture
async def upstream(door: FrontDoor) -> AsyncIterator[AIOKafkaProducer]:
    servers = door.stack.kafka_bootstrap_servers
    async with AIOKafkaProducer(bootstrap_servers=servers, max_request_size=9 * MEGABYTE) as producer:
        yield producer


async def test_a_megabyte_that_unpacks_to_gigabytes_stops_no_partition(
    door: FrontDoor, upstream: AIOKafkaProducer
) -> None:
    """1 100 MB of zeros in zstd, as one record and as 1 100: each partition stood still, with 5.7 GB of memory."""
    strategy_id = await door.add_strategy()
    now = int(time.time() * 1000)
    one = packed_batch([record_of_zeros(0, 1_100 * MEGABYTE)], now)
    many = packed_batch([record_of_zeros(offset, MEGABYTE - 100) for offset in range(1_100)], now)
    for partition in range(3):
        await send_batch(upstream, "backtest.requested", partition, one, 1)
        await send_batch(upstream, "backtest.requested", partition, many, 1_100)
    async with door.worker() as worker:
        assert await _peak_until_done(door, worker, strategy_id) < MOST_BYTES
        await _dead_letters(door, 3 * 1_101)


async def test_many_records_beyond_a_megabyte_are_dead_letters_in_bounded_memory(
    door: FrontDoor, upstream: AIOKafkaProducer
) -> None:
    strategy_id = await door.add_strategy()
    before = len(_letters(door))
    count = 150 * TIMES
    for _ in range(count):
        await upstream.send("backtest.requested", b"x" * 1_143_000)
    await upstream.flush()
    async with door.worker() as worker:
        assert await _peak_until_done(door, worker, strategy_id) < MOST_BYTES
        await _dead_letters(door, before + count)


async def test_many_valid_requests_of_a_megabyte_become_runs_in_bounded_memory(
    door: FrontDoor, upstream: AIOKafkaProducer
) -> None:
    strategy_id = await door.add_strategy("test_gate")
    count = 100 * TIMES
    params = {
        "sign_file": str(door.directory / "sign"),
        "gate_file": "g" * 1_040_000,
    }  # its runs fail for that name, but they run
    data = {"strategy_id": strategy_id, "symbol": "EURUSD", **JANUARY, "strategy_params": params}
    for number in range(count):
        await upstream.send("backtest.requested", json.dumps({**data, "request_id": f"large-{number}"}).encode())
    await upstream.flush()
    async with door.worker() as worker:
        assert await _peak_until_done(door, worker, await door.add_strategy()) < MOST_BYTES

        async def all_recorded() -> bool:
            statement = "SELECT count(*) FROM backtest_requests WHERE request_id LIKE 'large-%'"
            return bool(await door.database.fetchval(statement) == count)

        await eventually(all_recorded, "all of them recorded", seconds=300)


async def _peak_until_done(door: FrontDoor, worker: Worker, strategy_id: int) -> int:
    """The worker's largest memory until requests that lie behind all that in every partition have run, in bytes."""
    ids = [await door.request(strategy_id) for _ in range(12)]
    process = psutil.Process(worker.process.pid)
    peak = 0

    async def probe() -> bool:
        nonlocal peak
        peak = max(peak, process.memory_info().rss)
        ended = {each.data["request_id"] for each in door.messages if each.topic == "backtest.completed"}
        return ended >= set(ids)

    await eventually(probe, "the requests behind it run", seconds=300)
    print(f"peak {peak / 1e6:.0f} MB")
    return peak


def _letters(door: FrontDoor) -> set[tuple[bytes, bytes]]:
    return {
        (each.headers["dlq-partition"], each.headers["dlq-offset"])
        for each in door.messages
        if each.topic == "backtest.requested.dlq"
    }


async def _dead_letters(door: FrontDoor, count: int) -> None:
    async def all_told() -> bool:
        return len(_letters(door)) >= count

    await eventually(all_told, f"{count} dead letters", seconds=120)
