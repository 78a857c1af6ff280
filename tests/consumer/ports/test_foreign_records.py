"""Records as other programs' producers write them reach us, whatever a broker accepts."""

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.producer import message_accumulator
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from consumer.adapters.kafka.connection import KafkaConnection
from consumer.adapters.kafka.reader import open_reader
from consumer.adapters.kafka.source import KafkaSource
from consumer.adapters.kafka.topics import TopicSettings, create_topics
from consumer.ports import Record
from schemas.topics import Topic

TIMEOUT_SECONDS = 30.0


class NotUtf8(str):
    """A header's name that a producer in C or Java may write and aiokafka's would not."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return b"\xffname\xfe"


@pytest.mark.parametrize("codec", [None, "gzip", "snappy", "lz4", "zstd"])
async def test_a_batch_compressed_by_any_codec_is_read(
    kafka_bootstrap_servers: str, topic_prefix: str, codec: str | None
) -> None:
    value = b"x" * 4_000  # a producer leaves small ones as they are
    await produce(kafka_bootstrap_servers, [(f"{topic_prefix}{codec}", value, ())], compression_type=codec)
    [record] = await received(kafka_bootstrap_servers, f"{topic_prefix}{codec}", 1)
    assert record.value == value


@pytest.mark.parametrize("codec", [None, "gzip"])
async def test_a_header_name_that_is_not_utf8_does_not_stop_its_partition(
    kafka_bootstrap_servers: str, topic_prefix: str, codec: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_accumulator, "DefaultRecordBatchBuilder", _DefaultRecordBatchBuilderPy)
    key = f"{topic_prefix}header"
    strange = (("plain", b"1"), (NotUtf8("name"), b"\xff"), ("none", None))
    records = [(key, b"before", ()), (key, b"x" * 4_000, strange), (key, b"after", ())]
    await produce(kafka_bootstrap_servers, records, compression_type=codec)

    before, between, after = await received(kafka_bootstrap_servers, key, 3)

    assert (before.value, after.value) == (b"before", b"after")
    assert between.headers == (("plain", b"1"), ("\\xffname\\xfe", b"\xff"), ("none", None))
    async with open_reader(
        KafkaConnection(kafka_bootstrap_servers), [Topic.REQUESTED.value], from_beginning=True
    ) as reader:
        read: list[Record] = []
        while not await reader.has_caught_up():
            read += await reader.read(1.0)
    assert [record.headers for record in read if record.key == key.encode()] == [(), between.headers, ()]


async def produce(servers: str, records: list[tuple[str, bytes, Any]], **settings: Any) -> None:
    """Send them as one batch."""
    await create_topics(KafkaConnection(servers), TopicSettings(2))
    async with AIOKafkaProducer(bootstrap_servers=servers, **settings) as producer:
        batch = producer.create_batch()
        for key, value, headers in records:
            assert batch.append(key=key.encode(), value=value, timestamp=None, headers=list(headers)) is not None
        await (await producer.send_batch(batch, Topic.REQUESTED.value, partition=0))


async def received(servers: str, key: str, count: int) -> list[Record]:
    """The first records with this key, through the worker's source."""
    source = KafkaSource(KafkaConnection(servers), key)
    got: list[Record] = []

    async def read() -> None:
        async for batch in source.batches():
            got.extend(record for record in batch.records if record.key == key.encode())
            if len(got) >= count:
                return

    try:
        await asyncio.wait_for(read(), TIMEOUT_SECONDS)
    finally:
        await source.stop()
    return got
