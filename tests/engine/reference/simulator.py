"""The run, bar by bar and in exact numbers: slow, and meant to be read beside docs/engine-rules.md."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from tests.engine.reference.books import Books, Exit, Fill, Position
from tests.engine.reference.calendar import is_skipped, nights, trading_day
from tests.engine.reference.candles import close_moments
from tests.engine.reference.conversion import build_conversion
from tests.engine.reference.levels import Quote, fill_levels_at_close, fill_levels_in_bar, quote
from tests.engine.reference.metrics import measure
from tests.engine.reference.model import DAY_US, MONTH_US, Bar, Config, Decision, RunRefusedError, Series, Simulation
from tests.engine.reference.numbers import exact, price_grid, round_down, round_price
from tests.engine.reference.orders import Order, read_order

MOST_DIGITS = 12
Ambiguity = Literal["stop_first", "target_first"]


def simulate(
    bars: Sequence[Bar],
    decisions: Sequence[Decision | None],
    config: Config,
    *,
    first_bar: int = 0,
    conversion_bars: Mapping[str, Series] | None = None,
    finer_bars: Series | None = None,
) -> Simulation:
    """Simulate a fixed sequence of decisions, one a bar.

    bars: warm-up first; simulated from index first_bar to the end. conversion_bars: by symbol, which is base then
    quote ("USDJPY").
    finer_bars: of the traded symbol, any range. Raises RunRefusedError (and its kinds) where a run is refused or fails.
    """
    if len(bars) != len(decisions) or not 0 <= first_bar < len(bars):
        raise RunRefusedError("one decision a bar, and at least one simulated bar")
    _refuse_bad_settings(config)
    stop_first = Run(bars, decisions, config, first_bar, conversion_bars or {}, finer_bars, "stop_first").play()
    target_first = Run(bars, decisions, config, first_bar, conversion_bars or {}, finer_bars, "target_first").play()
    books = stop_first.books
    profits = [row.profit for row in books.exits]
    simulated = bars[first_bar : first_bar + len(stop_first.equity)]
    measured = measure(
        books.deposit,
        profits,
        stop_first.equity,
        _periods(simulated, config),
        [stop_first.spread(bar) / exact(config.instrument.pip) for bar in simulated],
        _periods_a_year(config),
    )
    net_profit = float(sum(profits, Fraction(0)))
    return Simulation(
        trades=tuple(row.as_trade() for row in books.exits),
        equity=tuple(float(value) for value in stop_first.equity),
        ambiguous_bars=stop_first.ambiguous_bars,
        net_profit=net_profit,
        net_profit_stop_first=net_profit,
        net_profit_target_first=float(sum((row.profit for row in target_first.books.exits), Fraction(0))),
        final_equity=float(stop_first.equity[-1]),
        warnings=dict(stop_first.warnings),
        metrics=measured.values,
        null_reasons=measured.null_reasons,
        ratio_noise=measured.ratio_noise,
    )


def _periods(bars: Sequence[Bar], config: Config) -> Sequence[Hashable]:
    """What a return is taken over: a day, or a bar that is longer than one."""
    if config.timeframe_us > DAY_US:
        return range(len(bars))
    return [trading_day(bar.time_us, config.instrument.session) for bar in bars]


def _periods_a_year(config: Config) -> Fraction:
    if config.timeframe_us == MONTH_US:
        return Fraction(12)
    if config.timeframe_us > DAY_US:
        return Fraction("365.25") * DAY_US / config.timeframe_us
    return Fraction(365 if config.instrument.session == "always" else 252)


def _refuse_bad_settings(config: Config) -> None:
    if config.instrument.digits > MOST_DIGITS:
        raise RunRefusedError("more digits than prices are rounded to")
    volume = config.volume
    if volume is not None and (volume <= 0 or exact(volume) % exact(config.instrument.lot_step) != 0):
        raise RunRefusedError("volume off the lot step")


@dataclass(frozen=True, slots=True)
class Moment:
    """Where a fill is looked up: the bar it belongs to, its bid price, and the time up to which rates are known."""

    bar: Bar
    bid: Fraction
    known_us: int


class Run:
    """One pass over the bars under one answer to what cannot be known."""

    def __init__(
        self,
        bars: Sequence[Bar],
        decisions: Sequence[Decision | None],
        config: Config,
        first_bar: int,
        conversion_bars: Mapping[str, Series],
        finer_bars: Series | None,
        ambiguity: Ambiguity,
    ) -> None:
        self.bars, self.decisions, self.config, self.first_bar = bars, decisions, config, first_bar
        self.finer_bars: Sequence[Bar] = finer_bars.bars if finer_bars else ()
        self.ambiguity: Ambiguity = ambiguity
        self.closes_us = close_moments(bars, config.timeframe_us)
        self.grid = price_grid(config.instrument.digits)
        self.contract = exact(config.instrument.contract)
        self.lot_step = exact(config.instrument.lot_step)
        self.conversion = build_conversion(config, bars, conversion_bars)
        self.books = Books(exact(config.initial_balance), exact(config.commission_per_lot), self.contract)
        self.equity: list[Fraction] = []
        self.ambiguous_bars = 0
        self.warnings: dict[str, int] = {}
        self.position_count = 0
        self.ended = False

    def play(self) -> "Run":
        pending: Order | None = None
        for index in range(self.first_bar, len(self.bars)):
            pending = self.play_bar(index, pending)
            if self.ended:
                break
        return self

    def play_bar(self, index: int, pending: Order | None) -> Order | None:
        """One bar in the order of section 3; returns the decision to be carried out at the next open, in next_open."""
        bar = self.bars[index]
        carried_over = self.books.position is not None
        at_close = Moment(bar, exact(bar.close), self.closes_us[index])

        self.play_open_and_inside(index, pending)
        if self.config.mode == "close_price" and carried_over:
            self.fill_levels_at_close(at_close)
        self.stop_out(at_close)
        pending = None if self.ended else self.play_decision(index, at_close)
        if index == len(self.bars) - 1 and self.books.position is not None:
            self.leave(at_close, "end_of_data")

        if self.books.position is not None:
            self.books.position.let_the_moved_stop_count()
        equity = self.equity_at(at_close)
        self.books.check(equity, self.floating(at_close))
        self.equity.append(equity)
        return pending

    def play_open_and_inside(self, index: int, pending: Order | None) -> None:
        """What happens before the close: nights in a hole before the bar, its open, its inside, nights in it."""
        bar, known_us = self.bars[index], self.closes_us[max(0, index - 1)]
        self.charge_nights(known_us + 1, bar.time_us)
        if pending is not None:
            self.carry_out(pending, Moment(bar, exact(bar.open), bar.time_us), may_open=True)
        if self.config.mode != "close_price":
            self.fill_levels_in_bar(index)
        self.charge_nights(max(bar.time_us, known_us) + 1, self.closes_us[index] - 1)

    def play_decision(self, index: int, at_close: Moment) -> Order | None:
        """The decision at a close and the night there; returned is one that waits for the next open."""
        is_last, pending = index == len(self.bars) - 1, None
        order = self.take_decision(index)
        if order is not None and self.config.mode == "next_open":
            pending = order
        elif order is not None:
            self.carry_out(order, at_close, may_open=not is_last)
        self.stop_out(at_close)
        if not is_last:
            self.charge_nights(at_close.known_us, at_close.known_us)
            self.stop_out(at_close)
        return pending

    # Decisions

    def take_decision(self, index: int) -> Order | None:
        decision, bar, config = self.decisions[index], self.bars[index], self.config
        if decision is None or is_skipped(
            self.closes_us[index], config.skip_hours, config.skip_weekdays, config.skip_timezone
        ):
            return None
        return read_order(decision, bar, config)

    def carry_out(self, order: Order, moment: Moment, *, may_open: bool) -> None:
        position = self.books.position
        if order.action == "CLOSE":
            if position is not None:
                self.leave(moment, "signal")
            return
        if position is not None:
            if position.direction == order.action or self.config.on_opposite == "ignore":
                return
            if self.config.on_opposite == "close":
                self.leave(moment, "signal")
                return
            self.leave(moment, "reverse")
        if may_open:
            self.enter(order, moment)

    def enter(self, order: Order, moment: Moment) -> None:
        direction: Literal["BUY", "SELL"] = "BUY" if order.action == "BUY" else "SELL"
        spread = self.spread(moment.bar)
        price = self.ask(moment.bar)(moment.bid) if direction == "BUY" else moment.bid
        volume = order.volume
        if volume is None and self.config.risk_pct is not None:
            volume = self.volume_at_risk(direction, price, order.stop_loss, moment)
            if volume is None:
                self.warnings["not_sized"] = self.warnings.get("not_sized", 0) + 1
                return
        if volume is None:
            volume = exact(0.1 if self.config.volume is None else self.config.volume)
        self.position_count += 1
        self.books.enter(
            Position(
                position_id=self.position_count,
                direction=direction,
                entry_time_us=moment.bar.time_us,
                entry_price=price,
                entry_spread=spread,
                volume=volume,
                stop_loss=order.stop_loss,
                targets=list(order.take_profits),
            )
        )

    def volume_at_risk(
        self, direction: Literal["BUY", "SELL"], entry: Fraction, stop: Fraction | None, moment: Moment
    ) -> Fraction | None:
        """Lots by risk_pct, in whole steps; None when the decision opens nothing."""
        assert self.config.risk_pct is not None
        if stop is None:
            return None
        distance = entry - stop if direction == "BUY" else stop - entry
        if distance <= entry / 10**9:
            return None
        lost_per_lot = distance * self.contract * self.conversion.rate(moment.known_us)
        volume = round_down(exact(self.config.risk_pct) * self.books.balance / lost_per_lot, self.lot_step)
        return volume if volume >= self.lot_step else None

    # Levels

    def fill_levels_at_close(self, moment: Moment) -> None:
        if self.books.position is not None:
            price = quote(moment.bid, self.ask(moment.bar), self.books.position.direction)
            for fill in fill_levels_at_close(self.books.position, price, self.share_of_target):
                self.book_exit(fill, moment)

    def fill_levels_in_bar(self, index: int) -> None:
        if self.books.position is None:
            return
        bar, end_us = self.bars[index], self.closes_us[index]
        begin_us = bar.time_us if bar.begins_us is None else bar.begins_us
        finer = [each for each in self.finer_bars if begin_us <= each.time_us < end_us]
        side = self.books.position.direction
        quotes = [Quote.of(each, self.ask(bar), side) for each in (bar, *finer)]
        filled = fill_levels_in_bar(self.books.position, quotes[0], quotes[1:], self.share_of_target, self.ambiguity)
        self.ambiguous_bars += filled.was_ambiguous
        for fill in filled.fills:
            self.book_exit(fill, Moment(bar, fill.price, bar.time_us))

    def share_of_target(self, remaining: Fraction) -> Fraction:
        """The volume that closes at a target which is not the last."""
        share = exact(self.config.tp_partial_close_ratio) * remaining
        return min(remaining, round_down(share + self.lot_step / 10**9, self.lot_step))

    # Exits and money

    def leave(self, moment: Moment, reason: Literal["signal", "reverse", "stop_out", "end_of_data"]) -> None:
        position = self.books.position
        assert position is not None
        price = quote(moment.bid, self.ask(moment.bar), position.direction)
        self.book_exit(position.everything_left(price, reason), moment)

    def book_exit(self, fill: Fill, moment: Moment) -> None:
        position = self.books.position
        assert position is not None
        if fill.moves_stop and self.config.stop_to_entry:
            position.move_stop_from_next_bar()
        if fill.volume == 0:
            return
        spread = position.entry_spread if position.direction == "BUY" else self.spread(moment.bar)
        self.books.leave(
            Exit.of(
                position,
                fill,
                exit_time_us=moment.bar.time_us,
                rate=self.conversion.rate(moment.known_us),
                spread=spread,
                books=self.books,
            )
        )

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

    def stop_out(self, moment: Moment) -> None:
        if self.ended or self.equity_at(moment) > 0:
            return
        if self.books.position is not None:
            self.leave(moment, "stop_out")
        self.warnings["stop_out"] = 1
        self.ended = True

    def equity_at(self, moment: Moment) -> Fraction:
        return self.books.equity(self.floating(moment))

    def floating(self, moment: Moment) -> Fraction:
        """What the open volume would bring at this close, swap charged so far included, exit commission not."""
        position = self.books.position
        if position is None:
            return Fraction(0)
        price = quote(moment.bid, self.ask(moment.bar), position.direction)
        gross = position.gain(price) * self.contract * position.remaining * self.conversion.rate(moment.known_us)
        return gross + position.swap_per_lot * position.remaining

    def ask(self, bar: Bar) -> Callable[[Fraction], Fraction]:
        """The ask to a bid of this bar."""
        return lambda bid: round_price(bid + self.spread(bar), self.grid)

    def spread(self, bar: Bar) -> Fraction:
        """In price. Raises RunRefusedError when it should come from the bars and is not there."""
        if self.config.spread_source == "fixed":
            return exact(self.config.spread_pips) * exact(self.config.instrument.pip)
        if bar.spread_points is None:
            raise RunRefusedError("no recorded spread", bar.time_us)
        return exact(bar.spread_points) * Fraction(1, 10**self.config.instrument.digits)
