"""`closes`: a decision that closes one side only, in every mode and way of meeting an open position."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.deciders.chosen import ChosenStrategy
from engine.errors import StrategyError
from engine.specification import ExecutionMode, OnOpposite
from engine.strategy import Decision, View
from tests.engine.bar_builders import closes_bars, utc
from tests.engine.run_builders import backtest, bar_by_bar, columns_of, sample

PRICES = [1.1, 1.11, 1.12, 1.13, 1.12, 1.11, 1.12, 1.13]
BARS = closes_bars("H1", utc("2024-01-08 00:00"), PRICES)
TIMES = BARS.frame["time"].to_list()


def saying(said: dict[int, tuple[str, str | None]], **columns: Any) -> ChosenStrategy:
    """By the row: action and what it closes."""
    actions, closes = ([said.get(row, (None, None))[part] for row in range(len(PRICES))] for part in (0, 1))
    kinds = {"action": pl.String, "closes": pl.String}
    frame = pl.DataFrame({"action": actions, "closes": closes}, schema=kinds).with_columns(**columns)
    return columns_of(lambda _: frame)


def trades(said: dict[int, tuple[str, str | None]], **changes: Any) -> list[tuple[str, int, int, str]]:
    """Direction, rows of entry and exit, reason."""
    found = backtest(BARS, saying(said), **changes).trades
    rows = ([TIMES.index(time) for time in found[name]] for name in ("entry_time", "exit_time"))
    return list(zip(found["direction"], *rows, found["exit_reason"], strict=True))


@pytest.mark.parametrize("mode", ExecutionMode)
def test_a_close_of_one_side_leaves_the_other_open(mode: ExecutionMode) -> None:
    later = mode is ExecutionMode.NEXT_OPEN
    said = {1: ("BUY", None), 2: ("CLOSE", "short"), 4: ("CLOSE", "long"), 5: ("SELL", None)}
    said |= {6: ("CLOSE", "long")}
    assert trades(said, execution_mode=mode) == [
        ("BUY", 1 + later, 4 + later, "signal"),
        ("SELL", 5 + later, 7, "end_of_data"),
    ]


@pytest.mark.parametrize(
    ("on_opposite", "expected"),
    [
        (OnOpposite.REVERSE, [("BUY", 1, 4, "reverse"), ("SELL", 4, 7, "end_of_data")]),
        (OnOpposite.CLOSE, [("BUY", 1, 4, "signal")]),
        (OnOpposite.IGNORE, [("BUY", 1, 4, "signal")]),
    ],
)
def test_an_entry_that_closes_the_other_side_does_so_where_opposites_are_ignored(
    on_opposite: OnOpposite, expected: list[Any]
) -> None:
    said: dict[int, tuple[str, str | None]] = {1: ("BUY", None), 4: ("SELL", "long")}
    assert trades(said, on_opposite=on_opposite) == expected
    mirrored: dict[int, tuple[str, str | None]] = {1: ("SELL", None), 4: ("BUY", "short")}
    other = {"BUY": "SELL", "SELL": "BUY"}
    assert trades(mirrored, on_opposite=on_opposite) == [(other[side], *rest) for side, *rest in expected]


def test_without_it_an_opposite_entry_is_ignored_and_flat_it_opens() -> None:
    ignore = {"on_opposite": OnOpposite.IGNORE}
    assert trades({1: ("BUY", None), 4: ("SELL", None)}, **ignore) == [("BUY", 1, 7, "end_of_data")]
    assert trades({4: ("SELL", "long")}, **ignore) == [("SELL", 4, 7, "end_of_data")]
    assert trades({1: ("SELL", None), 4: ("SELL", "long")}, **ignore) == [("SELL", 1, 7, "end_of_data")]


def test_a_close_of_a_side_that_is_not_open_leaves_a_waiting_order_alone() -> None:
    prices = [1.105 if row == 3 else None for row in range(len(PRICES))]
    orders = ["limit" if price is not None else None for price in prices]
    columns = {"price": pl.Series(prices), "order": pl.Series(orders)}
    for side, opened in (("short", 1), (None, 0)):
        bars = closes_bars("H1", utc("2024-01-08 00:00"), [*PRICES[:5], 1.1, 1.11, 1.12])
        found = backtest(bars, saying({3: ("BUY", None), 4: ("CLOSE", side)}, **columns))
        assert found.trades.height == opened


@pytest.mark.parametrize(
    ("said", "what"),
    [
        (("BUY", "long"), 'closes beside BUY is "short" or null'),
        (("SELL", "short"), 'closes beside SELL is "long" or null'),
        (("CLOSE", "both"), "closes beside CLOSE is 'long' or 'short' or null"),
    ],
)
def test_what_is_no_side_to_close_fails_the_run(said: tuple[str, str], what: str) -> None:
    with pytest.raises(StrategyError, match=f"decision at 2024-01-08T02:00:00Z: {what}"):
        trades({2: said})


def test_it_is_text() -> None:
    with pytest.raises(StrategyError, match="column closes holds Float64, not long, short or null"):
        backtest(BARS, columns_of(lambda market: market.bars.select(action=pl.lit("CLOSE"), closes=pl.col("close"))))


def test_without_a_value_it_changes_nothing() -> None:
    said: dict[int, tuple[str, str | None]] = {1: ("BUY", None), 4: ("SELL", None)}
    with_column = backtest(BARS, saying(said))
    without = backtest(
        BARS, columns_of(lambda _: pl.DataFrame({"action": [said.get(i, (None,))[0] for i in range(8)]}))
    )
    assert with_column.result_digest == without.result_digest


SAID: tuple[tuple[str, str | None] | None, ...] = (
    *(None, None, ("CLOSE", "long"), ("CLOSE", "short"), ("CLOSE", None)),
    *(("BUY", None), ("BUY", "short"), ("SELL", None), ("SELL", "long")),
)


@settings(max_examples=60)
@given(
    script=st.lists(st.sampled_from(SAID), min_size=80, max_size=80),
    mode=st.sampled_from(ExecutionMode),
    on_opposite=st.sampled_from(OnOpposite),
    stop=st.sampled_from((None, 10.0, 25.0)),
)
def test_it_is_what_a_strategy_that_sees_its_position_would_say(
    script: list[tuple[str, str | None] | None], mode: ExecutionMode, on_opposite: OnOpposite, stop: float | None
) -> None:
    bars = sample("gbpusd_h1", len(script))
    given_columns = pl.DataFrame(
        {
            name: [None if said is None else said[part] for said in script]
            for part, name in enumerate(("action", "closes"))
        },
        schema={"action": pl.String, "closes": pl.String},
    )

    def decide(view: View) -> Decision | None:
        said = script[view.close.size - 1]
        if said is None:
            return None
        action, side = said
        is_open = view.position is not None and view.position.direction == {"long": "BUY", "short": "SELL"}.get(
            side or ""
        )
        if action == "CLOSE":
            return Decision("CLOSE") if side is None or is_open else None
        if is_open and on_opposite is OnOpposite.IGNORE:
            return Decision("CLOSE")
        return Decision("BUY" if action == "BUY" else "SELL")

    changes: dict[str, Any] = {"execution_mode": mode, "on_opposite": on_opposite, "stop_loss_pips": stop}
    columns = backtest(bars, columns_of(lambda _: given_columns), warm_up_bars=0, **changes)
    by_bar = backtest(bars, bar_by_bar(decide), warm_up_bars=0, **changes)
    assert columns.trades.equals(by_bar.trades, null_equal=True)
