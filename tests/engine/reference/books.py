"""The open position, its exits, and the account they are booked in."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from tests.engine.reference.model import Direction, ExitReason, Trade
from tests.engine.reference.numbers import round_money

FilledAt = Literal["open", "inside", "close"]


@dataclass(frozen=True, slots=True)
class Fill:
    """An exit decided but not yet booked, without slippage. volume 0: a spent target, which leaves no row."""

    price: Fraction
    volume: Fraction
    reason: ExitReason
    stop_loss: Fraction | None
    take_profit: Fraction | None
    moves_stop: bool = False


@dataclass(slots=True)
class Position:
    """volume: as opened. remaining: still open. targets: not yet spent. swap_per_lot: charged so far, unrounded.

    entry_price has its slippage in it. best: the best price it could have left at since its entry, for the trail.
    entry_commission_per_lot and margin_per_lot are in account currency, at the entry's rate, unrounded. What is
    `coming` counts from the next bar on.
    """

    position_id: int
    direction: Direction
    entry_bar: int
    entered_at: FilledAt
    entry_time_us: int
    entry_price: Fraction
    entry_slippage: Fraction
    entry_spread: Fraction
    volume: Fraction
    stop_loss: Fraction | None
    targets: list[Fraction]
    trailing_stop: Fraction | None
    max_bars: int | None
    best: Fraction
    entry_commission_per_lot: Fraction
    margin_per_lot: Fraction
    swap_per_lot: Fraction = Fraction(0)
    remaining: Fraction = field(init=False)
    entry_commission_left: Fraction = Fraction(0)
    stop_reason: ExitReason = "stop_loss"
    moves_to_entry: bool = False
    coming_stop: Fraction | None = field(init=False)
    coming_reason: ExitReason = "stop_loss"
    coming_targets: list[Fraction] | None = None

    def __post_init__(self) -> None:
        self.remaining = self.volume
        self.coming_stop = self.stop_loss

    def gain(self, price: Fraction) -> Fraction:
        return price - self.entry_price if self.direction == "BUY" else self.entry_price - price

    def everything_left(self, price: Fraction, reason: ExitReason) -> Fill:
        return Fill(price, self.remaining, reason, self.stop_loss, self.targets[0] if self.targets else None)

    def better(self, one: Fraction, other: Fraction) -> Fraction:
        return max(one, other) if self.direction == "BUY" else min(one, other)

    def tighten(self, stop: Fraction, reason: ExitReason) -> None:
        """Let the stop be this one from the next bar on, where that is nearer to the market than it is."""
        if self.coming_stop is None or self.better(stop, self.coming_stop) != self.coming_stop:
            self.coming_stop, self.coming_reason = stop, reason

    def bars_held(self, bar: int) -> int:
        """How many bars it was open for at the close of this one."""
        return bar - self.entry_bar + (0 if self.entered_at == "close" else 1)

    def let_what_is_coming_count(self) -> None:
        self.stop_loss, self.stop_reason = self.coming_stop, self.coming_reason
        if self.coming_targets is not None:
            self.targets, self.coming_targets = self.coming_targets, None


class Books:
    """balance: deposit plus everything booked. position: the open one."""

    def __init__(self, deposit: Fraction) -> None:
        self.deposit = self.balance = deposit
        self.booked: list[Fraction] = []
        self.position: Position | None = None
        self.exits: list[Exit] = []

    def enter(self, position: Position) -> None:
        position.entry_commission_left = round_money(position.entry_commission_per_lot * position.volume)
        self.book(-position.entry_commission_left)
        self.position = position

    def leave(self, row: "Exit") -> None:
        position = self.position
        assert position is not None
        for item in (row.gross, -row.exit_commission, row.swap):
            self.book(item)
        row.equity_after = self.balance
        position.remaining -= row.fill.volume
        position.entry_commission_left -= row.entry_commission
        self.exits.append(row)
        if position.remaining == 0:
            self.position = None

    def equity(self, floating: Fraction) -> Fraction:
        return round_money(self.balance + floating)

    def book(self, amount: Fraction) -> None:
        assert amount == round_money(amount)
        self.booked.append(amount)
        self.balance += amount

    def check(self, equity: Fraction, floating: Fraction) -> None:
        """The identity of section 4, from the list of booked items and, apart from it, from the rows."""
        assert equity == round_money(self.deposit + sum(self.booked) + floating), "the books do not balance"
        unearned = self.position.entry_commission_left if self.position else Fraction(0)
        assert self.balance == self.deposit + sum(row.profit for row in self.exits) - unearned, "the rows do not add up"


@dataclass(slots=True)
class Exit:
    """One row before it is printed: its money in account currency, rounded; commissions positive.

    exit_price has its slippage in it.
    """

    position: Position
    fill: Fill
    exit_time_us: int
    exit_price: Fraction
    gross: Fraction
    entry_commission: Fraction
    exit_commission: Fraction
    swap: Fraction
    spread_cost: Fraction
    slippage_cost: Fraction
    equity_after: Fraction = Fraction(0)

    @property
    def profit(self) -> Fraction:
        return self.gross - self.entry_commission - self.exit_commission + self.swap

    def as_trade(self) -> Trade:
        fill, position = self.fill, self.position
        return Trade(
            position_id=position.position_id,
            direction=position.direction,
            entry_time=position.entry_time_us,
            exit_time=self.exit_time_us,
            entry_price=float(position.entry_price),
            exit_price=float(self.exit_price),
            volume=float(fill.volume),
            profit=float(self.profit),
            commission=float(self.entry_commission + self.exit_commission),
            spread_cost=float(self.spread_cost),
            swap=float(self.swap),
            equity_after=float(self.equity_after),
            stop_loss=None if fill.stop_loss is None else float(fill.stop_loss),
            take_profit=None if fill.take_profit is None else float(fill.take_profit),
            exit_reason=fill.reason,
        )
