"""Unpacks what producers compressed, up to a bound: a megabyte of zstd may stand for gigabytes."""

import struct
import zlib
from dataclasses import dataclass

import cramjam

GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4
"""Codecs by their number in a record batch."""

_XERIAL_MAGIC = b"\x82SNAPPY\x00"
_XERIAL_HEADER_BYTES = 16


@dataclass(frozen=True, slots=True)
class Unpacked:
    """content: all of it, or its beginning. trouble: why it is not all; empty: it is."""

    content: bytes
    trouble: str = ""


def unpack(codec: int, packed: bytes, limit: int) -> Unpacked:
    """Unpack at most `limit` bytes. Never raises for what the bytes are."""
    too_much = f"it is more than {limit} bytes unpacked"
    try:
        if codec == GZIP:
            content, is_whole = _gunzip(packed, limit)
        elif codec == SNAPPY:
            content, is_whole = _unsnap(packed, limit)
        elif codec in {LZ4, ZSTD}:
            content, is_whole = _into_buffer(cramjam.lz4 if codec == LZ4 else cramjam.zstd, packed, limit)
        else:
            return Unpacked(b"", f"its codec {codec} is unknown")
    except (ValueError, zlib.error, struct.error, cramjam.DecompressionError) as error:
        return Unpacked(b"", f"it cannot be unpacked: {error}")
    return Unpacked(content, "" if is_whole else too_much)


def _gunzip(packed: bytes, limit: int) -> tuple[bytes, bool]:
    """All members, one after the other."""
    content = bytearray()
    while packed:
        member = zlib.decompressobj(wbits=31)
        content += member.decompress(packed, limit - len(content) + 1)
        if len(content) > limit:
            return bytes(content[:limit]), False
        if not member.eof:
            raise ValueError("it ends early")
        packed = member.unused_data
    return bytes(content), True


def _unsnap(packed: bytes, limit: int) -> tuple[bytes, bool]:
    """One block, or blocks with their lengths, as Java's producers write them."""
    if not packed.startswith(_XERIAL_MAGIC):
        if cramjam.snappy.decompress_raw_len(packed) > limit:
            return b"", False
        return bytes(cramjam.snappy.decompress_raw(packed)), True
    content, place = bytearray(), _XERIAL_HEADER_BYTES
    while place < len(packed):
        (length,) = struct.unpack_from("!i", packed, place)
        block = packed[place + 4 : place + 4 + length]
        if len(content) + cramjam.snappy.decompress_raw_len(block) > limit:
            return bytes(content), False
        content += bytes(cramjam.snappy.decompress_raw(block))
        place += 4 + length
        if length <= 0:
            raise ValueError("a block without length")
    return bytes(content), True


def _into_buffer(codec: object, packed: bytes, limit: int) -> tuple[bytes, bool]:
    """What does not fit leaves the buffer full. Memory is taken up by what is written alone."""
    buffer = bytearray(limit)
    try:
        length = codec.decompress_into(packed, buffer)  # type: ignore[attr-defined]  # a module of cramjam
    except cramjam.DecompressionError as error:
        if "whole buffer" not in str(error):
            raise
        return bytes(buffer), False
    return bytes(memoryview(buffer)[:length]), True
