"""Market data at rest: imported without loss, read once, and the data of a run put together from it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from consumer.adapters.files.bars import read_bars
from consumer.adapters.files.market_data import MarketDataUnavailable, ParquetMarketData
from consumer.adapters.files.market_data_import import IncomingBars, import_bars
from consumer.demo_data import EURUSD_H1
from engine.errors import BadBars, UnknownSymbol
from engine.market.bars import Bars, bars_from_frame
from engine.market.timeframes import timeframe

DATA = Path(__file__).parents[3] / "data"
H1 = timeframe("H1")
START = datetime(2016, 3, 1, tzinfo=UTC)
END = datetime(2016, 4, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def eurusd() -> Bars:
    return read_bars(EURUSD_H1, H1)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, eurusd: Bars) -> str:
    """EURUSD H1 of three years, and nothing else. Read only."""
    folder = str(tmp_path_factory.mktemp("market"))
    import_bars(folder, "EURUSD", H1, [IncomingBars("sample", eurusd)], replace=False)
    return folder


def bars_of(
    count: int, *, of: str = "H1", begin: datetime = START, price: float = 1.1, spread: float | None = None
) -> Bars:
    frame = pl.DataFrame(
        {
            "time": [begin + timedelta(microseconds=timeframe(of).duration_us) * row for row in range(count)],
            **{name: [price] * count for name in ("open", "high", "low", "close")},
            "volume": [0.0] * count,
        }
    )
    if spread is not None:
        frame = frame.with_columns(spread=pl.lit(spread))
    return bars_from_frame(frame, timeframe(of), "made")


# --- import ---------------------------------------------------------------------------------------------------------


def test_what_was_imported_is_read_back_value_for_value(root: str, eurusd: Bars) -> None:
    stored = ParquetMarketData(root)
    assert sorted(path.name for path in Path(root, "EURUSD", "H1").iterdir()) == [
        "2015.parquet",
        "2016.parquet",
        "2017.parquet",
    ]
    loaded = stored.load("EURUSD", "H1", datetime(2030, 1, 1, tzinfo=UTC))
    assert loaded is not None
    assert loaded.digest == eurusd.digest
    assert (stored.symbols(), stored.timeframes("EURUSD")) == (("EURUSD",), ("H1",))


def test_a_file_url_is_the_same_place(root: str, eurusd: Bars) -> None:
    loaded = ParquetMarketData(f"file://{root}").load("EURUSD", "H1", datetime(2030, 1, 1, tzinfo=UTC))
    assert loaded is not None
    assert loaded.digest == eurusd.digest


def test_importing_the_same_bars_again_changes_nothing(tmp_path: Path) -> None:
    sources = [IncomingBars("a", bars_of(48))]
    import_bars(str(tmp_path), "EURUSD", H1, sources, replace=False)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    (report,) = import_bars(str(tmp_path), "EURUSD", H1, sources, replace=False)
    assert (report.stored, report.added, report.removed) == (48, 0, 0)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")} == before


def test_files_that_overlap_are_merged_in_order_of_time(tmp_path: Path) -> None:
    later, earlier = bars_of(30, begin=START + timedelta(hours=10)), bars_of(20)
    sources = [IncomingBars("b", later), IncomingBars("a", earlier)]
    (report,) = import_bars(str(tmp_path), "EURUSD", H1, sources, replace=False)
    assert (report.stored, report.added, report.removed) == (40, 40, 0)
    loaded = ParquetMarketData(str(tmp_path)).load("EURUSD", "H1", END)
    assert loaded is not None
    assert loaded.digest == bars_of(40).digest


def test_a_bar_that_differs_from_the_stored_one_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    import_bars(str(tmp_path), "EURUSD", H1, [IncomingBars("a", bars_of(10), "UTC")], replace=False)
    new_year = bars_of(1, begin=datetime(2015, 12, 31, 23, tzinfo=UTC))
    other = bars_of(2, begin=START + timedelta(hours=9), price=1.2)
    with pytest.raises(BadBars) as caught:
        import_bars(str(tmp_path), "EURUSD", H1, [IncomingBars("c", new_year), IncomingBars("b", other)], replace=False)
    assert str(caught.value) == (
        "b: row 1 (time 2016-03-01T09:00:00Z): open 1.2 differs from 1.1 stored; stored are 10 bars of EURUSD H1 from"
        " 2016-03-01T00:00:00Z to 2016-03-01T09:00:00Z, imported in UTC; the new: 1 bar from 2015-12-31T23:00:00Z to"
        " 2015-12-31T23:00:00Z, whose times need no zone and 2 bars from 2016-03-01T09:00:00Z to"
        " 2016-03-01T10:00:00Z, whose times need no zone;"
        " --replace removes what is stored in its months, 2015-12 to 2016-03, and puts these bars there"
    )
    assert [path.name for path in tmp_path.rglob("*.parquet")] == ["2016.parquet"]


def test_bars_that_differ_in_volume_alone_are_said_to(tmp_path: Path) -> None:
    def counted(volume: float, price: float = 1.1) -> Bars:
        frame = bars_of(3, price=price).frame.with_columns(volume=pl.lit(volume))
        return bars_from_frame(frame, H1, "test")

    import_bars(str(tmp_path), "EURUSD", H1, [IncomingBars("a", counted(10.0))], replace=False)
    with pytest.raises(
        BadBars, match=r"volume 11.0 differs from 10.0 stored \(prices are the same: 3 bars differ in vol"
    ):
        import_bars(str(tmp_path), "EURUSD", H1, [IncomingBars("b", counted(11.0))], replace=False)
    with pytest.raises(BadBars, match=r"open 1.2 differs from 1.1 stored; stored are"):
        import_bars(str(tmp_path), "EURUSD", H1, [IncomingBars("b", counted(11.0, 1.2))], replace=False)


def test_replacing_makes_the_months_that_are_touched_hold_the_new_bars_alone(tmp_path: Path) -> None:
    """The stored bars of March that the file does not have go too; April's stay."""
    april = bars_of(5, begin=datetime(2016, 4, 1, tzinfo=UTC))
    stored = [IncomingBars("a", bars_of(10)), IncomingBars("c", april)]
    import_bars(str(tmp_path), "EURUSD", H1, stored, replace=False)
    other = bars_of(2, begin=START + timedelta(hours=9), price=1.2)
    (report,) = import_bars(str(tmp_path), "EURUSD", H1, [IncomingBars("b", other)], replace=True)
    assert (report.stored, report.added, report.removed) == (7, 2, 10)
    loaded = ParquetMarketData(str(tmp_path)).load("EURUSD", "H1", END + timedelta(days=30))
    assert loaded is not None
    assert loaded.close.tolist() == [1.2] * 2 + [1.1] * 5


