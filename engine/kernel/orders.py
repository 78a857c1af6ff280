"""The compiled fill loop's decisions: what one does to the position, and how much is opened."""

# mypy: allow-untyped-defs, allow-untyped-calls, disable-error-code="no-untyped-def,untyped-decorator"
# numba infers every type below from the one signature; annotations would be unchecked claims.

import numpy as np

from engine.kernel.layout import CLOSE, CLOSE_CODE, IGNORE, REVERSED, SIGNAL, inlined
from engine.kernel.money import known_rate, leave, lots, quote, round8, round_sum, whole_units


@inlined
def sized(s, r, plan, k, entry, at_open):
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
    volume = r.risk_pct * s.balance / (distance * r.contract * known_rate(s, at_open))
    # Seven roundings make less than 1e-14 of it: 100 / 100 must give 1 lot, not 0.99, and 221.5599999999 not 221.56.
    steps = np.floor(volume / r.lot_step * (1.0 + 1e-14))
    if not steps >= 1.0:
        s.refused_below_step += 1
        return 0
    return np.int64(min(steps, 9e15))


@inlined
def enter(s, r, plan, book, k, steps, entry):
    """Open a position and book its half of the commission."""
    s.direction = plan.actions[k]
    s.steps = steps
    s.steps_opened += steps
    s.position_id += 1
    s.entry_bar = s.bar
    s.deciding_bar = plan.rows[k]
    s.entry_price = entry
    s.entry_spread = s.spread
    s.night_rate = 0.0
    s.stop_moves = 0
    s.stop = plan.levels[k, 0]
    s.target = 0
    s.target_count = 0
    for j in range(1, plan.levels.shape[1]):
        level = plan.levels[k, j]
        if level == level:
            book.targets[s.target_count] = level
            s.target_count += 1
    s.target_price = book.targets[0] if s.target_count > 0 else np.nan
    s.entry_commission = round8(r.commission_half * lots(r, steps))
    s.booked_commission += s.entry_commission
    s.turnover += s.entry_commission
    s.balance = round8(s.balance - s.entry_commission)


@inlined
def carry_out(s, r, plan, book, k, at_open):
    """Fill decision k at this bar's open or close."""
    bid = s.open if at_open else s.close
    action = plan.actions[k]
    if s.direction != 0:
        if action == s.direction or (action != CLOSE_CODE and r.on_opposite == IGNORE):
            return
        reverses = action != CLOSE_CODE and r.on_opposite != CLOSE
        leave(
            s, r, book, s.steps, quote(r.scale, s.direction, bid, s.spread), REVERSED if reverses else SIGNAL, at_open
        )
        if not reverses:
            return
    if action == CLOSE_CODE or (s.bar == r.last_bar and not at_open):
        return
    entry = round_sum(r.scale, bid + s.spread) if action > 0 else bid
    steps = sized(s, r, plan, k, entry, at_open)
    if steps > 0:
        enter(s, r, plan, book, k, steps, entry)
