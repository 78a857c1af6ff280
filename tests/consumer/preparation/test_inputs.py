"""What a run sees of the market data there are."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from consumer.adapters.files.market_data import ParquetMarketData
from consumer.adapters.files.named_bars import ConversionFile, NamedBarFiles
from consumer.demo_data import EURUSD_H1
from consumer.preparation.inputs import MarketData, assemble
from engine.errors import NoData, UnknownTimeframe
from engine.market.bars import Bars, bars_from_frame
from engine.market.instruments import packaged_instruments
from engine.market.resampling import resample
from engine.market.timeframes import DAY_US, WEEK_US, timeframe
from engine.numeric.times import as_us
from engine.prepared import RunData
from engine.specification import ExecutionMode, Specification
from engine.warm_up import WarmUp
from tests.consumer.adapters.files.test_market_data import END, START, bars_of, eurusd, root

__all__ = ["eurusd", "root"]


def specification(
    *, symbol: str = "EURUSD", account: str = "USD", mode: ExecutionMode = ExecutionMode.INTRA_CANDLE,
    context: tuple[str, ...] = (), start: datetime = START, end: datetime = END,
) -> Specification:  # fmt: skip
    return Specification(
        symbol=symbol,
        timeframe="H1",
        start=start,
        end=end,
        strategy_key="sma_cross",
        strategy_params={},
        context_timeframes=context,
        account_currency=account,
        execution_mode=mode,
    )


class Shelf:
    """Market data in memory, by symbol and timeframe."""

    def __init__(self, bars: Mapping[tuple[str, str], Bars], named: Collection[tuple[str, str]] = ()) -> None:
        self._bars = bars
        self._named = named
        self.rows_read: dict[tuple[str, str], int] = {}

    def __str__(self) -> str:
        return "the shelf"

    def timeframes(self, symbol: str) -> tuple[str, ...]:
        return tuple(name for known, name in self._bars if known == symbol)

    def load(
        self, symbol: str, timeframe_name: str, until: datetime, since: datetime | None = None, before: int = 0
    ) -> Bars | None:
        bars = self._bars.get((symbol, timeframe_name))
        if bars is None:
            return None
        first, end = bars.between(-(2**62) if since is None else as_us(since), as_us(until))
        first = max(0, first - before)
        self.rows_read[symbol, timeframe_name] = max(0, end - first)
        return bars.rows(first, end) if end > first else None

    def extent_us(self, symbol: str, timeframe_name: str) -> tuple[int, int] | None:
        bars = self._bars.get((symbol, timeframe_name))
        return None if bars is None else (int(bars.time_us[0]), int(bars.close_time_us[-1]))

    def were_named(self, symbol: str, timeframe_name: str) -> bool:
        return (symbol, timeframe_name) in self._named

    def load_conversion(self, pair: str, timeframe_name: str, until: datetime, since: datetime) -> Bars | None:
        return self.load(pair, timeframe_name, until, since)


def gather(asked: Specification, source: MarketData, bars: int = 100) -> RunData:
    """What a run sees, with so many bars of warm-up on each timeframe."""
    warm_up = dict.fromkeys((asked.timeframe, *asked.context_timeframes), bars)
    return assemble(asked, source, packaged_instruments(), WarmUp(warm_up, dict.fromkeys(warm_up, 0)))


def test_a_run_sees_the_last_bars_before_its_start_and_nothing_older(root: str, eurusd: Bars) -> None:
    data = gather(specification(), ParquetMarketData(root), 100)
    first, _ = eurusd.between(as_us(START), as_us(END))
    assert data.bars.time_us[0] == eurusd.time_us[first - 100]
    assert data.bars.frame["time"][-1] == datetime(2016, 3, 31, 23, tzinfo=UTC)
    assert gather(specification(), ParquetMarketData(root), 0).bars.frame["time"][0] == START
    assert gather(specification(), ParquetMarketData(root), 10**6).bars.time_us[0] == eurusd.time_us[0]


def test_files_and_market_data_at_rest_give_a_run_the_same_data(root: str) -> None:
    named = NamedBarFiles(symbol="EURUSD", by_timeframe={"H1": EURUSD_H1}, conversion={}, timezone="UTC", stored=None)
    from_file = gather(specification(), named)
    from_store = gather(specification(), ParquetMarketData(root))
    assert from_file.bars.digest == from_store.bars.digest


def test_no_bar_in_the_range_is_no_data(root: str) -> None:
    asked = specification(start=datetime(2019, 1, 1, tzinfo=UTC), end=datetime(2020, 1, 1, tzinfo=UTC))
    with pytest.raises(NoData) as caught:
        gather(asked, ParquetMarketData(root))
    assert str(caught.value) == (
        f"no EURUSD H1 bars from 2019-01-01T00:00:00Z to 2020-01-01T00:00:00Z in market data {root}:"
        " there are H1 from 2015-01-01T22:00:00Z to 2017-12-29T22:00:00Z"
    )


@pytest.mark.parametrize(
    ("changes", "there_is"),
    [
        ({"timeframe": "M15"}, "H1 from 2015-01-01T22:00:00Z to 2017-12-29T22:00:00Z, and M15 cannot be made of H1"),
        ({"symbol": "GBPUSD"}, "there is nothing of GBPUSD; `backtest data import` stores bars"),
    ],
)
def test_no_bars_says_which_there_are(root: str, changes: dict[str, str], there_is: str) -> None:
    """It named the range that nobody has bars of, and nothing else."""
    with pytest.raises(NoData) as caught:
        gather(replace(specification(), **changes), ParquetMarketData(root))  # type: ignore[arg-type]
    assert str(caught.value).endswith(there_is)


def test_prices_of_another_instrument_are_doubted(eurusd: Bars) -> None:
    """EURUSD's prices as USDJPY's: five decimals where there are three, and not a word."""
    bars = Shelf({("USDJPY", "H1"): eurusd, ("EURUSD", "H1"): eurusd})
    assert not [each for each in gather(specification(), bars).warnings if "decimals" in each]
    (warning,) = gather(specification(symbol="USDJPY", account="JPY"), bars).warnings
    assert warning.startswith("USDJPY H1: most prices, such as 1.")
    assert warning.endswith(", have more decimals than the 3 of USDJPY: are they another instrument's?")


EURUSD = packaged_instruments()["EURUSD"]


def test_a_context_that_is_there_wins_over_one_that_could_be_made(eurusd: Bars) -> None:
    own = resample(eurusd, timeframe("H4"), EURUSD)
    doubled = Bars(own.timeframe, own.frame.with_columns(pl.col("open", "high", "low", "close") * 2.0))
    shelf = Shelf({("EURUSD", "H1"): eurusd, ("EURUSD", "H4"): doubled})
    data = gather(specification(context=("H4", "D1")), shelf)
    assert data.context["H4"].frame["time"][-1] == datetime(2016, 3, 31, 21, tzinfo=UTC)
    assert data.context["H4"].close[-1] > 2.0
    # D1 is made of the finest there is.
    assert data.context["D1"].close[-1] < 2.0


def test_a_stored_context_that_ended_before_the_run_wins_too_with_a_warning(eurusd: Bars) -> None:
    own = resample(eurusd, timeframe("H4"), EURUSD)
    stale = own.rows(0, own.between(0, as_us(START))[1])
    shelf = Shelf({("EURUSD", "H1"): eurusd, ("EURUSD", "H4"): stale})
    data = gather(specification(context=("H4",)), shelf)
    assert data.context["H4"].close_time_us[-1] == stale.close_time_us[-1]
    (warning,) = data.warnings
    assert warning.startswith("context H4: its bars end at 2016-03-01T")


def test_each_context_has_as_many_of_its_own_bars_before_the_start(eurusd: Bars) -> None:
    shelf = Shelf({("EURUSD", "H1"): eurusd})
    data = gather(specification(context=("H4", "D1", "W1")), shelf, 50)
    for name, context in data.context.items():
        whole = resample(eurusd, timeframe(name), EURUSD)
        before = whole.between(0, as_us(START))[1]
        there = context.between(0, as_us(START))[1]
        assert there >= 50
        wanted = whole.rows(before - 50, before)
        assert context.rows(there - 50, there).frame.equals(wanted.frame)
        assert context.rows(there - 50, there).close_time_us.tolist() == wanted.close_time_us.tolist()
    assert data.bars.between(0, as_us(START))[1] == 50


def test_a_context_that_whoever_decides_brings_is_loaded_as_one_asked_for(eurusd: Bars) -> None:
    days = resample(eurusd, timeframe("D1"), packaged_instruments()["EURUSD"])
    shelf = Shelf({("EURUSD", "H1"): eurusd, ("EURUSD", "D1"): days})
    asked, own = specification(), specification(context=("D1",))
    warm_up = {"H1": 10, "D1": 20}
    found = assemble(asked, shelf, packaged_instruments(), WarmUp(warm_up, dict.fromkeys(warm_up, 0)))
    assert found.context["D1"].digest == gather(own, shelf, 20).context["D1"].digest


def test_h4_with_only_h1_stored_runs_on_bars_made_of_it(eurusd: Bars) -> None:
    asked = replace(specification(), timeframe="H4")
    data = gather(asked, Shelf({("EURUSD", "H1"): eurusd}), 30)
    whole = resample(eurusd, timeframe("H4"), EURUSD)
    first, end = whole.between(as_us(START), as_us(END))
    there, last = data.bars.between(as_us(START), as_us(END))
    assert there >= 30
    # The last H4 bar of March closes after the run's end: the data end before it does.
    assert data.bars.rows(there - 30, last).frame.equals(whole.rows(first - 30, end - 1).frame)
    assert data.warnings == ()


def test_the_finest_that_spans_the_range_makes_what_is_not_there(eurusd: Bars) -> None:
    def minutes(begin: datetime, end: datetime) -> Bars:
        return bars_of((end - begin) // timedelta(minutes=30), of="M30", begin=begin, price=2.0)

    def close(m30: Bars) -> tuple[float, tuple[str, ...]]:
        shelf = Shelf({("EURUSD", "H1"): eurusd, ("EURUSD", "M30"): m30})
        data = gather(specification(context=("H4",)), shelf)
        return float(data.context["H4"].close[-1]), data.warnings

    assert close(minutes(START - timedelta(days=30), END)) == (2.0, ())
    late, early = minutes(START + timedelta(days=1), END), minutes(START, END - timedelta(days=2))
    assert close(late)[0] < 2.0
    assert close(early)[0] < 2.0
    assert close(late)[1] == ()


def test_where_none_spans_the_range_the_longest_makes_it_and_a_warning_says_so() -> None:
    hours = bars_of(24 * 20, begin=START)
    half_hours = bars_of(48 * 10, of="M30", begin=START + timedelta(days=21), price=2.0)
    asked = replace(specification(), timeframe="H4")
    data = gather(asked, Shelf({("EURUSD", "H1"): hours, ("EURUSD", "M30"): half_hours}))
    assert set(data.bars.close.tolist()) == {1.1}
    assert data.warnings == ("EURUSD H4 bars are made of H1 ones, which do not span the range; no others do",)


def test_a_week_divides_no_month_but_a_day_does() -> None:
    days = bars_of(400, of="D1", begin=START - timedelta(days=300))
    weeks = bars_of(60, of="W1", begin=START - timedelta(days=300))
    asked = replace(specification(end=START + timedelta(days=100)), timeframe="MN1")
    assert gather(asked, Shelf({("EURUSD", "D1"): days})).bars.height > 10
    with pytest.raises(NoData, match="no EURUSD MN1 bars"):
        gather(asked, Shelf({("EURUSD", "W1"): weeks}))


def test_a_conversion_pair_is_made_of_finer_bars_too(eurusd: Bars) -> None:
    half_hours = bars_of(48 * 60, of="M30", begin=START - timedelta(days=20))
    shelf = Shelf({("EURUSD", "H1"): eurusd, ("GBPUSD", "M30"): half_hours})
    pair = gather(specification(account="GBP"), shelf).conversion["GBPUSD"]
    assert (pair.timeframe.name, pair.frame["time"][-1]) == ("H1", END - timedelta(hours=1))


def test_conversion_is_read_from_eight_days_before_the_warm_up_on(eurusd: Bars) -> None:
    pair = bars_of(24 * 90, begin=START - timedelta(days=60))
    shelf = Shelf({("EURUSD", "H1"): eurusd, ("GBPUSD", "H1"): pair})
    data = gather(specification(account="GBP"), shelf, 100)
    assert data.conversion["GBPUSD"].frame["time"][0] == data.bars.frame["time"][0] - timedelta(days=8)
    weekly = Shelf({("EURUSD", "W1"): bars_of(40, of="W1", begin=START - timedelta(weeks=20)),
                    ("GBPUSD", "W1"): bars_of(40, of="W1", begin=START - timedelta(weeks=20))})  # fmt: skip
    asked = replace(specification(account="GBP"), timeframe="W1")
    assert gather(asked, weekly, 0).conversion["GBPUSD"].frame["time"][0] <= START - timedelta(weeks=2)


def test_of_a_long_history_no_more_is_read_than_a_run_sees() -> None:
    shelf = Shelf({("EURUSD", "H1"): bars_of(24 * 400, begin=END - timedelta(days=400))})
    gather(specification(start=END - timedelta(days=7)), shelf, 100)
    assert shelf.rows_read["EURUSD", "H1"] == 7 * 24 + 100


def test_stored_days_of_another_midnight_are_used(eurusd: Bars) -> None:
    """MetaTrader's days open at 22:00 or 21:00 UTC, so the last whole one opens before the last of UTC."""
    days = resample(eurusd, timeframe("D1"), EURUSD)
    shifted = Bars(days.timeframe, days.frame.with_columns(pl.col("time") - timedelta(hours=2)))
    shelf = Shelf({("EURUSD", "H1"): eurusd, ("EURUSD", "D1"): shifted})
    data = gather(specification(context=("D1",)), shelf)
    assert list(data.context) == ["D1"]
    assert data.warnings == ()


