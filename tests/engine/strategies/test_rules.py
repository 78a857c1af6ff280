"""Rules as the strategy of a run: what is decided, what is left out and counted, what is seen before the start."""

from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from engine.audit.probe import audit_strategy
from engine.deciders.chosen import ChosenStrategy, choose_strategy
from engine.errors import InvalidParams, StrategyError
from engine.market.bars import Bars
from engine.market.resampling import resample
from engine.market.timeframes import timeframe
from engine.prepared import RunData
from engine.results.result import BacktestResult
from engine.search.answer import answer
from engine.search.optimizing import in_threads
from engine.search.parts import chooser
from engine.search.question import ask
from engine.specification import OnOpposite
from engine.strategies.rules import UNKNOWN, Rules
from tests.engine.bar_builders import bars_of, closes_bars, utc
from tests.engine.run_builders import EURUSD, backtest, columns_of, has_figures_of, specification_of

START = utc("2024-01-08 00:00")


def rules(**document: Any) -> ChosenStrategy:
    return choose_strategy(Rules, "rules", document)


def hourly(*closes: float) -> Bars:
    return closes_bars("H1", START, closes)


def run(bars: Bars, decider: ChosenStrategy, **changes: Any) -> BacktestResult:
    return backtest(bars, decider, **{"initial_balance": 1e7, **changes})


def trades(result: BacktestResult, *columns: str) -> list[tuple[Any, ...]]:
    hours = {"from": pl.col("entry_time").dt.hour(), "to": pl.col("exit_time").dt.hour()}
    return result.trades.with_columns(**hours).select(columns).rows()


UP, DOWN, EXIT = "close == 1.2", "close == 1.1", "close == 1.15"


def test_conditions_open_reverse_and_close() -> None:
    bars = hourly(1.0, 1.2, 1.0, 1.1, 1.0, 1.15, 1.0)
    found = run(bars, rules(buy=UP, sell=DOWN, close=EXIT))
    assert trades(found, "direction", "from", "to", "exit_reason") == [
        ("BUY", 1, 3, "reverse"),
        ("SELL", 3, 5, "signal"),
    ]


def test_close_goes_before_an_entry_at_the_same_bar() -> None:
    found = run(hourly(1.0, 1.2, 1.0, 1.15, 1.0), rules(buy=f"{UP} or {EXIT}", close=EXIT))
    assert trades(found, "from", "to", "exit_reason") == [(1, 3, "signal")]


def test_buy_and_sell_at_once_are_none_and_counted() -> None:
    found = run(hourly(1.0, 1.2, 1.0, 1.2), rules(buy="close > 0", sell=UP))
    assert trades(found, "direction", "from") == [("BUY", 0)]
    assert found.warnings[-1] == "2 decisions left out: buy and sell at once"


def test_close_long_takes_the_buy_away_and_leaves_a_short_alone() -> None:
    bars = hourly(1.0, 1.1, 1.2, 1.0, 1.2, 1.0)
    found = run(bars, rules(sell=DOWN, buy=UP, close_long=UP))
    assert trades(found, "direction", "from", "to", "exit_reason") == [("SELL", 1, 5, "end_of_data")]


def test_close_long_and_close_short_close_their_side() -> None:
    document = {"buy": UP, "sell": DOWN, "close_long": EXIT, "close_short": "close == 1.05"}
    found = run(hourly(1.0, 1.2, 1.05, 1.15, 1.0, 1.1, 1.15, 1.05, 1.0), rules(**document))
    assert trades(found, "direction", "from", "to", "exit_reason") == [
        ("BUY", 1, 3, "signal"),
        ("SELL", 5, 7, "signal"),
    ]


@pytest.mark.parametrize(
    ("on_opposite", "expected"),
    [
        (OnOpposite.REVERSE, [("BUY", 1, 3, "reverse"), ("SELL", 3, 4, "end_of_data")]),
        (OnOpposite.CLOSE, [("BUY", 1, 3, "signal")]),
        (OnOpposite.IGNORE, [("BUY", 1, 3, "signal")]),
    ],
)
def test_where_the_other_side_is_decided_too_close_long_still_closes(
    on_opposite: OnOpposite, expected: list[tuple[Any, ...]]
) -> None:
    document = {"buy": UP, "sell": DOWN, "close_long": DOWN}
    found = run(hourly(1.0, 1.2, 1.0, 1.1, 1.0), rules(**document), on_opposite=on_opposite)
    assert trades(found, "direction", "from", "to", "exit_reason") == expected


def test_both_sides_closed_at_once_close_whatever_is_open() -> None:
    found = run(
        hourly(1.0, 1.1, 1.15, 1.0), rules(sell=DOWN, buy=DOWN + " and 1 > 2", close_long=EXIT, close_short=EXIT)
    )
    assert trades(found, "direction", "from", "to") == [("SELL", 1, 2)]


