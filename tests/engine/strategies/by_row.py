"""The built-in strategies again, row by row and by other means: plain lists, no columns, none of engine.indicators.

Each returns one decision a bar: None, or action, stop_loss, take_profit and trailing_stop, None for what is not set.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

Known = list[float | None]


class Row(NamedTuple):
    open: float
    high: float
    low: float
    close: float


class Decided(NamedTuple):
    action: str
    stop: float | None = None
    target: float | None = None
    trail: float | None = None


Decisions = list[Decided | None]


def sma(values: Known, length: int) -> Known:
    return [
        None if i < length - 1 or None in (window := values[i - length + 1 : i + 1]) else math.fsum(window) / length  # type: ignore[arg-type]
        for i in range(len(values))
    ]


def ema(values: Known, length: int) -> Known:
    """From the first value that is known on."""
    result: Known = []
    seen: list[float] = []
    for value in values:
        if value is None:
            result.append(None)
            continue
        seen.append(value)
        if len(seen) < length:
            result.append(None)
        elif len(seen) == length:
            result.append(sum(seen) / length)
        else:
            before = result[-1]
            assert before is not None
            result.append(before + (value - before) * 2 / (length + 1))
    return result


def macd(closes: Known, fast: int, slow: int, signal: int) -> tuple[Known, Known]:
    """The fast average begins so that both have their first value at the same bar."""
    late = ema([None if i < slow - fast else close for i, close in enumerate(closes)], fast)
    line = [None if a is None or b is None else a - b for a, b in zip(late, ema(closes, slow), strict=True)]
    average = ema(line, signal)
    return [None if b is None else a for a, b in zip(line, average, strict=True)], average


def wilder(values: Sequence[float], length: int) -> Known:
    result: Known = []
    for i, value in enumerate(values):
        if i < length - 1:
            result.append(None)
        elif i == length - 1:
            result.append(sum(values[:length]) / length)
        else:
            result.append((result[-1] * (length - 1) + value) / length)  # type: ignore[operator]
    return result


def rsi(closes: Sequence[float], length: int) -> Known:
    changes = [b - a for a, b in pairwise(closes)]
    gains = wilder([max(change, 0.0) for change in changes], length)
    losses = wilder([max(-change, 0.0) for change in changes], length)
    return [None] + [
        None if gain is None or loss is None or gain + loss == 0.0 else 100.0 * gain / (gain + loss)
        for gain, loss in zip(gains, losses, strict=True)
    ]


def atr(rows: Sequence[Row], length: int) -> Known:
    ranges = [max(now.high, before.close) - min(now.low, before.close) for before, now in pairwise(rows)]
    return [None, *wilder(ranges, length)]


def deviation(values: Sequence[float], length: int) -> Known:
    result: Known = []
    for i in range(len(values)):
        window = values[max(0, i - length + 1) : i + 1]
        mean = math.fsum(window) / len(window)
        result.append(None if len(window) < length else math.sqrt(math.fsum((x - mean) ** 2 for x in window) / length))
    return result


def crossed(a: Known, b: Known, tolerances: Sequence[float]) -> list[int]:
    """Rule 2 of the engine's rules."""
    codes, side = [], 0
    for i in range(len(a)):
        difference = None if a[i] is None or b[i] is None else a[i] - b[i]  # type: ignore[operator]
        now = 0 if difference is None or abs(difference) <= tolerances[i] else 1 if difference > 0 else -1
        codes.append(now if now and side and now != side else 0)
        side = now or side
    return codes


def of_closes(rows: Sequence[Row]) -> list[float]:
    return [1e-9 * row.close for row in rows]


def of_sides(a: Known, b: Known) -> list[float]:
    return [1e-9 * max(abs(x or 0.0), abs(y or 0.0)) for x, y in zip(a, b, strict=True)]


def cross_of(average: Callable[[Known, int], Known]) -> Callable[..., list[int]]:
    def signals(rows: Sequence[Row], fast: int, slow: int) -> list[int]:
        closes: Known = [row.close for row in rows]
        return crossed(average(closes, fast), average(closes, slow), of_closes(rows))

    return signals


def macd_signals(rows: Sequence[Row], fast: int, slow: int, signal: int) -> list[int]:
    line, average = macd([row.close for row in rows], fast, slow, signal)
    return crossed(line, average, of_closes(rows))


