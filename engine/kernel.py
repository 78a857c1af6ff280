"""The compiled fill loop: ENGINE_RULES sections 2 to 4 over one run's bars, driven chunk by chunk by `simulate`.

All of it stands in one module because numba's cache looks at this file's time stamp only: a helper in another file
could change and a stale compilation would go on being used.

The hot path is `scan`: it passes over *quiet* bars, on which no decision, level, night or stop-out can change the
position, and only writes their equity. Every other bar goes through `settle` (open, levels) and `conclude`
(decision, night, end), which follow the rules word by word. A bar handed over needlessly costs time, never a figure.

Conventions: direction +1 long, -1 short, 0 flat. Volumes are whole lot steps. A level that is not there is NaN.
Arrays of length one with a step of 0 stand for a value that is the same on every bar.
"""

# mypy: allow-untyped-defs, allow-untyped-calls, disable-error-code=no-untyped-def
# numba infers every type below from the one signature; annotations would be unchecked claims.

from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import njit

CLOSE_PRICE, INTRA_CANDLE, NEXT_OPEN = 0, 1, 2
REVERSE, CLOSE, IGNORE = 0, 1, 2
BUY_CODE, SELL_CODE, CLOSE_CODE = 1, -1, 0
REASONS = ("stop_loss", "take_profit", "signal", "reverse", "llm_close", "stop_out", "end_of_data")
STOP_LOSS, TAKE_PROFIT, SIGNAL, REVERSED, _, STOP_OUT, END_OF_DATA = range(7)
SIMULATE, SCAN, SETTLE, CONCLUDE = 0, 1, 2, 3
NO_FAULT, NO_RATE_AT_CLOSE, NO_RATE_AT_OPEN, BOOKS_BROKEN = 0, 1, 2, 3
NEITHER_KNOWN, STOP_FIRST, TARGET_FIRST = 0, 1, 2

PRICE_COLUMNS = (
    "entry_price",
    "exit_price",
    "volume",
    "profit",
    "commission",
    "spread_cost",
    "swap",
    "equity_after",
    "stop_loss",
    "take_profit",
)
MARK_COLUMNS = ("position_id", "direction", "entry_bar", "exit_bar", "exit_reason", "deciding_bar")
ROWS_A_BAR = 4
"""Rows one bar may write beyond one for each target."""

RULES = np.dtype(
    [
        (name, np.int64)
        for name in (
            "mode",
            "on_opposite",
            "stop_to_entry",
            "target_first",
            "last_bar",
            "spread_step",
            "rate_step",
            "has_finer",
            "fixed_steps",
        )
    ]
    + [
        (name, np.float64)
        for name in (
            "deposit",
            "commission_half",
            "partial_ratio",
            "risk_pct",
            "lot_step",
            "contract",
            "swap_long",
            "swap_short",
        )
    ]
)
"""What holds for a whole run. swap_*: quote currency a lot and night. risk_pct: 0 for fixed_steps."""

STATE = np.dtype(
    [
        (name, np.int64)
        for name in (
            "bar",
            "settled",
            "ended",
            "fault",
            "next_decision",
            "next_night",
            "pending",
            "direction",
            "steps",
            "position_id",
            "entry_bar",
            "deciding_bar",
            "target",
            "target_count",
            "stop_moves",
            "finer_cursor",
            "rows",
            "balances",
            "ambiguous_bars",
            "last_ambiguous",
            "refused_without_stop",
            "refused_stop_beyond",
            "refused_below_step",
            "steps_opened",
            "steps_closed",
            "stopped_out",
        )
    ]
    + [
        (name, np.float64)
        for name in (
            "balance",
            "equity",
            "entry_price",
            "entry_spread",
            "entry_commission",
            "stop",
            "night_rate",
            "booked_gross",
            "booked_commission",
            "booked_swap",
            "turnover",
        )
    ]
)
"""Where a simulation stands. bar: next to look at; settled: its levels are done, its decision is not. night_rate: sum
over the nights charged to the open position of weight * rate. entry_commission: booked at entry, not yet in a row."""


class Prices(NamedTuple):
    """Bids of the run's bars, spread and conversion rates (NaN: not known yet)."""

    open: Any
    high: Any
    low: Any
    close: Any
    spread: Any
    rate_open: Any
    rate_close: Any


class Plan(NamedTuple):
    """Decisions by deciding bar, ascending, and the nights. levels: (m, 1 + k), stop then targets. steps 0: size it."""

    rows: Any
    actions: Any
    steps: Any
    levels: Any
    night_rows: Any
    night_weights: Any


