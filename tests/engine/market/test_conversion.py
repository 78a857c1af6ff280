"""Profit is converted by the last rate that was known, never by one that was not, and never at 1."""

import math
from collections.abc import Mapping
from datetime import timedelta

import numpy as np
import pytest

from engine.errors import NoConversion
from engine.market.bars import Bars
from engine.market.conversion import Leg, Rates, conversion_rates, pairs_wanted, pegged_warning
from engine.market.instruments import Instrument, packaged_instruments, parse_instruments
from tests.engine.bar_builders import as_us, bars_of, closes_bars, utc

START = utc("2024-01-08 00:00")
REGISTRY = packaged_instruments()
CLOSES = [1.5, 1.6, 1.25]


def rates(symbol: str, account: str, conversion: Mapping[str, Bars], closes: list[float] = CLOSES) -> Rates:
    return conversion_rates(REGISTRY[symbol], account, closes_bars("H1", START, closes), conversion, REGISTRY)


def pair(closes: list[float], hours_early: int = 1, name: str = "H1") -> Bars:
    return closes_bars(name, START - timedelta(hours=hours_early), closes)


def assert_rates(got: Rates, at_open: list[float], at_close: list[float]) -> None:
    """At the three bars' opens and closes."""
    opens_us = as_us(START) + 3_600_000_000 * np.arange(3)
    np.testing.assert_array_equal(got.known_at(opens_us), at_open)
    np.testing.assert_array_equal(got.known_at(opens_us + 3_600_000_000), at_close)


def test_the_same_currency_needs_no_bars_and_is_one() -> None:
    got = rates("EURUSD", "USD", {})
    assert got.route == ()
    assert_rates(got, [1.0] * 3, [1.0] * 3)


def test_profit_in_tether_counts_as_dollars_and_the_run_says_so() -> None:
    """BTCUSDT asked for bars of USDUSDT."""
    got = rates("BTCUSDT", "USD", {})
    assert got.route == ()
    assert_rates(got, [1.0] * 3, [1.0] * 3)
    warning = "profit in USDT counts as USD, one for one"
    assert pegged_warning(REGISTRY["BTCUSDT"], "USD") == pegged_warning(REGISTRY["BTCUSDT"], "EUR") == warning
    assert pegged_warning(REGISTRY["BTCUSD"], "EUR") is None


def test_profit_in_tether_goes_on_from_dollars_to_the_accounts_currency() -> None:
    got = rates("BTCUSDT", "EUR", {"EURUSD": pair([1.25, 1.6, 2.0, 2.5])})
    assert got.route == (Leg("EURUSD", inverted=True),)
    assert_rates(got, [1 / 1.25, 1 / 1.6, 1 / 2.0], [1 / 1.6, 1 / 2.0, 1 / 2.5])
    with pytest.raises(NoConversion, match=r"profit of BTCUSDT is in USDT and cannot be .* no bars of EURUSD"):
        rates("BTCUSDT", "EUR", {})


def test_a_direct_pair_is_read_at_its_last_close_that_was_known() -> None:
    got = rates("EURGBP", "USD", {"GBPUSD": pair([1.2, 1.3, 1.4, 1.5])})
    assert got.route == (Leg("GBPUSD", inverted=False),)
    assert_rates(got, [1.2, 1.3, 1.4], [1.3, 1.4, 1.5])


def test_an_inverted_pair_is_one_over_its_close() -> None:
    got = rates("EURJPY", "USD", {"USDJPY": pair([100.0, 125.0, 160.0, 200.0])})
    assert got.route == (Leg("USDJPY", inverted=True),)
    assert_rates(got, [1 / 100, 1 / 125, 1 / 160], [1 / 125, 1 / 160, 1 / 200])


def test_the_traded_symbols_own_bars_count_without_being_given() -> None:
    got = rates("USDJPY", "USD", {}, [100.0, 125.0, 160.0])
    assert_rates(got, [math.nan, 1 / 100, 1 / 125], [1 / 100, 1 / 125, 1 / 160])
    assert_rates(rates("GBPUSD", "GBP", {}), [math.nan, 1 / 1.5, 1 / 1.6], [1 / 1.5, 1 / 1.6, 1 / 1.25])


def test_own_bars_win_over_a_file_for_the_same_symbol() -> None:
    got = rates("USDJPY", "USD", {"USDJPY": pair([1.0] * 4)}, [100.0, 125.0, 160.0])
    assert_rates(got, [math.nan, 1 / 100, 1 / 125], [1 / 100, 1 / 125, 1 / 160])


def test_without_a_joining_pair_two_pairs_go_through_the_dollar() -> None:
    conversion = {"USDCHF": pair([0.5] * 4), "USDJPY": pair([100.0, 125.0, 160.0, 200.0])}
    got = rates("EURJPY", "CHF", conversion)
    assert got.route == (Leg("USDJPY", inverted=True), Leg("USDCHF", inverted=False))
    assert_rates(got, [0.5 / 100, 0.5 / 125, 0.5 / 160], [0.5 / 125, 0.5 / 160, 0.5 / 200])


def test_the_traded_symbol_may_be_a_leg_on_the_way_through_the_dollar() -> None:
    got = rates("USDJPY", "EUR", {"EURUSD": pair([1.25] * 4)}, [100.0, 125.0, 160.0])
    assert got.route == (Leg("USDJPY", inverted=True), Leg("EURUSD", inverted=True))
    assert_rates(got, [math.nan, 0.01 * 0.8, 0.008 * 0.8], [0.01 * 0.8, 0.008 * 0.8, 0.00625 * 0.8])


