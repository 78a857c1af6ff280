"""Reads the golden cases and compares results with them."""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from tests.engine.reference.model import (
    DAY_US,
    HOUR_US,
    MONTH_US,
    WEEK_US,
    Action,
    Bar,
    Config,
    Decision,
    Instrument,
    Metric,
    OrderKind,
    Series,
    Simulation,
    Trade,
)

TIMEFRAMES_US = {
    "M5": HOUR_US // 12,
    "M15": HOUR_US // 4,
    "M30": HOUR_US // 2,
    "H1": HOUR_US,
    "H4": 4 * HOUR_US,
    "H12": 12 * HOUR_US,
    "D1": DAY_US,
    "W1": WEEK_US,
    "MN1": MONTH_US,
}
INSTRUMENTS = {
    "EURUSD": Instrument(),
    "EURGBP": Instrument(base="EUR", quote="GBP"),
    "USDJPY": Instrument(base="USD", quote="JPY", pip=0.01, digits=3),
    "BTCUSD": Instrument(base="BTC", quote="USD", pip=1.0, contract=1, digits=2, session="always"),
}
METRIC_TOLERANCE = 1e-12


@dataclass(frozen=True, slots=True)
class Refusal:
    """kind: which of the refusals; time_us: the time it must name, None when it has none."""

    kind: Literal["decision", "conversion"]
    time_us: int | None


@dataclass(frozen=True, slots=True)
class Expected:
    """equity None: not stated. metrics: only those stated."""

    trades: tuple[Trade, ...]
    equity: tuple[float, ...] | None
    ambiguous_bars: int
    net_profit_target_first: float
    warnings: Mapping[str, int]
    total_slippage_cost: float
    metrics: Mapping[str, Metric]


@dataclass(frozen=True, slots=True)
class Case:
    """One hand-computed run. expected is what a right engine gives, or how it refuses."""

    name: str
    why: str
    bars: tuple[Bar, ...]
    decisions: tuple[Decision | None, ...]
    config: Config
    first_bar: int
    conversion_bars: Mapping[str, Series]
    finer_bars: Series | None
    expected: Expected | Refusal


Folder = Literal["", "calendar", "orders"]


def load_cases(*folders: Folder) -> list[Case]:
    """Every case of every file in these folders beside this module, in file and line order.

    No folder: those beside the module itself. Raises ValueError for a case that cannot be read.
    """
    cases = [
        _read_case(table)
        for folder in folders or ("",)
        for path in sorted((Path(__file__).parent / folder).glob("*.toml"))
        for table in tomllib.loads(path.read_text(encoding="utf-8"))["case"]
    ]
    names = [case.name for case in cases]
    if len(set(names)) != len(names):
        raise ValueError("two cases have one name")
    return cases


def differences(expected: Expected, got: Simulation, *, money_tolerance: float = 0.0) -> list[str]:
    """What differs, one line each; empty when nothing does.

    Prices, volumes and times must be equal bit for bit, money within the tolerance, sums of money within 1e-8.
    """
    found = _difference("number of rows", len(expected.trades), len(got.trades), 0.0)
    for number, (row_wanted, row) in enumerate(zip(expected.trades, got.trades, strict=False), start=1):
        for column in (each.name for each in fields(Trade)):
            tolerance = money_tolerance if column in MONEY_COLUMNS else 0.0
            found += _difference(f"row {number} {column}", getattr(row_wanted, column), getattr(row, column), tolerance)
    if expected.equity is not None:
        found += _difference("bars of equity", len(expected.equity), len(got.equity), 0.0)
        for bar, (value, other) in enumerate(zip(expected.equity, got.equity, strict=False)):
            found += _difference(f"equity of bar {bar}", value, other, money_tolerance)
    net_profit = math.fsum(row.profit for row in expected.trades)
    for column, wanted, got_sum in (
        ("net_profit", net_profit, got.net_profit),
        ("net_profit_stop_first", net_profit, got.net_profit_stop_first),
        ("net_profit_target_first", expected.net_profit_target_first, got.net_profit_target_first),
        ("total_slippage_cost", expected.total_slippage_cost, got.total_slippage_cost),
    ):
        found += _difference(column, wanted, got_sum, max(money_tolerance, 1e-8))
    found += _difference("ambiguous_bars", expected.ambiguous_bars, got.ambiguous_bars, 0.0)
    found += _difference("warnings", dict(expected.warnings), dict(got.warnings), 0.0)
    for column, metric in expected.metrics.items():
        tolerance = METRIC_TOLERANCE * abs(metric) if metric is not None else 0.0
        found += _difference(f"metric {column}", metric, got.metrics[column], tolerance)
        if (metric is None) != (column in got.null_reasons):
            found.append(f"null_reasons of {column}: {got.null_reasons.get(column)}")
    return found


MONEY_COLUMNS = frozenset({"profit", "commission", "spread_cost", "swap", "equity_after"})


def _difference(what: str, wanted: object, got: object, tolerance: float) -> list[str]:
    if isinstance(wanted, (int, float)) and isinstance(got, (int, float)) and abs(wanted - got) <= tolerance:
        return []
    return [] if wanted == got else [f"{what}: {wanted} expected, {got} got"]


SETTINGS = {each.name for each in fields(Config)} - {"timeframe_us", "instrument"}
CASE_KEYS = {"name", "why", "day", "timeframe", "instrument", "warm_up", "bars", "finer", "conversion", "error"}
EXPECTED_KEYS = {
    "trades",
    "equity",
    "ambiguous_bars",
    "net_profit_target_first",
    "warnings",
    "total_slippage_cost",
    "metrics",
}


