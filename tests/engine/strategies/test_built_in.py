"""Every built-in strategy against the same read row by row; and what all of them have in common."""

import json
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import polars as pl
import pytest
import talib
from pydantic import ValidationError

from engine.audit.probe import audit_strategy
from engine.deciders.chosen import choose_strategy
from engine.market.bars import Bars
from engine.market.resampling import last_closed, resample
from engine.market.timeframes import timeframe
from engine.prepared import RunData
from engine.search import optimize
from engine.specification import OnOpposite
from engine.strategy import Market, OwnBars
from tests.engine.bar_builders import closes_bars, utc
from tests.engine.run_builders import EURUSD, backtest, has_figures_of, opened, sample, specification_of
from tests.engine.strategies import by_row
from tests.engine.strategies.by_row import Decisions, Row

TABLE: dict[str, tuple[str, dict[str, Any]]] = {
    "sma_cross": ("SmaCross", {"fast": 10, "slow": 30}),
    "ema_cross": ("EmaCross", {"fast": 12, "slow": 26}),
    "macd": ("Macd", {"fast": 12, "slow": 26, "signal": 9}),
    "rsi_reversion": ("RsiReversion", {"length": 14, "low": 30.0, "high": 70.0}),
    "bollinger_reversion": ("BollingerReversion", {"length": 20, "deviations": 2.0}),
    "donchian_breakout": ("DonchianBreakout", {"length": 20, "exit_length": 10}),
    "supertrend": ("Supertrend", {"length": 10, "multiplier": 3.0}),
    "candle_pattern": ("CandlePattern", {"patterns": ["engulfing"]}),
    "trend_pullback": (
        "TrendPullback",
        {"context": "H4", "trend_length": 50, "rsi_length": 14, "low": 40.0, "high": 60.0},
    ),
}
"""Key: class, and parameters with their defaults, as they are documented."""
LEVELS = {
    "stop_loss_pips": None,
    "take_profit_pips": None,
    "stop_loss_atr": None,
    "take_profit_atr": None,
    "atr_length": 14,
    "trailing_atr": None,
}
BARS = sample("gbpusd_h1", 4_000)
ROWS = [Row(*row) for row in BARS.frame.select("open", "high", "low", "close").rows()]


def strategy_class(key: str) -> Any:
    return getattr(import_module(f"engine.strategies.{key}"), TABLE[key][0])


@pytest.mark.parametrize("key", TABLE)
def test_names_defaults_and_their_order_are_as_documented(key: str) -> None:
    given = strategy_class(key).Params().model_dump(mode="json")
    assert given == TABLE[key][1] | LEVELS
    assert list(given) == [*TABLE[key][1], *LEVELS]
    # 30 and 30.0 would be two digests of one run.
    assert [type(given[name]) for name in given] == [type(value) for value in (TABLE[key][1] | LEVELS).values()]


