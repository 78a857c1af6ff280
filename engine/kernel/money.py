"""The compiled fill loop's money: valuation, exits and what they book, swap, roundings, and the check of the books."""

# mypy: allow-untyped-defs, allow-untyped-calls, disable-error-code="no-untyped-def,untyped-decorator"
# numba infers every type below from the one signature; annotations would be unchecked claims.

import numpy as np

from engine.kernel.layout import (
    BOOKS_BROKEN,
    CLOSE_FILL,
    CLOSE_PRICE,
    NO_RATE_AT_CLOSE,
    NO_RATE_AT_NIGHT,
    NO_RATE_AT_OPEN,
    STOP_OUT,
    TAKE_PROFIT,
    called,
    inlined,
)


@inlined
def round9(number):
    """Round to 1e-9, half to even. From 9e6 on a float has no such digits and is returned as it is."""
    return np.rint(number * 1e9) / 1e9 if abs(number) < 9e6 else number


@inlined
def round_sum(scale, price):
    """Round a sum of prices to 1 / scale, half to even. Where a float has no such digits it is returned as it is."""
    scaled = price * scale
    return np.rint(scaled) / scale if abs(scaled) < 9e15 else price


@inlined
def round8(money):
    """Round to 1e-8, half to even, never -0.0. From 9e7 on a float has no such digits and is returned as it is."""
    return np.rint(money * 1e8) / 1e8 + 0.0 if abs(money) < 9e7 else money


@inlined
def round8_near(money):
    """Round as round8 does what was multiplied of several floats: a tie but for their noise is a tie."""
    doubled = money * 2e8
    whole = np.rint(doubled)
    tie = abs(doubled - whole) <= 4e-15 * abs(doubled)
    return np.rint(whole / 2.0) / 1e8 + 0.0 if tie and abs(money) < 9e7 else round8(money)


@inlined
def oddness(balance):
    """Return 1 where a balance is an odd number of 1e-8, else 0: see equity_of."""
    units = np.rint(balance * 1e8)
    return units - 2.0 * np.floor(units / 2.0)


@inlined
def even_part(balance, odd):
    """Return the balance without its oddness, in units of 1e-8."""
    return np.rint(balance * 1e8) - odd


@inlined
def equity_of(even, points, unit, carried):
    """Return the equity rounded to 1e-8, half to even: `even` (even_part) plus the floating part, points * unit.

    unit: 1e-8 of account currency a point; carried: what is not of the price, in 1e-8, and the balance's oddness. So
    the floating part is rounded alone, in whole units: it has digits that its sum with the balance has no room for,
    and without them a tie falls either way.
    """
    return (even + np.rint(points * unit + carried)) / 1e8


@inlined
def point_worth(r, volume):
    """Return what one point, 1 / scale, of so many lots is worth, in 1e-8 of quote currency."""
    return volume * r.contract * 1e8 / r.scale


@inlined
def worse(scale, price, slippage):
    """Return a price moved by slippage: up for whoever buys, down (negative) for whoever sells."""
    return price if slippage == 0.0 else round_sum(scale, price + slippage)


@inlined
def load_close(s, r, prices):
    """Put into the state what holds at the close of the bar to be looked at."""
    s.close = prices.close[s.bar]
    s.spread = prices.spread[s.bar * r.spread_step]
    s.rate_close = prices.rate_close[s.bar * r.rate_step]


@inlined
def load_open(s, r, prices):
    """Put into the state what holds at its open; only where that is needed, since fetching it takes time."""
    s.open = prices.open[s.bar]
    s.rate_open = prices.rate_open[s.bar * r.rate_step]


@inlined
def quote(scale, direction, bid, spread):
    """Return the price a position of this direction is valued and left at: bid for a long, ask for a short."""
    return bid if direction > 0 else round_sum(scale, bid + spread)


@inlined
def whole_units(scale, higher, lower):
    """Return higher - lower in units of 1 / scale: whole but for float noise means whole, anything else stays as it is.

    Prices on a tick grid differ by whole units, which the difference of two doubles is not. Prices with more digits
    (a stop at close - 1.5 * ATR, bars that are themselves computed) lose none of them.
    """
    units = (higher - lower) * scale
    whole = np.rint(units)
    return whole if abs(units - whole) <= 4.5e-16 * scale * (higher + lower) else units


@inlined
def lots(r, steps):
    """Return whole lot steps as lots, the nearest float to the decimal."""
    return round9(steps * r.lot_step)


@inlined
def known_rate(s, place):
    """The rate from quote to account currency known at this bar's open or close; unknown is a fault."""
    rate = s.rate_close if place == CLOSE_FILL else s.rate_open
    if not rate > 0.0 and s.fault == 0:
        s.fault = NO_RATE_AT_CLOSE if place == CLOSE_FILL else NO_RATE_AT_OPEN
    return rate


@inlined
def swap_points(s, r):
    """What a lot of the position is charged a night, quote currency by its contract's unit."""
    return r.swap_long if s.direction > 0 else r.swap_short


@inlined
def swap_due(s, r, volume):
    """Swap charged so far to `volume` of the position, account currency, not rounded; negative when paid."""
    return swap_points(s, r) * r.contract * volume * s.night_rate


@inlined
def commission_lot(r, o, price, place, s):
    """What one side of a fill costs a lot, account currency, not rounded."""
    if o.commission_share == 0.0:
        return r.commission_half
    # From whole units of the price: their product with the rest has no noise to speak of.
    units = whole_units(r.scale, price, 0.0)
    return r.commission_half + o.commission_share * r.contract / r.scale * units * known_rate(s, place)


