"""What the compiled fill loop reads and writes: codes, records and bundles of arrays, for its modules and simulations.

Conventions: direction +1 long, -1 short, 0 flat. Volumes are whole lot steps. A level that is not there is NaN.
Price arrays of length one with a step of 0 stand for a value that is the same on every bar.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np

CLOSE_PRICE, INTRA_CANDLE, NEXT_OPEN = 0, 1, 2
REVERSE, CLOSE, IGNORE = 0, 1, 2
BUY_CODE, SELL_CODE, CLOSE_CODE, MOVE_CODE, CANCEL_CODE = 1, -1, 0, 2, 3
"""MOVE_CODE is that of a long's levels, -MOVE_CODE of a short's."""
MARKET, LIMIT, STOP_ORDER = 0, 1, 2
REASONS = (
    *("stop_loss", "take_profit", "signal", "reverse", "llm_close", "stop_out", "end_of_data"),
    *("trailing_stop", "time"),
)
STOP_LOSS, TAKE_PROFIT, SIGNAL, REVERSED, _, STOP_OUT, END_OF_DATA, TRAILING_STOP, TIME = range(9)
SIMULATE, SCAN, SETTLE, CONCLUDE = 0, 1, 2, 3
NO_FAULT, NO_RATE_AT_CLOSE, NO_RATE_AT_OPEN, BOOKS_BROKEN, NO_RATE_AT_NIGHT = 0, 1, 2, 3, 4
PLACES = ("close", "open", "level")
CLOSE_FILL, OPEN_FILL, LEVEL_FILL = range(3)
"""What of its bar a fill was at. Rates known at the open hold for all but the first."""
BEFORE_OPEN, INSIDE, AT_CLOSE = 0, 1, 2
"""When a night falls on a bar: at or before its open, between open and close, at its very close."""
NOT_KNOWN, STOP_FIRST, TARGET_FIRST = 0, 1, 2
ROWS_A_BAR = 4
"""Rows one bar may write beyond one for each target."""
AHEAD, LINE = 2, 8
"""Prices are fetched for the decision so many further on; a cache line holds so many."""


def _record(integers: str, floats: str) -> np.dtype[Any]:
    return np.dtype([(name, np.int64) for name in integers.split()] + [(name, np.float64) for name in floats.split()])


RULES = _record(
    "mode on_opposite stop_to_entry target_first last_bar spread_step rate_step has_finer fixed_steps",
    "scale deposit commission_half partial_ratio risk_pct lot_step contract swap_long swap_short",
)
"""What holds for a whole run. scale: sums of prices are rounded to 1 / scale. swap_*: quote currency a lot and night.
risk_pct: 0 for fixed_steps."""

STATE = _record(
    """bar settled ended stopped_out fault next_decision next_night pending direction steps position_id entry_bar
    deciding_bar entry_at target target_count stop_moves finer_cursor rows balances ambiguous_bars last_ambiguous
    refused_without_stop refused_stop_beyond refused_below_step steps_opened steps_closed""",
    """balance equity entry_price entry_spread entry_commission stop stop_at_entry target_price night_rate
    booked_gross booked_commission booked_swap turnover
    open close spread rate_open rate_close""",
)
"""Where a simulation stands. bar: next to look at; settled: its levels are done, its decision is not. target_price: the
next target, NaN without. entry_commission: booked at entry, not yet in a row. night_rate: sum over the nights charged
to the open position of weight * rate. open to rate_close: of the bar being looked at, bids; open and rate_open only
where they are asked for."""

_DIGESTED = _record(
    "position_id direction entry_bar exit_bar exit_reason deciding_bar",
    "entry_price exit_price volume profit commission spread_cost swap equity_after stop_loss take_profit rate",
)
ROW = np.dtype(_DIGESTED.descr + _record("entry_at exit_at", "stop_at_entry").descr)
"""One exit. Bars are counted from the run's first; exit_reason is an index into REASONS, entry_at and exit_at into
PLACES; rate: that of the exit."""
DIGESTED: int = _DIGESTED.itemsize
"""So many first bytes of a ROW are in the result digest; what comes after them follows from the same."""

BALANCE = _record("bar", "balance")
"""The balance that stands from the close of a bar on."""

TERMS = _record("order max_bars expires_bars closes", "trailing_stop price")
"""What a decision carries beyond volume and levels. order: MARKET, LIMIT, STOP_ORDER. closes: the direction of the only
position that a CLOSE closes, and that an opposite decision to open closes also where such are ignored. All else, and
what is not given, 0; of a CLOSE everything but closes.
"""


ORDERS = _record(
    "max_bars stop_reason coming_reason coming resting refused_without_margin not_moved",
    """slippage commission_share leverage stop_out_share
    trail best coming_stop entry_slippage entry_commission_lot margin_lot slippage_cost""",
)
"""What a run of MOVE, CANCEL, TERMS, or costs and limits of the account, has beyond RULES and STATE; other runs have
none, and their loop is compiled without any of it.

