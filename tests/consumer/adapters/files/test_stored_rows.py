"""Rows of stored years: those that are wanted and no others, whatever the years' files are like."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.adapters.files import stored_rows
from consumer.adapters.files.artifacts import BAR_COLUMNS
from consumer.adapters.files.market_data import ParquetMarketData
from consumer.adapters.files.market_data_import import IncomingBars, import_bars
from consumer.adapters.files.store import LocalFiles
from engine.errors import BadBars
from engine.market.bars import Bars, bars_from_frame
from engine.market.timeframes import timeframe
from engine.numeric.csv_rows import csv_rows
from engine.numeric.times import as_us

BEGIN = datetime(2019, 12, 20, tzinfo=UTC)
HOURS = 24 * 400
FAR = datetime(2030, 1, 1, tzinfo=UTC)


def hourly(count: int = HOURS) -> Bars:
    """Hours over three years' files, with a hole, the closes telling them apart."""
    times = [BEGIN + timedelta(hours=hour) for hour in range(count) if not 3_000 <= hour < 3_050]
    closes = [1.0 + row / 100_000 for row in range(len(times))]
    frame = pl.DataFrame({"time": times, "open": closes, "high": closes, "low": closes, "close": closes})
    return bars_from_frame(frame.with_columns(volume=pl.lit(1.0)), timeframe("H1"), "made")


WHOLE = hourly()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("years"))
    import_bars(folder, "EURUSD", timeframe("H1"), [IncomingBars("made", WHOLE)], replace=False)
    return folder


@pytest.fixture(params=["whole", "in stretches", "in memory"])
def place(request: pytest.FixtureRequest, root: str) -> Iterator[str]:
    """The same years as small files, as large ones, and as large ones of a store that gives whole files only."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(stored_rows, "STEP", 100)
        if request.param != "whole":
            patched.setattr(stored_rows, "_SMALL_FILE_BYTES", 0)
        if request.param == "in memory":
            patched.setattr(LocalFiles, "path_of", lambda _self, _name: None)
        yield root


@given(
    since=st.none() | st.integers(-100, HOURS + 100),
    length=st.integers(0, HOURS),
    before=st.sampled_from([0, 1, 99, 100, 101, 500, 9_000, 10**6]),
)
def compare(stored: ParquetMarketData, since: int | None, length: int, before: int) -> None:
    begin = None if since is None else BEGIN + timedelta(hours=since)
    until = (begin or BEGIN) + timedelta(hours=length, minutes=30)
    first, end = WHOLE.between(-(2**62) if begin is None else as_us(begin), as_us(until))
    first = max(0, first - before)
    got = stored.load("EURUSD", "H1", until, begin, before)
    if end <= first:
        assert got is None
        return
    assert got is not None
    assert got.digest == WHOLE.rows(first, end).digest


def test_any_range_with_any_number_of_bars_before_it_is_that_of_all_years_together(place: str) -> None:
    compare(ParquetMarketData(place))


@given(since=st.integers(0, HOURS), length=st.integers(1, HOURS), cut=st.integers(0, 300))
def compare_text(stored: ParquetMarketData, since: int, length: int, cut: int) -> None:
    begin = BEGIN + timedelta(hours=since)
    bars = stored.load("EURUSD", "H1", begin + timedelta(hours=length), begin, before=200)
    assert bars is not None
    first, end = min(cut, bars.height), max(min(cut, bars.height), bars.height - cut)
    rows = bars.frame.slice(first, end - first).select(BAR_COLUMNS)
    assert stored.as_csv(bars, first, end) == csv_rows(rows, "iso")


def test_rows_as_text_are_those_of_the_bars_wherever_a_run_is_cut_from_its_years(root: str) -> None:
    compare_text(ParquetMarketData(root))


def test_rows_that_are_not_kept_whole_are_not_there_as_text(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_rows, "_SMALL_FILE_BYTES", 0)
    stored = ParquetMarketData(root)
    bars = stored.load("EURUSD", "H1", FAR)
    assert bars is not None
    assert stored.as_csv(bars, 0, 10) is None
    assert stored.as_csv(WHOLE, 0, 10) is None


def test_the_extent_is_that_of_all_years(place: str) -> None:
    extent = ParquetMarketData(place).extent_us("EURUSD", "H1")
    assert extent == (int(WHOLE.time_us[0]), int(WHOLE.close_time_us[-1]))
    assert ParquetMarketData(place).extent_us("EURUSD", "M1") is None


def test_a_bad_bar_outside_of_what_is_wanted_is_not_spoken_of_and_one_inside_by_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_rows, "STEP", 100)
    import_bars(str(tmp_path), "EURUSD", timeframe("H1"), [IncomingBars("made", WHOLE)], replace=False)
    path = tmp_path / "EURUSD" / "H1" / "2020.parquet"
    low = pl.when(pl.int_range(pl.len()) == 4_000).then(9.0).otherwise(pl.col("low"))
    spoilt = pl.read_parquet(path).with_columns(low=low)
    spoilt.write_parquet(path)
    bad = spoilt["time"][4_000]
    for small_files in (1 << 20, 0):
        monkeypatch.setattr(stored_rows, "_SMALL_FILE_BYTES", small_files)
        stored = ParquetMarketData(str(tmp_path))
        assert stored.load("EURUSD", "H1", FAR, bad + timedelta(hours=1)) is not None
        assert stored.load("EURUSD", "H1", bad, bad - timedelta(days=90), 50) is not None
        for wanted in (bad - timedelta(days=9), bad):
            with pytest.raises(BadBars, match=rf"2020\.parquet: row 4001 \(time {bad:%Y-%m-%dT%H:%M:%S}Z\): low 9.0"):
                stored.load("EURUSD", "H1", bad + timedelta(days=30), wanted)
        with pytest.raises(BadBars, match="row 4001"):
            stored.load("EURUSD", "H1", bad + timedelta(days=30), bad + timedelta(days=20), 24 * 20)


def test_the_last_day_of_a_year_closes_with_the_first_of_the_next(tmp_path: Path) -> None:
    """Athens' December, in UTC: its last day begins on the 30th at 22:00, its month closes on the 31st at 22:00."""
    months = [datetime(2019, 11, 30, 22, tzinfo=UTC), datetime(2019, 12, 31, 22, tzinfo=UTC)]
    months.append(datetime(2020, 1, 31, 22, tzinfo=UTC))
    frame = pl.DataFrame({"time": months, **{name: [1.1] * 3 for name in ("open", "high", "low", "close")}})
    bars = bars_from_frame(frame, timeframe("MN1"), "made")
    import_bars(str(tmp_path), "EURUSD", timeframe("MN1"), [IncomingBars("made", bars)], replace=False)
    december = ParquetMarketData(str(tmp_path)).load("EURUSD", "MN1", datetime(2019, 12, 15, tzinfo=UTC))
    assert december is not None
    assert december.close_time_us.tolist() == [as_us(datetime(2019, 12, 31, 22, tzinfo=UTC))]


