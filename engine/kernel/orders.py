"""The compiled fill loop's decisions: what one does to the position, and how much is opened."""

# mypy: allow-untyped-defs, allow-untyped-calls, disable-error-code="no-untyped-def,untyped-decorator"
# numba infers every type below from the one signature; annotations would be unchecked claims.

import numpy as np

from engine.kernel.layout import (
    CANCEL_CODE,
    CLOSE_CODE,
    CLOSE_FILL,
    IGNORE,
    MARKET,
    MOVE_CODE,
    REVERSE,
    REVERSED,
    SIGNAL,
    STOP_LOSS,
    inlined,
)
from engine.kernel.money import (
    commission_lot,
    known_rate,
    leave,
    lots,
    quote,
    round8,
    round8_near,
    round_sum,
    whole_units,
    worse,
)
from engine.kernel.trailing import let_come, set_targets


@inlined
def carry_out(s, r, o, plan, book, k, place):
    """Fill decision k at this bar's open or close, or put what it says of stops, targets and orders in force."""
    bid = s.close if place == CLOSE_FILL else s.open
    action, closes = plan.actions[k], 0
    if o is not None:
        closes = plan.terms[k].closes
        if abs(action) == MOVE_CODE:
            move_levels(s, o, plan, book, k, place)
            return
        if action == CANCEL_CODE or plan.terms[k].order != MARKET:
            # While a position is open none rests, and one decided then is ignored whole.
            o.resting = k if action != CANCEL_CODE and s.direction == 0 else -1
            return
        if action == CLOSE_CODE and closes != 0 and s.direction != closes:
            return
        o.resting = -1
    if s.direction != 0:
        if action == s.direction or (action != CLOSE_CODE and r.on_opposite == IGNORE and closes != s.direction):
            return
        reverses = action != CLOSE_CODE and r.on_opposite == REVERSE
        price = quote(r.scale, s.direction, bid, s.spread)
        leave(s, r, o, book, s.steps, price, REVERSED if reverses else SIGNAL, place)
        if not reverses:
            return
    if action == CLOSE_CODE or (s.bar == r.last_bar and place == CLOSE_FILL):
        return
    open_at_market(s, r, o, plan, book, k, bid, False, place)


@inlined
def open_at_market(s, r, o, plan, book, k, bid, is_limit, place):
    """Open decision k at this bar's open or close, a limit order without slippage but at a close."""
    side = plan.actions[k]
    entry = round_sum(r.scale, bid + s.spread) if side > 0 else bid
    if o is None:
        open_position(s, r, o, plan, book, k, entry, 0.0, 0.0, place)
    else:
        slippage = 0.0 if is_limit and place != CLOSE_FILL else o.slippage
        open_position(s, r, o, plan, book, k, entry, quote(r.scale, side, bid, s.spread), slippage, place)


@inlined
def open_position(s, r, o, plan, book, k, entry, leaves_at, slippage, place):
    """Open decision k at `entry`, to which slippage is added, unless its size or its margin opens nothing.

    leaves_at: what a position could leave at there. Without orders neither counts.
    """
    if o is not None:
        entry = worse(r.scale, entry, plan.actions[k] * slippage)
    steps = sized(s, r, plan, k, entry, place)
    if steps > 0 and has_margin(s, r, o, steps, entry, place):
        enter(s, r, o, plan, book, k, steps, entry, place)
        if o is not None:
            begin_orders(s, r, o, plan, k, leaves_at, slippage, place)


@inlined
def sized(s, r, plan, k, entry, place):
    """Return the lot steps decision k opens at `entry`; 0 opens nothing, and is counted."""
    if plan.steps[k] > 0:
        return plan.steps[k]
    if r.risk_pct <= 0.0:
        return r.fixed_steps
    stop = plan.levels[k, 0]
    if stop != stop:
        s.refused_without_stop += 1
        return 0
    distance = whole_units(r.scale, entry, stop) / r.scale * plan.actions[k]
    if distance <= 1e-9 * entry:
        s.refused_stop_beyond += 1
        return 0
    volume = r.risk_pct * s.balance / (distance * r.contract * known_rate(s, place))
    # Seven roundings make less than 1e-14 of it: 100 / 100 must give 1 lot, not 0.99, and 221.5599999999 not 221.56.
    steps = np.floor(volume / r.lot_step * (1.0 + 1e-14))
    if not steps >= 1.0:
        s.refused_below_step += 1
        return 0
    return np.int64(min(steps, 9e15))


@inlined
def has_margin(s, r, o, steps, entry, place):
    """Whether the balance covers the margin; one that it does not cover is counted."""
    if o is None or o.leverage == 0.0:
        return True
    covered = round8_near(margin_lot(s, r, o, entry, place) * lots(r, steps)) <= s.balance
    o.refused_without_margin += 0 if covered else 1
    return covered


@inlined
def margin_lot(s, r, o, entry, place):
    """Margin of a lot, account currency, not rounded."""
    return r.contract / r.scale * whole_units(r.scale, entry, 0.0) / o.leverage * known_rate(s, place)


@inlined
def enter(s, r, o, plan, book, k, steps, entry, place):
    """Open a position and book its half of the commission."""
    s.direction = plan.actions[k]
    s.steps = steps
    s.steps_opened += steps
    s.position_id += 1
    s.entry_bar = s.bar
    s.deciding_bar = plan.rows[k]
    s.entry_at = place
    s.entry_price = entry
    s.entry_spread = s.spread
    s.night_rate = 0.0
    s.stop_moves = 0
    s.stop = plan.levels[k, 0]
    s.stop_at_entry = s.stop
    set_targets(s, plan, book, k)
    if o is None:
        s.entry_commission = round8(r.commission_half * lots(r, steps))
    else:
        o.entry_commission_lot = commission_lot(r, o, entry, place, s)
        s.entry_commission = round8_near(o.entry_commission_lot * lots(r, steps))
    s.booked_commission += s.entry_commission
    s.turnover += s.entry_commission
    s.balance = round8(s.balance - s.entry_commission)


@inlined
def begin_orders(s, r, o, plan, k, leaves_at, slippage, place):
    """Take note of what decision k says beyond its levels, and of what its entry cost."""
    terms = plan.terms[k]
    o.trail, o.max_bars, o.best = terms.trailing_stop, terms.max_bars, leaves_at
    o.stop_reason = o.coming_reason = STOP_LOSS
    o.coming_stop, o.coming = s.stop, -1
    o.entry_slippage = slippage
    o.margin_lot = margin_lot(s, r, o, s.entry_price, place) if o.leverage > 0.0 else 0.0


@inlined
def move_levels(s, o, plan, book, k, place):
    """Let the levels of a MOVE count from the next bar on; at an open, from this one on."""
    if s.direction == 0:
        return
    if plan.actions[k] != s.direction * MOVE_CODE:
        o.not_moved += 1
        return
    stop = plan.levels[k, 0]
    if stop == stop:
        o.coming_stop, o.coming_reason = stop, STOP_LOSS
    if plan.levels.shape[1] > 1 and plan.levels[k, 1] == plan.levels[k, 1]:
        o.coming = k
    if place != CLOSE_FILL:
        let_come(s, o, plan, book)