def test_context_bars_that_were_named_are_used_whatever_they_span_and_a_warning_says_so(eurusd: Bars) -> None:
    own = resample(eurusd, timeframe("H4"), EURUSD)
    begin, end = own.between(as_us(START + timedelta(days=3)), as_us(START + timedelta(days=6)))
    short = own.rows(begin, end)
    shelf = Shelf({("EURUSD", "H1"): eurusd, ("EURUSD", "H4"): short}, named={("EURUSD", "H4")})
    data = gather(specification(context=("H4",)), shelf)
    assert data.context["H4"].digest == short.digest
    begins, ends = data.warnings
    assert begins.startswith("context H4: its bars begin at ")
    assert ends.startswith("context H4: its bars end at ")


def test_named_context_bars_after_the_run_are_no_data(eurusd: Bars) -> None:
    later = bars_of(9, of="H4", begin=END + timedelta(days=400))
    shelf = Shelf({("EURUSD", "H1"): eurusd, ("EURUSD", "H4"): later}, named={("EURUSD", "H4")})
    with pytest.raises(NoData, match=r"no EURUSD H4 bars before .* in the shelf"):
        gather(specification(context=("H4",)), shelf)


def test_context_that_can_neither_be_found_nor_made_is_refused(eurusd: Bars) -> None:
    with pytest.raises(UnknownTimeframe, match="context M15: there are no such bars of EURUSD in the shelf"):
        gather(specification(context=("M15",)), Shelf({("EURUSD", "H1"): eurusd}))


