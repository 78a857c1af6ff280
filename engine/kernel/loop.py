"""The compiled fill loop: the rules of docs/engine-rules.md over one run's bars, driven chunk by chunk by `simulation`.

The hot path is `scan`: it passes over *quiet* bars, on which no decision, level, night or stop-out can change the
position, and only writes their equity. Every other bar goes through `settle` (open, levels) and `conclude` (decision,
night, end), which follow the rules word by word (`levels`, `orders`, `money`). A bar handed over
needlessly costs time, never a figure. `layout` says what all of it reads and writes.
"""

# mypy: allow-untyped-defs, allow-untyped-calls, disable-error-code="no-untyped-def,untyped-decorator"
# numba infers every type below from the one signature; annotations would be unchecked claims.

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from engine.kernel import entry_bar as kernel_entry_bar
from engine.kernel import layout as kernel_layout
from engine.kernel import levels as kernel_levels
from engine.kernel import money as kernel_money
from engine.kernel import orders as kernel_orders
from engine.kernel import trailing as kernel_trailing
from engine.kernel.entry_bar import fill_order, fill_order_at_close
from engine.kernel.layout import (
    AHEAD,
    AT_CLOSE,
    BEFORE_OPEN,
    CLOSE_FILL,
    CLOSE_PRICE,
    CONCLUDE,
    END_OF_DATA,
    INSIDE,
    LINE,
    NEXT_OPEN,
    OPEN_FILL,
    ROWS_A_BAR,
    SCAN,
    SETTLE,
    SIGNATURE,
    SIMULATE,
    Book,
    Finer,
    Plan,
    Prices,
    Track,
    inlined,
    njit,
)
from engine.kernel.levels import settle_at, settle_inside
from engine.kernel.money import (
    charge_nights,
    equity_of,
    even_part,
    least_equity,
    leave,
    load_close,
    load_open,
    lots,
    oddness,
    point_worth,
    quote,
    record,
    round_sum,
    swap_due,
    test_equity,
    whole_units,
)
from engine.kernel.orders import carry_out
from engine.kernel.prefetch import prefetch
from engine.kernel.trailing import first_of_time, leave_by_time_at_close, leave_by_time_at_open, let_come, move_stop


def _advance_made_of(parts: int) -> Callable[..., int]:
    """Return the loop as plain Python. parts: see fingerprint; in the closure it becomes part of numba's cache key."""

    def advance(
        command, until, state, rules,
        open_, high, low, close, spread, rate_open, rate_close,
        rows, actions, steps, levels, night_rows, night_kinds, night_weights, night_rates,
        finer_open, finer_high, finer_low, finer_spans,
        book_rows, targets, equity, balances,
    ):  # fmt: skip
        """See command_loop. Without ORDERS: all that only they need is compiled away."""
        prices = Prices(open_, high, low, close, spread, rate_open, rate_close)
        plan = Plan(rows, actions, steps, levels, night_rows, night_kinds, night_weights, night_rates)
        finer = Finer(finer_open, finer_high, finer_low, finer_spans)
        book, track = Book(book_rows, targets), Track(equity, balances)
        return command_loop(parts, command, until, state[0], rules[0], None, prices, plan, finer, book, track)

    return advance


@inlined
def command_loop(parts, command, until, s, r, o, prices, plan, finer, book, track):
    """Carry out one command on the state and return the bar reached.

    SIMULATE: all bars before `until`, or up to an end, a fault, or too little room for one more bar's rows (then
    the bar returned is before `until` with ended = fault = 0). SCAN: write equity of the quiet bars from state.bar
    on, assuming no decision, and return the first bar before `until` that is not quiet; changes nothing else.
    SETTLE: the open and the levels of state.bar, which lies before `until`. CONCLUDE: the decision, night and end
    of the bars before `until`, which must be one. o: the ORDERS record, or None.
    """
    if command == SCAN or parts < 0:
        return scan(s, r, o, prices, plan, track, s.bar, until)
    room = book.rows.shape[0] - book.targets.shape[0] - ROWS_A_BAR
    while s.bar < until:
        if command == SIMULATE:
            s.bar = scan(s, r, o, prices, plan, track, s.bar, until)
        if s.bar == until or s.rows > room or s.balances == track.balances.shape[0]:
            break
        load_close(s, r, prices)
        if command != CONCLUDE:
            settle(s, r, o, prices, plan, finer, book, track)
        if command != SETTLE and s.ended == 0 and s.fault == 0:
            conclude(s, r, o, plan, book, track)
        if command == SETTLE or s.ended != 0 or s.fault != 0:
            break
        s.bar += 1
    return s.bar


