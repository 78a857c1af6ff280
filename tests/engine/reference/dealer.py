"""What a fill costs and brings: spread, slippage, size, margin, commission, swap and rates, booked as they happen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from tests.engine.reference.books import Books, Exit, Fill, FilledAt, Position
from tests.engine.reference.calendar import nights
from tests.engine.reference.conversion import build_conversion
from tests.engine.reference.levels import Ask, quote
from tests.engine.reference.model import Bar, Config, Direction, ExitReason, RunRefusedError, Series
from tests.engine.reference.numbers import exact, price_grid, round_down, round_money, round_price
from tests.engine.reference.orders import Order


@dataclass(frozen=True, slots=True)
class Moment:
    """Where a fill is looked up: the bar it belongs to, its bid price, and the time up to which rates are known."""

    bar: Bar
    bid: Fraction
    known_us: int


@dataclass(frozen=True, slots=True)
class Opening:
    """An entry about to be booked.

    price: on the side it enters at, without slippage. leaves_at: the other side at that moment.
    """

    bar: Bar
    bar_index: int
    at: FilledAt
    price: Fraction
    leaves_at: Fraction
    slips: bool
    known_us: int


class Dealer:
    """warnings: counts by kind, as Simulation has them."""

    def __init__(self, config: Config, bars: Sequence[Bar], conversion_bars: Mapping[str, Series]) -> None:
        instrument = config.instrument
        self.config = config
        self.grid = price_grid(instrument.digits)
        self.contract = exact(instrument.contract)
        self.lot_step = exact(instrument.lot_step)
        self.slippage = exact(config.slippage_pips) * exact(instrument.pip)
        self.conversion = build_conversion(config, bars, conversion_bars)
        self.books = Books(exact(config.initial_balance))
        self.warnings: dict[str, int] = {}
        self.position_count = 0

    def warn(self, kind: str) -> None:
        self.warnings[kind] = self.warnings.get(kind, 0) + 1

    # Entries

    def enter(self, order: Order, opening: Opening) -> None:
        """Open a position, or count why it was not opened."""
        assert order.side is not None
        slippage = self.slippage if opening.slips else Fraction(0)
        price = self.worse(opening.price, slippage, buys=order.side == "BUY")
        volume = self.volume_of(order, price, opening.known_us)
        if volume is None:
            self.warn("not_sized")
            return
        margin_per_lot = self.margin_per_lot(price, opening.known_us)
        if self.config.leverage is not None and round_money(margin_per_lot * volume) > self.books.balance:
            self.warn("no_margin")
            return
        self.position_count += 1
        self.books.enter(
            Position(
                position_id=self.position_count,
                direction=order.side,
                entry_bar=opening.bar_index,
                entered_at=opening.at,
                entry_time_us=opening.bar.time_us,
                entry_price=price,
                entry_slippage=slippage,
                entry_spread=self.spread(opening.bar),
                volume=volume,
                stop_loss=order.stop_loss,
                targets=list(order.take_profits),
                trailing_stop=order.trailing_stop,
                max_bars=order.max_bars,
                best=opening.leaves_at,
                entry_commission_per_lot=self.commission_per_lot(price, opening.known_us),
                margin_per_lot=margin_per_lot,
            )
        )

    def volume_of(self, order: Order, entry: Fraction, known_us: int) -> Fraction | None:
        """The decision's, else what risk_pct allows, else the configured one; None when that opens nothing."""
        if order.volume is not None:
            return order.volume
        if self.config.risk_pct is None:
            return exact(0.1 if self.config.volume is None else self.config.volume)
        if order.stop_loss is None:
            return None
        distance = entry - order.stop_loss if order.side == "BUY" else order.stop_loss - entry
        if distance <= entry / 10**9:
            return None
        lost_per_lot = distance * self.contract * self.conversion.rate(known_us)
        volume = round_down(exact(self.config.risk_pct) * self.books.balance / lost_per_lot, self.lot_step)
        return volume if volume >= self.lot_step else None

    def margin_per_lot(self, price: Fraction, known_us: int) -> Fraction:
        if self.config.leverage is None:
            return Fraction(0)
        return self.contract * price / exact(self.config.leverage) * self.conversion.rate(known_us)

    def commission_per_lot(self, price: Fraction, known_us: int) -> Fraction:
        """Of one side, unrounded."""
        half = exact(self.config.commission_per_lot) / 2
        if self.config.commission_pct == 0:
            return half
        notional = self.contract * price * self.conversion.rate(known_us)
        return half + exact(self.config.commission_pct) / 100 * notional

    # Exits

    def leave(self, moment: Moment, reason: ExitReason) -> None:
        """Close all at the market."""
        position = self.books.position
        assert position is not None
        price = quote(moment.bid, self.ask(moment.bar), position.direction)
        self.book_exit(position.everything_left(price, reason), moment.bar, moment.known_us)

    def book_exit(self, fill: Fill, bar: Bar, known_us: int) -> None:
        position = self.books.position
        assert position is not None
        if fill.moves_stop and self.config.stop_to_entry:
            position.moves_to_entry = True
        if fill.volume == 0:
            return
        slips = fill.reason != "take_profit" or self.config.mode == "close_price"
        slippage = self.slippage if slips else Fraction(0)
        price = self.worse(fill.price, slippage, buys=position.direction == "SELL")
        spread = position.entry_spread if position.direction == "BUY" else self.spread(bar)
        rate = self.conversion.rate(known_us)
        is_final = fill.volume == position.remaining
        entry_share = round_money(position.entry_commission_per_lot * fill.volume)
        self.books.leave(
            Exit(
                position=position,
                fill=fill,
                exit_time_us=bar.time_us,
                exit_price=price,
                gross=round_money(position.gain(price) * self.contract * fill.volume * rate),
                entry_commission=position.entry_commission_left if is_final else entry_share,
                exit_commission=round_money(self.commission_per_lot(price, known_us) * fill.volume),
                swap=round_money(position.swap_per_lot * fill.volume),
                spread_cost=round_money(spread * fill.volume * self.contract * rate),
                slippage_cost=round_money((position.entry_slippage + slippage) * fill.volume * self.contract * rate),
            )
        )

    def share_of_target(self, remaining: Fraction) -> Fraction:
        """The volume that closes at a target which is not the last."""
        share = exact(self.config.tp_partial_close_ratio) * remaining
        return min(remaining, round_down(share + self.lot_step / 10**9, self.lot_step))

    # The account

    def charge_nights(self, first_us: int, last_us: int) -> None:
        """Charge what is open for each 17:00 New York between two moments, both included, at the rate then known."""
        position, instrument = self.books.position, self.config.instrument
        if position is None:
            return
        points = exact(instrument.swap_long if position.direction == "BUY" else instrument.swap_short)
        point = Fraction(1, 10**instrument.digits)
        for night_us, times in nights(first_us, last_us):
            if points != 0:
                position.swap_per_lot += points * point * self.contract * times * self.conversion.rate(night_us)

    def is_out_of_equity(self, moment: Moment) -> bool:
        position = self.books.position
        margin = Fraction(0) if position is None else position.margin_per_lot * position.remaining
        return self.equity_at(moment) <= round_money(exact(self.config.stop_out_pct) / 100 * margin)

    def equity_at(self, moment: Moment) -> Fraction:
        return self.books.equity(self.floating(moment))

    def floating(self, moment: Moment) -> Fraction:
        """What the open volume would bring at this close, swap charged so far included, exit costs not."""
        position = self.books.position
        if position is None:
            return Fraction(0)
        price = quote(moment.bid, self.ask(moment.bar), position.direction)
        gross = position.gain(price) * self.contract * position.remaining * self.conversion.rate(moment.known_us)
        return gross + position.swap_per_lot * position.remaining

    # Prices

    def worse(self, price: Fraction, slippage: Fraction, *, buys: bool) -> Fraction:
        if slippage == 0:
            return price
        return round_price(price + slippage if buys else price - slippage, self.grid)

    def ask(self, bar: Bar) -> Ask:
        """The ask to a bid of this bar."""
        return lambda bid: round_price(bid + self.spread(bar), self.grid)

    def sides(self, bar: Bar, bid: Fraction, side: Direction) -> tuple[Fraction, Fraction]:
        """What a position of this side enters at, and what it leaves at."""
        ask = self.ask(bar)(bid)
        return (ask, bid) if side == "BUY" else (bid, ask)

    def spread(self, bar: Bar) -> Fraction:
        """In price. Raises RunRefusedError when it should come from the bars and is not there."""
        if self.config.spread_source == "fixed":
            return exact(self.config.spread_pips) * exact(self.config.instrument.pip)
        if bar.spread_points is None:
            raise RunRefusedError("no recorded spread", bar.time_us)
        return exact(bar.spread_points) * Fraction(1, 10**self.config.instrument.digits)
