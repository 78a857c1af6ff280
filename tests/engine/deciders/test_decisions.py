"""What a decision may say, and how a wrong one is refused: in columns, in a bar strategy's answer, in a signal file."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest

from engine.deciders.signals import Signals, signals_from_frame
from engine.errors import BadSignals, StrategyError
from engine.strategy import Decision
from tests.engine.bar_builders import closes_bars, utc
from tests.engine.run_builders import EURUSD, backtest, bar_by_bar, columns_of, scripted, specification_of

START = utc("2024-01-08 00:00")
BARS = closes_bars("H1", START, [1.1, 1.1, 1.1, 1.1, 1.1])
INFINITY, NAN = float("inf"), float("nan")

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"action": "BUY", "stop_loss": 1.1}, "BUY needs its stop_loss below the close: 1.1 against 1.1"),
    ({"action": "SELL", "stop_loss": 1.09}, "SELL needs its stop_loss above the close: 1.09 against 1.1"),
    ({"action": "BUY", "take_profit": 1.1}, "BUY needs its take_profit above the close: 1.1 against 1.1"),
    ({"action": "SELL", "take_profit": 1.2}, "SELL needs its take_profit below the close: 1.2 against 1.1"),
    (
        {"action": "BUY", "take_profit": 1.2, "take_profit_2": 1.2},
        "BUY needs its take_profit_2 above take_profit: 1.2 against 1.2",
    ),
    ({"action": "BUY", "stop_loss": NAN}, "stop_loss is NaN"),
    ({"action": "BUY", "take_profit": INFINITY}, "take_profit is infinite"),
    ({"action": "BUY", "volume": NAN}, "volume is NaN"),
    ({"action": "BUY", "volume": 0.015}, "volume 0.015 is not in whole lot steps of 0.01"),
    ({"action": "BUY", "volume": 0.0}, "volume 0.0 is not above 0"),
    ({"action": "SELL", "volume": -0.1}, "volume -0.1 is not above 0"),
    ({"action": "CLOSE", "volume": 0.1}, "CLOSE carries nothing else, but has volume"),
    ({"action": "HOLD"}, "unknown action 'HOLD': there are BUY, SELL, CLOSE, MOVE, CANCEL"),
    ({"action": "BUY", "trailing_stop": 0.0}, "trailing_stop 0.0 is not above 0"),
    ({"action": "BUY", "trailing_stop": NAN}, "trailing_stop is NaN"),
    ({"action": "BUY", "trailing_stop": 1e-10}, "trailing_stop 1e-10 is less than prices are rounded to"),
    ({"action": "SELL", "max_bars": 2.5}, "max_bars 2.5 is not a whole number of bars"),
    ({"action": "SELL", "max_bars": 0}, "max_bars 0 is not above 0"),
    ({"action": "BUY", "price": 1.09}, "price without an order, which is limit or stop"),
    ({"action": "BUY", "order": "market", "expires_bars": 3}, "expires_bars without an order, which is limit or stop"),
    ({"action": "BUY", "order": "limit"}, "a limit order needs a price"),
    ({"action": "BUY", "order": "Limit", "price": 1.09}, "unknown order 'Limit': there are market, limit, stop"),
    ({"action": "BUY", "order": "limit", "price": 1.1}, "BUY limit needs its price below the close: 1.1 against 1.1"),
    ({"action": "SELL", "order": "stop", "price": 1.2}, "SELL stop needs its price below the close: 1.2 against 1.1"),
    ({"action": "BUY", "order": "stop", "price": INFINITY}, "price is infinite"),
    (
        {"action": "BUY", "order": "stop", "price": 1.2, "stop_loss": 1.21},
        "BUY needs its stop_loss below its price: 1.21 against 1.2",
    ),
    (
        {"action": "SELL", "order": "limit", "price": 1.2, "take_profit": 1.2},
        "SELL needs its take_profit below its price: 1.2 against 1.2",
    ),
    ({"action": "MOVE"}, "MOVE needs a stop_loss or a take_profit"),
    (
        {"action": "MOVE", "stop_loss": 1.1},
        "no position takes the levels of this MOVE: stop_loss 1.1 against",
    ),
    ({"action": "MOVE", "stop_loss": 1.2, "take_profit": 1.3}, "stop_loss 1.2, take_profit 1.3 against the close 1.1"),
    ({"action": "MOVE", "take_profit": 1.2, "take_profit_2": 1.15}, "take_profit 1.2, take_profit_2 1.15 against"),
    ({"action": "MOVE", "stop_loss": NAN, "take_profit": 1.2}, "stop_loss is NaN"),
    ({"action": "MOVE", "stop_loss": 1.0, "volume": 0.1}, "MOVE carries levels only, but has volume"),
    (
        {"action": "MOVE", "stop_loss": 1.0, "order": "limit", "max_bars": 2},
        "MOVE carries levels only, but has max_bars, order",
    ),
    ({"action": "CANCEL", "volume": 0.1}, "CANCEL carries nothing else, but has volume"),
    ({"action": "BUY", "pattern_name": "n" * 51}, "is longer than 50 characters"),
]


def rows_of(*rows: dict[str, Any]) -> pl.DataFrame:
    texts = ("action", "order", "pattern_name")
    columns = {name: pl.String if name in texts else pl.Float64 for row in rows for name in row}
    return pl.DataFrame(
        {name: pl.Series([row.get(name) for row in rows], dtype=kind) for name, kind in columns.items()}
    )


def as_decision(row: dict[str, Any]) -> Decision:
    targets = tuple(row[name] for name in ("take_profit", "take_profit_2") if name in row)
    others = {name: value for name, value in row.items() if not name.startswith("take_profit")}
    return Decision(take_profits=targets, **others)


@pytest.mark.parametrize(("row", "words"), WRONG)
def test_a_wrong_decision_fails_the_run_with_its_time(row: dict[str, Any], words: str) -> None:
    frame = rows_of({"action": None}, {"action": None}, row, {"action": None}, {"action": None})
    by_bar = bar_by_bar(lambda view: as_decision(row) if view.close.size == 3 else None)
    for decider in (columns_of(lambda _: frame), by_bar):
        with pytest.raises(StrategyError) as refused:
            backtest(BARS, decider)
        assert str(refused.value).startswith("decision at 2024-01-08T02:00:00Z: ")
        assert words in str(refused.value)


@pytest.mark.parametrize(("row", "words"), WRONG)
def test_a_wrong_row_of_a_signal_file_is_named(row: dict[str, Any], words: str) -> None:
    with pytest.raises(BadSignals) as refused:
        signals([1, 2], [{"action": "CLOSE"}, row])
    assert str(refused.value).startswith("s.csv: row 2 (time 2024-01-08T02:00:00Z): ")
    assert words in str(refused.value)


def signals(hours: Sequence[int | None], rows: Sequence[dict[str, Any]], **changes: Any) -> Signals:
    times = [None if hour is None else START + timedelta(hours=hour) for hour in hours]
    return signals_at(times, rows_of(*rows), **changes)


def signals_at(times: Sequence[datetime | None], rows: pl.DataFrame, **changes: Any) -> Signals:
    frame = rows.insert_column(0, pl.Series("time", times, dtype=pl.Datetime("us", "UTC")))
    first = changes.pop("first", 0)
    return signals_from_frame(frame, "s.csv", BARS, first, specification_of(BARS, **changes), EURUSD)


@pytest.mark.parametrize(
    ("hours", "rows", "message"),
    [
        ([1, 1], [{"action": "BUY"}, {"action": "SELL"}], "row 2 (time 2024-01-08T01:00:00Z): time does not rise"),
        ([2, 1], [{"action": "BUY"}, {"action": "SELL"}], "row 2 (time 2024-01-08T01:00:00Z): time does not rise"),
        ([None, 1], [{"action": "BUY"}, {"action": "SELL"}], "row 1 (time null): time is null"),
        ([1], [{"action": None, "volume": 1.0}], "row 1 (time 2024-01-08T01:00:00Z): action is null"),
        (
            [1],
            [{"action": "CLOSE", "stop_loss": 1.0, "take_profit": 1.2}],
            "row 1 (time 2024-01-08T01:00:00Z): CLOSE carries nothing else, but has stop_loss, take_profit",
        ),
        (
            [1],
            [{"action": "CANCEL", "trailing_stop": 0.1, "order": "stop"}],
            "row 1 (time 2024-01-08T01:00:00Z): CANCEL carries nothing else, but has trailing_stop, order",
        ),
        (
            [1],
            [{"action": "BUY", "take_profit": None, "take_profit_2": 1.2}],
            "row 1 (time 2024-01-08T01:00:00Z): take_profit_2 without take_profit",
        ),
    ],
)
def test_a_signal_file_is_checked_row_by_row(hours: list[int], rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(BadSignals) as refused:
        signals(hours, rows)
    assert str(refused.value).startswith(f"s.csv: {message}")


def test_a_signal_between_bars_is_refused() -> None:
    with pytest.raises(BadSignals, match=r"row 1 \(time 2024-01-08T01:30:00Z\): there is no bar at this time"):
        signals_at([START + timedelta(minutes=90)], rows_of({"action": "BUY"}))


def test_signals_outside_the_range_are_ignored_but_checked() -> None:
    inside = signals(
        [-5, 0, 1, 3], [{"action": "BUY"}, {"action": "BUY"}, {"action": "SELL"}, {"action": "BUY"}],
        start=START + timedelta(hours=1), end=START + timedelta(hours=3), first=1,
    )  # fmt: skip
    assert inside.decisions.rows.tolist() == [0]
    assert inside.decisions.actions.tolist() == [-1]
    with pytest.raises(BadSignals, match=r"row 1 .*: BUY needs its take_profit above its stop_loss"):
        signals([-5], [{"action": "BUY", "stop_loss": 1.2, "take_profit": 1.1}])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"action": ["BUY"]}, "column time is missing"),
        ({"time": [START]}, "column action is missing"),
        ({"time": [START], "action": ["BUY"], "stoploss": [1.0]}, "unknown column stoploss (did you mean stop_loss?)"),
        ({"time": [START], "action": ["BUY"], "take_profit_2": [1.0]}, "unknown column take_profit_2"),
        ({"time": [START], "action": ["BUY"], "volume": ["x"]}, "column volume holds String, not numbers"),
        ({"time": [1], "action": ["BUY"]}, "column time holds Int64, not times"),
    ],
)
def test_a_signal_file_of_the_wrong_shape_is_refused(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(BadSignals) as refused:
        signals_from_frame(pl.DataFrame(columns), "s.csv", BARS, 0, specification_of(BARS), EURUSD)
    assert str(refused.value).startswith(f"s.csv: {message}")


def test_signals_of_a_run_say_so_and_are_in_its_digest() -> None:
    one = backtest(BARS, signals([1], [{"action": "BUY"}]))
    other = backtest(BARS, signals([2], [{"action": "BUY"}]))
    again = backtest(BARS, signals([1], [{"action": "BUY"}]))
    assert one.trades["source"].to_list() == ["signals"]
    assert one.result_digest == again.result_digest != other.result_digest


def test_a_column_without_a_value_is_no_input_of_the_digest() -> None:
    plain = pl.DataFrame({"action": ["BUY"], "take_profit": [2.0]})
    padded = plain.with_columns(
        pl.lit(None, pl.Float64).alias(name) for name in ("volume", "stop_loss", "take_profit_2", "take_profit_3")
    )
    one, other = (backtest(BARS, signals_at([START + timedelta(hours=1)], rows)) for rows in (plain, padded))
    assert one.result_digest == other.result_digest


def test_columns_of_the_wrong_shape_are_refused() -> None:
    for frame, message in [
        (pl.DataFrame({"action": ["BUY"]}), "returned 1 rows for 5 bars"),
        (
            pl.DataFrame({"acton": [None] * 5, "mood": [None] * 5}),
            r"column action is missing; unknown column acton \(did you mean action\?\); unknown column mood$",
        ),
        (pl.DataFrame({"action": [1] * 5}), "column action holds Int64"),
        (pl.DataFrame({"action": [None] * 5, "sl": [1.0] * 5}), "unknown column sl"),
        (pl.DataFrame({"action": [None] * 5, "order": [1.0] * 5}), "column order holds Float64, not market, limit"),
        (pl.DataFrame({"action": [None] * 5, "max_bars": [True] * 5}), "column max_bars holds Boolean, not numbers"),
    ]:
        with pytest.raises(StrategyError, match=message):
            backtest(BARS, columns_of(lambda _, frame=frame: frame))  # type: ignore[misc]  # a default binds the loop's


def test_levels_beside_a_close_are_not_looked_at_in_columns() -> None:
    result = backtest(BARS, scripted(["BUY", None, "CLOSE", None, None], stop_loss=[1.0] * 5))
    assert result.trades["exit_reason"].to_list() == ["signal"]


def test_actions_may_be_categories() -> None:
    plain = backtest(BARS, scripted(["BUY", None, "CLOSE", None, None])).trades
    for kind in (pl.Enum(["SELL", "CLOSE", "BUY"]), pl.Categorical()):
        frame = pl.DataFrame({"action": pl.Series(["BUY", None, "CLOSE", None, None], dtype=kind)})
        assert backtest(BARS, columns_of(lambda _, frame=frame: frame)).trades.equals(plain)  # type: ignore[misc]  # bound


def test_decisions_on_warm_up_bars_are_neither_taken_nor_checked() -> None:
    wrong_before = scripted(["BUY", None, "SELL", None, None], stop_loss=[9.0, None, None, None, None])
    trades = backtest(BARS, wrong_before, start=START + timedelta(hours=1)).trades
    assert trades["direction"].to_list() == ["SELL"]


def test_pips_fill_in_what_a_decision_leaves_out() -> None:
    script = scripted(["BUY", None, "SELL", None, None], stop_loss=[1.05, None, None, None, None])
    trades = backtest(BARS, script, stop_loss_pips=12.5, take_profit_pips=30.0).trades
    assert trades["stop_loss"].to_list() == [1.05, 1.10125]
    assert trades["take_profit"].to_list() == [1.103, 1.097]


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({"skip_hours": (2,)}, ["CLOSE", "SELL"]),
        ({"skip_hours": (3,)}, ["BUY", "SELL"]),
        ({"skip_hours": (3, 4)}, ["BUY"]),
        ({"skip_hours": (22,), "skip_timezone": "America/New_York"}, ["BUY", "SELL"]),
        ({"skip_weekdays": (0,)}, []),
        ({"skip_weekdays": (6,), "skip_timezone": "America/New_York"}, []),
        ({"skip_weekdays": (1, 2, 3, 4, 5, 6)}, ["BUY", "CLOSE", "SELL"]),
    ],
)
def test_no_decision_is_taken_whose_close_falls_in_skipped_hours(settings: dict[str, Any], kept: list[str]) -> None:
    actions = [None, "BUY", "CLOSE", "SELL", None]
    expected = backtest(BARS, scripted([action if action in kept else None for action in actions])).trades
    assert expected.equals(backtest(BARS, scripted(actions)).trades) == (len(kept) == 3)
    assert backtest(BARS, scripted(actions), **settings).trades.equals(expected)

    def decide(view: Any) -> Decision | None:
        action = actions[view.close.size - 1]
        return None if action is None else Decision(action)

    assert backtest(BARS, bar_by_bar(decide), **settings).trades.equals(expected)


def test_what_is_no_decision_fails_the_run() -> None:
    with pytest.raises(StrategyError, match="at 2024-01-08T00:00:00Z: decide returned 'BUY', not a Decision"):
        backtest(BARS, bar_by_bar(lambda _: "BUY"))  # type: ignore[arg-type,return-value]  # what a user may do


def test_metadata_that_is_no_json_fails_the_run() -> None:
    with pytest.raises(StrategyError, match="pattern_metadata is not JSON"):
        backtest(BARS, bar_by_bar(lambda _: Decision("BUY", pattern_metadata={"at": NAN})))


def test_more_targets_than_ever_before_still_fit() -> None:
    bars = closes_bars("H1", START, [1.1 + 0.001 * n for n in range(12)])
    first = Decision("BUY", 0.32, take_profits=(1.1005, 1.1015))
    later = Decision("BUY", 0.32, take_profits=tuple(round(1.1055 + 0.001 * n, 4) for n in range(5)))
    trades = backtest(bars, bar_by_bar(lambda view: {1: first, 6: later}.get(view.close.size))).trades
    assert trades["volume"].to_list() == [0.16, 0.16, 0.16, 0.08, 0.04, 0.02, 0.02]