def test_the_finest_bars_of_the_range_order_what_happens_inside_a_bar(eurusd: Bars) -> None:
    shelf = Shelf(
        {
            ("EURUSD", "H1"): eurusd,
            ("EURUSD", "M15"): bars_of(400, of="M15", begin=START - timedelta(days=1)),
            ("EURUSD", "M5"): bars_of(9, of="M5"),
            ("EURUSD", "M1"): bars_of(9, of="M1", begin=START - timedelta(days=1)),
        }
    )
    finer = gather(specification(), shelf).finer
    assert finer is not None
    assert (finer.timeframe.name, finer.height) == ("M5", 9)


def test_in_close_price_nothing_is_ambiguous_and_no_finer_bars_are_loaded(eurusd: Bars) -> None:
    shelf = Shelf({("EURUSD", "H1"): eurusd, ("EURUSD", "M5"): bars_of(9, of="M5")})
    asked = specification(mode=ExecutionMode.CLOSE_PRICE)
    assert gather(asked, shelf).finer is None


@pytest.mark.parametrize(
    ("symbol", "account", "stored", "used"),
    [
        ("EURUSD", "USD", ("GBPUSD",), []),
        ("EURUSD", "EUR", (), []),
        ("EURUSD", "GBP", ("GBPUSD",), ["GBPUSD"]),
        ("EURGBP", "JPY", ("GBPJPY", "GBPUSD", "USDJPY"), ["GBPJPY"]),
        ("EURGBP", "JPY", ("GBPUSD", "USDJPY"), ["GBPUSD", "USDJPY"]),
        ("EURGBP", "JPY", ("GBPUSD",), []),
    ],
)
def test_conversion_bars_are_those_of_the_first_complete_route(
    symbol: str, account: str, stored: tuple[str, ...], used: list[str]
) -> None:
    shelf = Shelf({(each, "H1"): bars_of(10) for each in (symbol, *stored)})
    data = gather(specification(symbol=symbol, account=account), shelf)
    assert list(data.conversion) == used


