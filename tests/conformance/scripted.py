"""The decisions of `agreement` carried out by backtesting.py."""

import warnings

import numpy as np
import pandas as pd
from agreement import DEPOSIT, Decisions, Trade
from backtesting import Backtest, Strategy


def theirs(frame: pd.DataFrame, decisions: Decisions, *, trade_on_close: bool) -> list[Trade]:
    """Their trades, without spread and costs."""
    return trades_in(rows_of_theirs(frame, decisions, trade_on_close=trade_on_close))


def rows_of_theirs(
    frame: pd.DataFrame,
    decisions: Decisions,
    *,
    trade_on_close: bool = False,
    size: int = 1,
    commission: float = 0.0,
    spread: float = 0.0,
) -> pd.DataFrame:
    """Their table of trades in the order of exits, `size` pieces each. commission, spread: fractions of the price."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        test = Backtest(
            frame,
            Scripted,
            cash=DEPOSIT,
            commission=commission,
            spread=spread,
            trade_on_close=trade_on_close,
            exclusive_orders=decisions.order == "market",
            finalize_trades=True,
        )
        rows = test.run(frame=frame, decisions=decisions, size=size, trade_on_close=trade_on_close)["_trades"]
    return rows.sort_values(["ExitBar", "EntryBar"])


class Scripted(Strategy):  # type: ignore[misc]
    """Parameters of a run have to be attributes of the class in their program."""

    frame: pd.DataFrame = None
    decisions: Decisions = None
    size = 1
    trade_on_close = False

    def init(self) -> None:
        self.last_bar_of_order = len(self.frame)

    def next(self) -> None:
        row = len(self.data) - 1
        # First, since what moves last is first in their queue: the close by an exclusive order comes before the stop.
        self.trail(row)
        if row >= self.last_bar_of_order:
            self.cancel()
        action = self.decisions.action[row]
        if action == "CLOSE":
            self.position.close()
        elif action is not None and self.may_open(action):
            self.cancel()
            self.open(action, row)

    def may_open(self, action: str) -> bool:
        """Same-side signals are left out, as in our rules, and orders while a position is open."""
        if self.at_market:
            return not (self.position.is_long if action == "BUY" else self.position.is_short)
        return not self.position

    def open(self, action: str, row: int) -> None:
        columns = {"sl": self.decisions.stop, "tp": self.decisions.target, "tag": self.decisions.trail}
        if self.decisions.price is not None:
            columns[self.decisions.order] = self.decisions.price
        asked = {
            name: float(column[row])
            for name, column in columns.items()
            if column is not None and not np.isnan(column[row])
        }
        if "tag" in asked and "sl" not in asked:
            from_where = self.data.Close[row] if self.at_market else asked[self.decisions.order]
            asked["sl"] = round(float(from_where) - (1 if action == "BUY" else -1) * asked["tag"], 9)
        (self.buy if action == "BUY" else self.sell)(size=self.size, **asked)
        self.last_bar_of_order = len(self.frame) if self.decisions.expires is None else row + self.decisions.expires

    def cancel(self) -> None:
        for order in self.orders:
            if not order.is_contingent:
                order.cancel()

    def trail(self, row: int) -> None:
        """The stop follows the best price since the entry: that of the entry bar only after a fill at its open."""
        for trade in self.trades:
            at_open = not self.trade_on_close and trade.entry_price == self.frame["Open"].iloc[trade.entry_bar]
            since = slice(trade.entry_bar + (0 if at_open else 1), row + 1)
            if trade.tag is None or since.start > row:
                continue
            side = 1 if trade.is_long else -1
            best = self.data.High[since].max() if side > 0 else self.data.Low[since].min()
            stop = round(float(best) - side * trade.tag, 9)
            if side * (stop - trade.sl) > 0:
                trade.sl = stop

    @property
    def at_market(self) -> bool:
        return self.decisions.order == "market"


def trades_in(rows: pd.DataFrame) -> list[Trade]:
    columns = ["Size", "EntryBar", "ExitBar", "EntryPrice", "ExitPrice"]
    return [
        Trade("BUY" if size > 0 else "SELL", int(entry), int(leaving), round(bought, 9), round(sold, 9))
        for size, entry, leaving, bought, sold in rows[columns].itertuples(index=False)
    ]


def closed_before_the_end(trades: list[Trade], frame: pd.DataFrame) -> list[Trade]:
    """Theirs closes what is left in other ways: at the last open, or on the bar before (README.md, 1)."""
    return [trade for trade in trades if trade.exit_bar < len(frame) - 2]