def test_levels_are_distances_from_the_deciding_close() -> None:
    bars = hourly(1.0, 1.2, 1.0, 1.1, 1.1)
    document = {"buy": UP, "sell": DOWN, "stop_loss": 0.02, "take_profit": ["pips(300)", "0.01", "pips(100)"]}
    found = run(bars, rules(**document))
    assert trades(found, "direction", "stop_loss", "take_profit")[0] == ("BUY", 1.18, 1.21)
    assert trades(found, "direction", "stop_loss", "take_profit")[-1] == ("SELL", 1.12, 1.09)
    frame = Rules(rules(**document).params, EURUSD).decide_all(market_of(bars))  # type: ignore[arg-type]
    assert frame.filter(pl.col("action") == "BUY")["take_profit_2"].to_list() == [1.23]
    assert "take_profit_3" not in frame.columns


@pytest.mark.parametrize("distance", ["0", "-0.01", "close / 0", "sma(close, 10)", "0.0000000001", "1e300 * 1e300"])
@pytest.mark.parametrize("name", ["stop_loss", "take_profit", "trailing_stop", "volume"])
def test_a_decision_whose_level_or_volume_is_unknown_or_not_above_0_is_none_and_counted(
    name: str, distance: str
) -> None:
    found = run(hourly(1.0, 1.2, 1.0, 1.2), rules(buy=UP, **{name: distance}))
    assert found.metrics.total_trades == 0
    why = "volume below one lot step" if (name, distance) == ("volume", "0.0000000001") else UNKNOWN
    assert found.warnings[-1] == f"2 decisions left out: {why}"


def test_one_unknown_target_of_several_leaves_the_decision_out() -> None:
    found = run(hourly(1.0, 1.2, 1.0), rules(buy=UP, take_profit=["0.01", "close[5]"]))
    assert found.warnings[-1] == f"1 decision left out: {UNKNOWN}"


def test_left_out_is_counted_from_the_start_and_in_no_skipped_hour() -> None:
    bars = hourly(*[1.2, 1.0] * 6)
    document = rules(buy=UP, stop_loss="0")
    assert run(bars, document, start=utc("2024-01-08 04:00")).warnings[-1].startswith("4 decisions left out")
    assert run(bars, document, skip_hours=(1, 3)).warnings[-1].startswith("4 decisions left out")


def test_volume_is_rounded_down_to_the_lot_step() -> None:
    found = run(hourly(1.0, 1.2, 1.0, 1.1), rules(buy=UP, sell=DOWN, volume="0.029"))
    assert [row[0] for row in trades(found, "volume")] == [0.02]
    found = run(hourly(1.0, 1.2, 1.0), rules(buy=UP, volume="0.1 + 0.2"))
    assert trades(found, "volume") == [(0.3,)]
    found = run(hourly(1.0, 1.2, 1.0), rules(buy=UP, volume="0.3 - 0.1"))
    assert trades(found, "volume") == [(0.2,)]


def test_max_bars_and_trail_leave_a_position() -> None:
    bars = hourly(1.0, 1.2, 1.21, 1.22, 1.23, 1.24)
    found = run(bars, rules(params={"most": 2}, buy=UP, max_bars="most"))
    assert trades(found, "from", "to", "exit_reason") == [(1, 3, "time")]
    falling = hourly(1.0, 1.2, 1.25, 1.24, 1.2)
    found = run(falling, rules(buy=UP, trailing_stop="pips(200)"))
    assert trades(found, "from", "to", "exit_reason") == [(1, 4, "trailing_stop")]


def test_hours_are_those_of_the_close() -> None:
    found = run(hourly(*[1.0] * 30), rules(buy="hour == 5 and minute == 0 and weekday == 1", close="hour == 6"))
    assert trades(found, "from", "to") == [(4, 5)]


def test_spread_is_what_the_run_reckons_with() -> None:
    times = [START.replace(hour=hour) for hour in range(4)]
    bars = bars_of("H1", times, spread=[10.0, 20.0, 30.0, 40.0])
    asked = rules(buy="spread == 3")
    assert trades(run(bars, asked, spread_source="bars"), "from") == [(2,)]
    assert trades(run(bars, asked, spread_pips=3.0), "from") == [(0,)]
    in_context = rules(buy="wide", indicators={"wide": {"timeframe": "H2", "value": "spread == 4 and spread[1] == 2"}})
    assert trades(run(bars, in_context, spread_source="bars", context={}), "from") == []
    longer = resample(bars, timeframe("H2"), EURUSD)
    longer = replace(longer, frame=longer.frame.drop("spread"))
    five = bars_of("H1", [START.replace(hour=hour) for hour in range(5)], spread=[10.0, 20.0, 30.0, 40.0, 0.0])
    assert trades(run(five, in_context, spread_source="bars", context={"H2": longer}), "from") == [(3,)]