@inlined
def scan(s, r, o, prices, plan, track, start, until):
    """Write the equity of quiet bars from start on; return the first bar that is not quiet, or `until`."""
    if s.pending >= 0 or s.stop_moves != 0:
        return start
    limit = min(until, next_decision_bar(s, r, prices, plan, start))
    if s.direction == 0:
        if s.balance <= 0.0 or (o is not None and o.resting >= 0):
            return start
        for i in bars_from(start, limit):
            track.equity[i] = s.balance
        return max(start, limit)
    while s.next_night < plan.night_rows.shape[0] and plan.night_rows[s.next_night] < start:
        s.next_night += 1
    if s.next_night < plan.night_rows.shape[0]:
        limit = min(limit, plan.night_rows[s.next_night])
    if o is not None:
        limit = min(limit, first_of_time(s, r, o, start))
    limit = first_near_level(s, r, prices, start, limit)
    return mark_quiet(s, r, prices, track.equity, start, limit, least_equity(r, o, s.steps))


@inlined
def next_decision_bar(s, r, prices, plan, start):
    """Return the bar of the first decision from start on, and go to it; the last bar where there is none."""
    while s.next_decision < plan.rows.shape[0] and plan.rows[s.next_decision] < start:
        s.next_decision += 1
    if s.next_decision + AHEAD < plan.rows.shape[0]:
        fetch_ahead(r, prices, plan.rows[s.next_decision + AHEAD])
    return min(r.last_bar, plan.rows[s.next_decision]) if s.next_decision < plan.rows.shape[0] else r.last_bar


@inlined
def fetch_ahead(r, prices, i):
    """Have the prices that a decision at bar i will need brought near: waiting for them took half of a run's time."""
    prefetch(prices.close, i)
    if r.mode != CLOSE_PRICE:
        prefetch(prices.low, i + 1)
        prefetch(prices.high, i + 1)
        prefetch(prices.open, i + 1)
        prefetch(prices.open, i + LINE)


@inlined
def first_near_level(s, r, prices, start, limit):
    """Return the first bar in [start, limit) that may reach a level; the margin is wider than any rounding."""
    stop, target = s.stop, s.target_price
    if stop != stop and target != target:
        return limit
    stop_margin = 4e-9 * abs(stop) + 2e-9
    target_margin = 4e-9 * abs(target) + 2e-9
    spread = prices.spread[0] if r.spread_step == 0 else 0.0
    if s.direction > 0:
        floor = stop + stop_margin if stop == stop else -np.inf
        ceiling = target - target_margin if target == target else np.inf
    else:
        ceiling = stop - stop_margin - spread if stop == stop else np.inf
        floor = target + target_margin - spread if target == target else -np.inf
    low = prices.close if r.mode == CLOSE_PRICE else prices.low
    high = prices.close if r.mode == CLOSE_PRICE else prices.high
    if s.direction > 0 or r.spread_step == 0:
        for i in bars_from(start, limit):
            if low[i] <= floor or high[i] >= ceiling:
                return np.int64(i)
    else:
        for i in bars_from(start, limit):
            if low[i] + prices.spread[i] <= floor or high[i] + prices.spread[i] >= ceiling:
                return np.int64(i)
    return limit


@inlined
def mark_quiet(s, r, prices, equity, start, limit, least):
    """Write equity at the closes of [start, limit); return limit, or the first bar that leaves no more than `least`."""
    if limit <= start:
        return start
    close = prices.close
    volume = lots(r, s.steps)
    scale = r.scale
    unit = point_worth(r, volume)
    entry, direction, odd = s.entry_price, s.direction, oddness(s.balance)
    even, carried = even_part(s.balance, odd), swap_due(s, r, volume) * 1e8 + odd
    exhausted = 0
    if r.rate_step == 0 and (r.spread_step == 0 or direction > 0):
        # The same arithmetic as below and in test_equity, in a shape that compiles to vector instructions.
        unit *= prices.rate_close[0]
        spread = prices.spread[0]
        if direction > 0:
            for i in bars_from(start, limit):
                value = equity_of(even, whole_units(scale, close[i], entry), unit, carried)
                equity[i] = value
                exhausted += 0 if value > least else 1
        else:
            for i in bars_from(start, limit):
                points = whole_units(scale, entry, round_sum(scale, close[i] + spread))
                value = equity_of(even, points, unit, carried)
                equity[i] = value
                exhausted += 0 if value > least else 1
    else:
        for i in bars_from(start, limit):
            price = quote(scale, direction, close[i], prices.spread[i * np.uintp(r.spread_step)])
            points = whole_units(scale, price, entry) * direction
            rate = prices.rate_close[i * np.uintp(r.rate_step)]
            value = equity_of(even, points, unit * rate, carried)
            equity[i] = value
            exhausted += 0 if value > least else 1
    if exhausted > 0:
        for i in bars_from(start, limit):
            if not equity[i] > least:
                return np.int64(i)
    return limit


