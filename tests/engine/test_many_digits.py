"""Instruments of more digits than most: sums of their prices are rounded to a tenth of a point, not to 1e-9."""

from dataclasses import replace
from decimal import ROUND_HALF_EVEN, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import BadInstruments
from engine.kernel.money import round_sum
from engine.market.instruments import parse_instruments
from tests.engine.bar_builders import closes_bars, utc
from tests.engine.run_builders import EURUSD, backtest, scripted

COIN = replace(EURUSD, symbol="COIN", base="COIN", pip=1e-10, contract=1e9, digits=10, session="always")


def test_ten_digits_are_not_rounded_to_nine() -> None:
    bars = closes_bars("H1", utc("2024-01-08 00:00"), [0.0000012345, 0.0000012345, 0.0000012355])
    trade = backtest(bars, scripted(["BUY", None, "CLOSE"]), instrument=COIN).trades.row(0, named=True)
    assert (trade["entry_price"], trade["exit_price"], trade["profit"]) == (0.0000012345, 0.0000012355, 1.0)


def test_spread_and_levels_in_pips_keep_all_ten_digits() -> None:
    bars = closes_bars("H1", utc("2024-01-08 00:00"), [0.0000012345, 0.0000012345, 0.0000012355])
    result = backtest(
        bars, scripted(["BUY", None, "CLOSE"]), instrument=COIN, spread_pips=1.5, stop_loss_pips=5, take_profit_pips=30
    )
    trade = result.trades.row(0, named=True)
    assert trade["entry_price"] == 0.00000123465
    assert (trade["stop_loss"], trade["take_profit"]) == (0.000001234, 0.0000012375)
    assert (trade["profit"], trade["spread_cost"]) == (0.85, 0.15)
    sold = backtest(bars, scripted(["SELL", None, "CLOSE"]), instrument=COIN, spread_pips=1.5).trades.row(0, named=True)
    assert (sold["entry_price"], sold["exit_price"], sold["profit"]) == (0.0000012345, 0.00000123565, -1.15)


@pytest.mark.parametrize(("digits", "scale"), [(0, 1e9), (5, 1e9), (8, 1e9), (9, 1e10), (10, 1e11), (12, 1e13)])
def test_the_scale_of_sums_is_a_billionth_or_a_tenth_of_a_point(digits: int, scale: float) -> None:
    assert replace(COIN, digits=digits).price_scale == scale


def test_thirteen_digits_are_refused() -> None:
    table = '[COIN]\nbase = "COIN"\nquote = "USD"\npip = 1e-13\ncontract = 1\ndigits = 13\nsession = "always"'
    with pytest.raises(BadInstruments, match=r"line 6: .* must be a whole number from 0 to 12, not 13"):
        parse_instruments(table, "my.toml")


@given(ticks=st.integers(1, 9 * 10**14), spread=st.integers(0, 10**9))
def test_sums_of_twelve_digits_are_rounded_as_decimals(ticks: int, spread: int) -> None:
    bid, extra = ticks / 1e13, spread / 1e13
    exact = (Decimal(repr(bid)) + Decimal(repr(extra))).quantize(Decimal("1e-13"), ROUND_HALF_EVEN)
    assert round_sum(1e13, bid + extra) == float(exact)