def test_direct_is_taken_before_inverted_and_inverted_before_the_dollar() -> None:
    chf_jpy, through = pair([170.0] * 4), {"USDJPY": pair([150.0] * 4), "USDCHF": pair([0.9] * 4)}
    assert rates("EURJPY", "CHF", {**through, "CHFJPY": chf_jpy}).route == (Leg("CHFJPY", inverted=True),)
    text = '[JPYCHF]\nbase="JPY"\nquote="CHF"\npip=0.0001\ncontract=1\ndigits=5\nsession="fx"'
    registry = parse_instruments(text, "my.toml")
    own = closes_bars("H1", START, CLOSES)
    both = {"CHFJPY": chf_jpy, "JPYCHF": pair([0.006] * 4)}
    assert conversion_rates(registry["EURJPY"], "CHF", own, both, registry).route == (Leg("JPYCHF", inverted=False),)


def test_a_route_is_chosen_by_the_data_there_is_not_by_what_has_closed() -> None:
    late = closes_bars("H1", START + timedelta(hours=1), [170.0, 180.0])
    through = {"USDJPY": pair([150.0] * 4), "USDCHF": pair([0.9] * 4)}
    got = rates("EURJPY", "CHF", {**through, "CHFJPY": late})
    assert_rates(got, [math.nan, math.nan, 1 / 170], [math.nan, 1 / 170, 1 / 180])


def test_a_longer_conversion_bar_is_known_only_from_its_close() -> None:
    got = rates("EURGBP", "USD", {"GBPUSD": closes_bars("H2", START - timedelta(hours=2), [1.2, 1.3])})
    assert_rates(got, [1.2, 1.2, 1.3], [1.2, 1.3, 1.3])


def test_a_hole_in_the_pair_keeps_the_last_known_rate() -> None:
    bars = bars_of("H1", [START - timedelta(days=3)])
    assert_rates(rates("EURGBP", "USD", {"GBPUSD": bars}), [1.1] * 3, [1.1] * 3)


def test_a_file_that_ended_years_ago_prices_no_trade() -> None:
    got = rates("EURGBP", "USD", {"GBPUSD": bars_of("H1", [utc("2016-01-08 00:00")])})
    assert_rates(got, [math.nan] * 3, [math.nan] * 3)
    assert got.missing_at(as_us(START)) == (
        "no rate from GBP to USD is known at 2024-01-08T00:00:00Z: the last GBPUSD bar closed at 2016-01-08T01:00:00Z,"
        " too long before"
    )


def test_a_rate_is_known_for_exactly_seven_days_after_its_bar_closed() -> None:
    closed = START - timedelta(days=7)
    got = rates("EURGBP", "USD", {"GBPUSD": bars_of("H1", [closed - timedelta(hours=1)])})
    moments_us = np.array([as_us(START), as_us(START) + 1])
    np.testing.assert_array_equal(got.known_at(moments_us), [1.1, math.nan])


def test_a_weekly_rate_is_known_for_two_weeks_and_the_traded_symbols_own_bars_age_too() -> None:
    weekly = bars_of("W1", [START - timedelta(weeks=3)])
    moments_us = np.array([as_us(START), as_us(START) + 1])
    got = rates("EURGBP", "USD", {"GBPUSD": weekly}).known_at(moments_us)
    np.testing.assert_array_equal(got, [1.1, math.nan])
    own = bars_of("H1", [START, START + timedelta(days=8)])
    got = conversion_rates(REGISTRY["USDJPY"], "USD", own, {}, REGISTRY).known_at(own.time_us)
    np.testing.assert_array_equal(got, [math.nan, math.nan])


def test_one_old_leg_of_two_leaves_no_rate_and_is_the_one_named() -> None:
    old = bars_of("H1", [START - timedelta(days=30)])
    got = rates("EURJPY", "CHF", {"USDJPY": pair([100.0] * 4), "USDCHF": old})
    assert_rates(got, [math.nan] * 3, [math.nan] * 3)
    assert "the last USDCHF bar closed at 2023-12-09T01:00:00Z" in got.missing_at(as_us(START))


def test_without_bars_currencies_and_pairs_looked_for_are_named() -> None:
    with pytest.raises(NoConversion) as refused:
        rates("EURJPY", "CHF", {"USDJPY": pair([150.0] * 4)})
    expected = "profit of EURJPY is in JPY and cannot be converted to CHF: no bars of CHFJPY or USDJPY with USDCHF"
    assert str(refused.value) == expected
    with pytest.raises(NoConversion, match="is in JPY and cannot be converted to USD: no bars of USDJPY"):
        rates("EURJPY", "USD", {})
    with pytest.raises(NoConversion, match="converted to QQQ: no bars of QQQUSD"):
        rates("EURUSD", "QQQ", {})


def test_pairs_wanted_lists_routes_the_preferred_first() -> None:
    assert pairs_wanted(REGISTRY["EURUSD"], "USD", REGISTRY) == ((),)
    assert pairs_wanted(REGISTRY["EURUSD"], "QQQ", REGISTRY) == ()
    assert pairs_wanted(REGISTRY["GER40"], "GBP", REGISTRY) == (
        (Leg("EURGBP", inverted=False),),
        (Leg("EURUSD", inverted=False), Leg("GBPUSD", inverted=True)),
    )


def test_of_several_pairs_the_traded_one_is_preferred_then_the_plainly_named() -> None:
    other = Instrument("A-GBPUSD", "GBP", "USD", 0.0001, 1e5, 5, "fx")
    traded = Instrument("GBPUSD.r", "GBP", "USD", 0.0001, 1e5, 5, "fx")
    registry = {"A-GBPUSD": other, "GBPUSD.r": traded, **REGISTRY}
    symbols = [route[0].symbol for route in pairs_wanted(traded, "GBP", registry)]
    assert symbols == ["GBPUSD.r", "GBPUSD", "A-GBPUSD"]
