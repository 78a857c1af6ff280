"""What strategies draw beside the bars: columns `plot_*`, and the indicators that rules name."""

import polars as pl
import pytest

from engine.audit.probe import audit_strategy
from engine.deciders.chosen import choose_strategy
from engine.errors import StrategyError
from engine.prepared import RunData
from engine.results.result import BAR_TIME
from engine.strategies.rules import Rules
from engine.strategy import Market
from tests.engine.bar_builders import closes_bars, utc
from tests.engine.run_builders import EURUSD, backtest, columns_of, sample, specification_of

START = utc("2024-01-08 00:00")
BARS = closes_bars("H1", START, [1.1, 1.2, 1.3, 1.2, 1.1, 1.15])


def drawn(market: Market) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "action": pl.Series(["BUY", *[None] * (market.bars.height - 1)], dtype=pl.String),
            "plot_mean": market.bars["close"].rolling_mean(2),
            "plot_odd": pl.Series([float("nan"), float("inf"), 1.0, 2.0, 3.0, 4.0])[: market.bars.height],
            "plot_up": market.bars["close"] > market.bars["open"],
            "plot_count": pl.Series(range(market.bars.height)),
        }
    )


def test_columns_named_plot_are_drawn_and_change_no_figure() -> None:
    result = backtest(BARS, columns_of(drawn))
    plain = backtest(BARS, columns_of(lambda market: drawn(market).select("action")))
    assert result.result_digest == plain.result_digest
    assert result.trades.equals(plain.trades)
    indicators = result.indicators
    assert indicators is not None
    assert indicators.columns == [BAR_TIME, "plot_mean", "plot_odd", "plot_up", "plot_count"]
    assert indicators[BAR_TIME].to_list() == BARS.frame["time"].to_list()
    assert indicators["plot_odd"].to_list() == [None, None, 1.0, 2.0, 3.0, 4.0]
    assert indicators["plot_up"].dtype == pl.Boolean
    assert indicators["plot_count"].to_list() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert plain.indicators is None


def test_a_plot_of_texts_fails_the_run() -> None:
    with pytest.raises(StrategyError, match="column plot_name holds String, not numbers or conditions"):
        backtest(
            BARS,
            columns_of(
                lambda market: pl.DataFrame({"action": [None] * market.bars.height}).with_columns(plot_name=pl.lit("x"))
            ),
        )


def test_warm_up_bars_are_not_drawn() -> None:
    result = backtest(BARS, columns_of(drawn), start=BARS.frame["time"][2], warm_up_bars=2)
    indicators = result.indicators
    assert indicators is not None
    assert indicators[BAR_TIME].to_list() == BARS.frame["time"].to_list()[2:]
    assert indicators["plot_count"].to_list() == [2.0, 3.0, 4.0, 5.0]


def test_the_indicators_of_rules_are_drawn_by_their_names_also_those_nothing_asks_for() -> None:
    document = {
        "indicators": {
            "time": "sma(close, 2)",
            "trend": {"timeframe": "H4", "value": "close"},
            "rises": "close > close[1]",
        },
        "buy": "close > time",
    }
    bars = sample("eurusd_h1", 300)
    result = backtest(bars, choose_strategy(Rules, "rules", document))
    indicators = result.indicators
    assert indicators is not None
    assert indicators.columns == [BAR_TIME, "time", "trend", "rises"]
    closes = bars.frame["close"]
    assert indicators["time"].to_list()[1:] == pytest.approx(closes.rolling_mean(2).to_list()[1:])
    assert indicators["time"][0] is None
    assert indicators["rises"].to_list() == (closes > closes.shift(1)).fill_null(value=False).to_list()
    assert set(indicators["trend"].drop_nulls().to_list()) <= set(closes.to_list())


def test_rules_without_indicators_draw_nothing() -> None:
    assert backtest(BARS, choose_strategy(Rules, "rules", {"buy": "close > open"})).indicators is None


def test_an_audit_still_judges_a_strategy_that_draws() -> None:
    def peeks(market: Market) -> pl.DataFrame:
        later = market.bars["close"].shift(-1)
        action = pl.select(pl.when(later > market.bars["close"]).then(pl.lit("BUY")).otherwise(None)).to_series()
        return pl.DataFrame({"action": action, "plot_close": market.bars["close"]})

    bars = sample("eurusd_h1", 600)
    found = audit_strategy(specification_of(bars), EURUSD, RunData(bars=bars), columns_of(peeks))
    assert found.finding is not None
