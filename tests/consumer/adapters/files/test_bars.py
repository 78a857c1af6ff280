"""Bars from CSV, MetaTrader 5 exports and Parquet: the same values whatever the file, and mistakes with their row."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from consumer.adapters.files.bars import read_bars
from consumer.demo_data import EURUSD_H1
from engine.errors import BadBars
from engine.market.bars import Bars
from engine.market.timeframes import timeframe

HEADER = "time,open,high,low,close,volume,spread\n"
ROW = "1.1,1.2,1.0,1.15,5,2"
MT5 = (
    "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>\r\n"
    "2024.01.02\t00:00:00\t1.10427\t1.10429\t1.10398\t1.10414\t450\t0\t2\r\n"
    "2024.01.02\t01:00:00\t1.10414\t1.10520\t1.10400\t1.10510\t460\t0\t3\r\n"
)
EXPECTED = (
    "expected e.g. 'time,open,high,low,close,volume' (--format NAME: cryptodatadownload, dukascopy, mt5, yfinance,"
    " binance, ccxt, tradingview, pandas, histdata, mt4, own)"
)
MT5_VALUES = [(1.10427, 1.10429, 1.10398, 1.10414, 450.0, 2.0), (1.10414, 1.10520, 1.10400, 1.10510, 460.0, 3.0)]


def read(folder: Path, content: str | bytes, name: str = "bars.csv", *, of: str = "H1", zone: str = "UTC") -> Bars:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_bars(path, timeframe(of), zone)


def refusal(folder: Path, content: str | bytes, name: str = "bars.csv", *, zone: str = "UTC") -> str:
    """What the file is refused with, behind `FILE: `; one line."""
    with pytest.raises(BadBars) as caught:
        read(folder, content, name, zone=zone)
    message = str(caught.value)
    assert message.startswith(f"{folder / name}: ")
    assert "\n" not in message
    return message.removeprefix(f"{folder / name}: ")


def opens(bars: Bars) -> list[str]:
    return bars.frame["time"].dt.strftime("%Y-%m-%dT%H:%M").to_list()


def test_csv_and_parquet_of_the_same_bars_have_one_digest(tmp_path: Path) -> None:
    pl.read_parquet(EURUSD_H1).write_csv(tmp_path / "bars.csv")
    from_csv = read_bars(tmp_path / "bars.csv", timeframe("H1"))
    from_parquet = read_bars(EURUSD_H1, timeframe("H1"))
    assert from_csv.height == 18_465
    assert from_csv.digest == from_parquet.digest


def test_prices_are_read_to_the_nearest_double(tmp_path: Path) -> None:
    """Some fast parsers are one unit in the last place off; the digest would then tell CSV from Parquet."""
    generator = np.random.default_rng(7)
    texts = [repr(value) for value in generator.uniform(0.5, 2.0, 20_000).tolist()]
    texts += [f"{value:.30f}" for value in generator.uniform(1e-4, 1e5, 20_000).tolist()]
    times = pl.datetime_range(
        datetime(2000, 1, 1, tzinfo=UTC), datetime(2010, 1, 1, tzinfo=UTC), "1h", eager=True
    ).head(len(texts))
    rows = [f"{time.isoformat()},{text},{text},{text},{text}" for time, text in zip(times, texts, strict=True)]
    bars = read(tmp_path, "time,open,high,low,close\n" + "\n".join(rows))
    assert bars.close.tolist() == [float(text) for text in texts]


@pytest.mark.parametrize(
    "written",
    [
        "2024-01-02T03:00:00Z",
        "2024-01-02T03:00:00+00:00",
        "2024-01-02T05:00:00+02:00",
        "2024-01-01 22:00-0500",
        "2024-01-02 03:00:00",
        "2024-01-02T03:00",
        "2024-01-02 03:00:00.000",
        "2024.01.02 03:00",
        " 2024-01-02T03:00:00Z ",
    ],
)
def test_every_way_to_write_a_time_means_the_same_moment(tmp_path: Path, written: str) -> None:
    assert opens(read(tmp_path, f"{HEADER}{written},{ROW}\n")) == ["2024-01-02T03:00"]


def test_a_bare_date_is_its_midnight(tmp_path: Path) -> None:
    bars = read(tmp_path, f"{HEADER}2024-01-02,{ROW}\n2024-01-03,{ROW}\n", of="D1")
    assert opens(bars) == ["2024-01-02T00:00", "2024-01-03T00:00"]


def test_times_without_offset_are_in_the_named_zone_and_others_are_not(tmp_path: Path) -> None:
    bars = read(tmp_path, f"{HEADER}2024-07-02 03:00,{ROW}\n2024-07-02 01:00Z,{ROW}\n", zone="Europe/Athens")
    assert opens(bars) == ["2024-07-02T00:00", "2024-07-02T01:00"]


def test_a_time_that_the_clock_skipped_is_refused(tmp_path: Path) -> None:
    content = f"{HEADER}2024-03-31 02:00,{ROW}\n2024-03-31 03:00,{ROW}\n"
    assert refusal(tmp_path, content, zone="Europe/Athens") == (
        "row 2 (time 2024-03-31 03:00): there is no such time in Europe/Athens: the clock went forward over it"
    )


def test_the_hour_that_comes_twice_is_told_apart_by_order(tmp_path: Path) -> None:
    hours = ("02:00", "03:00", "03:00", "04:00")
    bars = read(tmp_path, HEADER + "".join(f"2024-10-27 {hour},{ROW}\n" for hour in hours), zone="Europe/Athens")
    assert opens(bars) == ["2024-10-26T23:00", "2024-10-27T00:00", "2024-10-27T01:00", "2024-10-27T02:00"]


def test_half_an_hour_that_comes_twice_is_told_apart_by_order(tmp_path: Path) -> None:
    clock = ("02:30", "03:00", "03:30", "03:00", "03:30", "04:00")
    content = HEADER + "".join(f"2024-10-27 {each},{ROW}\n" for each in clock)
    bars = read(tmp_path, content, of="M30", zone="Europe/Athens")
    assert np.diff(bars.time_us).tolist() == [30 * 60_000_000] * 5


def test_the_hour_that_comes_twice_is_not_guessed_when_it_is_there_once(tmp_path: Path) -> None:
    hours = ("02:00", "03:00", "04:00")
    content = HEADER + "".join(f"2024-10-27 {hour},{ROW}\n" for hour in hours)
    assert refusal(tmp_path, content, zone="Europe/Athens").startswith("row 2 (time 2024-10-27 03:00): the clock in")


def test_hours_that_come_twice_in_different_years_do_not_decide_for_each_other(tmp_path: Path) -> None:
    times = ("2023-10-29 03:30", "2024-10-27 03:30", "2024-10-27 03:00")
    content = HEADER + "".join(f"{time},{ROW}\n" for time in times)
    assert refusal(tmp_path, content, zone="Europe/Athens").startswith("row 1 (time 2023-10-29 03:30): the clock in")


@pytest.mark.parametrize("encoding", ["ascii", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("separator", ["\t", ",", ";"])
def test_a_metatrader_export_is_read_as_it_comes(tmp_path: Path, encoding: str, separator: str) -> None:
    bars = read(tmp_path, MT5.replace("\t", separator).encode(encoding))
    assert opens(bars) == ["2024-01-02T00:00", "2024-01-02T01:00"]
    assert bars.frame.drop("time").rows() == MT5_VALUES


def test_a_daily_metatrader_export_has_no_time_column(tmp_path: Path) -> None:
    content = "<DATE>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>\n2024.01.02\t1\t1\t1\t1\t9\t0\t2\n"
    bars = read(tmp_path, content, of="D1", zone="Europe/Athens")
    assert opens(bars) == ["2024-01-01T22:00"]
    assert bars.volume.tolist() == [9.0]


@pytest.mark.parametrize(
    "content",
    [
        f"{HEADER}2024-01-02T00:00:00Z,{ROW}\r\n2024-01-02T01:00:00Z,{ROW}\r\n",
        f"\ufeff{HEADER}2024-01-02T00:00:00Z,{ROW}\n2024-01-02T01:00:00Z,{ROW}",
        f"{HEADER}\n2024-01-02T00:00:00Z,{ROW}\n  \n\n2024-01-02T01:00:00Z,{ROW}\n\n\n",
        f"{HEADER}2024-01-02T00:00:00Z,{ROW}\n2024-01-02T01:00:00Z,{ROW}\n".replace("\n", "\r"),
        (
            "Close;SPREAD;Time;Low;OPEN;note;High;Volume\n"
            "1.15;2;2024-01-02;1.0;1.1;a;1.2;5\n1.15;2;2024-01-02 01:00;1.0;1.1;b;1.2;5\n"
        ),
    ],
)
def test_line_ends_blank_lines_marks_case_and_order_of_columns_change_nothing(tmp_path: Path, content: str) -> None:
    bars = read(tmp_path, content)
    assert opens(bars) == ["2024-01-02T00:00", "2024-01-02T01:00"]
    assert bars.frame.drop("time").rows() == [(1.1, 1.2, 1.0, 1.15, 5.0, 2.0)] * 2


def test_volume_and_spread_may_be_left_out(tmp_path: Path) -> None:
    bars = read(tmp_path, "time,open,high,low,close\n2024-01-02,1,1,1,1\n")
    assert bars.volume.tolist() == [0.0]
    assert bars.spread_points is None


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "the file is empty"),
        ("\n\n", "the file is empty"),
        (HEADER, "there are no bars in it"),
        (
            "time,open,close\n2024-01-02,1,1\n",
            f"the header line lacks high, low; it has: time, open, close; {EXPECTED}",
        ),
        (
            "open,high,low,close\n1,1,1,1\n",
            f"the header line lacks time; it has: open, high, low, close; {EXPECTED}",
        ),
        (
            "2024-01-02 00:00,1.1,1.1,1.1,1.1,3\n",
            (
                "there is no header line; the file begins with '2024-01-02 00:00,1.1,1.1,1.1,1.1,3'; expected e.g."
                " 'time,open,high,low,close,volume' above it (formats without a header: binance, ccxt, histdata, mt4)"
            ),
        ),
        ("time,open,high,low,close,Close\n2024-01-02,1,1,1,1,1\n", "column 'close' is there twice"),
        (
            f"{HEADER}2024-01-02,{ROW}\n2024-01-02 01:00,{ROW},7\n",
            "row 2 (time 2024-01-02 01:00): has 8 fields, the header has 7",
        ),
        (
            f"{HEADER}2024-01-02,{ROW}\n2024-01-02 01:00,1.1,1.2,1.0\n",
            "row 2 (time 2024-01-02T01:00:00Z): close is null",
        ),
        (
            f"{HEADER}\n2024-01-02,{ROW}\n\n2024-01-02 01:00,1.1,1.2,1.0,abc,5,2\n",
            "row 2 (time 2024-01-02T01:00:00Z): close 'abc' is not a number",
        ),
        (
            HEADER.replace(",", ";") + "2024-01-02;1.234,1;1.234,2;1.233,0;1.234,1;5;2\n",
            "row 1 (time 2024-01-02T00:00:00Z): open '1.234,1' is not a number",
        ),
        (f"{HEADER}2024-01-02,1.1,1.2,1.0,nan,5,2\n", "row 1 (time 2024-01-02T00:00:00Z): close is NaN"),
        (f"{HEADER}2024-01-02,1.1,inf,1.0,1.1,5,2\n", "row 1 (time 2024-01-02T00:00:00Z): high is infinite"),
        (f"{HEADER}2024-01-02,1.1,1.2,1.0,1.1,5,-2\n", "row 1 (time 2024-01-02T00:00:00Z): spread is negative"),
        (f"{HEADER}2024-01-02,1.1,1.2,1.15,1.1,5,2\n", "row 1 (time 2024-01-02T00:00:00Z): low 1.15 is above open 1.1"),
        (
            f"{HEADER}2024-01-02 01:00,{ROW}\n2024-01-02,{ROW}\n2024-01-02 02:00,{ROW}\n",
            "row 2 (time 2024-01-02T00:00:00Z): time does not rise",
        ),
        (
            f"{HEADER}2024-01-02 00:00,{ROW}\n2024-01-02 00:30,{ROW}\n",
            "row 2 (time 2024-01-02T00:30:00Z): time is closer than H1 to the row before",
        ),
        (f"{HEADER},{ROW}\n", "row 1 (time ): time is missing"),
        (f"{HEADER}2024-13-02,{ROW}\n", "row 1 (time 2024-13-02): there is no such date or time of day"),
        (
            f"{HEADER}yesterday,{ROW}\n",
            (
                "row 1 (time yesterday): time is not ISO 8601, nor another form that is known; expected e.g."
                " 2024-01-02T03:04:05Z, 2024.01.02 03:04, 31/01/2024 03:04 or seconds since 1970"
            ),
        ),
        (
            f"{HEADER}2024-01-02T00:00+25:00,{ROW}\n",
            "row 1 (time 2024-01-02T00:00+25:00): the offset is not a time of day",
        ),
        (b"time,open,high,low,close\n2024-01-02,1,1,1,\xff\n", "is not text in UTF-8 or UTF-16: byte 42"),
        (b"time,open,high,low,close\n2024-01-02,1,1,1,1\x00\n", "is not a text file (it holds a NUL character)"),
    ],
)
def test_a_mistake_is_named_with_its_row_and_time(tmp_path: Path, content: str | bytes, what: str) -> None:
    assert refusal(tmp_path, content) == what


def test_a_stray_quote_is_refused_in_one_line(tmp_path: Path) -> None:
    assert refusal(tmp_path, f'{HEADER}"2024-01-02,{ROW}\n').startswith("is not a CSV file that can be read")


def test_an_endless_line_is_refused_in_a_short_one(tmp_path: Path) -> None:
    message = refusal(tmp_path, "a" * 1_000_000)
    assert message.startswith("the header line lacks time, open, high, low, close; it has: aaa")
    assert len(message) < 500


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadBars, match=r"none\.csv: there is no such file"):
        read_bars(tmp_path / "none.csv", timeframe("H1"))


NAIVE = datetime(2024, 1, 2, 3)  # noqa: DTZ001  # a file may hold naive times
PARQUET = pl.DataFrame({"time": [NAIVE], "open": [1.5], "high": [2], "low": [1], "close": [1.5]})


def parquet(folder: Path, frame: pl.DataFrame) -> bytes:
    frame.write_parquet(folder / "made.parquet")
    return (folder / "made.parquet").read_bytes()


@pytest.mark.parametrize(
    "time",
    [
        pl.col("time").dt.cast_time_unit("ms"),
        pl.col("time").dt.cast_time_unit("ns").dt.replace_time_zone("UTC"),
        pl.col("time").dt.replace_time_zone("UTC").dt.convert_time_zone("America/New_York"),
        pl.col("time").dt.strftime("%Y-%m-%dT%H:%M:%S"),
    ],
)
def test_parquet_times_may_have_any_unit_and_zone(tmp_path: Path, time: pl.Expr) -> None:
    bars = read(tmp_path, parquet(tmp_path, PARQUET.with_columns(time)), "bars.parquet")
    assert bars.frame["time"].to_list() == [datetime(2024, 1, 2, 3, tzinfo=UTC)]


def test_parquet_times_without_zone_are_in_the_named_one(tmp_path: Path) -> None:
    bars = read(tmp_path, parquet(tmp_path, PARQUET), "bars.parquet", zone="Europe/Athens")
    assert opens(bars) == ["2024-01-02T01:00"]


def test_parquet_decimals_are_the_doubles_of_their_text(tmp_path: Path) -> None:
    frame = PARQUET.with_columns(close=pl.Series(["1.31927"]).cast(pl.Decimal(20, 12)))
    assert read(tmp_path, parquet(tmp_path, frame), "bars.parquet").close.tolist() == [1.31927]


@pytest.mark.parametrize(
    ("frame", "what"),
    [
        (
            PARQUET.with_columns(pl.col("open").cast(pl.Float32)),
            "column 'open' is Float32, wanted Float64, whole numbers or decimals",
        ),
        (
            PARQUET.with_columns(time=pl.lit(value=True)),
            "row 1 (time True): time is Boolean, wanted a date-time, text or whole numbers",
        ),
        (PARQUET.clear(), "there are no bars in it"),
        (
            PARQUET.with_columns(pl.lit(None).cast(pl.Float64).alias("low")),
            "row 1 (time 2024-01-02T03:00:00Z): low is null",
        ),
    ],
)
def test_parquet_that_cannot_be_exact_is_refused(tmp_path: Path, frame: pl.DataFrame, what: str) -> None:
    assert refusal(tmp_path, parquet(tmp_path, frame), "bars.parquet") == what


def test_what_only_claims_to_be_parquet_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, HEADER, "bars.parquet").startswith("is not a Parquet file that can be read: ")
