"""Lets aiokafka's consumers read records whose header names are not UTF-8.

Apart because it reaches into aiokafka: Kafka takes such names, aiokafka 0.14 gives the whole poll up over one, again at
each poll, and so its partition would never move on.
"""

from collections.abc import Iterator
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy


def read_any_header_name() -> None:
    """Make every consumer of this process write what is not UTF-8 in a header's name as \\xNN, and go on.

    Once is enough; further calls change nothing.
    """
    fetcher.MemoryRecords = _Batches


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
        try:
            yield from self.batch
        except (UnicodeDecodeError, CorruptRecordException):
            # From its first record on; the fetcher passes over offsets that it has delivered.
            yield from _TolerantBatch(self.encoded)

    def __next__(self) -> Any:
        return next(self.batch)


class _TolerantBatch(_DefaultRecordBatchPy):  # type: ignore[misc]  # aiokafka has no types
    _buffer: Any

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer = _TolerantText(self._buffer)


class _TolerantText(bytearray):
    """Bytes of which every part can be decoded."""

    def __getitem__(self, key: Any) -> Any:
        part = super().__getitem__(key)
        return _TolerantText(part) if isinstance(key, slice) else part

    def decode(self, encoding: str = "utf-8", errors: str = "backslashreplace") -> str:
        return super().decode(encoding, errors)
