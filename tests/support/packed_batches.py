"""Record batches that unpack to far more than they are: made without ever being unpacked."""

import struct
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.codec import zstd_encode
from aiokafka.record.default_records import DefaultRecordBase
from aiokafka.record.util import calc_crc32c, encode_varint

ZSTD = 4
PIECE_BYTES = 64 * 1_048_576


def record_of_zeros(offset: int, value_bytes: int) -> bytes:
    """One record with a value of so many zero bytes, in zstd; several of them, one behind the other, are a text too."""
    body = bytearray(b"\0\0")  # attributes, time
    for number in (offset, -1, value_bytes):
        encode_varint(number, body.append)
    head = bytearray()
    encode_varint(len(body) + value_bytes + 1, head.append)
    zeros = value_bytes + 1  # the last one: no headers
    whole, rest = divmod(zeros, PIECE_BYTES)
    piece = zstd_encode(b"\0" * PIECE_BYTES) if whole else b""
    packed: bytes = zstd_encode(bytes(head + body)) + piece * whole + zstd_encode(b"\0" * rest)
    return packed


def packed_batch(records: Sequence[bytes], timestamp_ms: int) -> bytes:
    """A batch of packed records."""
    fields = (0, 0, -1, 2, 0, ZSTD, len(records) - 1, timestamp_ms, timestamp_ms, -1, -1, -1, len(records))
    batch = bytearray(DefaultRecordBase.HEADER_STRUCT.pack(*fields)) + b"".join(records)
    struct.pack_into(">i", batch, 8, len(batch) - DefaultRecordBase.AFTER_LEN_OFFSET)
    crc = calc_crc32c(bytes(batch[DefaultRecordBase.ATTRIBUTES_OFFSET :]))
    struct.pack_into(">I", batch, DefaultRecordBase.CRC_OFFSET, crc)
    return bytes(batch)


async def send_batch(producer: AIOKafkaProducer, topic: str, partition: int, batch: bytes, records: int) -> None:
    """Send a batch as it is. The producer must not be idempotent."""
    builder: Any = producer.create_batch()
    builder.close()
    builder._buffer, builder._relative_offset = bytearray(batch), records
    await (await producer.send_batch(builder, topic, partition=partition))
