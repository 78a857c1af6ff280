"""The compiled fill loop's stops that move and positions that leave by themselves: the trail, max_bars, and what counts
from the next bar on."""

# mypy: allow-untyped-defs, allow-untyped-calls, disable-error-code="no-untyped-def,untyped-decorator"
# numba infers every type below from the one signature; annotations would be unchecked claims.

import numpy as np

from engine.kernel.layout import (
    CLOSE_FILL,
    CLOSE_PRICE,
    NEXT_OPEN,
    OPEN_FILL,
    STOP_LOSS,
    TIME,
    TRAILING_STOP,
    inlined,
)
from engine.kernel.money import leave, load_open, quote, round_sum


@inlined
def move_stop(s, r, o, prices):
    """Move the stop that counts from the next bar on: to the entry where a target was filled, then by the trail."""
    if s.direction == 0:
        return
    if s.stop_moves != 0:
        tighten(s, o, s.entry_price, STOP_LOSS)
        s.stop_moves = 0
    if o.trail > 0.0:
        # What the entry bar reached before a fill at its close or inside it was no price of the position.
        if s.bar > s.entry_bar or s.entry_at == OPEN_FILL:
            extreme = prices.high[s.bar] if s.direction > 0 else prices.low[s.bar]
            bid = s.close if r.mode == CLOSE_PRICE else extreme
            price = quote(r.scale, s.direction, bid, s.spread)
            o.best = max(o.best, price) if s.direction > 0 else min(o.best, price)
        tighten(s, o, round_sum(r.scale, o.best - s.direction * o.trail), TRAILING_STOP)


@inlined
def tighten(s, o, stop, reason):
    """Let the coming stop be this one where that is nearer to the market."""
    if not (stop - o.coming_stop) * s.direction <= 0.0:
        o.coming_stop, o.coming_reason = stop, reason


@inlined
def leave_by_time_at_open(s, r, o, prices, book):
    """next_open: close at this open what has been open for its max_bars."""
    if s.direction != 0 and o.max_bars > 0 and s.bar - first_bar(s) >= o.max_bars:
        load_open(s, r, prices)
        leave(s, r, o, book, s.steps, quote(r.scale, s.direction, s.open, s.spread), TIME, OPEN_FILL)


@inlined
def leave_by_time_at_close(s, r, o, book):
    """close_price and intra_candle: close at this close what is open for its max_bars."""
    if s.direction == 0 or o.max_bars == 0 or r.mode == NEXT_OPEN or s.bar + 1 - first_bar(s) < o.max_bars:
        return
    leave(s, r, o, book, s.steps, quote(r.scale, s.direction, s.close, s.spread), TIME, CLOSE_FILL)
    s.equity = s.balance


@inlined
def first_bar(s):
    """Return the first bar that counts for max_bars."""
    return s.entry_bar + 1 if s.entry_at == CLOSE_FILL else s.entry_bar


@inlined
def first_of_time(s, r, o, start):
    """Return the first bar from start on that the trail or max_bars make other than quiet."""
    if o.trail > 0.0:
        return start
    bars = o.max_bars if r.mode == NEXT_OPEN else o.max_bars - 1
    return first_bar(s) + bars if o.max_bars > 0 else r.last_bar


@inlined
def let_come(s, o, plan, book):
    """Let what was coming count."""
    if s.direction == 0:
        return
    s.stop, o.stop_reason = o.coming_stop, o.coming_reason
    if o.coming >= 0:
        set_targets(s, plan, book, o.coming)
        o.coming = -1


@inlined
def set_targets(s, plan, book, k):
    """Make the targets of decision k the position's."""
    s.target = 0
    s.target_count = 0
    for j in range(1, plan.levels.shape[1]):
        level = plan.levels[k, j]
        if level == level:
            book.targets[s.target_count] = level
            s.target_count += 1
    s.target_price = book.targets[0] if s.target_count > 0 else np.nan
