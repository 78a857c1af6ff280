"""The same bars as every program writes them: text by format, and files packed and encoded in every way."""

import gzip
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import BytesIO
from zoneinfo import ZoneInfo

import cramjam
import polars as pl

ATHENS = ZoneInfo("Europe/Athens")
EST = ZoneInfo("Etc/GMT+5")
DIGITS = 5

Rows = list[tuple[datetime, float, float, float, float, int]]
"""Time (UTC), open, high, low, close, volume."""


def rows_of(count: int, *, start: datetime, step: timedelta) -> Rows:
    """Bars that differ from one another."""
    rows: Rows = []
    for at in range(count):
        middle = 1.1 + (at * 7 % 13) * 1e-5
        prices = (middle, middle + 2e-5, middle - 3e-5, middle + 1e-5)
        rows.append((start + at * step, *(round(each, DIGITS) for each in prices), 100 + at))  # type: ignore[arg-type]
    return rows


def _lines(rows: Rows, separator: str, time: Callable[[datetime], str], *more: Callable[[Rows, int], str]) -> list[str]:
    return [
        separator.join(
            [time(row[0]), *(f"{each:.{DIGITS}f}" for each in row[1:5]), str(row[5]), *(f(rows, at) for f in more)]
        )
        for at, row in enumerate(rows)
    ]


def own(rows: Rows) -> str:
    return "\n".join(
        ["time,open,high,low,close,volume", *_lines(rows, ",", lambda t: t.strftime("%Y-%m-%dT%H:%M:%SZ"))]
    )


def two_columns(rows: Rows) -> str:
    header = "Date;Time;Open;High;Low;Close;Volume"
    return "\n".join([header, *_lines(rows, ";", lambda t: t.strftime("%d/%m/%Y;%H:%M"))])


def mt5(rows: Rows) -> str:
    header = "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>"
    return "\r\n".join([header, *_lines(rows, "\t", lambda t: t.strftime("%Y.%m.%d\t%H:%M:%S"), lambda *_: "0")])


def mt4(rows: Rows) -> str:
    return "\r\n".join(_lines(rows, ",", lambda t: t.strftime("%Y.%m.%d,%H:%M")))


def dukascopy_gmt(rows: Rows) -> str:
    return "\n".join(
        ["Gmt time,Open,High,Low,Close,Volume", *_lines(rows, ",", lambda t: t.strftime("%d.%m.%Y %H:%M:%S.000"))]
    )


def dukascopy_local(rows: Rows) -> str:
    return "\n".join(
        [
            "Local time,Open,High,Low,Close,Volume",
            *_lines(rows, ",", lambda t: t.astimezone(ATHENS).strftime("%d.%m.%Y %H:%M:%S.000 GMT%z")),
        ]
    )


def histdata(rows: Rows) -> str:
    return "\n".join(_lines(rows, ";", lambda t: t.astimezone(EST).strftime("%Y%m%d %H%M%S")))


def tradingview_seconds(rows: Rows) -> str:
    header = "time,open,high,low,close,Volume,Plot,Plot"
    return "\n".join([header, *_lines(rows, ",", lambda t: str(int(t.timestamp())), lambda *_: "", lambda *_: "1.5")])


def tradingview_iso(rows: Rows) -> str:
    header = "time,open,high,low,close,Volume"
    return "\n".join([header, *_lines(rows, ",", lambda t: t.astimezone(ATHENS).isoformat())])


def yfinance(rows: Rows) -> str:
    lines = [
        f"{t:%Y-%m-%d %H:%M:%S}+00:00,{o:.5f},{h:.5f},{low:.5f},{c:.5f},{c / 2:.5f},{v}" for t, o, h, low, c, v in rows
    ]
    return "\n".join(["Datetime,Open,High,Low,Close,Adj Close,Volume", *lines])


def yfinance_levels(rows: Rows) -> str:
    lines = [f"{t:%Y-%m-%d %H:%M:%S}+00:00,{c:.5f},{h:.5f},{low:.5f},{o:.5f},{v}" for t, o, h, low, c, v in rows]
    header = ["Price,Close,High,Low,Open,Volume", "Ticker" + ",EURUSD=X" * 5, "Datetime,,,,,"]
    return "\n".join([*header, *lines])