class Finer(NamedTuple):
    """Finer bars (bids); spans[0, i]:spans[1, i] are those inside run bar i."""

    open: Any
    high: Any
    low: Any
    spans: Any


class Book(NamedTuple):
    """What a simulation writes: trade rows (a column each), balances by bar, equity by bar; and the open targets."""

    prices: Any
    marks: Any
    balance_bars: Any
    balances: Any
    equity: Any
    targets: Any


_state = numba.from_dtype(STATE)[:]
_rules = numba.from_dtype(RULES)[:]
_read1 = numba.types.Array(numba.float64, 1, "C", readonly=True)
_read2 = numba.types.Array(numba.float64, 2, "C", readonly=True)
_readi1 = numba.types.Array(numba.int64, 1, "C", readonly=True)
_readi2 = numba.types.Array(numba.int64, 2, "C", readonly=True)
_write1, _write2 = numba.float64[::1], numba.float64[:, ::1]
_writei1, _writei2 = numba.int64[::1], numba.int64[:, ::1]
_signature = numba.int64(
    numba.int64, numba.int64, _state, _rules,
    _read1, _read1, _read1, _read1, _read1, _read1, _read1,
    _readi1, _readi1, _readi1, _read2, _readi1, _readi1,
    _read1, _read1, _read1, _readi2,
    _write2, _writei2, _writei1, _write1, _write1, _write1,
)  # fmt: skip


def _advance(
    command, until, state, rules,
    open_, high, low, close, spread, rate_open, rate_close,
    rows, actions, steps, levels, night_rows, night_weights,
    finer_open, finer_high, finer_low, finer_spans,
    row_prices, row_marks, balance_bars, balances, equity, targets,
):  # fmt: skip
    """Carry out one command on `state` and return the bar reached.

    SIMULATE: all bars before `until`, or up to an end, a fault, or too little room for one more bar's rows (then the
    bar returned is before `until` with ended = fault = 0). SCAN: write equity of the quiet bars from state.bar on,
    assuming no decision, and return the first bar before `until` that is not quiet; changes nothing else.
    SETTLE: the open and the levels of state.bar. CONCLUDE: its decision, night and end, then go to the next bar.
    """
    s = state[0]
    r = rules[0]
    m = Prices(open_, high, low, close, spread, rate_open, rate_close)
    p = Plan(rows, actions, steps, levels, night_rows, night_weights)
    f = Finer(finer_open, finer_high, finer_low, finer_spans)
    b = Book(row_prices, row_marks, balance_bars, balances, equity, targets)
    if command == SCAN:
        return scan(s, r, m, p, b, s.bar, until)
    if command == SETTLE:
        settle(s, r, m, p, f, b)
        s.settled = 1
        return s.bar
    if command == CONCLUDE:
        conclude(s, r, m, p, b)
        if s.ended == 0 and s.fault == 0:
            s.bar += 1
            s.settled = 0
        return s.bar
    room = b.marks.shape[1] - b.targets.shape[0] - ROWS_A_BAR
    balance_room = b.balances.shape[0] - 1
    while s.bar < until:
        s.bar = scan(s, r, m, p, b, s.bar, until)
        if s.bar == until or s.rows > room or s.balances > balance_room:
            break
        settle(s, r, m, p, f, b)
        if s.ended == 0 and s.fault == 0:
            conclude(s, r, m, p, b)
        if s.ended != 0 or s.fault != 0:
            break
        s.bar += 1
    return s.bar


# ---------------------------------------------------------------------------------------------- quiet bars


@njit(error_model="numpy")
def scan(s, r, m, p, b, start, until):
    """Write the equity of quiet bars from start on; return the first bar that is not quiet, or `until`."""
    if s.pending >= 0 or s.stop_moves != 0:
        return start
    limit = min(until, r.last_bar)
    while s.next_decision < p.rows.shape[0] and p.rows[s.next_decision] < start:
        s.next_decision += 1
    if s.next_decision < p.rows.shape[0]:
        limit = min(limit, p.rows[s.next_decision])
    if s.direction == 0:
        if s.balance <= 0.0:
            return start
        for i in range(start, limit):
            b.equity[i] = s.balance
        return max(start, limit)
    while s.next_night < p.night_rows.shape[0] and p.night_rows[s.next_night] < start:
        s.next_night += 1
    if s.next_night < p.night_rows.shape[0]:
        limit = min(limit, p.night_rows[s.next_night])
    limit = first_near_level(s, r, m, b, start, limit)
    return mark_quiet(s, r, m, b, start, limit)


