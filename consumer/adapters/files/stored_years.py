"""The years of one symbol and timeframe in market data at rest: which files hold them now, and changing several as one.

    <SYMBOL>/<TIMEFRAME>/2016.parquet            a year's bars
                         import.json             what was said of them at their import (`import_notes`)
                         2016.parquet.1f3a77c0   a year as it is about to be
                         change.json             {"years": {"2016": "2016.parquet.1f3a77c0", "2017": null}, ...}

Several files cannot be replaced at once, so a change is decided by writing one: from the moment change.json is there,
readers take the years it names from where it says, and none sees some years old and others new. Then the files are
put in their place, and change.json goes. Whoever stops before it is written has changed nothing; after it, the next
change first completes this one, and until then readers see it as done.
"""

import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import polars as pl

from consumer.adapters.files.bars import bar_frame
from consumer.adapters.files.store import FileStore, FileStoreError, StoredFile
from consumer.adapters.files.tables import parse_table
from engine.errors import BadBars

Made = TypeVar("Made")

NOTES = "import.json"
_CHANGE = "change.json"
_YEAR_FILE = re.compile(r"(?:^|/)(\d{4})\.parquet$")
_STAGED_FILE = re.compile(r"\.parquet\.[0-9a-f]{8}$")
_READINGS = 20


def year_files(files: FileStore, folder: str) -> dict[int, StoredFile]:
    """The file that holds the bars of each year now, by year. Raises FileStoreError."""
    listed = {file.name: file for file in files.files(folder)}
    found = {int(match[1]): file for name, file in listed.items() if (match := _YEAR_FILE.search(name))}
    change = _decided_change(files, folder, listed)
    if change is not None:
        for year, staged in change.years.items():
            if staged is None:
                found.pop(year, None)
            elif f"{folder}/{staged}" in listed:  # else it has been put in its place already
                found[year] = listed[f"{folder}/{staged}"]
    return dict(sorted(found.items()))


def read_steadily(
    files: FileStore, folder: str, read: Callable[[dict[int, StoredFile]], Made]
) -> tuple[dict[int, StoredFile], Made]:
    """The files of each year and what `read` made of them, all of one moment: read again while they change meanwhile.

    Raises FileStoreError, and what `read` raises.
    """
    before = year_files(files, folder)
    for _ in range(_READINGS):
        try:
            made = read(before)
        except FileStoreError:
            after = year_files(files, folder)
            if after == before:
                raise
        else:
            after = year_files(files, folder)
            if after == before:
                return after, made
        before = after
    raise FileStoreError(f"{files.location(folder)}: changes faster than it can be read")


def read_year(files: FileStore, file: StoredFile) -> pl.DataFrame:
    """A year's bars, parsed and not validated, as `bar_frame` gives them. Raises BadBars naming the file."""
    source = place_of(files, file)
    return bar_frame(parse_table(files.read(file.name), source, BadBars), source)


def place_of(files: FileStore, file: StoredFile) -> str:
    """A year's file, as messages should name it."""
    return _STAGED_FILE.sub(".parquet", files.location(file.name))


def read_notes(files: FileStore, folder: str) -> bytes | None:
    """What stands beside the years; None: nothing does. Only for the holder of the lock, after `finish_change`."""
    return files.read(f"{folder}/{NOTES}") if files.exists(f"{folder}/{NOTES}") else None


def change_years(
    files: FileStore, folder: str, years: Mapping[int, bytes | None], notes: str | None, confirm: Callable[[], None]
) -> None:
    """Put these years (None: remove them) and the notes in place of what is there, as one.

    For the holder of the symbol's lock, after `finish_change`; confirm raises when the lock was lost. Raises
    FileStoreError; then either nothing has changed, or all has for readers and `finish_change` completes it.
    """
    token = secrets.token_hex(4)
    staged: dict[int, str | None] = {}
    for year, content in sorted(years.items()):
        staged[year] = None if content is None else f"{year:04d}.parquet.{token}"
        if content is not None:
            files.write(f"{folder}/{staged[year]}", content, durable=True)
    document = {"years": {f"{year:04d}": name for year, name in staged.items()}, "notes": notes}
    confirm()
    files.write(f"{folder}/{_CHANGE}", json.dumps(document).encode(), durable=True)
    finish_change(files, folder, confirm)


def finish_change(files: FileStore, folder: str, confirm: Callable[[], None]) -> None:
    """Complete the change that was decided, if there is one, and clear away what one that was not has left."""
    listed = {file.name: file for file in files.files(folder)}
    change = _decided_change(files, folder, listed)
    if change is not None:
        for year, staged in change.years.items():
            confirm()
            if staged is None:
                files.remove(f"{folder}/{year:04d}.parquet")
            elif f"{folder}/{staged}" in listed:
                files.write(f"{folder}/{year:04d}.parquet", files.read(f"{folder}/{staged}"), durable=True)
        if change.notes is None:
            files.remove(f"{folder}/{NOTES}")
        else:
            files.write(f"{folder}/{NOTES}", change.notes.encode(), durable=True)
        confirm()
        files.remove(f"{folder}/{_CHANGE}")
    for name in listed:
        if _STAGED_FILE.search(name):
            files.remove(name)
    if listed and not files.files(folder):
        files.remove_folder(folder)


@dataclass(frozen=True, slots=True)
class _Change:
    years: dict[int, str | None]
    notes: str | None


def _decided_change(files: FileStore, folder: str, listed: Mapping[str, StoredFile]) -> _Change | None:
    name = f"{folder}/{_CHANGE}"
    if name not in listed:
        return None
    try:
        document = json.loads(files.read(name))
    except FileStoreError:
        if files.exists(name):
            raise
        return None  # completed since it was listed, and so are the files of the years
    return _Change({int(year): staged for year, staged in document["years"].items()}, document["notes"])