def test_a_conversion_file_may_have_a_timeframe_of_its_own(tmp_path: Path) -> None:
    bars_of(5, of="D1").frame.write_parquet(tmp_path / "gbpusd_d1.parquet")
    named = NamedBarFiles(
        symbol="EURUSD",
        by_timeframe={"H1": EURUSD_H1},
        conversion={"GBPUSD": ConversionFile(tmp_path / "gbpusd_d1.parquet", timeframe("D1"))},
        timezone="UTC",
        stored=None,
    )
    data = gather(specification(account="GBP"), named)
    assert data.conversion["GBPUSD"].timeframe.name == "D1"


def test_named_files_come_before_stored_bars_of_the_same_timeframe(root: str, tmp_path: Path) -> None:
    bars_of(7, of="M1").frame.write_parquet(tmp_path / "m1.parquet")
    named = NamedBarFiles(
        symbol="EURUSD",
        by_timeframe={"M1": tmp_path / "m1.parquet"},
        conversion={},
        timezone="UTC",
        stored=ParquetMarketData(root),
    )
    data = gather(specification(), named)
    assert data.finer is not None
    assert (data.finer.timeframe.name, data.finer.height) == ("M1", 7)


def test_stored_bars_whose_spacing_is_another_timeframes_are_told_of() -> None:
    half_hours = Bars(timeframe("M30"), bars_of(200, begin=START).frame)
    asked = replace(specification(), timeframe="M30")
    assert gather(asked, Shelf({("EURUSD", "M30"): half_hours})).warnings == (
        "EURUSD M30: the spacing of these bars is that of H1",
    )
    named = Shelf({("EURUSD", "M30"): half_hours}, named={("EURUSD", "M30")})
    assert gather(asked, named).warnings == ()