@njit(error_model="numpy")
def first_near_level(s, r, m, b, start, limit):
    """Return the first bar in [start, limit) that may reach a level; the margin is wider than any rounding."""
    stop = s.stop
    target = b.targets[s.target] if s.target < s.target_count else np.nan
    if stop != stop and target != target:
        return limit
    stop_margin = 4e-9 * abs(stop) + 2e-9
    target_margin = 4e-9 * abs(target) + 2e-9
    spread = m.spread[0] if r.spread_step == 0 else 0.0
    if s.direction > 0:
        floor = stop + stop_margin if stop == stop else -np.inf
        ceiling = target - target_margin if target == target else np.inf
    else:
        ceiling = stop - stop_margin - spread if stop == stop else np.inf
        floor = target + target_margin - spread if target == target else -np.inf
    low = m.close if r.mode == CLOSE_PRICE else m.low
    high = m.close if r.mode == CLOSE_PRICE else m.high
    if s.direction > 0 or r.spread_step == 0:
        for i in range(start, limit):
            if low[i] <= floor or high[i] >= ceiling:
                return i
    else:
        for i in range(start, limit):
            if low[i] + m.spread[i] <= floor or high[i] + m.spread[i] >= ceiling:
                return i
    return limit


@njit(error_model="numpy")
def mark_quiet(s, r, m, b, start, limit):
    """Write equity at the closes of [start, limit); return limit, or the first bar that leaves no equity."""
    if limit <= start:
        return start
    unit = lots(r, s.steps) * r.contract / 1e9
    balance, entry, direction = s.balance, s.entry_price, float(s.direction)
    carried = swap_due(s, r, s.steps)
    exhausted = 0
    if r.rate_step == 0 and (r.spread_step == 0 or s.direction > 0):
        unit *= m.rate_close[0]
        spread = m.spread[0]
        if s.direction > 0:
            for i in range(start, limit):
                value = round8(balance + (np.rint((m.close[i] - entry) * 1e9) * unit + carried))
                b.equity[i] = value
                exhausted += 0 if value > 0.0 else 1
        else:
            for i in range(start, limit):
                ask = round9(m.close[i] + spread)
                value = round8(balance + (np.rint((entry - ask) * 1e9) * unit + carried))
                b.equity[i] = value
                exhausted += 0 if value > 0.0 else 1
    else:
        for i in range(start, limit):
            price = quote(s.direction, m.close[i], m.spread[i * r.spread_step])
            points = np.rint((price - entry) * 1e9) * direction
            value = round8(balance + (points * (unit * m.rate_close[i * r.rate_step]) + carried))
            b.equity[i] = value
            exhausted += 0 if value > 0.0 else 1
    if exhausted > 0:
        for i in range(start, limit):
            if not b.equity[i] > 0.0:
                return i
    return limit


# ---------------------------------------------------------------------------------------------- one bar


@njit(error_model="numpy")
def settle(s, r, m, p, f, b):
    """The bar's open and its levels, then the first equity test: all that happens before its decision."""
    i = s.bar
    if s.stop_moves != 0:
        s.stop = s.entry_price
        s.stop_moves = 0
    if s.pending >= 0:
        carry_out(s, r, m, p, b, s.pending, True)
        s.pending = -1
    if s.direction != 0:
        if r.mode == CLOSE_PRICE:
            settle_at(s, r, m, b, quote(s.direction, m.close[i], m.spread[i * r.spread_step]), False)
        else:
            settle_inside(s, r, m, f, b)
    test_equity(s, r, m, b)
    if s.ended != 0:
        record(s, r, b)


@njit(error_model="numpy")
def conclude(s, r, m, p, b):
    """The bar's decision, its night, the second equity test, the end of the data."""
    i = s.bar
    while s.next_decision < p.rows.shape[0] and p.rows[s.next_decision] < i:
        s.next_decision += 1
    if s.next_decision < p.rows.shape[0] and p.rows[s.next_decision] == i:
        if r.mode != NEXT_OPEN:
            carry_out(s, r, m, p, b, s.next_decision, False)
        elif i < r.last_bar:
            s.pending = s.next_decision
    if s.direction != 0 and i < r.last_bar:
        charge_night(s, r, m, p)
    test_equity(s, r, m, b)
    if s.ended == 0 and i == r.last_bar and s.direction != 0:
        price = quote(s.direction, m.close[i], m.spread[i * r.spread_step])
        leave(s, r, m, b, s.steps, price, END_OF_DATA, False)
        s.equity = s.balance
    record(s, r, b)


