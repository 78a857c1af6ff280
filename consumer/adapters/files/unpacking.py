"""What is inside a compressed file; apart so that no reader of tables meets gzip, Zstandard or zip.

Told by the first bytes, never by the name. A file may unpack to far more than it is: the limit is kept while it does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from engine.errors import InputRefused

LIMIT_BYTES = 2 * 1024**3
"""Of what a file unpacks to: some 30 million bars as text."""

TOO_LARGE = "too_large"
_GZIP, _ZSTD, _ZIP = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK\x03\x04"
_ELSEWHERE = (
    (b"\xfd7zXZ\0", "is compressed with xz; gzip, Zstandard and zip can be read"),
    (b"BZh", "is compressed with bzip2; gzip, Zstandard and zip can be read"),
    (b"7z\xbc\xaf", "is a 7z archive; gzip, Zstandard and zip can be read"),
    (b"Rar!", "is a RAR archive; gzip, Zstandard and zip can be read"),
    (b"\xd0\xcf\x11\xe0", "is an Excel workbook; save it as CSV"),
    (b"\x91\x01\0\0", "is MetaTrader 4's own history (.hst); export it as CSV from its History Center"),
)
_LONGEST_REASON = 100
_NESTED = 2
"""A zip that holds a .csv.gz is unpacked too; deeper than that nobody packs bars."""


@dataclass(frozen=True, slots=True)
class Unpacked:
    """content: what is inside; packed_with: names of the packings taken off, outermost first."""

    content: bytes
    packed_with: tuple[str, ...]


def unpacked(content: bytes, source: str, refused: type[InputRefused], limit_bytes: int = LIMIT_BYTES) -> Unpacked:
    """Take off gzip, Zstandard or zip (of one file), if there is any.

    Raises `refused` with one line that begins with the source when it is damaged, holds several files or none, or
    unpacks to more than the limit.
    """
    names: list[str] = []
    too_much = too_large(refused, f"{source}: unpacks to more than {limit_bytes:,} bytes, the most that is read")
    for _ in range(_NESTED):
        packing = next((each for each in _PACKINGS if content.startswith(each[0])), None)
        if packing is None:
            break
        _, name, unpack = packing
        try:
            content = unpack(content, limit_bytes)
        except _TooMuchError:
            raise too_much from None
        except _RefusedError as error:
            raise refused(f"{source}: {error}") from None
        if len(content) > limit_bytes:
            raise too_much
        names.append(name)
    what = next((what for magic, what in _ELSEWHERE if content.startswith(magic)), None)
    if what is not None:
        raise refused(f"{source}: {what}")
    return Unpacked(content, tuple(names))


def too_large(refused: type[InputRefused], message: str) -> InputRefused:
    """What is beyond the limit, told from other mistakes by its code."""
    error = refused(message)
    error.code = TOO_LARGE  # type: ignore[misc]  # of this one, not of its kind
    return error


class _TooMuchError(Exception):
    """It unpacks to more than the limit."""


class _RefusedError(Exception):
    """What is wrong with the packing, without the source."""


def _gunzip(content: bytes, limit_bytes: int) -> bytes:
    import gzip  # only for files that need it, as the other two
    import zlib

    try:
        with gzip.GzipFile(fileobj=BytesIO(content)) as file:
            return file.read(limit_bytes + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise _RefusedError(f"is not a gzip file that can be read: {error}") from None


def _unzstd(content: bytes, limit_bytes: int) -> bytes:
    """The buffer grows with what comes out: a frame need not say how long it is, and may lie."""
    import cramjam
    import numpy as np

    size = min(max(8 * len(content), 1 << 16), limit_bytes)
    while True:
        # Not touched before it is written, so that room for much costs nothing.
        buffer: Any = np.empty(size, np.uint8)
        try:
            written = cramjam.zstd.decompress_into(content, buffer)
        except cramjam.DecompressionError as error:
            if "whole buffer" not in str(error):
                raise _RefusedError(f"is not a Zstandard file that can be read: {error}") from None
            if size == limit_bytes:
                raise _TooMuchError from None
            size = min(4 * size, limit_bytes)
        else:
            return bytes(buffer[:written])


def _unzip(content: bytes, limit_bytes: int) -> bytes:
    import zipfile
    import zlib

    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            inside = [each for each in archive.infolist() if _is_meant(each.filename)]
            if any(each.filename.startswith("xl/") for each in inside):
                raise _RefusedError("is an Excel workbook; save it as CSV")
            if len(inside) != 1:
                listed = ", ".join(ascii(each.filename).strip("'") for each in inside[:5]) + (
                    ", ..." if len(inside) > 5 else ""
                )
                raise _RefusedError(f"holds {len(inside)} files, wanted one{': ' if inside else ''}{listed}")
            with archive.open(inside[0]) as file:
                return file.read(limit_bytes + 1)
    except (zipfile.BadZipFile, EOFError, zlib.error, OSError, NotImplementedError, ValueError) as error:
        raise _RefusedError(f"is not a zip file that can be read: {str(error)[:_LONGEST_REASON]}") from None
    except RuntimeError:  # zipfile has no other word for it
        raise _RefusedError("is a zip file with a password; unpack it first") from None


def _is_meant(name: str) -> bool:
    """Not a folder, nor what macOS puts beside every file."""
    return not name.endswith("/") and not name.startswith("__MACOSX/") and not name.endswith(".DS_Store")


_PACKINGS: tuple[tuple[bytes, str, Callable[[bytes, int], bytes]], ...] = (
    (_GZIP, "gzip", _gunzip),
    (_ZSTD, "Zstandard", _unzstd),
    (_ZIP, "zip", _unzip),
)