def rsi_signals(rows: Sequence[Row], length: int, low: float, high: float) -> list[int]:
    index = rsi([row.close for row in rows], length)
    lows: Known = [low] * len(rows)
    highs: Known = [high] * len(rows)
    up, down = crossed(index, lows, of_sides(index, lows)), crossed(index, highs, of_sides(index, highs))
    return [(a > 0) - (b < 0) for a, b in zip(up, down, strict=True)]


def bollinger_signals(rows: Sequence[Row], length: int, deviations: float) -> list[int]:
    closes: Known = [row.close for row in rows]
    middle, spread = sma(closes, length), deviation([row.close for row in rows], length)
    lower: Known = [None if m is None or s is None else m - deviations * s for m, s in zip(middle, spread, strict=True)]
    upper: Known = [None if m is None or s is None else m + deviations * s for m, s in zip(middle, spread, strict=True)]
    up, down = crossed(closes, lower, of_closes(rows)), crossed(closes, upper, of_closes(rows))
    return [(a > 0) - (b < 0) for a, b in zip(up, down, strict=True)]


def bollinger_targets(rows: Sequence[Row], length: int, deviations: float) -> Known:
    del deviations
    return sma([row.close for row in rows], length)


def channel_signals(rows: Sequence[Row], length: int) -> list[int]:
    codes = []
    for i, row in enumerate(rows):
        before = rows[max(0, i - length) : i]
        above = len(before) == length and row.close > max(each.high for each in before)
        below = len(before) == length and row.close < min(each.low for each in before)
        codes.append(above - below)
    return codes


def supertrend_signals(rows: Sequence[Row], length: int, multiplier: float) -> list[int]:
    ranges, codes = atr(rows, length), []
    upper = lower = math.nan
    stands_on = ""
    for i, row in enumerate(rows):
        turned, reach = 0, ranges[i]
        if reach is not None:
            middle, known = (row.high + row.low) / 2, not math.isnan(upper)
            restarts_above, restarts_below = rows[i - 1].close > upper, rows[i - 1].close < lower
            new_upper, new_lower = middle + multiplier * reach, middle - multiplier * reach
            upper = min(upper, new_upper) if known and not restarts_above else new_upper
            lower = max(lower, new_lower) if known and not restarts_below else new_lower
            if stands_on != "lower" and row.close > upper:
                turned, stands_on = int(stands_on == "upper"), "lower"
            elif stands_on != "upper" and row.close < lower:
                turned, stands_on = -int(stands_on == "lower"), "upper"
        codes.append(turned)
    return codes


def pullback_signals(rows: Sequence[Row], trend: Known, rsi_length: int, low: float, high: float) -> list[int]:
    """trend: the context's average as each bar knows it."""
    codes = rsi_signals(rows, rsi_length, low, high)
    return [
        0 if average is None or (row.close - average) * code <= 0 else code
        for row, average, code in zip(rows, trend, codes, strict=True)
    ]


def with_levels(
    rows: Sequence[Row], codes: Sequence[int], pip: float, targets: Known | None = None, **levels: Any
) -> Decisions:
    """BUY and SELL with their levels; one whose level by ATR is not known or not above 0 is none."""
    ranges = atr(rows, levels.get("atr_length", 14))
    decided: Decisions = []
    for i, code in enumerate(codes):
        unit, close = ranges[i] or 0.0, rows[i].close

        def distance(name: str, unit: float = unit) -> float | None:
            if levels.get(f"{name}_pips") is not None:
                return float(levels[f"{name}_pips"]) * pip
            return None if levels.get(f"{name}_atr") is None else float(levels[f"{name}_atr"]) * unit

        stop, target, trail = distance("stop_loss"), distance("take_profit"), distance("trailing")
        if code == 0 or 0.0 in (stop, target, trail):
            decided.append(None)
            continue
        own = None if targets is None else targets[i]
        own = own if own is not None and (own - close) * code > 0 else None
        decided.append(
            Decided(
                "BUY" if code > 0 else "SELL",
                None if stop is None else close - code * stop,
                own if target is None else close + code * target,
                trail,
            )
        )
    return decided