@njit(error_model="numpy")
def carry_out(s, r, m, p, b, k, at_open):
    """Fill decision k at this bar's open or close."""
    i = s.bar
    bid = m.open[i] if at_open else m.close[i]
    spread = m.spread[i * r.spread_step]
    action = p.actions[k]
    if s.direction != 0:
        price = quote(s.direction, bid, spread)
        if action == CLOSE_CODE:
            leave(s, r, m, b, s.steps, price, SIGNAL, at_open)
            return
        if action == s.direction or r.on_opposite == IGNORE:
            return
        if r.on_opposite == CLOSE:
            leave(s, r, m, b, s.steps, price, SIGNAL, at_open)
            return
        leave(s, r, m, b, s.steps, price, REVERSED, at_open)
    if action == CLOSE_CODE or (i == r.last_bar and not at_open):
        return
    entry = round9(bid + spread) if action > 0 else bid
    steps = sized(s, r, m, p, k, entry, at_open)
    if steps > 0:
        enter(s, r, p, b, k, steps, entry, spread)


@njit(error_model="numpy")
def sized(s, r, m, p, k, entry, at_open):
    """Return the lot steps decision k opens at `entry`; 0 opens nothing, and is counted."""
    if p.steps[k] > 0:
        return p.steps[k]
    if r.risk_pct <= 0.0:
        return r.fixed_steps
    stop = p.levels[k, 0]
    if stop != stop:
        s.refused_without_stop += 1
        return 0
    distance = round9((entry - stop) * p.actions[k])
    if distance <= 1e-9 * entry:
        s.refused_stop_beyond += 1
        return 0
    volume = r.risk_pct * s.balance / (distance * r.contract * known_rate(s, r, m, at_open))
    # Float noise of the quotient is below 1e-12 of it: 100 / 100 must give 1 lot, not 0.99.
    steps = np.floor(volume / r.lot_step * (1.0 + 1e-12) + 1e-9)
    if not steps >= 1.0:
        s.refused_below_step += 1
        return 0
    return np.int64(min(steps, 9e15))


@njit(error_model="numpy")
def enter(s, r, p, b, k, steps, entry, spread):
    """Open a position and book its half of the commission."""
    s.direction = p.actions[k]
    s.steps = steps
    s.steps_opened += steps
    s.position_id += 1
    s.entry_bar = s.bar
    s.deciding_bar = p.rows[k]
    s.entry_price = entry
    s.entry_spread = spread
    s.night_rate = 0.0
    s.stop_moves = 0
    s.stop = p.levels[k, 0]
    s.target = 0
    s.target_count = 0
    for j in range(1, p.levels.shape[1]):
        level = p.levels[k, j]
        if level == level:
            b.targets[s.target_count] = level
            s.target_count += 1
    s.entry_commission = round8(r.commission_half * lots(r, steps))
    s.booked_commission += s.entry_commission
    s.turnover += s.entry_commission
    s.balance = round8(s.balance - s.entry_commission)


# ---------------------------------------------------------------------------------------------- levels


@njit(error_model="numpy")
def settle_inside(s, r, m, f, b):
    """Fill what the open reaches, at the open; then what the bar reaches, at its level, in the order that is known."""
    i = s.bar
    spread = m.spread[i * r.spread_step]
    settle_at(s, r, m, b, quote(s.direction, m.open[i], spread), True)
    if s.direction == 0:
        return
    worst = quote(s.direction, m.low[i] if s.direction > 0 else m.high[i], spread)
    best = quote(s.direction, m.high[i] if s.direction > 0 else m.low[i], spread)
    reaches_stop = stop_reached(s.direction, worst, s.stop)
    s.finer_cursor = -1
    guess_target = False
    while s.direction != 0:
        reaches_target = s.target < s.target_count and target_reached(s.direction, best, b.targets[s.target])
        if reaches_stop and reaches_target and not guess_target:
            first = STOP_FIRST if r.has_finer == 0 else first_of_finer(s, f, b.targets[s.target], spread)
            if r.has_finer == 0 or first == NEITHER_KNOWN:
                if s.last_ambiguous != i:
                    s.last_ambiguous = i
                    s.ambiguous_bars += 1
                guess_target = r.target_first != 0
                first = TARGET_FIRST if guess_target else STOP_FIRST
            reaches_target = first == TARGET_FIRST
        if reaches_target:
            fill_target(s, r, m, b, b.targets[s.target], True)
        elif reaches_stop:
            leave(s, r, m, b, s.steps, s.stop, STOP_LOSS, True)
        else:
            return