def test_of_a_large_file_only_the_stretches_around_the_range_are_decoded(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_rows, "STEP", 100)
    monkeypatch.setattr(stored_rows, "_SMALL_FILE_BYTES", 0)
    read: list[int] = []
    rows = stored_rows._Year.rows  # what is read is what this is about

    def counted(year: object, first: int, end: int) -> pl.DataFrame:
        read.append(end - first)
        return rows(year, first, end)  # type: ignore[arg-type]  # the class itself calls it

    monkeypatch.setattr(stored_rows._Year, "rows", counted)  # as above
    begin = datetime(2020, 6, 1, tzinfo=UTC)
    bars = ParquetMarketData(root).load("EURUSD", "H1", begin + timedelta(hours=150), begin, 250)
    assert bars is not None
    assert bars.height == 400
    assert sum(read) <= 400 + 2 * 100


def test_a_place_whose_name_looks_like_a_pattern_is_only_a_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_rows, "_SMALL_FILE_BYTES", 0)
    odd = tmp_path / "bars [2020] *" / "year=7"
    import_bars(str(odd), "EURUSD", timeframe("H1"), [IncomingBars("made", WHOLE)], replace=False)
    loaded = ParquetMarketData(str(odd)).load("EURUSD", "H1", FAR)
    assert loaded is not None
    assert loaded.digest == WHOLE.digest


@pytest.mark.parametrize("spoilt", [False, True], ids=["all sound", "one with a bad bar elsewhere"])
def test_years_with_and_without_spreads_are_read_as_if_they_were_one_file(tmp_path: Path, spoilt: bool) -> None:
    """2019 has none, 2020 from a few hundred bars on, 2021 everywhere."""
    year, row = pl.col("time").dt.year(), pl.int_range(pl.len())
    spread = pl.when((year == 2021) | ((year == 2020) & (row % 5_000 > 400))).then(row % 7 + 1.0)
    whole = WHOLE.frame.with_columns(spread=spread)
    (tmp_path / "EURUSD" / "H1").mkdir(parents=True)
    for (number,), frame in whole.group_by(year, maintain_order=True):
        stored = frame.drop("spread") if number == 2019 else frame
        bad = pl.when(pl.int_range(pl.len()) == stored.height - 1).then(0.0).otherwise(pl.col("low"))
        stored = stored.with_columns(low=bad) if spoilt and number == 2021 else stored
        stored.write_parquet(tmp_path / "EURUSD" / "H1" / f"{number}.parquet")
    market_data = ParquetMarketData(str(tmp_path))

    @given(first=st.integers(0, HOURS - 200), length=st.integers(1, HOURS))
    def compare(first: int, length: int) -> None:
        wanted = whole.slice(first, min(length, whole.height - 1 - first))
        got = market_data.load("EURUSD", "H1", wanted["time"][-1] + timedelta(minutes=1), wanted["time"][0])
        assert got is not None
        assert got.digest == bars_from_frame(wanted, timeframe("H1"), "whole", spread_may_lack=True).digest

    compare()


def test_years_that_meet_too_closely_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "EURUSD" / "H1").mkdir(parents=True)
    moments = {2019: datetime(2019, 12, 31, 23, 30, tzinfo=UTC), 2020: datetime(2020, 1, 1, 0, 0, tzinfo=UTC)}
    for year, moment in moments.items():
        frame = pl.DataFrame({"time": [moment], **{name: [1.1] for name in ("open", "high", "low", "close")}})
        frame.write_parquet(tmp_path / "EURUSD" / "H1" / f"{year}.parquet")
    with pytest.raises(BadBars, match="closer than H1 to the row before"):
        ParquetMarketData(str(tmp_path)).load("EURUSD", "H1", FAR)
