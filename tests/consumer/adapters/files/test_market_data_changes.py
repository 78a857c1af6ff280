"""Changes of stored bars that are interrupted, read meanwhile, or made by two at once: old or new, nothing between."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import polars as pl
import pytest
from obstore.store import MemoryStore

from consumer.adapters.files import (
    market_data,
    market_data_import,
    market_data_removal,
    store_locks,
)
from consumer.adapters.files.market_data import MarketDataUnavailable, ParquetMarketData
from consumer.adapters.files.market_data_import import IncomingBars, import_bars
from consumer.adapters.files.market_data_removal import remove_bars
from consumer.adapters.files.store import FileStore, FileStoreError, LocalFiles, ObjectFiles
from engine.market.bars import Bars, bars_from_frame
from engine.market.timeframes import timeframe

H1 = timeframe("H1")
BEGIN = datetime(2015, 12, 30, tzinfo=UTC)
FAR = datetime(9999, 1, 1, tzinfo=UTC)
STEPS = frozenset({"read", "write", "remove", "remove_folder", "files", "folders", "exists"})


class Killed(Exception):
    """The process is gone."""


class WatchedFiles:
    """A store that calls back before every step."""

    def __init__(self, files: FileStore, before_step: Callable[[str], None]) -> None:
        self._files = files
        self._before_step = before_step

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._files, name)
        if name not in STEPS:
            return method

        def watched(*arguments: object, **options: object) -> object:
            self._before_step(name)
            return method(*arguments, **options)

        return watched


class Place:
    """Where the code under test finds its files; `before_step` is called before each of its steps."""

    def __init__(self, files: FileStore) -> None:
        self.files = files
        self.before_step: Callable[[str], None] = lambda _: None

    def open(self, url: str) -> FileStore:
        del url
        return cast("FileStore", WatchedFiles(self.files, lambda name: self.before_step(name)))


@pytest.fixture(params=["directory", "object store"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    files: FileStore = (
        LocalFiles(tmp_path) if request.param == "directory" else ObjectFiles(MemoryStore(), "memory://here")
    )
    made = Place(files)
    for module in (market_data, market_data_import, market_data_removal):
        monkeypatch.setattr(module, "open_file_store", made.open)
    return made


def bars_of(count: int, *, begin: datetime = BEGIN, price: float = 1.1, spread: float | None = None) -> Bars:
    """Hourly bars from 30 December 2015: 48 lie in that year."""
    frame = pl.DataFrame(
        {
            "time": [begin + timedelta(hours=row) for row in range(count)],
            **{name: [price] * count for name in ("open", "high", "low", "close")},
        }
    )
    return bars_from_frame(frame if spread is None else frame.with_columns(spread=pl.lit(spread)), H1, "made")


def put(bars: Bars, *, replace: bool = False, zone: str | None = "UTC") -> None:
    import_bars("here", "EURUSD", H1, [IncomingBars("file", bars, zone)], replace=replace)


def stored() -> Bars | None:
    return ParquetMarketData("here").load("EURUSD", "H1", FAR)


def digest() -> str | None:
    bars = stored()
    return None if bars is None else bars.digest


def everything(files: FileStore) -> dict[str, bytes]:
    listed = files.files("EURUSD/H1")
    return {file.name: files.read(file.name) for file in listed}


CHANGES: dict[str, Callable[[], object]] = {
    "import": lambda: put(bars_of(96)),
    "replace": lambda: put(bars_of(96, price=1.2), replace=True, zone="Europe/Athens"),
    "remove": lambda: remove_bars("here", "EURUSD", "H1", datetime(2015, 12, 31, tzinfo=UTC), None),
    "remove all": lambda: remove_bars("here", "EURUSD", None, None, None),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_is_killed_at_any_step_reads_as_not_begun_or_as_done_and_can_be_made_again(
    place: Place, change: str
) -> None:
    def begin_anew() -> None:
        place.before_step = lambda _: None
        remove_bars("here", "EURUSD", None, None, None)
        put(bars_of(72))

    begin_anew()
    old = digest()
    CHANGES[change]()
    new, in_the_end = digest(), everything(place.files)
    seen = set()
    for step in range(1, 1000):
        begin_anew()
        place.before_step = killing_at(step)
        try:
            CHANGES[change]()
        except Killed:
            place.before_step = lambda _: None
        else:
            break
        read = digest()
        assert read in (old, new), f"a mixture after step {step}"
        seen.add(read)
        CHANGES[change]()
        assert everything(place.files) == in_the_end, f"not completed after step {step}"
    else:
        pytest.fail("the change never came to its end")
    assert seen == {old, new}


def killing_at(step: int) -> Callable[[str], None]:
    steps = iter(range(1, 10_000))

    def before_step(_: str) -> None:
        if next(steps) == step:
            raise Killed

    return before_step


def test_a_run_that_reads_while_years_are_replaced_sees_all_of_one_time(place: Place) -> None:
    """The import happens before each step of the reader in turn, between two of its years for one."""
    put(bars_of(96))
    for step in range(1, 100):
        put(bars_of(96), replace=True)
        old, reader, steps = digest(), ParquetMarketData("here"), iter(range(1, 10_000))

        def import_meanwhile(_: str, steps: Iterator[int] = steps, step: int = step) -> None:
            if next(steps) == step:
                place.before_step = lambda _: None
                put(bars_of(96, price=1.2), replace=True)

        place.before_step = import_meanwhile
        bars = reader.load("EURUSD", "H1", FAR)
        met = next(steps) > step
        place.before_step = lambda _: None
        assert bars is not None
        assert bars.digest in (old, bars_of(96, price=1.2).digest)
        if not met:
            break
    else:
        pytest.fail("the reader never came to its end")
    assert step > 4


def test_a_year_that_goes_while_it_is_read_is_no_error(place: Place) -> None:
    put(bars_of(96))
    reader, steps = ParquetMarketData("here"), iter(["files"])

    def remove_meanwhile(name: str) -> None:
        if name == "read" and next(steps, None):
            place.before_step = lambda _: None
            remove_bars("here", "EURUSD", None, None, None)

    place.before_step = remove_meanwhile
    assert reader.load("EURUSD", "H1", FAR) is None


def test_a_place_that_fails_while_nothing_changes_is_unavailable(place: Place) -> None:
    put(bars_of(96))
    reader = ParquetMarketData("here")

    def fail(name: str) -> None:
        if name == "read":
            raise FileStoreError("the disk is gone")

    place.before_step = fail
    with pytest.raises(MarketDataUnavailable, match="the disk is gone"):
        reader.load("EURUSD", "H1", FAR)


def test_a_second_change_of_the_symbol_waits_for_the_first(place: Place) -> None:
    """The first is held in its middle until the second has been seen waiting for its lock."""
    put(bars_of(24))
    second_waits, failed = threading.Event(), []
    locked = place.files.locked

    def noticing(name: str, wait_seconds: float) -> AbstractContextManager[object]:
        if threading.current_thread().name == "second":
            second_waits.set()
        return locked(name, wait_seconds)

    place.files.locked = noticing  # type: ignore[method-assign,assignment]  # to see the second arrive

    def second() -> None:
        try:
            put(bars_of(96))
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=second, name="second")

    def start_the_second(name: str) -> None:
        if name == "write" and threading.current_thread().name != "second" and not thread.ident:
            thread.start()
            assert second_waits.wait(30)

    place.before_step = start_the_second
    put(bars_of(48))
    thread.join(60)
    assert not failed
    bars = stored()
    assert bars is not None
    assert bars.height == 96


def test_a_change_that_finds_another_at_work_gives_up_by_name(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(market_data_import, "WAIT_SECONDS", 0.0)
    with (
        place.files.locked(".locks/EURUSD", 0.0),
        pytest.raises(MarketDataUnavailable, match=r"\.locks/EURUSD: another process works on it"),
    ):
        put(bars_of(24))
    put(bars_of(24))


def test_the_lock_of_a_process_that_died_is_taken_over_in_an_object_store(monkeypatch: pytest.MonkeyPatch) -> None:
    files = ObjectFiles(MemoryStore(), "memory://here")
    with files.locked("lock", 0.0) as of_the_dead:
        monkeypatch.setattr(store_locks, "_STALE_SECONDS", -1.0)
        with files.locked("lock", 0.0) as mine:
            monkeypatch.setattr(store_locks, "_RENEW_SECONDS", 0.0)
            mine.confirm()
            with pytest.raises(TimeoutError, match="another took over"):
                of_the_dead.confirm()
            mine.confirm()
    assert files.files("") == []


def test_bars_without_spread_lie_beside_bars_that_have_one(place: Place) -> None:
    put(bars_of(48, spread=12.0))
    put(bars_of(96))
    bars = stored()
    assert bars is not None
    assert bars.spread_points is not None
    assert bars.spread_points[:48].tolist() == [12.0] * 48
    assert pl.Series(bars.spread_points[48:]).is_nan().all()


def test_a_spread_that_comes_later_is_put_beside_the_same_bars(place: Place) -> None:
    put(bars_of(96))
    put(bars_of(96, spread=12.0))
    assert digest() == bars_of(96, spread=12.0).digest


def test_a_range_in_which_no_bar_has_a_spread_is_that_of_a_file_without(place: Place) -> None:
    put(bars_of(24, spread=12.0))
    put(bars_of(96))
    later = ParquetMarketData("here").load("EURUSD", "H1", FAR, since=BEGIN + timedelta(hours=24))
    assert later is not None
    assert later.digest == bars_of(72, begin=BEGIN + timedelta(hours=24)).digest
