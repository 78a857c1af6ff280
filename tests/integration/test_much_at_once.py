"""Records that come to a lot, few as they are: every partition goes on, and the worker's memory stays what it was."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import psutil
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.producer.message_accumulator import BatchBuilder

from consumer.devstack import StackKind
from tests.support import kafka_admin
from tests.support.front_door import JANUARY, FrontDoor, Worker, open_front_door
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

MOST_BYTES = 500_000_000
MEGABYTE = 1_048_576


@pytest.fixture(scope="module")
async def door(tmp_path_factory: pytest.TempPathFactory, stack_kind: StackKind) -> AsyncIterator[FrontDoor]:
    async with open_front_door(tmp_path_factory.mktemp("much-at-once"), stack_kind) as opened:
        configs = {"max.message.bytes": str(9 * MEGABYTE)}
        await kafka_admin.configure(opened.stack.kafka_bootstrap_servers, "backtest.requested", configs)
        yield opened


async def test_batches_that_unpack_to_gigabytes_stop_no_partition(door: FrontDoor) -> None:
    """A megabyte of zstd that is 1 100 MB of zeros: as one record, and as 1 100 of a megabyte."""
    strategy_id = await door.add_strategy()
    async with AIOKafkaProducer(
        bootstrap_servers=door.stack.kafka_bootstrap_servers, compression_type="zstd", max_request_size=9 * MEGABYTE
    ) as producer:
        for partition in range(3):
            await send_batch(producer, partition, [b"\0" * 1_100 * MEGABYTE])
            await send_batch(producer, partition, [b"\0" * MEGABYTE] * 1_100)
    async with door.worker() as worker:
        await largest_while(worker, lambda: door.terminal_event_at_last(strategy_id))
        letters = [each for each in door.messages if each.topic == "backtest.requested.dlq"]

        async def all_told() -> bool:
            found = {
                (each.headers["dlq-partition"], each.headers["dlq-offset"])
                for each in door.messages
                if each.topic == "backtest.requested.dlq"
            }
            return len(found) == 3 * 1_101

        await eventually(all_told, f"a dead letter for each record, {len(letters)} at first", seconds=240)
        assert {each.headers["dlq-reason"] for each in door.messages if "dlq" in each.topic} <= {
            b"too_large",
            b"undecodable",
        }


async def send_batch(producer: AIOKafkaProducer, partition: int, values: Sequence[bytes]) -> None:
    """All of them in one record batch."""
    batch: BatchBuilder = producer.create_batch()
    batch._builder._batch_size = 2**31 - 1
    for value in values:
        assert batch.append(timestamp=None, key=b"k", value=value) is not None
    await (await producer.send_batch(batch, "backtest.requested", partition=partition))