def test_files_of_one_import_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    sources = [IncomingBars("a", bars_of(10)), IncomingBars("b", bars_of(3, price=1.2))]
    for replace in (False, True):
        with pytest.raises(BadBars, match=r"^b: row 1 \(time 2016-03-01T00:00:00Z\): open 1.2 differs from 1.1"):
            import_bars(str(tmp_path), "EURUSD", H1, sources, replace=replace)


def test_bars_that_do_not_fit_between_the_stored_ones_are_refused(tmp_path: Path) -> None:
    import_bars(str(tmp_path), "EURUSD", H1, [IncomingBars("a", bars_of(10))], replace=False)
    between = IncomingBars("b", bars_of(1, begin=START + timedelta(minutes=30)))
    with pytest.raises(BadBars, match="closer than H1"):
        import_bars(str(tmp_path), "EURUSD", H1, [between], replace=False)


def test_bars_that_do_not_fit_to_the_year_before_are_refused(tmp_path: Path) -> None:
    new_year = datetime(2016, 1, 1, tzinfo=UTC)
    before = IncomingBars("a", bars_of(1, begin=new_year - timedelta(minutes=30)))
    import_bars(str(tmp_path), "EURUSD", H1, [before], replace=False)
    with pytest.raises(BadBars, match="closer than H1"):
        import_bars(str(tmp_path), "EURUSD", H1, [IncomingBars("b", bars_of(1, begin=new_year))], replace=False)