def _read_case(table: dict[str, Any]) -> Case:
    if unknown := table.keys() - SETTINGS - CASE_KEYS - EXPECTED_KEYS:
        raise ValueError(f"case {table.get('name')}: unknown keys {sorted(unknown)}")
    day: str = table.get("day", "2024-01-08")
    lines = [_read_line(line, day) for line in _lines(table["bars"])]
    return Case(
        name=table["name"],
        why=table.get("why", ""),
        bars=tuple(bar for bar, _ in lines),
        decisions=tuple(decision for _, decision in lines),
        config=_read_config(table),
        first_bar=table.get("warm_up", 0),
        conversion_bars={symbol: _read_series(series, day) for symbol, series in table.get("conversion", {}).items()},
        finer_bars=_read_series(table["finer"], day) if "finer" in table else None,
        expected=_read_refusal(table["error"], day) if "error" in table else _read_expected(table, day),
    )


def _read_config(table: dict[str, Any]) -> Config:
    settings: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in table.items() if key in SETTINGS
    }
    if "risk_pct" not in settings:
        settings.setdefault("volume", 1.0)
    instrument = table.get("instrument", {})
    if isinstance(instrument, str):
        instrument = {"symbol": instrument}
    changes = {key: value for key, value in instrument.items() if key != "symbol"}
    return Config(
        **settings,
        timeframe_us=TIMEFRAMES_US[table.get("timeframe", "H1")],
        instrument=replace(INSTRUMENTS[instrument.get("symbol", "EURUSD")], **changes),
    )


def _read_series(table: dict[str, Any], day: str) -> Series:
    bars = [_read_line(line, day)[0] for line in _lines(table["bars"])]
    return Series(TIMEFRAMES_US[table["timeframe"]], tuple(bars))


def _read_line(line: str, day: str) -> tuple[Bar, Decision | None]:
    bar_text, _, decision_text = line.partition("|")
    time_us, words = _take_time(bar_text.split(), day)
    opening, high, low, close, *spread = (float(word) for word in words)
    bar = Bar(time_us, opening, high, low, close, spread[0] if spread else None)
    return bar, _read_decision(decision_text.split())


def _read_decision(words: list[str]) -> Decision | None:
    if not words:
        return None
    said: dict[str, list[float]] = {}
    key = "volume"
    for word in words[1:]:
        if word in DECISION_WORDS:
            key = word
            said[key] = []
        else:
            said.setdefault(key, []).append(float(word))
    kinds: list[OrderKind] = [kind for kind in ("limit", "stop") if kind in said]
    kind = kinds[0] if kinds else "market"
    one = {key: values[0] for key, values in said.items()}
    return Decision(
        _one_of(words[0]),
        one.get("volume"),
        one.get("sl"),
        tuple(said.get("tp", ())),
        trailing_stop=one.get("trail"),
        max_bars=_count(one.get("max")),
        order=kind,
        price=one.get("price", one.get(kind)),
        expires_bars=_count(one.get("expires")),
    )


DECISION_WORDS = frozenset({"sl", "tp", "trail", "max", "limit", "stop", "price", "expires"})


def _count(value: float | None) -> int | None:
    return None if value is None else int(value)


def _one_of(action: str) -> Action:
    for known in get_args(Action):
        if action == known:
            return action  # type: ignore[return-value]  # compared with every member of the Literal just above
    raise ValueError(f"no such action: {action}")


def _read_expected(table: dict[str, Any], day: str) -> Expected:
    header, *rows = _lines(table.get("trades", TRADE_COLUMNS))
    if header.split() != TRADE_COLUMNS.split():
        raise ValueError(f"case {table['name']}: columns must be {TRADE_COLUMNS}")
    trades = tuple(_read_trade(row.split(), day) for row in rows)
    metrics = {column: None if value == "null" else value for column, value in table.get("metrics", {}).items()}
    return Expected(
        trades=trades,
        equity=tuple(float(value) for value in table["equity"]) if "equity" in table else None,
        ambiguous_bars=table.get("ambiguous_bars", 0),
        net_profit_target_first=table.get("net_profit_target_first", math.fsum(row.profit for row in trades)),
        warnings=table.get("warnings", {}),
        total_slippage_cost=table.get("total_slippage_cost", 0.0),
        metrics=metrics,
    )


TRADE_COLUMNS = "id side entry_at exit_at entry exit volume profit commission spread swap equity sl tp reason"


def _read_trade(words: list[str], day: str) -> Trade:
    position_id, direction, *rest = words
    entry_time, rest = _take_time(rest, day)
    exit_time, rest = _take_time(rest, day)
    *numbers, reason = rest
    values: list[Any] = [None if word == "-" else float(word) for word in numbers]
    if len(values) != TRADE_COLUMNS.count(" ") - 4:
        raise ValueError(f"wrong number of columns: {words}")
    facts: list[Any] = [int(position_id), direction, entry_time, exit_time, *values, reason]
    return Trade(*facts)


def _read_refusal(table: dict[str, Any], day: str) -> Refusal:
    return Refusal(table["kind"], _take_time(table["time"].split(), day)[0] if "time" in table else None)


def _lines(text: str) -> list[str]:
    """Lines that are neither empty nor comments."""
    stripped = [line.strip() for line in text.splitlines()]
    return [line for line in stripped if line and not line.startswith("#")]


def _take_time(words: list[str], day: str) -> tuple[int, list[str]]:
    """Microseconds of `HH:MM` or `YYYY-MM-DD HH:MM` at the front, and the words after it."""
    text, rest = (f"{day} {words[0]}", words[1:]) if ":" in words[0] else (f"{words[0]} {words[1]}", words[2:])
    moment = datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1_000_000, rest
