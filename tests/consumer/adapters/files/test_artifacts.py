"""Artefacts and the places they lie in: whole files or none, under names that say what they hold."""

import hashlib
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from obstore.store import MemoryStore

from consumer.adapters.files.artifacts import ArtifactFiles, bars_digest
from consumer.adapters.files.store import FileStore, FileStoreError, LocalFiles, ObjectFiles, open_file_store
from consumer.adapters.files.table_output import check_table_path, write_table
from consumer.errors import ArtifactsUnavailable
from engine.errors import InputRefused
from tests.support.aged_files import age_files

BARS = pl.DataFrame(
    {
        "time": [datetime(2024, 1, 2, hour, tzinfo=UTC) for hour in (0, 1)],
        "open": [0.1 + 0.2, 1e-7],
        "high": [1.31927, 3e22],
        "low": [1.0, 1e-7],
        "close": [1.1, 2.0],
        "volume": [0.0, 450.5],
        "spread": [1.0, 2.0],
    },
    schema_overrides={"time": pl.Datetime("us", "UTC")},
)


@pytest.fixture(params=["local", "object store"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> FileStore:
    return LocalFiles(tmp_path) if request.param == "local" else ObjectFiles(MemoryStore(), "memory://bucket")


def test_a_store_gives_back_what_was_put_and_lists_it(store: FileStore) -> None:
    store.write("a/b/two.bin", b"2", durable=True)
    store.write("a/b/one.bin", b"1", durable=False)
    store.write("a/c/three.bin", b"3", durable=False)
    assert store.read("a/b/two.bin") == b"2"
    assert [each.name for each in store.files("a/b")] == ["a/b/one.bin", "a/b/two.bin"]
    assert store.folders("a") == ["b", "c"]
    assert store.folders("") == ["a"]
    assert (store.exists("a/b/one.bin"), store.exists("a/b/none.bin")) == (True, False)
    assert store.location("a/b/one.bin").endswith("/a/b/one.bin")


def test_a_file_comes_in_parts_that_are_the_whole(store: FileStore) -> None:
    content = bytes(range(256)) * 20_000
    store.write("bars/long.csv", content, durable=False)
    parts = list(store.parts("bars/long.csv"))
    assert len(parts) > 1 or isinstance(store, ObjectFiles)  # in memory it is one part already
    assert b"".join(parts) == content
    with pytest.raises(FileStoreError):
        list(store.parts("bars/none.csv"))


def test_a_folder_is_put_whole_also_in_place_of_an_older_one(store: FileStore) -> None:
    store.write_folder("runs/1/2", {"one": b"1", "two": b"2"})
    store.write_folder("runs/1/2", {"two": b"new"})
    assert (store.read("runs/1/2/one"), store.read("runs/1/2/two")) == (b"1", b"new")
    assert store.folders("runs/1") == ["2"]


def test_a_file_tells_its_size_and_when_it_was_written(store: FileStore) -> None:
    before = time.time()
    store.write("x/file", b"12345", durable=False)
    [listed] = store.files("x")
    assert listed.size == 5
    assert listed.written_at == pytest.approx(before, abs=60)
    assert store.written_at("x/file") == pytest.approx(listed.written_at, abs=1)
    assert store.written_at("x/none") is None


def test_what_is_removed_is_gone_with_all_below_it_and_may_be_removed_again(store: FileStore) -> None:
    for name in ("a/1/x", "a/1/y", "a/12/z", "b"):
        store.write(name, b"", durable=False)
    for _ in range(2):
        store.remove("b")
        store.remove_folder("a/1")
    assert (store.folders("a"), store.exists("b"), store.exists("a/12/z")) == (["12"], False, True)


def test_bars_written_long_ago_are_written_anew_when_they_are_used_again(tmp_path: Path) -> None:
    path = Path(ArtifactFiles(str(tmp_path)).save_bars(BARS))
    age_files(path, 30 * 86_400)
    assert ArtifactFiles(str(tmp_path)).save_bars(BARS) == str(path)
    assert path.stat().st_mtime == pytest.approx(time.time(), abs=60)


def test_a_notice_of_removal_that_nobody_takes_back_does_not_hold_up_for_ever(tmp_path: Path) -> None:
    artifacts = ArtifactFiles(str(tmp_path))
    notice = tmp_path / "bars" / f"{bars_digest(BARS.drop('spread'))}.removing"
    notice.parent.mkdir()
    notice.touch()
    with pytest.raises(ArtifactsUnavailable, match="being removed"):
        artifacts.save_bars(BARS)
    age_files(notice, 3600)
    assert Path(artifacts.save_bars(BARS)).is_file()


def test_a_folder_that_is_not_there_is_empty(store: FileStore) -> None:
    assert (store.files("none"), store.folders("none")) == ([], [])


def test_a_file_that_is_not_there_cannot_be_read(store: FileStore) -> None:
    with pytest.raises(FileStoreError, match=r"none\.bin"):
        store.read("none.bin")


def test_a_version_changes_with_the_content(store: FileStore) -> None:
    store.write("x/file", b"old", durable=False)
    before = store.files("x")
    assert store.files("x") == before
    store.write("x/file", b"new", durable=False)
    assert store.files("x") != before


@pytest.mark.parametrize("form", ["{0}", "file://{0}"])
def test_local_artefacts_are_named_by_plain_paths(tmp_path: Path, form: str) -> None:
    artifacts = ArtifactFiles(form.format(tmp_path / "arte facts" if "file" not in form else tmp_path / "arte%20facts"))
    paths = artifacts.save_run(7, 3, {"trades": BARS, "equity": BARS})
    assert paths == {name: f"{tmp_path}/arte facts/runs/7/3/{name}.parquet" for name in ("trades", "equity")}
    assert pl.read_parquet(paths["trades"]).equals(BARS)


def test_saved_bars_read_back_as_the_same_doubles(tmp_path: Path) -> None:
    path = ArtifactFiles(str(tmp_path)).save_bars(BARS)
    lines = Path(path).read_text().splitlines()
    assert lines[:2] == ["time,open,high,low,close,volume", f"2024-01-02T00:00:00Z,{0.1 + 0.2!r},1.31927,1.0,1.1,0.0"]
    again = pl.read_csv(path, try_parse_dates=True)
    assert again.drop("time").rows() == BARS.select("open", "high", "low", "close", "volume").rows()
    assert again["time"].to_list() == BARS["time"].to_list()


def test_the_same_bars_are_written_once(tmp_path: Path) -> None:
    first = ArtifactFiles(str(tmp_path)).save_bars(BARS)
    before = Path(first).stat().st_mtime_ns
    other_spread = BARS.with_columns(spread=pl.lit(9.0))
    assert ArtifactFiles(str(tmp_path)).save_bars(other_spread) == first
    assert Path(first).stat().st_mtime_ns == before
    assert ArtifactFiles(str(tmp_path)).save_bars(BARS.head(1)) != first
    assert len(Path(first).stem) == hashlib.sha256().digest_size * 2


@contextmanager
def no_room_beyond(limit_bytes: int) -> Iterator[None]:
    """Let the system refuse larger files, in the middle of a write, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_without_room_leaves_no_torn_file_and_says_so(tmp_path: Path) -> None:
    artifacts = ArtifactFiles(str(tmp_path))
    with no_room_beyond(100), pytest.raises(ArtifactsUnavailable, match=str(tmp_path)):
        artifacts.save_bars(BARS)
    with no_room_beyond(100), pytest.raises(ArtifactsUnavailable, match=r"trades\.parquet"):
        artifacts.save_run(1, 1, {"trades": BARS})
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert Path(artifacts.save_bars(BARS)).is_file()


def test_a_write_that_fails_keeps_the_old_file(tmp_path: Path) -> None:
    files = LocalFiles(tmp_path)
    files.write("table", b"old", durable=False)
    with no_room_beyond(100), pytest.raises(FileStoreError):
        files.write("table", b"x" * 1000, durable=True)
    assert files.read("table") == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["table"]


def test_artefacts_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "root").write_text("in the way")
    with pytest.raises(ArtifactsUnavailable, match="root"):
        ArtifactFiles(str(tmp_path / "root")).save_run(1, 1, {"trades": BARS})


def test_a_store_of_an_unknown_kind_is_unavailable() -> None:
    with pytest.raises(ArtifactsUnavailable, match="gopher"):
        ArtifactFiles("gopher://host/path")
    with pytest.raises(FileStoreError, match="names no host"):
        open_file_store("file://elsewhere/path")


def test_trades_without_rows_are_a_header(tmp_path: Path) -> None:
    write_table(BARS.clear(), tmp_path / "trades.csv")
    assert (tmp_path / "trades.csv").read_text() == "time,open,high,low,close,volume,spread\n"


def test_null_is_empty_and_floats_come_back(tmp_path: Path) -> None:
    write_table(BARS.with_columns(close=pl.lit(None, dtype=pl.Float64)), tmp_path / "trades.csv")
    lines = (tmp_path / "trades.csv").read_text().splitlines()
    assert lines[1] == f"2024-01-02T00:00:00Z,{0.1 + 0.2!r},1.31927,1.0,,0.0,1.0"


@pytest.mark.parametrize(
    ("name", "what"),
    [("trades.xlsx", "tables are written as .csv or .parquet"), ("no/trades.csv", "there is no directory")],
)
def test_a_place_trades_cannot_go_to_is_refused_before_the_run(tmp_path: Path, name: str, what: str) -> None:
    with pytest.raises(InputRefused, match=what):
        check_table_path(tmp_path / name)