@njit(error_model="numpy")
def settle_at(s, r, m, b, price, at_open):
    """Fill at `price` what it is at or beyond: the stop, else each target in order."""
    if stop_reached(s.direction, price, s.stop):
        leave(s, r, m, b, s.steps, price, STOP_LOSS, at_open)
        return
    while s.direction != 0 and s.target < s.target_count and target_reached(s.direction, price, b.targets[s.target]):
        fill_target(s, r, m, b, price, at_open)


@njit(error_model="numpy")
def fill_target(s, r, m, b, price, at_open):
    """Fill the next target at `price`: its share, or all of it at the last one."""
    if s.target == s.target_count - 1:
        leave(s, r, m, b, s.steps, price, TAKE_PROFIT, at_open)
        return
    share = min(s.steps, np.int64(np.floor(s.steps * r.partial_ratio * (1.0 + 1e-12) + 1e-9)))
    if share > 0:
        leave(s, r, m, b, share, price, TAKE_PROFIT, at_open)
    if s.direction != 0:
        s.target += 1
        s.stop_moves = r.stop_to_entry


@njit(error_model="numpy")
def first_of_finer(s, f, target, spread):
    """Walk the finer bars from the cursor: which of stop and target is reached first. Stays on the bar that decided."""
    if s.finer_cursor < 0:
        s.finer_cursor = f.spans[0, s.bar]
    while s.finer_cursor < f.spans[1, s.bar]:
        j = s.finer_cursor
        at_open = quote(s.direction, f.open[j], spread)
        if stop_reached(s.direction, at_open, s.stop):
            return STOP_FIRST
        if target_reached(s.direction, at_open, target):
            return TARGET_FIRST
        worst = quote(s.direction, f.low[j] if s.direction > 0 else f.high[j], spread)
        best = quote(s.direction, f.high[j] if s.direction > 0 else f.low[j], spread)
        reaches_stop = stop_reached(s.direction, worst, s.stop)
        reaches_target = target_reached(s.direction, best, target)
        if reaches_stop and reaches_target:
            return NEITHER_KNOWN
        if reaches_stop:
            return STOP_FIRST
        if reaches_target:
            return TARGET_FIRST
        s.finer_cursor += 1
    return NEITHER_KNOWN


@njit(error_model="numpy")
def stop_reached(direction, price, stop):
    """Whether price is within 1e-9 of itself of the stop, or beyond. NaN: never."""
    return (price - stop) * direction <= 1e-9 * price


@njit(error_model="numpy")
def target_reached(direction, price, target):
    """Whether price is within 1e-9 of itself of the target, or beyond. NaN: never."""
    return (price - target) * direction >= -1e-9 * price


# ---------------------------------------------------------------------------------------------- money


@njit(error_model="numpy")
def leave(s, r, m, b, steps, price, reason, at_open):
    """Close `steps` of the position at `price`: write a row, book its items."""
    i = s.bar
    rate = known_rate(s, r, m, at_open)
    volume = lots(r, steps)
    points = np.rint((price - s.entry_price) * 1e9) * s.direction
    gross = round8(points * (volume * r.contract / 1e9) * rate)
    swap = round8(swap_due(s, r, steps))
    exit_half = round8(r.commission_half * volume)
    entry_half = s.entry_commission if steps == s.steps else exit_half
    s.entry_commission = round8(s.entry_commission - entry_half)
    commission = round8(entry_half + exit_half)
    spread = s.entry_spread if s.direction > 0 else m.spread[i * r.spread_step]
    s.balance = round8(s.balance + (gross - exit_half + swap))
    s.booked_gross += gross
    s.booked_commission += exit_half
    s.booked_swap += swap
    s.turnover += abs(gross) + exit_half + abs(swap)
    s.steps_closed += steps

    row = s.rows
    x = b.prices
    x[0, row] = s.entry_price
    x[1, row] = price
    x[2, row] = volume
    x[3, row] = round8(gross - commission + swap)
    x[4, row] = commission
    x[5, row] = round8(spread * volume * r.contract * rate)
    x[6, row] = swap
    x[7, row] = s.balance
    x[8, row] = s.stop
    x[9, row] = b.targets[s.target] if s.target < s.target_count else np.nan
    y = b.marks
    y[0, row] = s.position_id
    y[1, row] = s.direction
    y[2, row] = s.entry_bar
    y[3, row] = i
    y[4, row] = reason
    y[5, row] = s.deciding_bar
    s.rows += 1
    s.steps -= steps
    if s.steps == 0:
        s.direction = 0
        s.stop_moves = 0
        s.night_rate = 0.0


