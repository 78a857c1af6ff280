"""Records as ours: one place for what aiokafka leaves out."""

from aiokafka.structs import ConsumerRecord

from consumer.ports import Record


def read_record(found: ConsumerRecord) -> Record:
    """A record as a consumer gave it."""
    return Record(
        topic=found.topic,
        partition=found.partition,
        offset=found.offset,
        key=found.key,
        value=found.value,
        headers=tuple(found.headers),
        unread=found.checksum if isinstance(found.checksum, str) else "",
        timestamp_ms=found.timestamp if found.timestamp is not None else -1,
    )