def test_a_context_is_known_from_its_close_on() -> None:
    bars = hourly(*[1.0] * 3, 1.2, *[1.0] * 8)
    found = run(
        bars, rules(buy="high4 == 1.2", close="high4 == 1", indicators={"high4": {"timeframe": "H4", "value": "high"}})
    )
    # H4 candles of the trading day open at 22:00 and 02:00 UTC: the bar of 03:00 is in the latter, known at 06:00.
    assert trades(found, "from", "to") == [(5, 9)]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"buy": "close > 1"}, {"H1": (500, 0)}),
        ({"buy": "close > sma(close, 10)"}, {"H1": (500, 10)}),
        ({"buy": "sma(sma(close, 10), 20) > ema(close, 25)"}, {"H1": (1200, 30)}),
        ({"buy": "macd_hist(close, 12, 26, 9) > 0"}, {"H1": (1400, 35)}),
        ({"buy": "stoch_d(14, 3, 5) > 0 or any(rsi(close, 20) > 1, 10)"}, {"H1": (1200, 30)}),
        ({"params": {"n": 50}, "buy": "close > sma(close, n)[100]"}, {"H1": (2000, 150)}),
        ({"params": {"n": 50}, "buy": "close > sma(close[1000], n)"}, {"H1": (2850, 1050)}),
        ({"buy": "close > close[1000]"}, {"H1": (1000, 1000)}),
        (
            {
                "buy": "close > sma(b, 20)",
                "indicators": {"a": "ema(close, 10)", "b": {"timeframe": "H4", "value": "sma(a, 30)"}},
            },
            {"H1": (800, 20), "H4": (1600, 40)},
        ),
        (
            {"buy": "close > 1", "indicators": {"b": {"timeframe": "H1", "value": "sma(close, 30)"}}},
            {"H1": (1200, 30)},
        ),
        ({"buy": "sma(sma(close, 90000), 90000) > 1"}, {"H1": (1_000_000, 180_000)}),
    ],
)
def test_warm_up_is_forty_times_the_longest_chain_of_lengths(
    document: dict[str, Any], expected: dict[str, Any]
) -> None:
    found = rules(**document).warm_up(specification_of(hourly(1.0, 1.0)))
    assert {name: (found.bars[name], found.wanted[name]) for name in found.bars} == expected


def test_one_document_however_it_is_written_gives_one_digest() -> None:
    bars = hourly(*[1.0, 1.2, 1.1] * 5)
    first = rules(params={"n": 3}, indicators={"a": "sma(close, n)"}, buy="close > a", take_profit=["pips(10)", "0.02"])
    second = rules(
        take_profit=["  0.020", "pips( 10.0 )"],
        sell=None,
        buy="close>a",
        indicators={"a": "sma(close,n,)"},
        params={"n": 3.0},
    )
    assert run(bars, first).result_digest == run(bars, second).result_digest
    assert run(bars, rules(buy="close > sma(close, 3)", take_profit=["pips(10)", "0.02"])).result_digest != (
        run(bars, first).result_digest
    )


def test_what_the_data_before_the_warm_up_are_decides_nothing() -> None:
    closes = [1.0 + (i * 7919 % 101) / 1000 for i in range(3000)]
    document = rules(buy="crosses_above(ema(close, 12), ema(close, 26)) and adx(14) > 10", sell="rsi(close, 14) > 60")
    start = utc("2024-04-20 00:00")
    whole, cut = hourly(*closes), closes_bars("H1", utc("2024-02-14 16:00"), closes[904:])
    assert trades(run(whole, document, start=start), "entry_price", "profit") == trades(
        run(cut, document, start=start), "entry_price", "profit"
    )


def test_a_search_varies_params() -> None:
    bars = hourly(*[1.0, 1.2, 1.1, 1.15] * 10)
    document = {"params": {"n": 3}, "buy": "close > sma(close, n)", "close": "close < sma(close, n)"}
    asked = specification_of(bars, initial_balance=1e7, strategy_params=document)
    choose = chooser(Rules, asked, within="params")
    question = ask(asked, EURUSD, RunData(bars=bars), choose, {"n": [1, 2, 3, 4]}, fixed=())
    found = answer(question, in_threads(question, 1)).results
    assert sorted(each["params"]["n"] for each in found) == [1, 2, 3, 4]
    for each in found:
        assert has_figures_of(each, run(bars, rules(**{**document, "params": each["params"]})))