@njit(error_model="numpy")
def charge_night(s, r, m, p):
    """Charge the nights that fall on this bar to the position that stays open over its close."""
    i = s.bar
    while s.next_night < p.night_rows.shape[0] and p.night_rows[s.next_night] < i:
        s.next_night += 1
    if s.next_night < p.night_rows.shape[0] and p.night_rows[s.next_night] == i:
        s.night_rate += p.night_weights[s.next_night] * known_rate(s, r, m, False)


@njit(error_model="numpy")
def swap_due(s, r, steps):
    """Swap charged so far to `steps` of the position, account currency, not rounded; negative when paid."""
    points = r.swap_long if s.direction > 0 else r.swap_short
    return points * r.contract * lots(r, steps) * s.night_rate


@njit(error_model="numpy")
def test_equity(s, r, m, b):
    """Mark at this close; at nothing left, close what is open there and end the run."""
    i = s.bar
    if s.fault != 0 or s.ended != 0:
        return
    s.equity = s.balance
    if s.direction != 0:
        price = quote(s.direction, m.close[i], m.spread[i * r.spread_step])
        points = np.rint((price - s.entry_price) * 1e9) * s.direction
        unit = lots(r, s.steps) * r.contract / 1e9 * known_rate(s, r, m, False)
        s.equity = round8(s.balance + (points * unit + swap_due(s, r, s.steps)))
        if s.equity <= 0.0:
            leave(s, r, m, b, s.steps, price, STOP_OUT, False)
    if s.equity <= 0.0:
        s.equity = s.balance
        s.ended = 1
        s.stopped_out = 1


@njit(error_model="numpy")
def record(s, r, b):
    """Write the bar's equity and balance, and check the books against what was booked item by item."""
    b.equity[s.bar] = s.equity
    if s.balances == 0 or b.balances[s.balances - 1] != s.balance:
        b.balance_bars[s.balances] = s.bar
        b.balances[s.balances] = s.balance
        s.balances += 1
    booked = r.deposit + s.booked_gross - s.booked_commission + s.booked_swap
    if not abs(s.balance - booked) <= 1e-6 + 1e-12 * (s.turnover + abs(r.deposit)) and s.fault == 0:
        s.fault = BOOKS_BROKEN
    if s.steps_opened - s.steps_closed != s.steps and s.fault == 0:
        s.fault = BOOKS_BROKEN


@njit(error_model="numpy")
def known_rate(s, r, m, at_open):
    """The rate from quote to account currency known at this bar's open or close; unknown is a fault."""
    index = s.bar * r.rate_step
    rate = m.rate_open[index] if at_open else m.rate_close[index]
    if not rate > 0.0 and s.fault == 0:
        s.fault = NO_RATE_AT_OPEN if at_open else NO_RATE_AT_CLOSE
    return rate


@njit(error_model="numpy")
def lots(r, steps):
    """Return whole lot steps as lots, the nearest float to the decimal."""
    return round9(steps * r.lot_step)


@njit(error_model="numpy")
def quote(direction, bid, spread):
    """Return the price a position of this direction is valued and left at: bid for a long, ask for a short."""
    return bid if direction > 0 else round9(bid + spread)


@njit(error_model="numpy")
def round9(price):
    """Round to 1e-9, half to even. From 9e6 on a float has no such digits and is returned as it is."""
    return np.rint(price * 1e9) / 1e9 if abs(price) < 9e6 else price


@njit(error_model="numpy")
def round8(money):
    """Round to 1e-8, half to even, never -0.0. From 9e7 on a float has no such digits and is returned as it is."""
    return np.rint(money * 1e8) / 1e8 + 0.0 if abs(money) < 9e7 else money


# Compiled down here, when every helper exists.
advance: Callable[..., int] = njit(_signature, cache=True, nogil=True, error_model="numpy")(_advance)
