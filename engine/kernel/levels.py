"""The compiled fill loop's stops and targets: what a price or a bar reaches, and in which order it is filled."""

# mypy: allow-untyped-defs, allow-untyped-calls, disable-error-code="no-untyped-def,untyped-decorator"
# numba infers every type below from the one signature; annotations would be unchecked claims.

import numpy as np

from engine.kernel.layout import (
    LEVEL_FILL,
    NOT_KNOWN,
    OPEN_FILL,
    STOP_FIRST,
    STOP_LOSS,
    TAKE_PROFIT,
    TARGET_FIRST,
    inlined,
)
from engine.kernel.money import leave, load_open, quote


@inlined
def stop_reached(direction, price, stop):
    """Whether price is within 1e-9 of itself of the stop, or beyond. NaN: never."""
    return (price - stop) * direction <= 1e-9 * price


@inlined
def target_reached(direction, price, target):
    """Whether price is within 1e-9 of itself of the target, or beyond. NaN: never."""
    return (price - target) * direction >= -1e-9 * price


@inlined
def settle_at(s, r, o, book, price, place):
    """Fill at `price` what it is at or beyond: the stop, else each target in order."""
    if stop_reached(s.direction, price, s.stop):
        fill_stop(s, r, o, book, price, place)
        return
    while s.direction != 0 and target_reached(s.direction, price, s.target_price):
        fill_target(s, r, o, book, price, place)


@inlined
def fill_stop(s, r, o, book, price, place):
    """Close all at `price`, for the reason of what moved the stop last."""
    leave(s, r, o, book, s.steps, price, STOP_LOSS if o is None else o.stop_reason, place)


@inlined
def fill_target(s, r, o, book, price, place):
    """Fill the next target at `price`: its share, or all of it at the last one."""
    share = s.steps
    if s.target < s.target_count - 1:
        share = min(share, np.int64(np.floor(s.steps * r.partial_ratio * (1.0 + 1e-12) + 1e-9)))
    if share > 0:
        leave(s, r, o, book, share, price, TAKE_PROFIT, place)
    if s.direction != 0:
        s.target += 1
        s.target_price = book.targets[s.target]
        s.stop_moves = r.stop_to_entry


@inlined
def settle_inside(s, r, o, prices, finer, book):
    """Fill what the open reaches, at the open; then what the bar reaches, at its level, in the order that is known."""
    low, high = prices.low[s.bar], prices.high[s.bar]
    worst = quote(r.scale, s.direction, low if s.direction > 0 else high, s.spread)
    best = quote(r.scale, s.direction, high if s.direction > 0 else low, s.spread)
    reaches_stop = stop_reached(s.direction, worst, s.stop)
    if not (reaches_stop or target_reached(s.direction, best, s.target_price)):
        # Then its open, which lies between, reaches neither; and looking it up is most of a quiet bar's cost.
        return
    load_open(s, r, prices)
    settle_at(s, r, o, book, quote(r.scale, s.direction, s.open, s.spread), OPEN_FILL)
    guess_target = False
    s.finer_cursor = -1
    while s.direction != 0:
        reaches_target = target_reached(s.direction, best, s.target_price)
        if reaches_stop and reaches_target and not guess_target:
            first = first_of_finer(s, r, finer)
            if first == NOT_KNOWN:
                count_ambiguous(s)
                guess_target = r.target_first != 0
                first = TARGET_FIRST if guess_target else STOP_FIRST
            reaches_target = first == TARGET_FIRST
        if reaches_target:
            fill_target(s, r, o, book, s.target_price, LEVEL_FILL)
        elif reaches_stop:
            fill_stop(s, r, o, book, s.stop, LEVEL_FILL)
        else:
            return


@inlined
def count_ambiguous(s):
    """Count this bar, once."""
    if s.last_ambiguous != s.bar:
        s.last_ambiguous = s.bar
        s.ambiguous_bars += 1


@inlined
def first_of_finer(s, r, finer):
    """Walk the finer bars from the cursor: which of stop and next target comes first. Stays on the bar that decided."""
    if r.has_finer == 0:
        return NOT_KNOWN
    if s.finer_cursor < 0:
        s.finer_cursor = finer.spans[0, s.bar]
    while s.finer_cursor < finer.spans[1, s.bar]:
        j = s.finer_cursor
        price = quote(r.scale, s.direction, finer.open[j], s.spread)
        if stop_reached(s.direction, price, s.stop):
            return STOP_FIRST
        if target_reached(s.direction, price, s.target_price):
            return TARGET_FIRST
        worst = quote(r.scale, s.direction, finer.low[j] if s.direction > 0 else finer.high[j], s.spread)
        best = quote(r.scale, s.direction, finer.high[j] if s.direction > 0 else finer.low[j], s.spread)
        reaches_stop = stop_reached(s.direction, worst, s.stop)
        reaches_target = target_reached(s.direction, best, s.target_price)
        if reaches_stop and reaches_target:
            return NOT_KNOWN
        if reaches_stop:
            return STOP_FIRST
        if reaches_target:
            return TARGET_FIRST
        s.finer_cursor += 1
    return NOT_KNOWN