def test_an_audit_finds_rules_clean() -> None:
    closes = [1.0 + (i * 7919 % 101) / 1000 for i in range(400)]
    document = rules(
        buy="crosses_above(close, average) and trend > 0",
        sell="crosses_below(close, average)",
        stop_loss="atr(5)",
        indicators={"average": "ema(close, 10)", "trend": {"timeframe": "H4", "value": "roc(close, 3)"}},
    )
    bars = hourly(*closes)
    found = audit_strategy(specification_of(bars), EURUSD, RunData(bars=bars), document, moments=8)
    assert (found.finding, found.changed, found.notes) == (None, 0, ())
    assert found.decisions > 20


def test_a_document_at_fault_is_refused_before_anything_runs() -> None:
    with pytest.raises(InvalidParams, match=r"strategy 'rules': buy: column 9: unknown name 'x'; sell: column 1: "):
        rules(buy="close > x", sell="y")


def market_of(bars: Bars) -> Any:

    seen: list[Any] = []

    def keep(market: Any) -> pl.DataFrame:
        seen.append(market)
        return pl.DataFrame({"action": pl.Series([None] * market.bars.height, dtype=pl.String)})

    run(bars, columns_of(keep))
    return seen[0]


def test_a_volume_beyond_all_counting_fails_the_run_and_is_no_other_volume() -> None:
    with pytest.raises(StrategyError, match=r"decision at 2024-01-08T01:00:00Z: volume 1\.0\d*e\+300 is too large"):
        run(hourly(1.0, 1.2, 1.0), rules(buy=UP, volume="1e300"))


def test_an_indicator_on_the_runs_own_timeframe_is_one_without() -> None:
    bars = hourly(*[1.0 + (i * 7919 % 101) / 1000 for i in range(200)])
    plain, named = (
        rules(buy="crosses_above(close, a)", close="crosses_below(close, a)", indicators={"a": indicator})
        for indicator in ("ema(close, 5)", {"timeframe": "H1", "value": "ema(close, 5)"})
    )
    found = trades(run(bars, plain), "entry_time", "exit_time", "profit")
    assert len(found) > 20
    assert trades(run(bars, named), "entry_time", "exit_time", "profit") == found


def test_a_stored_shorter_timeframe_is_seen_as_it_closed() -> None:
    minutes = closes_bars("M30", START, [1.0, 1.0, 1.0, 1.2, 1.0, 1.0, 1.0, 1.0])
    document = rules(
        buy="m == 1.2", close="m == 1 and m[0] == 1", indicators={"m": {"timeframe": "M30", "value": "close"}}
    )
    found = run(hourly(1.0, 1.0, 1.0, 1.0), document, context={"M30": minutes})
    assert trades(found, "from", "to") == [(1, 2)]


@pytest.mark.parametrize(
    ("field", "level", "said"),
    [
        (
            "stop_loss",
            "close - 0.01",
            "stop_loss is up to 11,900 pips (99.2 %) from the close, far in 2 of 2 decisions",
        ),
        ("take_profit", "30", "take_profit is up to 300,000 pips (2,500.0 %) from the close, far in 2 of 2 decisions"),
        ("trailing_stop", "low - 0.01", "trailing_stop is up to 9,900 pips (82.5 %) from the close, far in 2 of 2"),
    ],
)
def test_a_price_written_where_a_distance_belongs_is_asked_about(field: str, level: str, said: str) -> None:
    bars = hourly(1.0, 1.2, 1.0, 1.2, 1.0)
    found = run(bars, rules(buy=UP, **{field: level}))
    (warning,) = [each for each in found.warnings if "from the close" in each]
    assert warning.startswith(said)
    assert warning.endswith("rules take it as a distance, such as 2 * atr(14) or pips(30)")
    near = run(bars, rules(buy=UP, **{field: "pips(30)"}))
    assert not [each for each in near.warnings if "from the close" in each]


@pytest.mark.parametrize(
    ("buy", "hint"),
    [
        (
            "close > highest(high, 3)",
            ": this bar is among those of highest(high, 3), which highest(high, 3)[1] leaves out",
        ),
        ("close<lowest(low,3)", ": this bar is among those of lowest(low, 3), which lowest(low, 3)[1] leaves out"),
        ("close > 5", ""),
        ("close > 2 * highest(high, 3)[1]", ""),
    ],
)
def test_a_condition_that_is_never_met_is_named(buy: str, hint: str) -> None:
    found = run(hourly(1.0, 1.2, 1.0, 1.2, 1.3), rules(buy=buy)).warnings
    assert "no decision in 5 bars" in found
    assert f"buy was never met{hint}" in found
    both = run(hourly(1.0, 1.2, 1.0, 1.2, 1.3), rules(buy=UP, sell="close > 5")).warnings
    assert "sell was never met" in both
    assert not [each for each in both if "buy" in each or "no decision" in each]
