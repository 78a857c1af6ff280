"""What the Kafka source marks for commit, with a consumer that rebalances at the worst moment."""

from dataclasses import dataclass
from typing import cast

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord

from consumer.adapters.kafka.connection import KafkaConnection
from consumer.adapters.kafka.source import KafkaSource

PLACE = TopicPartition("backtest.requested", 0)


@dataclass(slots=True)
class Consumer:
    """Returns one record; in the named call a rebalance takes the partition away and gives it back."""

    source: KafkaSource
    rebalances_in: str

    async def getmany(self, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[ConsumerRecord]]:
        del timeout_ms, max_records
        self._rebalance("getmany")
        record = ConsumerRecord(PLACE.topic, 0, 7, 0, 0, b"key", b"value", None, 3, 5, ())
        return {PLACE: [record]}

    async def position(self, partition: TopicPartition) -> int:
        assert partition == PLACE
        self._rebalance("position")
        return 8

    def assignment(self) -> set[TopicPartition]:
        return {PLACE}

    def _rebalance(self, call: str) -> None:
        if call == self.rebalances_in:
            self.source.forget_assignment()


async def poll(source: KafkaSource, rebalances_in: str) -> None:
    await source._poll_once(cast("AIOKafkaConsumer", Consumer(source, rebalances_in)))


async def test_records_that_come_out_of_a_rebalance_are_committed() -> None:
    source = KafkaSource(KafkaConnection("127.0.0.1:9"), "group")
    await poll(source, rebalances_in="getmany")
    batch = source.handed_over.get_nowait()
    assert batch is not None
    source.mark_durable(batch)
    assert source.durable == {PLACE: 8}


async def test_records_of_partitions_that_are_revoked_while_their_position_is_asked_for_are_left_to_the_next_read() -> (
    None
):
    source = KafkaSource(KafkaConnection("127.0.0.1:9"), "group")
    await poll(source, rebalances_in="position")
    assert source.handed_over.empty()


@pytest.mark.parametrize("rebalanced", [True, False])
async def test_a_batch_is_committed_unless_its_partitions_were_revoked_meanwhile(rebalanced: bool) -> None:
    source = KafkaSource(KafkaConnection("127.0.0.1:9"), "group")
    await poll(source, rebalances_in="")
    batch = source.handed_over.get_nowait()
    assert batch is not None
    if rebalanced:
        source.forget_assignment()
    source.mark_durable(batch)
    assert source.durable == ({} if rebalanced else {PLACE: 8})