@inlined
def bars_from(start, limit):
    """Return the bars of [start, limit) as unsigned numbers.

    A signed index may count from the end, and a loop that must look after that is five times slower.
    """
    return range(np.uintp(start), np.uintp(limit))


@inlined
def settle(s, r, o, prices, plan, finer, book, track):
    """The bar's open and its levels, then the first equity test, the trail and the time: all before its decision.

    A fill at the open or inside the bar counts just after its open, so a night inside the bar comes after all of them.
    """
    if o is None and s.stop_moves != 0:
        s.stop = s.entry_price
        s.stop_moves = 0
    charge_nights(s, r, plan, BEFORE_OPEN)
    if o is not None and r.mode == NEXT_OPEN:
        leave_by_time_at_open(s, r, o, prices, book)
    if s.pending >= 0:
        load_open(s, r, prices)
        carry_out(s, r, o, plan, book, s.pending, OPEN_FILL)
        s.pending = -1
    judged = o is not None and r.mode != CLOSE_PRICE and fill_order(s, r, o, prices, plan, finer, book)
    if s.direction != 0 and r.mode != CLOSE_PRICE and not judged:
        settle_inside(s, r, o, prices, finer, book)
    charge_nights(s, r, plan, INSIDE)
    if s.direction != 0 and r.mode == CLOSE_PRICE:
        settle_at(s, r, o, book, quote(r.scale, s.direction, s.close, s.spread), CLOSE_FILL)
    if o is not None:
        fill_order_at_close(s, r, o, plan, book)
    test_equity(s, r, o, book)
    if o is not None:
        move_stop(s, r, o, prices)
        leave_by_time_at_close(s, r, o, book)
    if s.ended != 0:
        record(s, r, track)


@inlined
def conclude(s, r, o, plan, book, track):
    """The bar's decision, the second equity test, the night of what is still open, the end of the data."""
    while s.next_decision < plan.rows.shape[0] and plan.rows[s.next_decision] < s.bar:
        s.next_decision += 1
    if s.next_decision < plan.rows.shape[0] and plan.rows[s.next_decision] == s.bar:
        if r.mode != NEXT_OPEN:
            carry_out(s, r, o, plan, book, s.next_decision, CLOSE_FILL)
        elif s.bar < r.last_bar:
            s.pending = s.next_decision
    test_equity(s, r, o, book)
    if charge_nights(s, r, plan, AT_CLOSE):
        test_equity(s, r, o, book)
    if s.ended == 0 and s.bar == r.last_bar and s.direction != 0:
        price = quote(r.scale, s.direction, s.close, s.spread)
        leave(s, r, o, book, s.steps, price, END_OF_DATA, CLOSE_FILL)
        s.equity = s.balance
    if o is not None:
        let_come(s, o, plan, book)
        if o.resting >= 0 and is_over(s, plan, o.resting):
            o.resting = -1
    record(s, r, track)


@inlined
def is_over(s, plan, k):
    """Whether this bar is the last one that entry order k rests in."""
    expires_bars = plan.terms[k].expires_bars
    return expires_bars > 0 and s.bar - plan.rows[k] >= expires_bars


def fingerprint() -> int:
    """Return a number for the code and the constants of every part of the loop.

    numba keeps compiled code by the time stamp of the file that holds the outermost function. A part in another file
    could change and the old machine code go on being used; with this number in the closure it is not.
    """
    hasher = hashlib.sha256()
    for module in (kernel_layout, kernel_money, kernel_trailing, kernel_levels, kernel_orders, kernel_entry_bar):
        hash_parts(hasher, vars(module))
    return int.from_bytes(hasher.digest()[:6], "little")


def hash_parts(hasher: Any, names: Mapping[str, Any]) -> None:
    """Add a module's compiled functions and constants to what is hashed."""
    for name, value in sorted(names.items()):
        code = getattr(getattr(value, "py_func", None), "__code__", None)
        if code is not None:
            hasher.update(repr((name, code.co_code, code.co_consts, code.co_names, value.targetoptions)).encode())
        elif isinstance(value, int | np.dtype):
            hasher.update(repr((name, value)).encode())


advance: Callable[..., int] = njit(SIGNATURE, cache=True, nogil=True, error_model="numpy", _nrt=False)(
    _advance_made_of(fingerprint())
)
