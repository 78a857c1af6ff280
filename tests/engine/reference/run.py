"""One pass over the bars, in the order of sections 3 and 7."""

from collections.abc import Mapping, Sequence
from fractions import Fraction

from tests.engine.reference.books import FilledAt, Position
from tests.engine.reference.calendar import is_skipped
from tests.engine.reference.candles import close_moments
from tests.engine.reference.dealer import Dealer, Moment, Opening
from tests.engine.reference.entry_bar import (
    FinerBar,
    fill_levels_after_entry,
    fill_quote_of,
    is_reached,
    is_reached_at_close,
    opens_beyond,
)
from tests.engine.reference.levels import (
    Ambiguity,
    Filled,
    Quote,
    fill_levels_at_close,
    fill_levels_in_bar,
    quote,
)
from tests.engine.reference.model import Bar, Config, Decision, Series
from tests.engine.reference.numbers import exact, round_price
from tests.engine.reference.orders import Order, read_order


class Run:
    """One pass over the bars under one answer to what cannot be known.

    pending: the decision to be carried out at the next open, in next_open. resting: the entry order that waits.
    """

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
        self.dealer = Dealer(config, bars, conversion_bars)
        self.books = self.dealer.books
        self.equity: list[Fraction] = []
        self.ambiguous_bars = 0
        self.pending: Order | None = None
        self.resting: Order | None = None
        self.ended = False

    def play(self) -> "Run":
        for index in range(self.first_bar, len(self.bars)):
            self.play_bar(index)
            if self.ended:
                break
        return self

    def play_bar(self, index: int) -> None:
        carried_over = self.books.position is not None
        at_close = self.at_close(index)
        self.play_open_and_inside(index)
        if self.config.mode == "close_price":
            self.play_levels_at_close(index, carried_over=carried_over)
        self.test_equity(at_close)
        if not self.ended:
            self.play_close(index)
        if self.is_last(index) and self.books.position is not None:
            self.dealer.leave(at_close, "end_of_data")

        if self.books.position is not None:
            self.books.position.let_what_is_coming_count()
        if self.resting is not None and self.resting.is_over_after(index):
            self.resting = None
        equity = self.dealer.equity_at(at_close)
        self.books.check(equity, self.dealer.floating(at_close))
        self.equity.append(equity)

    def play_open_and_inside(self, index: int) -> None:
        """What happens before the close: nights in a hole before the bar, its open, its inside, nights in it."""
        bar, known_us = self.bars[index], self.closes_us[max(0, index - 1)]
        self.dealer.charge_nights(known_us + 1, bar.time_us)
        if self.config.mode == "next_open":
            self.leave_after_max_bars(index - 1, self.at_open(index))
            if self.pending is not None:
                self.carry_out(self.pending, index, "open", may_open=True)
                self.pending = None
        if self.config.mode != "close_price":
            self.fill_in_bar(index)
        self.dealer.charge_nights(max(bar.time_us, known_us) + 1, self.closes_us[index] - 1)

    def play_levels_at_close(self, index: int, *, carried_over: bool) -> None:
        bar = self.bars[index]
        if carried_over:
            self.fill_levels_at_close(index)
        order = self.resting
        if order is None or self.is_last(index) or not is_reached_at_close(order, bar, self.dealer.ask(bar)):
            return
        self.resting = None
        self.enter_at_market(order, index, "close")

    def play_close(self, index: int) -> None:
        """From the trail to the night, once levels are filled and the equity is tested."""
        at_close = self.at_close(index)
        self.move_stop(index)
        if self.config.mode != "next_open":
            self.leave_after_max_bars(index, at_close)
        order = self.take_decision(index)
        if order is not None and self.config.mode == "next_open":
            self.pending = order
        elif order is not None:
            self.carry_out(order, index, "close", may_open=not self.is_last(index))
        self.test_equity(at_close)
        if not self.is_last(index):
            self.dealer.charge_nights(at_close.known_us, at_close.known_us)
            self.test_equity(at_close)

    # Decisions

    def take_decision(self, index: int) -> Order | None:
        decision, config = self.decisions[index], self.config
        if decision is None or is_skipped(
            self.closes_us[index], config.skip_hours, config.skip_weekdays, config.skip_timezone
        ):
            return None
        return read_order(decision, self.bars[index], index, config)

    def carry_out(self, order: Order, index: int, at: FilledAt, *, may_open: bool) -> None:
        """at: this bar's open or its close."""
        position = self.books.position
        moment = self.at_open(index) if at == "open" else self.at_close(index)
        if order.action in ("CLOSE", "CANCEL"):
            self.resting = None
            if order.action == "CLOSE" and position is not None:
                self.dealer.leave(moment, "signal")
        elif order.action == "MOVE":
            self.move_levels(order, at_once=at == "open")
        elif order.kind != "market":
            self.resting = order if position is None else None
        elif position is None or self.makes_room(position, order, moment):
            self.resting = None
            if may_open:
                self.enter_at_market(order, index, at)

    def makes_room(self, position: Position, order: Order, moment: Moment) -> bool:
        """Whether a position met by a decision to open is reversed; it leaves where on_opposite says so."""
        if position.direction == order.action or self.config.on_opposite == "ignore":
            return False
        is_reversed = self.config.on_opposite == "reverse"
        self.dealer.leave(moment, "reverse" if is_reversed else "signal")
        return is_reversed

    def move_levels(self, order: Order, *, at_once: bool) -> None:
        position = self.books.position
        if position is None:
            return
        if position.direction != order.side:
            self.dealer.warn("not_moved")
            return
        if order.stop_loss is not None:
            position.coming_stop, position.coming_reason = order.stop_loss, "stop_loss"
        if order.take_profits:
            position.coming_targets = list(order.take_profits)
        if at_once:
            position.let_what_is_coming_count()

    def enter_at_market(self, order: Order, index: int, at: FilledAt) -> None:
        """At an open or a close; a limit order slips at a close only."""
        assert order.side is not None
        moment = self.at_open(index) if at == "open" else self.at_close(index)
        price, leaves_at = self.dealer.sides(moment.bar, moment.bid, order.side)
        slips = order.kind != "limit" or at == "close"
        self.dealer.enter(order, Opening(moment.bar, index, at, price, leaves_at, slips, moment.known_us))

    # Levels and entry orders

    def fill_in_bar(self, index: int) -> None:
        """intra_candle and next_open: an entry order first, where one rests, then the levels of what is open."""
        bar, order = self.bars[index], self.resting
        ask = self.dealer.ask(bar)
        if order is not None and opens_beyond(order, bar, ask):
            self.resting = None
            self.enter_at_market(order, index, "open")
        elif order is not None and is_reached(order, bar, ask):
            self.resting = None
            self.enter_inside(order, index)
            return
        position = self.books.position
        if position is not None:
            quotes = [Quote.of(each, ask, position.direction) for each in (bar, *self.finer_within(index))]
            share = self.dealer.share_of_target
            self.book(fill_levels_in_bar(position, quotes[0], quotes[1:], share, self.ambiguity), bar)

    def enter_inside(self, order: Order, index: int) -> None:
        assert order.price is not None
        bar = self.bars[index]
        leaves_at = fill_quote_of(order, order.price, self.dealer.spread(bar), self.dealer.grid)
        slips = order.kind == "stop"
        self.dealer.enter(order, Opening(bar, index, "inside", order.price, leaves_at, slips, bar.time_us))
        position = self.books.position
        if position is None:
            return
        ask = self.dealer.ask(bar)
        filled = fill_levels_after_entry(
            position,
            order,
            leaves_at,
            Quote.of(bar, ask, position.direction),
            [FinerBar.of(each, ask, order, position) for each in self.finer_within(index)],
            self.dealer.share_of_target,
            self.ambiguity,
        )
        self.book(filled, bar)

    def finer_within(self, index: int) -> list[Bar]:
        bar = self.bars[index]
        begin_us = bar.time_us if bar.begins_us is None else bar.begins_us
        return [each for each in self.finer_bars if begin_us <= each.time_us < self.closes_us[index]]

    def book(self, filled: Filled, bar: Bar) -> None:
        self.ambiguous_bars += filled.was_ambiguous
        for fill in filled.fills:
            self.dealer.book_exit(fill, bar, bar.time_us)

    def fill_levels_at_close(self, index: int) -> None:
        position, moment = self.books.position, self.at_close(index)
        if position is not None:
            price = quote(moment.bid, self.dealer.ask(moment.bar), position.direction)
            for fill in fill_levels_at_close(position, price, self.dealer.share_of_target):
                self.dealer.book_exit(fill, moment.bar, moment.known_us)

    # What a close does by itself

    def test_equity(self, moment: Moment) -> None:
        if self.ended or not self.dealer.is_out_of_equity(moment):
            return
        if self.books.position is not None:
            self.dealer.leave(moment, "stop_out")
        self.dealer.warn("stop_out")
        self.ended = True

    def move_stop(self, index: int) -> None:
        """To the entry where a target was filled, then by the trail; both count from the next bar on."""
        position = self.books.position
        if position is None:
            return
        if position.moves_to_entry:
            position.tighten(position.entry_price, "stop_loss")
            position.moves_to_entry = False
        if position.trailing_stop is not None:
            position.best = self.best_since_entry(position, index)
            distance = position.trailing_stop if position.direction == "BUY" else -position.trailing_stop
            position.tighten(round_price(position.best - distance, self.dealer.grid), "trailing_stop")

    def best_since_entry(self, position: Position, index: int) -> Fraction:
        if index == position.entry_bar and position.entered_at != "open":
            return position.best
        bar = self.bars[index]
        bid = bar.high if position.direction == "BUY" else bar.low
        if self.config.mode == "close_price":
            bid = bar.close
        return position.better(position.best, quote(exact(bid), self.dealer.ask(bar), position.direction))

    def leave_after_max_bars(self, index: int, moment: Moment) -> None:
        """At the close of the bar of this number, or at the open after it."""
        position = self.books.position
        if position is not None and position.max_bars is not None and position.bars_held(index) >= position.max_bars:
            self.dealer.leave(moment, "time")

    # Moments

    def at_open(self, index: int) -> Moment:
        bar = self.bars[index]
        return Moment(bar, exact(bar.open), bar.time_us)

    def at_close(self, index: int) -> Moment:
        bar = self.bars[index]
        return Moment(bar, exact(bar.close), self.closes_us[index])

    def is_last(self, index: int) -> bool:
        return index == len(self.bars) - 1