@pytest.mark.parametrize("key", TABLE)
@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"stop_loss_pips": 10, "stop_loss_atr": 2}, "stop_loss_atr"),
        ({"take_profit_atr": 1, "take_profit_pips": 10}, "take_profit_atr"),
        ({"stop_loss_atr": 0}, "stop_loss_atr"),
        ({"trailing_atr": -1}, "trailing_atr"),
        ({"atr_length": 0}, "atr_length"),
        ({"atr_length": 100_001}, "atr_length"),
        ({"take_profit_atr": float("inf")}, "take_profit_atr"),
        ({"stop_loss": 1}, "stop_loss"),
    ],
)
def test_wrong_levels_are_refused_by_field(key: str, params: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        strategy_class(key).Params.model_validate(params)
    assert [error["loc"] for error in refused.value.errors()] == [(field,)]


@pytest.mark.parametrize("key", TABLE)
def test_a_stop_in_one_unit_goes_with_a_target_in_the_other(key: str) -> None:
    params = strategy_class(key).Params.model_validate({"stop_loss_pips": 10, "take_profit_atr": 2})
    assert (params.stop_loss_pips, params.take_profit_atr) == (10.0, 2.0)


@pytest.mark.parametrize(
    ("key", "params", "says"),
    [
        ("ema_cross", {"fast": 26}, "fast (26) must be below slow (26)"),
        ("macd", {"fast": 30, "slow": 20}, "fast (30) must be below slow (20)"),
        ("rsi_reversion", {"low": 70, "high": 30}, "low (70) must not be above high (30)"),
        ("rsi_reversion", {"length": 1}, "greater than or equal to 2"),
        ("trend_pullback", {"context": "H5"}, "unknown timeframe 'H5'"),
        ("candle_pattern", {"patterns": ["engulfin"]}, "did you mean 'engulfing'"),
        ("candle_pattern", {"patterns": []}, "at least 1 item"),
        ("bollinger_reversion", {"deviations": 0}, "greater than 0"),
        ("donchian_breakout", {"exit_length": 0}, "greater than or equal to 1"),
        ("supertrend", {"length": 100_001}, "less than or equal to 100000"),
    ],
)
def test_wrong_parameters_say_what_is_wrong(key: str, params: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as refused:
        strategy_class(key).Params.model_validate(params)
    assert says in str(refused.value)


# ------------------------------------------------------------------------------------------------ row by row


def own_bars(bars: Bars) -> Callable[[str | None], OwnBars]:
    def look_up(name: str | None) -> OwnBars:
        longer = resample(bars, timeframe(name or bars.timeframe.name), EURUSD)
        rows = last_closed(bars.close_time_us, longer.close_time_us)
        return OwnBars(longer.frame, rows, longer.close_time_us, 0.0)

    return look_up


def trend_known(length: int, name: str = "H4") -> list[float | None]:
    """The average over the context's own bars, at each bar that of the last one closed."""
    longer = resample(BARS, timeframe(name), EURUSD)
    averages = by_row.ema(longer.frame["close"].to_list(), length)
    closes_us = longer.close_time_us.tolist()
    known, last = [], -1
    for moment_us in BARS.close_time_us.tolist():
        while last + 1 < len(closes_us) and closes_us[last + 1] <= moment_us:
            last += 1
        known.append(None if last < 0 else averages[last])
    return known


SIGNALS: dict[str, Callable[..., list[int]]] = {
    "sma_cross": by_row.cross_of(by_row.sma),
    "ema_cross": by_row.cross_of(by_row.ema),
    "macd": by_row.macd_signals,
    "rsi_reversion": by_row.rsi_signals,
    "bollinger_reversion": by_row.bollinger_signals,
    "supertrend": by_row.supertrend_signals,
    "trend_pullback": lambda rows, context, trend_length, **asked: by_row.pullback_signals(
        rows, trend_known(trend_length, context), **asked
    ),
}


def asked_for(key: str, **params: Any) -> pl.DataFrame:
    strategy = strategy_class(key)
    market = Market(BARS.frame, {}, own_bars(BARS))
    answer: pl.DataFrame = strategy(strategy.Params.model_validate(params), EURUSD).decide_all(market)
    return answer


def same(answer: pl.DataFrame, expected: Decisions) -> None:
    assert answer["action"].to_list() == [None if each is None else each.action for each in expected]
    for name, field in (("stop_loss", "stop"), ("take_profit", "target"), ("trailing_stop", "trail")):
        wanted = [None if each is None else getattr(each, field) for each in expected]
        if name not in answer.columns:
            assert wanted == [None] * len(expected)
            continue
        given = [
            None if value is None or action is None else value
            for value, action in zip(answer[name], answer["action"], strict=True)
        ]
        assert [value is None for value in given] == [value is None for value in wanted]
        for value, want in zip(given, wanted, strict=True):
            # Levels are rounded to 1e-9; a middle band is not.
            assert value is None or abs(value - want) < 1e-9


CHANGES: dict[str, list[dict[str, Any]]] = {
    "sma_cross": [{}, {"fast": 1, "slow": 2}, {"fast": 5, "slow": 100}],
    "ema_cross": [{}, {"fast": 1, "slow": 3}, {"fast": 20, "slow": 50}],
    "macd": [{}, {"fast": 3, "slow": 10, "signal": 2}, {"fast": 5, "slow": 35, "signal": 5}],
    "rsi_reversion": [{}, {"length": 2, "low": 5, "high": 95}, {"length": 7, "low": 50, "high": 50}],
    "bollinger_reversion": [{}, {"length": 3, "deviations": 0.5}, {"length": 100, "deviations": 2.5}],
    "supertrend": [{}, {"length": 1, "multiplier": 0.5}, {"length": 30, "multiplier": 2}],
    "trend_pullback": [
        {},
        {"context": "D1", "trend_length": 5},
        {"context": "H2", "rsi_length": 3, "low": 20, "high": 80},
        {"context": "H1", "trend_length": 100},
    ],
}


@pytest.mark.parametrize(("key", "params"), [(key, params) for key in CHANGES for params in CHANGES[key]])
@pytest.mark.parametrize(
    "levels",
    [{}, {"stop_loss_pips": 20, "take_profit_atr": 1.5}, {"stop_loss_atr": 2, "atr_length": 5, "trailing_atr": 3}],
)
def test_decisions_are_those_of_the_same_rule_read_row_by_row(
    key: str, params: dict[str, Any], levels: dict[str, Any]
) -> None:
    full = TABLE[key][1] | params
    codes = SIGNALS[key](ROWS, **full)
    assert {1, -1} <= set(codes)
    targets = by_row.bollinger_targets(ROWS, **full) if key == "bollinger_reversion" else None
    same(asked_for(key, **params, **levels), by_row.with_levels(ROWS, codes, EURUSD.pip, targets, **levels))


@pytest.mark.parametrize(("length", "exit_length"), [(20, 10), (5, 5), (3, 40), (1, 1)])
def test_channels_are_left_as_read_row_by_row(length: int, exit_length: int) -> None:
    codes, out = by_row.channel_signals(ROWS, length), by_row.channel_signals(ROWS, exit_length)
    assert {1, -1} <= set(codes)
    answer = asked_for("donchian_breakout", length=length, exit_length=exit_length, stop_loss_atr=3)
    expected = by_row.with_levels(ROWS, codes, EURUSD.pip, stop_loss_atr=3)
    opens = answer.with_columns(action=answer["action"].cast(pl.String).replace("CLOSE", None))
    same(opens, expected)
    # Above the channel a short is left, below it a long.
    sides = [{1: "short", -1: "long", 0: None}[code] for code in out]
    assert answer["closes"].to_list() == sides
    closing = [side is not None and decided is None for side, decided in zip(sides, expected, strict=True)]
    assert (answer["action"] == "CLOSE").fill_null(value=False).to_list() == closing


def test_candles_are_bought_and_sold_by_the_signs_of_all_patterns_and_say_which() -> None:
    patterns = ["engulfing", "doji", "harami", "shootingstar"]
    of_bars = [BARS.frame[name].to_numpy() for name in ("open", "high", "low", "close")]
    signals = {name: getattr(talib, f"CDL{name.upper()}")(*of_bars).tolist() for name in patterns}
    answer = asked_for("candle_pattern", patterns=patterns)
    disagreed = 0
    for i, action in enumerate(answer["action"]):
        here = {name: values[i] for name, values in signals.items() if values[i]}
        signs = {value > 0 for value in here.values()}
        disagreed += len(signs) > 1
        assert action == (None if len(signs) != 1 else "BUY" if True in signs else "SELL")
        if action is not None:
            assert answer["pattern_name"][i] == next(iter(here))
            assert json.loads(answer["pattern_metadata"][i]) == {"signals": here}
    assert disagreed > 5


def test_one_pattern_named_twice_is_one() -> None:
    once, twice = (asked_for("candle_pattern", patterns=["harami"] * count) for count in (1, 2))
    assert once.equals(twice, null_equal=True)


# ---------------------------------------------------------------------------------------------- by hand


def decided(key: str, closes: Sequence[float], **params: Any) -> list[str | None]:
    """Actions on bars that move from the close before to their own; the first opens with the market's day."""
    strategy = strategy_class(key)
    bars = closes_bars("H1", utc("2024-01-08 22:00"), closes)
    asked = strategy.Params.model_validate(params)
    answer = strategy(asked, EURUSD).decide_all(Market(bars.frame, {}, own_bars(bars)))
    actions: list[str | None] = answer["action"].to_list()
    return actions


def test_the_ema_cross_by_hand() -> None:
    # EMA 1 is the close; EMA 2 begins with the mean of two, then moves two thirds of the way.
    # EMA 2: -, 10.5, 11.5, 10.5, 9.5, 10.5, 11.5
    assert decided("ema_cross", [10, 11, 12, 10, 9, 11, 12], fast=1, slow=2) == [
        *(None, None, None, "SELL", None, "BUY", None)
    ]


def test_the_macd_by_hand() -> None:
    # EMA 1 - EMA 2 at rows 1 on: 0.5, 0.5, -0.5, -0.5, 0.5; its EMA 2 from row 2: 0.5, -0.167, -0.389, 0.204.
    # The line stands on its signal at row 2, below it from row 3 on, above it at row 5.
    assert decided("macd", [10, 11, 12, 10, 9, 11], fast=1, slow=2, signal=2) == [None] * 5 + ["BUY"]


def test_the_rsi_reversion_by_hand() -> None:
    # Gains and losses of two changes, then half of it and half of the new: RSI 2 from row 2 on:
    # 0 (-1, -1), 50 (+1: 0.5 / 1), 75 (+1: 0.75 / 1), 37.5 (-1), 18.75 (-1), 59.4 (+1)
    closes = [10, 9, 8, 9, 10, 9, 8, 9]
    assert decided("rsi_reversion", closes, length=2, low=30, high=70) == [
        *(None, None, None, "BUY", None, "SELL", None, "BUY")
    ]


def test_the_bollinger_reversion_by_hand() -> None:
    # Bands of two closes, half a deviation out: the mean of both, a quarter of their difference away.
    # Lower: -, 9.25, 8.25, 8.125, 8.75, 8.75; upper: -, 9.75, 8.75, 8.375, 9.25, 9.25.
    closes = [10.0, 9.0, 8.0, 8.5, 9.5, 8.5]
    assert decided("bollinger_reversion", closes, length=2, deviations=0.5) == [*(None,) * 3, "BUY", None, "SELL"]


CHANNEL = [10.0, 10, 11, 12, 11.5, 10.5, 9, 8, 9.5, 10.5]
"""Bars reach from the close before to their own. The channel of two of them is left upwards at rows 2, 3 and 9,
downwards at 5, 6 and 7; that of one bar upwards at 8 too."""


@pytest.mark.parametrize(
    ("on_opposite", "trades"),
    [
        ("reverse", [("BUY", 2, 5, "reverse"), ("SELL", 5, 8, "signal")]),
        ("ignore", [("BUY", 2, 5, "signal"), ("SELL", 6, 8, "signal")]),
    ],
)
def test_a_position_is_left_by_the_exit_channel_of_its_side(
    on_opposite: str, trades: list[tuple[str, int, int, str]]
) -> None:
    assert channel_trades(CHANNEL, 2, 1, on_opposite=on_opposite) == trades


@pytest.mark.parametrize(
    ("on_opposite", "trades"),
    [
        ("reverse", [("BUY", 2, 5, "reverse"), ("SELL", 5, 9, "reverse")]),
        ("close", [("BUY", 2, 5, "signal"), ("SELL", 6, 9, "signal")]),
        ("ignore", [("BUY", 2, 5, "signal"), ("SELL", 6, 9, "signal")]),
    ],
)
def test_an_entry_goes_before_the_exit_and_where_it_may_not_reverse_the_exit_closes(
    on_opposite: str, trades: list[tuple[str, int, int, str]]
) -> None:
    """Entry and exit channel are the same: at row 5 the long is to be left and a short to be opened."""
    assert channel_trades(CHANNEL, 2, 2, on_opposite=on_opposite) == trades


def test_where_opposites_are_ignored_a_longer_exit_channel_leaves_the_position_open() -> None:
    # Row 6 is below the bar before it, but not below five of them; row 8 is below both.
    closes = [10.0, 10, 11, 12, 13, 12.5, 11.5, 11.2, 9.5]
    assert channel_trades(closes, 1, 5, on_opposite="ignore") == [("BUY", 2, 8, "signal")]
    assert channel_trades(closes, 1, 5, on_opposite="reverse")[0] == ("BUY", 2, 6, "reverse")


def channel_trades(
    closes: list[float], length: int, exit_length: int, *, on_opposite: str
) -> list[tuple[str, int, int, str]]:
    """Direction, rows of entry and exit, and reason."""
    bars = closes_bars("H1", utc("2024-01-08 00:00"), closes)
    params = {"length": length, "exit_length": exit_length}
    chosen = choose_strategy(strategy_class("donchian_breakout"), "key", params)
    trades = backtest(bars, chosen, on_opposite=OnOpposite(on_opposite), volume=0.01, initial_balance=1e6).trades
    times = bars.frame["time"].to_list()
    entered, left = ([times.index(time) for time in trades[name]] for name in ("entry_time", "exit_time"))
    return list(zip(trades["direction"], entered, left, trades["exit_reason"], strict=True))


def test_the_middle_band_is_the_target_only_where_it_is_ahead_of_the_close() -> None:
    answer = asked_for("bollinger_reversion", deviations=0.2, length=5)
    taken = answer.with_columns(close=BARS.frame["close"]).filter(pl.col("action").is_not_null())
    ahead = (pl.col("take_profit") > pl.col("close")) == (pl.col("action") == "BUY")
    assert taken["take_profit"].null_count() > 0
    assert taken.drop_nulls("take_profit").select(ahead.all()).item()
    backtest(BARS, choose_strategy(strategy_class("bollinger_reversion"), "key", {"deviations": 0.2, "length": 5}))


def test_the_supertrend_by_hand() -> None:
    # Ranges of one bar: the move from close to close. Bands: the bar's middle and half of that either way, which is the
    # old close and the new one: rising bars close on their upper band, which is no leaving it.
    closes = [10.0, 11.0, 12.0, 15.0, 14.0, 10.0, 9.0, 15.0]
    # Row 1: bands 10 and 11. Row 2: upper 11 (only falls), 12 is above it: the trend is up, which is no turn. Row 3:
    # the close before was above the upper band, which begins anew. Row 4: lower 14. Row 5: 10 is below it.
    assert decided("supertrend", closes, length=1, multiplier=0.5) == [*(None,) * 5, "SELL", None, "BUY"]


def test_a_pullback_is_taken_on_the_side_of_the_trend_alone() -> None:
    closes = [11.0, 10, 9, 8, 9, 10, 9, 8, 9]
    # H4 closes at 8 (rows 0 to 3) and at 8 again (rows 4 to 7); the RSI crosses as above, one row later.
    assert decided("trend_pullback", closes, context="H4", trend_length=1, rsi_length=2, low=30, high=70) == [
        *(None, None, None, None, "BUY", None, None, None, "BUY")
    ]


# ------------------------------------------------------------------------------------------------ in runs


@pytest.mark.parametrize("key", TABLE)
def test_no_built_in_strategy_looks_ahead(key: str) -> None:
    asked = specification_of(BARS, start=opened(BARS, 1_500), end=opened(BARS, 2_500))
    chosen = choose_strategy(strategy_class(key), key, {"stop_loss_atr": 2.0, "take_profit_pips": 60.0})
    found = audit_strategy(asked, EURUSD, RunData(bars=BARS), chosen, moments=8)
    assert (found.finding, found.unanswered, found.notes) == (None, 0, ())
    assert found.decisions > 5


@pytest.mark.parametrize("key", TABLE)
def test_a_run_sees_40_times_its_longest_chain_of_lengths_and_at_least_500_bars(key: str) -> None:
    def bars(**params: Any) -> dict[str, int]:
        return dict(choose_strategy(strategy_class(key), key, params).warm_up(specification_of(BARS)).bars)

    chain = {"sma_cross": 1_200, "ema_cross": 1_040, "macd": 1_400, "bollinger_reversion": 800, "rsi_reversion": 560}
    chain |= {"donchian_breakout": 800, "trend_pullback": 560}
    contexts = {"H4": 2_000} if key == "trend_pullback" else {}
    assert bars() == {"H1": chain.get(key, 500)} | contexts
    assert bars(atr_length=200) == bars()
    assert bars(atr_length=200, trailing_atr=1) == {"H1": 8_000} | ({"H4": 8_000} if contexts else {})


LONG_ATR = {"fast": 1, "slow": 2, "stop_loss_atr": 3, "atr_length": 200}


def test_decisions_whose_atr_is_not_known_are_none_and_counted() -> None:
    bars = BARS.rows(0, 1_000)
    plain = backtest(bars, choose_strategy(strategy_class("sma_cross"), "key", {"fast": 1, "slow": 2}))
    late = backtest(bars, choose_strategy(strategy_class("sma_cross"), "key", LONG_ATR))
    crossed = asked_for("sma_cross", fast=1, slow=2)["action"][:200].drop_nulls().len()
    assert plain.trades.height > crossed > 50
    assert f"{crossed} decisions left out: stop, target or trail not known or not above 0" in late.run_warnings
    assert late.trades["entry_time"][0] >= bars.frame["time"][200]


def test_decisions_of_the_warm_up_and_of_skipped_hours_are_not_counted_as_left_out() -> None:
    def told(**changes: Any) -> list[str]:
        chosen = choose_strategy(strategy_class("sma_cross"), "key", LONG_ATR)
        return [each for each in backtest(BARS, chosen, **changes).run_warnings if "left out" in each]

    assert len(told(warm_up_bars=0)) == 1
    assert told(start=opened(BARS, 201), warm_up_bars=201) == []
    assert told(skip_hours=tuple(range(24))) == []


def test_prices_that_stand_still_have_no_range_to_set_a_stop_by() -> None:
    bars = closes_bars("H1", utc("2024-01-08 00:00"), [*[1.1] * 20, 1.2, *[1.1] * 20])
    params = {"fast": 1, "slow": 2, "stop_loss_atr": 1e-12}
    result = backtest(bars, choose_strategy(strategy_class("sma_cross"), "key", params))
    # A billionth is what prices are rounded to: the stop would stand on the close.
    assert result.trades.height == 0
    assert "1 decision left out: stop, target or trail not known or not above 0" in result.run_warnings


def test_a_search_over_contexts_gives_each_combination_the_figures_of_its_own_run() -> None:
    asked = specification_of(BARS, start=opened(BARS, 2_500))
    space = {"context": ["H4", "D1", "H1"], "trend_length": [10, 5]}
    strategy = strategy_class("trend_pullback")
    found = optimize(asked, EURUSD, RunData(bars=BARS), strategy, space, threads=1).results
    assert len(found) == 6
    for result in found:
        alone = backtest(BARS, choose_strategy(strategy, "key", result["params"]), start=asked.start)
        assert alone.trades.height > 0
        assert has_figures_of(result, alone)
