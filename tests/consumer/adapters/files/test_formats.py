"""Bars in the formats people have: the same values and digest whatever program wrote them; others named and refused."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.adapters.files.bars import BarFile, bar_file_of, read_bars
from consumer.adapters.files.formats import FORMATS
from engine.errors import BadBars
from engine.market.bars import bars_from_frame
from engine.market.timeframes import timeframe
from tests.consumer.adapters.files import written_bars as written

H1, MINUTE = timeframe("H1"), timedelta(minutes=1)
ROWS = written.rows_of(6, start=written.START, step=timedelta(hours=1))
DIGEST = bars_from_frame(written.frame_of(ROWS), H1, "made").digest


def read(content: str | bytes, name: str = "bars.csv", **how: str | None) -> BarFile:
    given = content.encode() if isinstance(content, str) else content
    return bar_file_of(given, name, **how)  # type: ignore[arg-type]


def refusal(content: str | bytes, name: str = "bars.csv", **how: str | None) -> str:
    with pytest.raises(BadBars) as caught:
        read(content, name, **how).bars(H1)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{name}: ")


@pytest.mark.parametrize("way", written.TEXTS)
def test_every_format_is_recognised_and_gives_the_same_bars(way: str) -> None:
    name, write = written.TEXTS[way]
    file = read(write(ROWS))
    assert file.format == name
    assert file.bars(H1).digest == DIGEST


@pytest.mark.parametrize("way", written.TEXTS)
def test_a_format_may_be_forced(way: str) -> None:
    name, write = written.TEXTS[way]
    assert read(write(ROWS), format_name=name).bars(H1).digest == DIGEST


@pytest.mark.parametrize(
    ("way", "forced"),
    [
        (way, name)
        for way, (own_name, _) in written.TEXTS.items()
        for name in FORMATS
        # A table with a header is many formats at once; those without one, or with an address above it, are one.
        if name != own_name and name not in {"own", "pandas", "yfinance"} and (way, name) != ("own", "tradingview")
    ]
    + [("mt4", "own"), ("mt5", "own"), ("histdata", "own"), ("binance", "own"), ("dukascopy, GMT", "own")]
    + [("cryptodatadownload", "own"), ("pandas", "own"), ("own", "yfinance"), ("mt5", "pandas"), ("mt4", "pandas")],
)
def test_a_file_of_another_layout_is_refused_when_a_format_is_forced(way: str, forced: str) -> None:
    name, write = written.TEXTS[way]
    message = refusal(write(ROWS), format_name=forced)
    assert message.startswith(f"is not {FORMATS[forced].title}; expected e.g. ")
    assert f"leave --format out, or --format {name}" in message


@settings(max_examples=150)
@given(data=st.data())
def test_the_same_bars_in_any_format_packing_and_encoding_have_one_digest(data: st.DataObject) -> None:
    count = data.draw(st.integers(2, 40))
    start = data.draw(st.datetimes(datetime(2009, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
    step = data.draw(st.sampled_from([MINUTE, 5 * MINUTE, 60 * MINUTE, 240 * MINUTE]))
    # A day above 12 must be somewhere: days and months in doubt are refused.
    start = start.replace(day=max(13, min(start.day, 20)), second=0, microsecond=0)
    rows = written.rows_of(count, start=start, step=step)
    name, write = written.TEXTS[data.draw(st.sampled_from(sorted(written.TEXTS)))]
    text = write(rows)
    if data.draw(st.booleans()):
        text += "\n"
    encoding = data.draw(st.sampled_from(written.ENCODINGS))
    pack = written.PACKINGS[data.draw(st.sampled_from(sorted(written.PACKINGS)))]
    file = read(pack(text.encode(encoding)))
    of = timeframe("M1")
    assert (file.format, file.frame.height) == (name, count)
    assert file.bars(of).digest == bars_from_frame(written.frame_of(rows), of, "made").digest


@pytest.mark.parametrize("write", [written.parquet, written.arrow, written.arrow_stream])
@pytest.mark.parametrize("packing", written.PACKINGS)
def test_files_of_columns_give_the_same_bars_whatever_their_name(
    write: Callable[[pl.DataFrame], bytes], packing: str
) -> None:
    content = written.PACKINGS[packing](write(written.frame_of(ROWS)))
    assert read(content, "bars.feather").bars(H1).digest == DIGEST


@pytest.mark.parametrize(
    "frame",
    [
        written.frame_of(ROWS).rename({"time": "__index_level_0__"}),
        written.frame_of(ROWS).rename({"time": "Date"}),
        written.frame_of(ROWS).select(pl.exclude("time"), pl.col("time").alias("Datetime")),
        written.frame_of(ROWS).with_columns(pl.col("time").dt.epoch("ms")).rename({"time": "timestamp"}),
        written.frame_of(ROWS).with_columns(pl.col("time").dt.epoch("s").cast(pl.Float64)),
        written.frame_of(ROWS).rename(lambda name: "Datetime" if name == "time" else f"('{name.title()}', 'EURUSD=X')"),
        written.frame_of(ROWS).with_columns(pl.lit("EURUSD").alias("symbol")),
        written.frame_of(ROWS).select(
            pl.col("time").dt.date().alias("date"), pl.col("time").dt.time(), pl.exclude("time")
        ),
    ],
)  # fmt: skip
def test_a_frame_of_pandas_is_read_with_its_index(frame: pl.DataFrame) -> None:
    assert read(written.parquet(frame), "bars.parquet").bars(H1).digest == DIGEST


def test_several_tickers_in_one_file_are_refused() -> None:
    levels = "Price,Close,Close,High,High\nTicker,AAPL,MSFT,AAPL,MSFT\nDate,,,,\n2024-01-02,1,1,1,1\n"
    assert "lacks" in refusal(levels)
    levels = (
        "Price,Open,High,Low,Close,Open,High,Low,Close\nTicker,AAPL,AAPL,AAPL,AAPL,MSFT,MSFT,MSFT,MSFT\nDate,,,,,,,,\n"
        "2024-01-02,1,1,1,1,1,1,1,1\n"
    )
    assert refusal(levels) == "holds the bars of 2 tickers (AAPL, MSFT), wanted one"
    rows = "symbol,time,open,high,low,close\nAAPL,2024-01-02,1,1,1,1\nMSFT,2024-01-02,1,1,1,1\n"
    assert refusal(rows) == "holds the bars of 2 symbols (AAPL, MSFT), wanted one"


def test_adjusted_closes_are_ignored_with_a_note() -> None:
    file = read(written.yfinance(ROWS))
    assert file.notes == ("Adj Close is ignored: the prices are Open, High, Low and Close as they stand",)
    assert file.frame["close"].to_list() == [row[4] for row in ROWS]


@pytest.mark.parametrize("way", ["own", "mt4", "histdata", "two columns", "mt5"])
def test_newest_first_is_turned_round(way: str) -> None:
    name, write = written.TEXTS[way]
    lines = write(ROWS).splitlines()
    header = [] if name in {"mt4", "histdata"} else lines[:1]
    file = read("\n".join([*header, *reversed(lines[len(header) :])]))
    assert file.newest_first
    assert file.bars(H1).digest == DIGEST


def test_rows_of_a_file_with_its_newest_first_are_counted_as_it_has_them() -> None:
    rows = "2024-01-02 03:00,1,1,1,1\n2024-01-02 02:00,1,1,2,1\n2024-01-02 01:00,1,1,1,1\n"
    assert refusal("time,open,high,low,close\n" + rows).startswith(
        "row 2 (time 2024-01-02T02:00:00Z): low 2.0 is above"
    )
    rows = "2024-01-02 03:00,1,1,1,\n2024-01-02 02:00,1,1,1,1\n"
    assert refusal("time,open,high,low,close\n" + rows) == "row 1 (time 2024-01-02T03:00:00Z): close is null"


def test_an_order_that_turns_round_in_the_middle_is_not_mended() -> None:
    rows = "2024-01-02 03:00,1,1,1,1\n2024-01-02 02:00,1,1,1,1\n2024-01-02 02:00,1,1,1,1\n"
    assert refusal("time,open,high,low,close\n" + rows) == "row 2 (time 2024-01-02T02:00:00Z): time does not rise"


@pytest.mark.parametrize("separator", [";", "\t"])
def test_decimal_commas_are_read(separator: str) -> None:
    text = written.own(ROWS).replace(",", separator).replace(".", ",")
    assert read(text).bars(H1).digest == DIGEST
    quoted = [",".join(f'"{each}"' for each in line.split(separator)) for line in text.splitlines()]
    assert read("\n".join(quoted)).bars(H1).digest == DIGEST


def test_a_comma_beside_decimal_points_is_no_decimal_comma() -> None:
    text = "time;open;high;low;close;volume\n2024-01-02;1.1;1.1;1.1;1.1;1,234\n"
    assert refusal(text) == "row 1 (time 2024-01-02T00:00:00Z): volume '1,234' is not a number"


def test_histdata_is_in_est_all_the_year_round_whatever_zone_is_named() -> None:
    file = read("20240715 000000;1.1;1.1;1.1;1.1;0\n", timezone="Europe/Athens")
    assert file.frame["time"].to_list() == [datetime(2024, 7, 15, 5, tzinfo=UTC)]


def test_gmt_times_are_in_gmt_whatever_zone_is_named() -> None:
    file = read(written.dukascopy_gmt(ROWS), timezone="Europe/Athens")
    assert file.bars(H1).digest == DIGEST


def test_local_times_without_an_offset_bring_a_note() -> None:
    text = "Local time,Open,High,Low,Close,Volume\n22.01.2024 07:00:00.000,1,1,1,1,1\n"
    file = read(text, timezone="Europe/Athens")
    assert file.frame["time"].to_list() == [datetime(2024, 1, 22, 5, tzinfo=UTC)]
    assert "--bars-timezone says which" in file.notes[0]


def test_dates_that_another_program_wrote_anew_are_in_doubt_in_dukascopys_file_too() -> None:
    text = "Gmt time,Open,High,Low,Close,Volume\n1/2/2024 0:00,1,1,1,1,1\n"
    assert "--date-order dmy or --date-order mdy" in refusal(text)
    assert read(text.replace("1/2/2024 0:00", "01.02.2024 00:00:00.000")).frame["time"][0].month == 2


def test_a_cryptodatadownload_file_with_rounded_counts_is_read_by_its_dates() -> None:
    text = written.cryptodatadownload(ROWS)
    rounded = "\n".join(
        line if at < 2 else "1.7E+12," + line.partition(",")[2] for at, line in enumerate(text.splitlines())
    )
    assert read(rounded).bars(H1).digest == DIGEST


def test_a_mt5_export_keeps_its_recorded_spread(tmp_path: Path) -> None:
    content = (
        "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>\n"
        "2024.01.02\t00:00:00\t1\t1\t1\t1\t450\t0\t2\n"
    )
    (tmp_path / "bars.csv").write_text(content)
    bars = read_bars(tmp_path / "bars.csv", H1)
    assert bars.spread_points is not None
    assert (bars.volume.tolist(), bars.spread_points.tolist()) == ([450.0], [2.0])
