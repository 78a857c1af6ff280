"""A run without trails, orders, costs or limits of the account has the digest it had before there were any."""

from typing import Any

import polars as pl
import pytest

from engine.deciders.signals import Signals, signals_from_frame
from tests.engine.run_builders import EURUSD, backtest, sample, scripted, specification_of

BARS = sample("eurusd_h1", 400)
ACTIONS = [(None, "BUY", None, "SELL", None, "CLOSE")[bar // 7 % 6] if bar % 7 == 0 else None for bar in range(400)]
STOPS = [
    None if action in (None, "CLOSE") else round(close * (0.99 if action == "BUY" else 1.01), 5)
    for action, close in zip(ACTIONS, BARS.close.tolist(), strict=True)
]
BEFORE = {
    "close_price": "1d5277711e8ce860c1b2de609a2cbcb5c89074d825b621bb033d8d703d726952",
    "intra_candle": "ba4d6637b897226eb233585466e9229a82e875d32d67e119436b3f500676681d",
    "next_open": "ce11b39c357c77e8440a4697e7c236265ee7051302e3bf1444b4be9569dbce8e",
}
BEFORE_WITH_SIGNALS = "e35f322316b13c8fbccad1f83481ce5a5dcba948575ae42243c515d648a35db9"
"""All of them as engine version 0.1.0 gave them at commit c6eb758, which knew nothing of section 7."""
OFF: dict[str, Any] = {"slippage_pips": 0.0, "commission_pct": 0.0, "leverage": None, "stop_out_pct": 0.0}


@pytest.mark.parametrize("mode", BEFORE)
@pytest.mark.parametrize("settings", [{}, OFF])
def test_the_digest_of_a_strategy_is_the_same(mode: str, settings: dict[str, Any]) -> None:
    decider = scripted(ACTIONS, stop_loss=STOPS)
    result = backtest(BARS, decider, execution_mode=mode, commission_per_lot=7.0, spread_pips=1.0, **settings)
    assert result.result_digest == BEFORE[mode]


def test_the_digest_of_signals_is_the_same_and_columns_without_a_value_are_not_in_it() -> None:
    empty = {name: pl.lit(None, pl.Float64) for name in ("trailing_stop", "max_bars", "price", "expires_bars")}
    for further in ({}, {**empty, "order": pl.lit(None, pl.String)}, {"order": pl.lit("market")}):
        assert backtest(BARS, signals(**further)).result_digest == BEFORE_WITH_SIGNALS


def signals(**further: pl.Expr) -> Signals:
    rows = [row for row, action in enumerate(ACTIONS) if action is not None]
    frame = pl.DataFrame(
        {
            "time": BARS.frame["time"].gather(rows),
            "action": [ACTIONS[row] for row in rows],
            "stop_loss": pl.Series([STOPS[row] for row in rows], dtype=pl.Float64),
        }
    )
    return signals_from_frame(frame.with_columns(**further), "s.csv", BARS, 0, specification_of(BARS), EURUSD)


@pytest.mark.parametrize(
    ("settings", "further"),
    [
        ({"slippage_pips": 1e-9}, {}),
        ({"commission_pct": 1e-9}, {}),
        ({"leverage": 500.0}, {}),
        ({}, {"max_bars": pl.when(pl.col("action") != "CLOSE").then(1_000_000)}),
        ({}, {"trailing_stop": pl.when(pl.col("action") != "CLOSE").then(50.0)}),
    ],
)
def test_what_is_asked_for_is_in_the_digest_though_it_changed_no_fill(
    settings: dict[str, Any], further: dict[str, pl.Expr]
) -> None:
    assert backtest(BARS, signals(**further), **settings).result_digest != BEFORE_WITH_SIGNALS