def pandas(rows: Rows) -> str:
    return "\n".join([",open,high,low,close,volume", *_lines(rows, ",", lambda t: t.strftime("%Y-%m-%d %H:%M:%S"))])


def pandas_count(rows: Rows) -> str:
    lines = _lines(rows, ",", lambda t: t.strftime("%Y-%m-%d %H:%M:%S+00:00"))
    return "\n".join([",time,open,high,low,close,volume", *(f"{at},{line}" for at, line in enumerate(lines))])


def binance(rows: Rows) -> str:
    return "\n".join(_klines(rows, 1000))


def binance_header(rows: Rows) -> str:
    header = (
        "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,"
        "ignore"
    )
    return "\n".join([header, *_klines(rows, 1_000_000)])


def _klines(rows: Rows, per_second: int) -> list[str]:
    closing = (lambda table, at: str(int(table[at][0].timestamp()) * per_second + 59), lambda *_: "1.5", lambda *_: "7")
    rest = (lambda *_: "0.5", lambda *_: "0.25", lambda *_: "0")
    return _lines(rows, ",", lambda t: str(int(t.timestamp()) * per_second), *closing, *rest)


def ccxt(rows: Rows) -> str:
    header = "timestamp,open,high,low,close,volume"
    return "\n".join([header, *_lines(rows, ",", lambda t: str(int(t.timestamp()) * 1000))])


def cryptodatadownload(rows: Rows) -> str:
    lines = [
        f"{int(t.timestamp())},{t:%Y-%m-%d %H:%M:%S},BTC/USD,{o:.5f},{h:.5f},{low:.5f},{c:.5f},{v},{v * c:.2f}"
        for t, o, h, low, c, v in reversed(rows)
    ]
    header = ["https://www.CryptoDataDownload.com", "unix,date,symbol,open,high,low,close,Volume BTC,Volume USD"]
    return "\n".join([*header, *lines])


TEXTS: dict[str, tuple[str, Callable[[Rows], str]]] = {
    "own": ("own", own),
    "two columns": ("own", two_columns),
    "mt5": ("mt5", mt5),
    "mt4": ("mt4", mt4),
    "dukascopy, GMT": ("dukascopy", dukascopy_gmt),
    "dukascopy, local": ("dukascopy", dukascopy_local),
    "histdata": ("histdata", histdata),
    "tradingview, seconds": ("tradingview", tradingview_seconds),
    "tradingview, ISO": ("tradingview", tradingview_iso),
    "yfinance": ("yfinance", yfinance),
    "yfinance, two levels": ("yfinance", yfinance_levels),
    "pandas": ("pandas", pandas),
    "pandas, a count as index": ("pandas", pandas_count),
    "binance": ("binance", binance),
    "binance, header": ("binance", binance_header),
    "ccxt": ("ccxt", ccxt),
    "cryptodatadownload": ("cryptodatadownload", cryptodatadownload),
}
"""Each way of writing: the format's name, and how its text is made."""


def _zipped(content: bytes) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("EURUSD/bars.csv", content)
        archive.writestr("__MACOSX/EURUSD/._bars.csv", b"\0")
    return buffer.getvalue()


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gz": gzip.compress,
    "zst": lambda content: bytes(cramjam.zstd.compress(content)),
    "zip": _zipped,
}
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be")


def frame_of(rows: Rows) -> pl.DataFrame:
    """As our Parquet has them."""
    columns = dict(zip(("time", "open", "high", "low", "close", "volume"), zip(*rows, strict=True), strict=True))
    frame = pl.DataFrame({name: list(values) for name, values in columns.items()})
    return frame.with_columns(pl.col("time").cast(pl.Datetime("us", "UTC")), pl.col("volume").cast(pl.Float64))


def parquet(frame: pl.DataFrame) -> bytes:
    buffer = BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def arrow(frame: pl.DataFrame) -> bytes:
    buffer = BytesIO()
    frame.write_ipc(buffer, compression="lz4")
    return buffer.getvalue()


def arrow_stream(frame: pl.DataFrame) -> bytes:
    buffer = BytesIO()
    frame.write_ipc_stream(buffer)
    return buffer.getvalue()


START = datetime(2024, 1, 22, 5, tzinfo=UTC)
"""A day above 12, in no doubt."""
