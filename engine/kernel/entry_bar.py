"""The compiled fill loop's entry orders: where one fills, and what the bar inside which it fills reached after that."""

# mypy: allow-untyped-defs, allow-untyped-calls, disable-error-code="no-untyped-def,untyped-decorator"
# numba infers every type below from the one signature; annotations would be unchecked claims.

from engine.kernel.layout import (
    CLOSE_FILL,
    CLOSE_PRICE,
    LEVEL_FILL,
    LIMIT,
    NOT_KNOWN,
    OPEN_FILL,
    STOP_FIRST,
    TARGET_FIRST,
    inlined,
)
from engine.kernel.levels import count_ambiguous, fill_stop, fill_target, stop_reached, target_reached
from engine.kernel.money import load_open, quote, round_sum
from engine.kernel.orders import open_at_market, open_position

NEITHER = 3
"""No finer bar from the fill on reaches stop or next target: the bar did so before it. Beside NOT_KNOWN and its kin."""


@inlined
def fill_order(s, r, o, prices, plan, finer, book):
    """Fill the resting order where this bar opens beyond or reaches its price; return whether that was inside the bar.

    Then its levels are settled too; after a fill at the open they are those of any open position.
    """
    k = o.resting
    if k < 0 or not order_reached(s, r, plan, k, prices.low[s.bar], prices.high[s.bar]):
        return False
    o.resting = -1
    load_open(s, r, prices)
    is_limit = plan.terms[k].order == LIMIT
    if order_reached(s, r, plan, k, s.open, s.open):
        open_at_market(s, r, o, plan, book, k, s.open, is_limit, OPEN_FILL)
        return False
    price, side = plan.terms[k].price, plan.actions[k]
    # The other side of the fill: what the position could leave at there.
    leaves_at = round_sum(r.scale, price - side * s.spread)
    open_position(s, r, o, plan, book, k, price, leaves_at, 0.0 if is_limit else o.slippage, LEVEL_FILL)
    if s.direction != 0:
        settle_entry_bar(s, r, o, prices, plan, finer, book, k, leaves_at)
    return True


@inlined
def fill_order_at_close(s, r, o, plan, book):
    """close_price: fill the resting order at a close that reaches its price; the last close fills none."""
    k = o.resting
    if k >= 0 and r.mode == CLOSE_PRICE and s.bar < r.last_bar and order_reached(s, r, plan, k, s.close, s.close):
        o.resting = -1
        open_at_market(s, r, o, plan, book, k, s.close, plan.terms[k].order == LIMIT, CLOSE_FILL)


@inlined
def order_reached(s, r, plan, k, low, high):
    """Whether bids from low to high reach the price of order k, on the side it enters at."""
    side, price = plan.actions[k], plan.terms[k].price
    # A BUY limit and a SELL stop wait for a lower price: reached as a long's stop is.
    downwards = 1 if (plan.terms[k].order == LIMIT) == (side > 0) else -1
    bid = low if downwards > 0 else high
    # Who buys enters at the ask, at which a short would leave.
    return stop_reached(downwards, quote(r.scale, -side, bid, s.spread), price)


@inlined
def settle_entry_bar(s, r, o, prices, plan, finer, book, k, leaves_at):
    """Fill what the bar reached after order k was filled inside it.

    What lies beyond the price, where the market came from, was reached after: a limit's stop, a stop order's targets.
    What lies behind it, a limit's targets and a stop order's stop, finer bars must have seen after the fill.
    """
    if stop_reached(s.direction, leaves_at, s.stop):
        fill_stop(s, r, o, book, s.stop, LEVEL_FILL)
        return
    low, high = prices.low[s.bar], prices.high[s.bar]
    worst = quote(r.scale, s.direction, low if s.direction > 0 else high, s.spread)
    best = quote(r.scale, s.direction, high if s.direction > 0 else low, s.spread)
    is_limit = plan.terms[k].order == LIMIT
    reaches_stop = stop_reached(s.direction, worst, s.stop)
    filled_in = first_that_fills(s, r, plan, finer, k)
    s.finer_cursor = filled_in
    while s.direction != 0 and (target_reached(s.direction, best, s.target_price) if is_limit else reaches_stop):
        first = first_since_fill(s, r, plan, finer, k, filled_in, reaches_stop, best)
        if first == TARGET_FIRST:
            fill_target(s, r, o, book, s.target_price, LEVEL_FILL)
        elif first == STOP_FIRST:
            fill_stop(s, r, o, book, s.stop, LEVEL_FILL)
            return
        elif first == NEITHER:
            break
        else:
            count_ambiguous(s)
            if r.target_first != 0:
                fill_targets(s, r, o, book, best)
            if s.direction != 0 and reaches_stop and (is_limit or r.target_first == 0):
                fill_stop(s, r, o, book, s.stop, LEVEL_FILL)
            return
    if not is_limit:
        fill_targets(s, r, o, book, best)
    elif s.direction != 0 and reaches_stop:
        fill_stop(s, r, o, book, s.stop, LEVEL_FILL)


@inlined
def fill_targets(s, r, o, book, best):
    """Fill every target that `best` reaches, at its level."""
    while s.direction != 0 and target_reached(s.direction, best, s.target_price):
        fill_target(s, r, o, book, s.target_price, LEVEL_FILL)


@inlined
def first_that_fills(s, r, plan, finer, k):
    """Return the first finer bar inside this one that fills order k, -1 where none does."""
    if r.has_finer != 0:
        for j in range(finer.spans[0, s.bar], finer.spans[1, s.bar]):
            # A bar that opens beyond the price reaches it too.
            if order_reached(s, r, plan, k, finer.low[j], finer.high[j]):
                return j
    return -1


@inlined
def first_since_fill(s, r, plan, finer, k, filled_in, reaches_stop, best):
    """Walk the finer bars from the cursor: which of stop and next target, of those the run's bar reaches, comes first
    after the fill. Stays on the bar that decided."""
    if filled_in < 0:
        return NOT_KNOWN
    reaches_target = target_reached(s.direction, best, s.target_price)
    while s.finer_cursor < finer.spans[1, s.bar]:
        j = s.finer_cursor
        inside = j == filled_in and not order_reached(s, r, plan, k, finer.open[j], finer.open[j])
        if not inside:
            price = quote(r.scale, s.direction, finer.open[j], s.spread)
            if reaches_stop and stop_reached(s.direction, price, s.stop):
                return STOP_FIRST
            if reaches_target and target_reached(s.direction, price, s.target_price):
                return TARGET_FIRST
        lowest = quote(r.scale, s.direction, finer.low[j] if s.direction > 0 else finer.high[j], s.spread)
        highest = quote(r.scale, s.direction, finer.high[j] if s.direction > 0 else finer.low[j], s.spread)
        stops = reaches_stop and stop_reached(s.direction, lowest, s.stop)
        targets = reaches_target and target_reached(s.direction, highest, s.target_price)
        # What lies behind the price this finer bar may have reached before it filled the order.
        behind = targets if plan.terms[k].order == LIMIT else stops
        if behind if inside else stops and targets:
            return NOT_KNOWN
        if stops:
            return STOP_FIRST
        if targets:
            return TARGET_FIRST
        s.finer_cursor += 1
    return NEITHER
