"""Which of a position's levels a bar reaches, in which order, and at which price they fill."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from tests.engine.reference.books import Fill, Position
from tests.engine.reference.model import Bar, Direction
from tests.engine.reference.numbers import exact, reaches

Ambiguity = Literal["stop_first", "target_first"]
Share = Callable[[Fraction], Fraction]
Ask = Callable[[Fraction], Fraction]
"""The ask to a bid, by the spread of one bar."""


@dataclass(frozen=True, slots=True)
class Quote:
    """A bar on the side a position leaves at:

    bid for a long, ask for a short. worst, best: its extremes as the position sees them.
    """

    open: Fraction
    worst: Fraction
    best: Fraction

    @classmethod
    def of(cls, bar: Bar, ask: Ask, direction: Direction) -> "Quote":
        low, high = (quote(exact(price), ask, direction) for price in (bar.low, bar.high))
        worst, best = (low, high) if direction == "BUY" else (high, low)
        return cls(quote(exact(bar.open), ask, direction), worst, best)


def quote(bid: Fraction, ask: Ask, direction: Direction) -> Fraction:
    """The price at which a position of this direction leaves: a long sells at bid, a short buys at ask."""
    return bid if direction == "BUY" else ask(bid)


@dataclass(frozen=True, slots=True)
class Filled:
    fills: list[Fill]
    was_ambiguous: bool


def fill_levels_in_bar(
    position: Position,
    bar: Quote,
    finer: Sequence[Quote],
    share: Share,
    ambiguity: Ambiguity,
) -> Filled:
    """intra_candle and next_open: what the open decides, then what the rest of the bar reaches."""
    ladder = Ladder(position, share)
    if ladder.stop_reached(bar.open):
        ladder.fill_stop(bar.open)
        return Filled(ladder.fills, was_ambiguous=False)
    while ladder.target_reached(bar.open):
        ladder.fill_target(bar.open)

    if not ladder.stop_reached(bar.worst):
        ladder.fill_targets_reached(bar.best)
        return Filled(ladder.fills, was_ambiguous=False)

    finer_index = 0
    while ladder.target_reached(bar.best):
        verdict, finer_index = _first_level(ladder, finer, finer_index)
        if verdict == "target":
            ladder.fill_target()
        elif verdict == "stop":
            break
        else:
            if ambiguity == "target_first":
                ladder.fill_targets_reached(bar.best)
            ladder.fill_stop()
            return Filled(ladder.fills, was_ambiguous=True)
    ladder.fill_stop()
    return Filled(ladder.fills, was_ambiguous=False)


def fill_levels_at_close(position: Position, close: Fraction, share: Share) -> list[Fill]:
    """close_price: whatever the close reaches fills at the close."""
    ladder = Ladder(position, share)
    if ladder.stop_reached(close):
        ladder.fill_stop(close)
    while ladder.target_reached(close):
        ladder.fill_target(close)
    return ladder.fills


def _first_level(ladder: "Ladder", finer: Sequence[Quote], start: int) -> tuple[Literal["stop", "target", "open"], int]:
    """Which of stop and next target the finer bars reach first, and the finer bar that says so, which is asked
    again for a later target.
    """
    for index in range(start, len(finer)):
        bar = finer[index]
        if ladder.stop_reached(bar.open):
            return "stop", index
        if ladder.target_reached(bar.open):
            return "target", index
        stop, target = ladder.stop_reached(bar.worst), ladder.target_reached(bar.best)
        if stop and target:
            return "open", index
        if stop:
            return "stop", index
        if target:
            return "target", index
    return "open", len(finer)


class Ladder:
    """Fills gathered within one bar:

    the stop stands still, targets are spent in order, spent ones leave the position's list at once.
    """

    def __init__(self, position: Position, share: Share) -> None:
        self.position = position
        self.share = share
        self.left = position.remaining
        self.fills: list[Fill] = []

    def stop_reached(self, price: Fraction) -> bool:
        stop = self.position.stop_loss
        return self.left > 0 and stop is not None and self._beyond(price, stop, downwards=True)

    def target_reached(self, price: Fraction) -> bool:
        targets = self.position.targets
        return self.left > 0 and len(targets) > 0 and self._beyond(price, targets[0], downwards=False)

    def fill_stop(self, price: Fraction | None = None) -> None:
        """At the level, unless a price is given; nothing when no volume is left."""
        stop = self.position.stop_loss
        if self.left == 0 or stop is None:
            return
        targets = self.position.targets
        at = stop if price is None else price
        self.fills.append(Fill(at, self.left, self.position.stop_reason, stop, targets[0] if targets else None))
        self.left = Fraction(0)

    def fill_target(self, price: Fraction | None = None) -> None:
        position = self.position
        target = position.targets.pop(0)
        volume = self.share(self.left) if position.targets else self.left
        at = target if price is None else price
        moves_stop = len(position.targets) > 0
        self.fills.append(Fill(at, volume, "take_profit", position.stop_loss, target, moves_stop))
        self.left -= volume

    def fill_targets_reached(self, best: Fraction) -> None:
        while self.target_reached(best):
            self.fill_target()

    def _beyond(self, price: Fraction, level: Fraction, *, downwards: bool) -> bool:
        """downwards: as a long sees it; its stop and a short's target lie below."""
        return reaches(price, level, downwards=downwards == (self.position.direction == "BUY"))
