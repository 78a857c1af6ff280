"""Values and warm-up are TA-Lib's, on recorded and on random bars. What differs by definition stands in DIFFERS."""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
import talib
import talib.abstract as abstract

from engine import indicators
from engine.numeric.arrays import Floats
from tests.engine.indicators.columns import floats, random_bars, sample_bars

BARS: dict[str, Callable[[], dict[str, Floats]]] = {
    "gbpusd_h1": lambda: sample_bars("gbpusd_h1"),
    "usdjpy_m1": lambda: sample_bars("usdjpy_m1"),
    "random": lambda: random_bars(5_000),
}
LENGTHS = (2, 3, 14, 200)
RANGE = ("high", "low", "close")
OF_CLOSE: dict[str, Callable[[Floats, int], Floats]] = {
    "sma": talib.SMA,
    "ema": talib.EMA,
    "wma": talib.WMA,
    "rsi": talib.RSI,
    "stddev": talib.STDDEV,
    "highest": talib.MAX,
    "lowest": talib.MIN,
    "roc": talib.ROC,
    "bollinger_upper": lambda x, n: talib.BBANDS(x, n, 2.0, 2.0)[0],
    "bollinger_lower": lambda x, n: talib.BBANDS(x, n, 2.0, 2.0)[2],
}
OF_RANGE: dict[str, Callable[..., Floats]] = {
    "atr": talib.ATR,
    "adx": talib.ADX,
    "plus_di": talib.PLUS_DI,
    "minus_di": talib.MINUS_DI,
    "cci": talib.CCI,
}
OF_THREE_LENGTHS: dict[str, Callable[[dict[str, Floats], int, int, int], Floats]] = {
    "macd": lambda bars, *n: talib.MACD(bars["close"], *n)[0],
    "macd_signal": lambda bars, *n: talib.MACD(bars["close"], *n)[1],
    "macd_hist": lambda bars, *n: talib.MACD(bars["close"], *n)[2],
    "stoch_k": lambda bars, *n: _stochastic(bars, *n)[0],
    "stoch_d": lambda bars, *n: _stochastic(bars, *n)[1],
}
OF_MACD = [(12, 26, 9), (5, 34, 5), (26, 12, 9), (2, 3, 1)]
OF_STOCHASTIC = [(14, 3, 3), (5, 1, 3), (21, 5, 1), (1, 3, 3)]
ALMOST = {"stddev", "bollinger_upper", "bollinger_lower"}
"""TA-Lib's running sums of squares lose digits, and it takes a variance below 1e-14 for none."""
UNKNOWN_HERE = {"rsi", "cci", "adx", "plus_di", "minus_di", "stoch_k", "stoch_d"}
"""Where TA-Lib says 0, or what rounding leaves, for nothing over nothing."""


@pytest.mark.parametrize("bars", BARS)
@pytest.mark.parametrize(("name", "length"), [*product(OF_CLOSE, LENGTHS)])
def test_of_one_column(name: str, length: int, bars: str) -> None:
    close = BARS[bars]()["close"]
    same(name, getattr(indicators, name)(close, length), OF_CLOSE[name](close, length))


@pytest.mark.parametrize("bars", BARS)
@pytest.mark.parametrize(("name", "length"), [*product(OF_RANGE, LENGTHS)])
def test_of_high_low_and_close(name: str, length: int, bars: str) -> None:
    columns = _of(BARS[bars]())
    same(name, getattr(indicators, name)(*columns, length), OF_RANGE[name](*columns, length))


@pytest.mark.parametrize("bars", BARS)
@pytest.mark.parametrize(
    ("name", "lengths"),
    [
        *product(("macd", "macd_signal", "macd_hist"), OF_MACD),
        *product(("stoch_k", "stoch_d"), OF_STOCHASTIC),
    ],
)
def test_of_three_lengths(name: str, lengths: tuple[int, int, int], bars: str) -> None:
    columns = BARS[bars]()
    of: Any = getattr(indicators, name)
    ours = of(columns["close"], *lengths) if name.startswith("macd") else of(*_of(columns), *lengths)
    same(name, ours, OF_THREE_LENGTHS[name](columns, *lengths))


@pytest.mark.parametrize("bars", BARS)
def test_on_balance_volume(bars: str) -> None:
    columns = BARS[bars]()
    same("obv", indicators.obv(columns["close"], columns["volume"]), talib.OBV(columns["close"], columns["volume"]))


@pytest.mark.parametrize("name", indicators.CANDLES)
def test_candles(name: str) -> None:
    opened, high, low, close = (sample_bars("gbpusd_h1")[column] for column in ("open", "high", "low", "close"))
    theirs = getattr(talib, f"CDL{name.upper()}")(opened, high, low, close)
    ours = indicators.candle(opened, high, low, close, name)
    assert ours.equals(indicators.candle(name, opened, high, low, close), null_equal=True)
    unknown = abstract.Function(f"CDL{name.upper()}").lookback  # type: ignore[attr-defined]  # TA-Lib's stubs lack it
    assert ours[:unknown].null_count() == unknown
    np.testing.assert_array_equal(ours[unknown:].to_numpy(), theirs[unknown:])


def test_all_of_talibs_candles_are_there_and_others_are_refused_with_what_is_near() -> None:
    assert len(indicators.CANDLES) == len(talib.get_function_groups()["Pattern Recognition"]) == 61  # type: ignore[no-untyped-call]
    with pytest.raises(ValueError, match="unknown candle pattern 'engulfin'; did you mean 'engulfing'"):
        indicators.candle([1.0], [1.0], [1.0], [1.0], "engulfin")


def same(name: str, ours: Any, theirs: Floats) -> None:
    """Unknown in the same rows, but for what is nothing over nothing; and close to the last bits elsewhere."""
    found = floats(ours)
    unknown = np.isnan(found)
    extra = unknown & ~np.isnan(theirs)
    assert not (np.isnan(theirs) & ~unknown).any()
    assert not extra.any() if name not in UNKNOWN_HERE else extra.mean() < 0.3
    if name in UNKNOWN_HERE:
        # 0, or of the CCI what rounding leaves of it.
        assert (np.abs(theirs[extra]) <= (100.0 if name == "cci" else 0.0)).all()
    if name in ALMOST:
        np.testing.assert_allclose(found[~unknown], theirs[~unknown], rtol=2e-6, atol=3e-7)
    else:
        np.testing.assert_allclose(found[~unknown], theirs[~unknown], rtol=1e-9, atol=1e-9)


def _stochastic(bars: dict[str, Floats], length: int, smooth: int, signal: int) -> tuple[Floats, ...]:
    high, low, close = _of(bars)
    lines: tuple[Floats, ...] = talib.STOCH(
        high, low, close, fastk_period=length, slowk_period=smooth, slowd_period=signal
    )
    return lines


def _of(bars: dict[str, Floats]) -> list[Floats]:
    return [bars[column] for column in RANGE]
