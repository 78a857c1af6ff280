"""The open position, its exits, and the account they are booked in."""

from dataclasses import dataclass, field
from fractions import Fraction

from tests.engine.reference.model import Direction, ExitReason, Trade
from tests.engine.reference.numbers import round_money


@dataclass(frozen=True, slots=True)
class Fill:
    """An exit decided but not yet booked. volume 0: a spent target, which leaves no row."""

    price: Fraction
    volume: Fraction
    reason: ExitReason
    stop_loss: Fraction | None
    take_profit: Fraction | None
    moves_stop: bool = False


@dataclass(slots=True)
class Position:
    """volume:

    as opened. remaining: still open. targets: not yet spent. swap_per_lot: charged so far, account currency,
    unrounded.
    """

    position_id: int
    direction: Direction
    entry_time_us: int
    entry_price: Fraction
    entry_spread: Fraction
    volume: Fraction
    stop_loss: Fraction | None
    targets: list[Fraction]
    swap_per_lot: Fraction = Fraction(0)
    remaining: Fraction = field(init=False)
    entry_commission_left: Fraction = Fraction(0)
    stop_moves: bool = False

    def __post_init__(self) -> None:
        self.remaining = self.volume

    def gain(self, price: Fraction) -> Fraction:
        return price - self.entry_price if self.direction == "BUY" else self.entry_price - price

    def everything_left(self, price: Fraction, reason: ExitReason) -> Fill:
        return Fill(price, self.remaining, reason, self.stop_loss, self.targets[0] if self.targets else None)

    def move_stop_from_next_bar(self) -> None:
        self.stop_moves = True

    def let_the_moved_stop_count(self) -> None:
        if self.stop_moves:
            self.stop_loss, self.stop_moves = self.entry_price, False


class Books:
    """balance: deposit plus everything booked. position: the open one."""

    def __init__(self, deposit: Fraction, commission_per_lot: Fraction, contract: Fraction) -> None:
        self.deposit = self.balance = deposit
        self.commission_per_lot = commission_per_lot
        self.contract = contract
        self.booked: list[Fraction] = []
        self.position: Position | None = None
        self.exits: list[Exit] = []

    def enter(self, position: Position) -> None:
        position.entry_commission_left = self.half_commission(position.volume)
        self.book(-position.entry_commission_left)
        self.position = position

    def leave(self, row: "Exit") -> None:
        position = self.position
        assert position is not None
        for item in (row.gross, -row.exit_commission, row.swap):
            self.book(item)
        row.equity_after = self.balance
        position.remaining -= row.volume
        position.entry_commission_left -= row.entry_commission
        self.exits.append(row)
        if position.remaining == 0:
            self.position = None

    def half_commission(self, volume: Fraction) -> Fraction:
        return round_money(self.commission_per_lot / 2 * volume)

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
    """One row before it is printed.

    gross, both commissions (positive), swap and spread_cost in account currency, rounded.
    """

    position: Position
    fill: Fill
    exit_time_us: int
    gross: Fraction
    entry_commission: Fraction
    exit_commission: Fraction
    swap: Fraction
    spread_cost: Fraction
    equity_after: Fraction = Fraction(0)

    @classmethod
    def of(
        cls, position: Position, fill: Fill, *, exit_time_us: int, rate: Fraction, spread: Fraction, books: Books
    ) -> "Exit":
        is_final = fill.volume == position.remaining
        half = books.half_commission(fill.volume)
        return cls(
            position=position,
            fill=fill,
            exit_time_us=exit_time_us,
            gross=round_money(position.gain(fill.price) * books.contract * fill.volume * rate),
            entry_commission=position.entry_commission_left if is_final else half,
            exit_commission=half,
            swap=round_money(position.swap_per_lot * fill.volume),
            spread_cost=round_money(spread * fill.volume * books.contract * rate),
        )

    @property
    def volume(self) -> Fraction:
        return self.fill.volume

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
            exit_price=float(fill.price),
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