For the whole run: slippage, a price; commission_share, of the notional; leverage, 0 where none is asked;
stop_out_share, of the margin. Of the open position: max_bars and trail, 0 without; best: the best price it could have
left at; coming_*: what counts from the next bar on, coming being the decision whose targets do, -1 for none;
entry_commission_lot, margin_lot: in account currency by the entry's rate, not rounded. resting: the decision whose
entry order waits, -1 for none.
"""


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
    """Decisions by deciding bar, ascending, and the nights. levels: (m, 1 + k), stop then targets. steps 0: size it.
    terms: TERMS (m,), there where there are ORDERS.

    Nights ascend in time; each falls on the first bar that closes at or after it. night_rates: known at that moment.
    """

    rows: Any
    actions: Any
    steps: Any
    levels: Any
    night_rows: Any
    night_kinds: Any
    night_weights: Any
    night_rates: Any
    terms: Any = None


class Finer(NamedTuple):
    """Finer bars (bids); spans[0, i]:spans[1, i] are those inside run bar i."""

    open: Any
    high: Any
    low: Any
    spans: Any


class Book(NamedTuple):
    """What fills write: a ROW an exit; and the targets of the open position."""

    rows: Any
    targets: Any


class Track(NamedTuple):
    """What bars write: equity a bar, and a BALANCE wherever it changed."""

    equity: Any
    balances: Any


njit: Any = numba.njit
"""Untyped: numba's stubs do not know _nrt."""


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a part of the loop into its callers: most of a call's cost was passing arguments.

    No reference counts (_nrt): nothing here allocates, and counting arrays at each call cost four times the arithmetic.
    """
    part: Callable[..., Any] = njit(error_model="numpy", _nrt=False, forceinline=True)(function)
    return part


def called(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a part of the loop once: for the large ones, whose copies would only lengthen compilation."""
    part: Callable[..., Any] = njit(error_model="numpy", _nrt=False)(function)
    return part


def _read_only(element: Any, dimensions: int = 1) -> Any:
    return numba.types.Array(element, dimensions, "C", readonly=True)


_floats, _integers = _read_only(numba.float64), _read_only(numba.int64)
_ARGUMENTS = (
    numba.int64,
    numba.int64,
    numba.from_dtype(STATE)[::1],
    numba.from_dtype(RULES)[::1],
    *(_floats,) * len(Prices._fields),
    *(_integers, _integers, _integers, _read_only(numba.float64, 2)),
    *(_integers, _integers, _integers, _floats),
    *(_floats, _floats, _floats, _read_only(numba.int64, 2)),
    *(numba.from_dtype(ROW)[::1], numba.float64[::1]),
    *(numba.float64[::1], numba.from_dtype(BALANCE)[::1]),
)
"""Command, until, state, rules, then Prices, Plan without terms, Finer, Book, Track."""
SIGNATURE = numba.int64(*_ARGUMENTS)
ORDERS_SIGNATURE = numba.int64(*_ARGUMENTS, numba.from_dtype(ORDERS)[::1], numba.from_dtype(TERMS)[::1])
"""What the loop is compiled for: once without and, for runs that need it, once with orders and terms."""
