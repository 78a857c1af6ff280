"""Lets aiokafka's consumers read whatever record batches a broker holds, in bounded memory.

Apart because it reaches into aiokafka 0.14, which gives a whole poll up over a header name that is not UTF-8 or a batch
that it cannot unpack, again at each poll, so that the partition never moves on; and which unpacks a batch, and returns
records, whatever they come to.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import structlog
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy
from aiokafka.record.util import decode_varint

from consumer.adapters.kafka.unpacking import Unpacked, unpack

log = structlog.get_logger(__name__)

UNPACKED_LIMIT_BYTES = 16 * 1_048_576
"""Of one record batch; a producer's own limit is a megabyte or a few."""
MOST_UNREAD_RECORDS = 2_000
"""Told one by one; what else there is of a batch, in one."""
RECORD_OVERHEAD_BYTES = 100

_HEADER_BYTES = 61
_ATTRIBUTES_OFFSET = 21
_CODEC_MASK = 0x07


def read_any_batch() -> None:
    """Make every consumer of this process read what there is: header names that are not UTF-8 with \\xNN, records that
    cannot be read without their content, but with the reason (`Record.unread`). Once is enough.
    """
    fetcher.MemoryRecords = _Batches
    fetcher.FetchResult = _BoundedResult


async def poll(consumer: Any, *, timeout_ms: int, max_records: int, max_bytes: int) -> "dict[Any, list[Any]]":
    """`consumer.getmany` that also stops once the records come to so many bytes."""
    _Allowance.left = max_bytes
    try:
        polled: dict[Any, list[Any]] = await consumer.getmany(timeout_ms=timeout_ms, max_records=max_records)
        return polled
    finally:
        _Allowance.left = float("inf")


class _Allowance:
    """Bytes that the poll under way may still return; polls of one process take turns, or share."""

    left: float = float("inf")


class _BoundedResult(fetcher.FetchResult):  # type: ignore[misc]  # aiokafka has no types
    """What was fetched of one partition."""

    def getall(self, max_records: int | None = None) -> list[Any]:
        if not self.check_assignment(self._topic_partition) or not self.has_more() or _Allowance.left <= 0:
            return []
        taken: list[Any] = []
        found: Any = self._partition_records  # type: ignore[has-type]  # aiokafka has no types
        for record in found:
            taken.append(record)
            headers = sum(len(name) + len(value or b"") for name, value in record.headers)
            size = max(0, record.serialized_key_size) + max(0, record.serialized_value_size) + headers
            _Allowance.left -= size + RECORD_OVERHEAD_BYTES
            if _Allowance.left <= 0 or (max_records is not None and len(taken) >= max_records):
                self._update_position()
                break
        else:
            self._update_position()
            self._partition_records = None
        return taken


class _Batches(_MemoryRecordsPy):  # type: ignore[misc]  # aiokafka has no types
    """The record batches that one answer of the broker holds. Stands in for aiokafka's MemoryRecords."""

    def next_batch(self) -> "_Batch | None":  # pyright: ignore[reportIncompatibleMethodOverride]  # fewer parameters
        encoded = self._next_slice
        batch = super().next_batch()
        return None if batch is None else _Batch(batch, encoded)


class _Batch:
    """One batch: aiokafka's compiled reader as long as that can read it."""

    __slots__ = ("batch", "encoded")

    def __init__(self, batch: Any, encoded: Any) -> None:
        self.batch = batch
        self.encoded = encoded

    def __getattr__(self, name: str) -> Any:
        return getattr(self.batch, name)

    def __iter__(self) -> Iterator[Any]:
        if self.batch.magic < 2:  # logs of brokers before 2017; they have no headers
            yield from self.batch
            return
        unpacked = self._unpacked()
        if not unpacked.trouble:
            try:
                yield from DefaultRecordBatch(self._plain(unpacked.content))
            except (UnicodeDecodeError, CorruptRecordException):
                pass  # from its first record on; the fetcher passes over offsets that it has delivered
            else:
                return
        yield from self._what_can_be_read(unpacked)

    def __next__(self) -> Any:
        return next(self.batch)

    def _unpacked(self) -> Unpacked:
        content = bytes(self.encoded[_HEADER_BYTES:])
        if self.batch.compression_type == 0:
            return Unpacked(content)
        return unpack(self.batch.compression_type, content, UNPACKED_LIMIT_BYTES)

    def _plain(self, content: bytes) -> bytes:
        """The batch as if nobody had compressed it."""
        header = bytearray(self.encoded[:_HEADER_BYTES])
        (attributes,) = struct.unpack_from(">h", header, _ATTRIBUTES_OFFSET)
        struct.pack_into(">h", header, _ATTRIBUTES_OFFSET, attributes & ~_CODEC_MASK)
        return bytes(header) + content

    def _what_can_be_read(self, unpacked: Unpacked) -> Iterator[Any]:
        """Record by record; of those behind the last one that can be read, that they are there."""
        base, end = self.batch.base_offset, self.batch.next_offset
        reader = _TolerantBatch(self._plain(unpacked.content))
        trouble, reached = unpacked.trouble, base
        try:
            for record in reader.whole_ones():
                reached = record.offset + 1
                yield record
        except (CorruptRecordException, ValueError, IndexError) as error:
            trouble = trouble or f"it is corrupt: {error}"
        if reached >= end or not (trouble or reader.is_short):
            return
        told = f"the record batch of offsets {base} to {end - 1} cannot be read from {reached} on: "
        told += trouble or "it ends early"
        log.error("records_unread", first=reached, records=end - reached, why=told)
        last_single = min(end - 1, reached + MOST_UNREAD_RECORDS)
        for offset in [*range(reached, last_single), end - 1]:
            yield _UnreadRecord(offset, self.batch.max_timestamp, self.batch.timestamp_type, told)


class _TolerantBatch(_DefaultRecordBatchPy):  # type: ignore[misc]  # aiokafka has no types
    """An uncompressed batch of which the end may be missing, with header names of any bytes."""

    _buffer: Any
    is_short = False

    def whole_ones(self) -> Iterator[Any]:
        """The records that are there in full. Raises CorruptRecordException, ValueError or IndexError."""
        self._buffer = _TolerantText(self._buffer)
        for _ in range(self._num_records):
            if self._pos >= len(self._buffer):
                self.is_short = True
                return
            length, start = decode_varint(self._buffer, self._pos)
            if start + length > len(self._buffer):
                self.is_short = True
                return
            yield self._read_msg()


class _TolerantText(bytearray):
    """Bytes of which every part can be decoded."""

    def __getitem__(self, key: Any) -> Any:
        part = super().__getitem__(key)
        return _TolerantText(part) if isinstance(key, slice) else part

    def decode(self, encoding: str = "utf-8", errors: str = "backslashreplace") -> str:
        return super().decode(encoding, errors)


@dataclass(frozen=True, slots=True)
class _UnreadRecord:
    """In place of a record of which nothing but the offset is known. checksum: why; no record has one any more."""

    offset: int
    timestamp: int
    timestamp_type: int
    checksum: str
    key: None = None
    value: None = None
    headers: tuple[()] = ()