@inlined
def least_equity(r, o, steps):
    """Return the equity at which an open position is closed and the run ends."""
    if o is None:
        return 0.0
    return round8_near(o.stop_out_share * o.margin_lot * lots(r, steps))


@inlined
def test_equity(s, r, o, book):
    """Mark at this close; at nothing left, close what is open there and end the run."""
    if s.fault != 0 or s.ended != 0:
        return
    s.equity = s.balance
    least = 0.0
    if s.direction != 0:
        price = quote(r.scale, s.direction, s.close, s.spread)
        volume = lots(r, s.steps)
        points = whole_units(r.scale, price, s.entry_price) * s.direction
        odd = oddness(s.balance)
        carried = swap_due(s, r, volume) * 1e8 + odd
        unit = point_worth(r, volume) * known_rate(s, CLOSE_FILL)
        s.equity = equity_of(even_part(s.balance, odd), points, unit, carried)
        least = least_equity(r, o, s.steps)
        if s.equity <= least:
            leave(s, r, o, book, s.steps, price, STOP_OUT, CLOSE_FILL)
    if s.equity <= least:
        s.equity = s.balance
        s.ended = 1
        s.stopped_out = 1


@inlined
def leave(s, r, o, book, steps, price, reason, place):
    """Close `steps` of the position at `price`, which has no slippage yet: write a row, book its items."""
    # As plain numbers: for every two constants it would be compiled anew.
    book_exit(s, r, o, book, steps, price, np.int64(reason), np.int64(place))


@called
def book_exit(s, r, o, book, steps, price, reason, place):
    """See leave."""
    rate = known_rate(s, place)
    volume = lots(r, steps)
    if o is None:
        exit_half = round8(r.commission_half * volume)
        entry_half = exit_half
    else:
        slippage = o.slippage if reason != TAKE_PROFIT or r.mode == CLOSE_PRICE else 0.0
        price = worse(r.scale, price, -s.direction * slippage)
        exit_half = round8_near(commission_lot(r, o, price, place, s) * volume)
        entry_half = round8_near(o.entry_commission_lot * volume)
        cost = round8_near((o.entry_slippage + slippage) * volume * r.contract * rate)
        o.slippage_cost = round8(o.slippage_cost + cost)
    points = whole_units(r.scale, price, s.entry_price) * s.direction
    gross = round8(points * (volume * r.contract / r.scale) * rate)
    swap = round8(swap_due(s, r, volume))
    # The row that closes the position takes what is left of the entry's half, so that rows add up to the books.
    entry_half = s.entry_commission if steps == s.steps else entry_half
    s.entry_commission = round8(s.entry_commission - entry_half)
    commission = round8(entry_half + exit_half)
    spread = s.entry_spread if s.direction > 0 else s.spread
    s.balance = round8(s.balance + (gross - exit_half + swap))
    s.booked_gross += gross
    s.booked_commission += exit_half
    s.booked_swap += swap
    s.turnover += abs(gross) + exit_half + abs(swap)
    s.steps_closed += steps

    row = book.rows[s.rows]
    row.position_id = s.position_id
    row.direction = s.direction
    row.entry_bar = s.entry_bar
    row.exit_bar = s.bar
    row.exit_reason = reason
    row.deciding_bar = s.deciding_bar
    row.entry_price = s.entry_price
    row.exit_price = price
    row.volume = volume
    row.profit = round8(gross - commission + swap)
    row.commission = commission
    row.spread_cost = round8(spread * volume * r.contract * rate)
    row.swap = swap
    row.equity_after = s.balance
    row.stop_loss = s.stop
    row.take_profit = s.target_price
    row.rate = rate
    row.entry_at = s.entry_at
    row.exit_at = place
    row.stop_at_entry = s.stop_at_entry
    s.rows += 1
    s.steps -= steps
    if s.steps == 0:
        s.direction = 0
        s.stop_moves = 0
        s.night_rate = 0.0


@called
def charge_nights(s, r, plan, kind):
    """Charge the nights that fall on this bar in that way to the position open across them; return whether any cost.

    Called in the order of time: whoever is open now was there before the night, or entered at this open, and has not
    left. Nights of bars that were passed over, or that the account spent flat, are left behind.
    """
    charged = False
    while s.fault == 0 and s.next_night < plan.night_rows.shape[0]:
        k = s.next_night
        if plan.night_rows[k] > s.bar or (plan.night_rows[k] == s.bar and plan.night_kinds[k] > kind):
            break
        due = plan.night_rows[k] == s.bar and plan.night_kinds[k] == kind and s.direction != 0
        if due and swap_points(s, r) != 0.0:
            if not plan.night_rates[k] > 0.0:
                s.fault = NO_RATE_AT_NIGHT
                break
            s.night_rate += plan.night_weights[k] * plan.night_rates[k]
            charged = True
        s.next_night += 1
    return charged


@inlined
def record(s, r, track):
    """Write the bar's equity and balance, and check the books against what was booked item by item."""
    track.equity[s.bar] = s.equity
    if track.balances[s.balances - 1].balance != s.balance:
        track.balances[s.balances].bar = s.bar
        track.balances[s.balances].balance = s.balance
        s.balances += 1
    booked = r.deposit + s.booked_gross - s.booked_commission + s.booked_swap
    balances = abs(s.balance - booked) <= 1e-6 + 1e-12 * (s.turnover + abs(r.deposit))
    if not (balances and s.steps_opened - s.steps_closed == s.steps) and s.fault == 0:
        s.fault = BOOKS_BROKEN
