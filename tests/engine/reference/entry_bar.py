"""The bar inside which an entry order fills: what of its levels it reached after the fill, and what before."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from tests.engine.reference.books import Position
from tests.engine.reference.levels import Ambiguity, Ask, Filled, Ladder, Quote, Share
from tests.engine.reference.model import Bar
from tests.engine.reference.numbers import exact, reaches, round_price
from tests.engine.reference.orders import Order

Verdict = Literal["stop", "target", "open", "none"]


def opens_beyond(order: Order, bar: Bar, ask: Ask) -> bool:
    """Whether an entry order fills at this bar's open."""
    return _reached_by(order, exact(bar.open), ask)


def is_reached(order: Order, bar: Bar, ask: Ask) -> bool:
    """Whether an entry order fills inside this bar, if not at its open."""
    return _reached_by(order, exact(bar.low if order.fills_downwards() else bar.high), ask)


def is_reached_at_close(order: Order, bar: Bar, ask: Ask) -> bool:
    return _reached_by(order, exact(bar.close), ask)


def _reached_by(order: Order, bid: Fraction, ask: Ask) -> bool:
    assert order.price is not None
    price = ask(bid) if order.side == "BUY" else bid
    return reaches(price, order.price, downwards=order.fills_downwards())


@dataclass(frozen=True, slots=True)
class FinerBar:
    """quote: on the side the position leaves at. opens_beyond, fills: what it does to the order."""

    quote: Quote
    opens_beyond: bool
    fills: bool

    @classmethod
    def of(cls, bar: Bar, ask: Ask, order: Order, position: Position) -> "FinerBar":
        at_open = opens_beyond(order, bar, ask)
        return cls(Quote.of(bar, ask, position.direction), at_open, at_open or is_reached(order, bar, ask))


def fill_levels_after_entry(
    position: Position,
    order: Order,
    fill_quote: Fraction,
    bar: Quote,
    finer: Sequence[FinerBar],
    share: Share,
    ambiguity: Ambiguity,
) -> Filled:
    """fill_quote: what the position could have left at when it was filled.

    Beyond the price, where the market came from the other side: a limit's stop, a stop order's targets. Behind it: a
    limit's targets, a stop order's stop, which finer bars must have seen after the fill.
    """
    ladder = Ladder(position, share)
    if ladder.stop_reached(fill_quote):
        ladder.fill_stop()
        return Filled(ladder.fills, was_ambiguous=False)
    start = next((index for index, each in enumerate(finer) if each.fills), None)
    index = start or 0
    while _is_behind_reached(ladder, order, bar):
        verdict: Verdict = "open"
        if start is not None:
            verdict, index = _first_level(ladder, order, bar, finer, start, index)
        if verdict == "target":
            ladder.fill_target()
        elif verdict == "stop":
            ladder.fill_stop()
            return Filled(ladder.fills, was_ambiguous=False)
        elif verdict == "none":
            break
        else:
            _leave_open(ladder, order, bar, ambiguity)
            return Filled(ladder.fills, was_ambiguous=True)
    _fill_beyond(ladder, order, bar)
    return Filled(ladder.fills, was_ambiguous=False)


def _is_behind_reached(ladder: Ladder, order: Order, bar: Quote) -> bool:
    return ladder.target_reached(bar.best) if order.kind == "limit" else ladder.stop_reached(bar.worst)


def _fill_beyond(ladder: Ladder, order: Order, bar: Quote) -> None:
    """What lies beyond the price was reached after the fill."""
    if order.kind == "stop":
        ladder.fill_targets_reached(bar.best)
    elif ladder.stop_reached(bar.worst):
        ladder.fill_stop()


def _leave_open(ladder: Ladder, order: Order, bar: Quote, ambiguity: Ambiguity) -> None:
    """The answer that is worse for the position, or the better one."""
    if ambiguity == "target_first":
        ladder.fill_targets_reached(bar.best)
    is_spared = ambiguity == "target_first" and order.kind == "stop"
    if ladder.stop_reached(bar.worst) and not is_spared:
        ladder.fill_stop()


def _first_level(
    ladder: Ladder, order: Order, bar: Quote, finer: Sequence[FinerBar], start: int, begin: int
) -> tuple[Verdict, int]:
    """Which of stop and next target, of those the bar reaches, was reached first from the fill on.

    Returned with the finer bar that says so, which is asked again for a later target.
    """
    for index in range(begin, len(finer)):
        each = finer[index]
        is_filled_inside = index == start and not each.opens_beyond
        if not is_filled_inside:
            if ladder.stop_reached(bar.worst) and ladder.stop_reached(each.quote.open):
                return "stop", index
            if ladder.target_reached(bar.best) and ladder.target_reached(each.quote.open):
                return "target", index
        stop = ladder.stop_reached(bar.worst) and ladder.stop_reached(each.quote.worst)
        target = ladder.target_reached(bar.best) and ladder.target_reached(each.quote.best)
        is_open = stop and target
        if is_filled_inside:
            is_open = target if order.kind == "limit" else stop
        if is_open:
            return "open", index
        if stop or target:
            return "stop" if stop else "target", index
    return "none", len(finer)


def fill_quote_of(order: Order, price: Fraction, spread: Fraction, grid: Fraction) -> Fraction:
    """The other side of a fill at an order's price: what the position could leave at there."""
    other = price - spread if order.side == "BUY" else price + spread
    return round_price(other, grid)