def test_a_shorter_context_whose_warm_up_reaches_less_far_back_is_not_late(eurusd: Bars) -> None:
    quarters = bars_of(4 * 24 * 60, of="M15", begin=START - timedelta(days=20))
    shelf = Shelf({("EURUSD", "H1"): eurusd, ("EURUSD", "M15"): quarters})
    data = gather(specification(context=("M15",)), shelf, 100)
    assert data.context["M15"].time_us[0] > data.bars.time_us[0]
    assert data.warnings == ()


@pytest.mark.parametrize("stored_as", ["H1", "M30"])
def test_stored_bars_whose_week_is_another_zones_are_told_of(stored_as: str) -> None:
    """In server time read as UTC, every night and every day's candle is off: a run said nothing of it."""
    every = timeframe(stored_as)
    week_us = np.concatenate([np.arange(0, 5 * DAY_US, every.duration_us) + week * WEEK_US for week in range(8)])
    flat = dict.fromkeys(("open", "high", "low", "close"), pl.lit(1.1))
    times = pl.Series("time", week_us + as_us(datetime(2016, 1, 3, 22, tzinfo=UTC))).cast(pl.Datetime("us", "UTC"))

    def warnings(frame: pl.DataFrame) -> tuple[str, ...]:
        stored = Shelf({("EURUSD", stored_as): bars_from_frame(frame, every, "stored")})
        asked = specification(start=datetime(2016, 2, 1, tzinfo=UTC), end=datetime(2016, 2, 20, tzinfo=UTC))
        return gather(asked, stored).warnings

    utc = pl.DataFrame(times).with_columns(**flat)
    assert warnings(utc) == ()
    (warning,) = warnings(utc.with_columns(pl.col("time").dt.offset_by("2h")))
    assert warning.startswith("EURUSD H1, as stored: read as UTC, ")
    assert warning.endswith("--bars-timezone America/New_York+7, in data import --replace")