@pytest.mark.parametrize(
    "symbol", ["..", "../EURUSD", "EUR/USD", "", "E" * 21, ".EURUSD", "EUR\\USD", "#EUR", "EURUSD\n"]
)
def test_a_name_that_leaves_the_root_is_no_symbol(tmp_path: Path, symbol: str) -> None:
    with pytest.raises(UnknownSymbol):
        import_bars(str(tmp_path / "root"), symbol, H1, [IncomingBars("a", bars_of(1))], replace=False)
    assert ParquetMarketData(str(tmp_path)).load(symbol, "H1", END) is None


# --- reading --------------------------------------------------------------------------------------------------------


def test_nothing_at_or_after_until_is_loaded_and_nothing_before_since(root: str) -> None:
    stored = ParquetMarketData(root)
    until = stored.load("EURUSD", "H1", END)
    between = stored.load("EURUSD", "H1", END, since=START)
    assert until is not None
    assert between is not None
    assert until.frame["time"][0] == datetime(2015, 1, 1, 22, tzinfo=UTC)
    assert until.frame["time"][-1] == between.frame["time"][-1] == datetime(2016, 3, 31, 23, tzinfo=UTC)
    assert between.frame["time"][0] == START


def test_a_range_without_bars_is_none(root: str) -> None:
    stored = ParquetMarketData(root)
    assert stored.load("EURUSD", "H1", datetime(2015, 1, 1, tzinfo=UTC)) is None
    assert stored.load("EURUSD", "H1", datetime(2031, 1, 1, tzinfo=UTC), since=datetime(2030, 1, 1, tzinfo=UTC)) is None
    assert stored.load("EURUSD", "M1", END) is None
    assert stored.load("GBPUSD", "H1", END) is None


def test_bars_asked_for_again_are_the_same_object_until_their_files_change(tmp_path: Path) -> None:
    import_bars(str(tmp_path), "EURUSD", H1, [IncomingBars("a", bars_of(10))], replace=False)
    stored = ParquetMarketData(str(tmp_path))
    first = stored.load("EURUSD", "H1", END)
    assert first is not None
    assert stored.load("EURUSD", "H1", END) is first
    import_bars(str(tmp_path), "EURUSD", H1, [IncomingBars("a", bars_of(11))], replace=False)
    second = stored.load("EURUSD", "H1", END)
    assert second is not None
    assert (first.height, second.height) == (10, 11)


def test_the_cache_gives_up_what_was_not_used_for_longest(tmp_path: Path) -> None:
    for symbol in ("EURUSD", "GBPUSD", "AUDUSD"):
        import_bars(str(tmp_path), symbol, H1, [IncomingBars("a", bars_of(100))], replace=False)
    stored = ParquetMarketData(str(tmp_path), cache_bytes=4 * int(bars_of(100).frame.estimated_size()))
    kept = {symbol: stored.load(symbol, "H1", END) for symbol in ("EURUSD", "GBPUSD", "AUDUSD")}
    assert stored.load("GBPUSD", "H1", END) is kept["GBPUSD"]
    assert stored.load("EURUSD", "H1", END) is not kept["EURUSD"]


def test_a_bad_stored_bar_is_named_with_its_file_and_row(tmp_path: Path) -> None:
    import_bars(str(tmp_path), "EURUSD", H1, [IncomingBars("a", bars_of(10))], replace=False)
    path = tmp_path / "EURUSD" / "H1" / "2016.parquet"
    frame = pl.read_parquet(path)
    low = pl.when(pl.int_range(pl.len()) == 3).then(9.0).otherwise(pl.col("low"))
    frame.with_columns(low.alias("low")).write_parquet(path)
    with pytest.raises(BadBars) as caught:
        ParquetMarketData(str(tmp_path)).load("EURUSD", "H1", END)
    assert str(caught.value) == f"{path}: row 4 (time 2016-03-01T03:00:00Z): low 9.0 is above high 1.1"


def test_a_place_that_cannot_be_read_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "EURUSD").write_text("a file where a folder should be")
    with pytest.raises(MarketDataUnavailable, match="EURUSD"):
        ParquetMarketData(str(tmp_path)).load("EURUSD", "H1", END)
