"""Packed files: damaged, manifold and endless ones are refused in one line."""

import gzip
import zipfile
from collections.abc import Callable
from io import BytesIO

import cramjam
import polars as pl
import pytest

from consumer.adapters.files.tables import open_table
from consumer.adapters.files.unpacking import unpacked
from engine.errors import BadBars
from tests.consumer.adapters.files.written_bars import arrow, parquet

LIMIT = 1_000_000
ENDLESS = bytes(50 * LIMIT)


def zipped(**files: bytes) -> bytes:
    """The same bytes whenever it is asked, as they name tests: a ZipInfo of its own is of 1980."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name.replace("_", ".")), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def with_password(content: bytes) -> bytes:
    """Set the flag that says so, in the file's own header and in the directory."""
    marked = bytearray(content)
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        marked[marked.index(signature) + offset] |= 1
    return bytes(marked)


GZIP, ZSTD = gzip.compress(b"a,b\n1,2\n", mtime=0), bytes(cramjam.zstd.compress(b"a,b\n1,2\n" * 100))


@pytest.mark.parametrize(
    "packed", [gzip.compress(ENDLESS), bytes(cramjam.zstd.compress(ENDLESS)), zipped(bars_csv=ENDLESS)]
)
def test_what_unpacks_without_end_is_refused_at_the_limit(packed: bytes) -> None:
    assert len(packed) < LIMIT
    with pytest.raises(BadBars, match=r"^f: unpacks to more than 1,000,000 bytes, the most that is read$"):
        unpacked(packed, "f", BadBars, LIMIT)


@pytest.mark.parametrize("write", [parquet, arrow])
def test_columns_of_very_many_equal_rows_are_refused_at_the_limit(
    write: Callable[[pl.DataFrame], bytes],
) -> None:
    content = write(pl.DataFrame({"time": pl.repeat(0, LIMIT, dtype=pl.Int64, eager=True)}))
    with pytest.raises(BadBars, match=r"^f: its 1,000,000 rows take more than 1,000,000 bytes"):
        open_table(content, "f", BadBars, limit_bytes=LIMIT)


def test_exactly_the_limit_is_read() -> None:
    for packed in (gzip.compress(bytes(LIMIT)), bytes(cramjam.zstd.compress(bytes(LIMIT))), zipped(f=bytes(LIMIT))):
        assert len(unpacked(packed, "f", BadBars, LIMIT).content) == LIMIT


def test_members_and_frames_one_behind_the_other_are_one_file() -> None:
    assert unpacked(GZIP + GZIP, "f", BadBars).content == b"a,b\n1,2\n" * 2
    assert unpacked(ZSTD + ZSTD, "f", BadBars).content == b"a,b\n1,2\n" * 200


def test_a_packed_file_within_a_zip_is_unpacked_too() -> None:
    inside = unpacked(zipped(bars_csv_gz=GZIP), "f", BadBars)
    assert (inside.content, inside.packed_with) == (b"a,b\n1,2\n", ("zip", "gzip"))


@pytest.mark.parametrize(
    ("packed", "what"),
    [
        (GZIP[:-6], "is not a gzip file that can be read"),
        (GZIP[:-8] + b"12345678", "is not a gzip file that can be read"),
        (GZIP[:4], "is not a gzip file that can be read"),
        (ZSTD[:-5], "is not a Zstandard file that can be read"),
        (zipped(f=b"1")[:30], "is not a zip file that can be read"),
        (zipped(a_csv=b"1", b_csv=b"2"), "holds 2 files, wanted one: a.csv, b.csv"),
        (zipped(**{f"f{at}": b"1" for at in range(9)}), "holds 9 files, wanted one: f0, f1, f2, f3, f4, ..."),
        (with_password(zipped(bars_csv=b"1")), "is a zip file with a password; unpack it first"),
        (zipped(**{"xl/workbook_xml": b"1", "docProps/app_xml": b"2"}), "is an Excel workbook; save it as CSV"),
        (b"\xd0\xcf\x11\xe0rest", "is an Excel workbook; save it as CSV"),
        (b"\xfd7zXZ\0rest", "is compressed with xz; gzip, Zstandard and zip can be read"),
    ],
)
def test_what_cannot_be_unpacked_says_why(packed: bytes, what: str) -> None:
    with pytest.raises(BadBars) as caught:
        unpacked(packed, "f", BadBars)
    assert str(caught.value).startswith(f"f: {what}")
    assert "\n" not in str(caught.value)
