"""The compiled fill loop once more, for runs of trails, times, moves, entry orders, or costs and limits of the account.

Apart from `loop` so that a run of none of it neither compiles nor loads this, and is not slowed down by it.
"""

# mypy: allow-untyped-defs, allow-untyped-calls, disable-error-code="no-untyped-def,untyped-decorator"
# numba infers every type below from the one signature; annotations would be unchecked claims.

import hashlib
from collections.abc import Callable

from engine.kernel import loop as kernel_loop
from engine.kernel.layout import ORDERS_SIGNATURE, Book, Finer, Plan, Prices, Track, njit
from engine.kernel.loop import command_loop, fingerprint, hash_parts


def _advance_made_of(parts: int) -> Callable[..., int]:
    """As loop._advance_made_of. Here parts has to tell of `loop` too, which is another file."""

    def advance(
        command, until, state, rules,
        open_, high, low, close, spread, rate_open, rate_close,
        rows, actions, steps, levels, night_rows, night_kinds, night_weights, night_rates,
        finer_open, finer_high, finer_low, finer_spans,
        book_rows, targets, equity, balances, orders, terms,
    ):  # fmt: skip
        """See loop.command_loop."""
        prices = Prices(open_, high, low, close, spread, rate_open, rate_close)
        plan = Plan(rows, actions, steps, levels, night_rows, night_kinds, night_weights, night_rates, terms)
        finer = Finer(finer_open, finer_high, finer_low, finer_spans)
        book, track = Book(book_rows, targets), Track(equity, balances)
        return command_loop(parts, command, until, state[0], rules[0], orders[0], prices, plan, finer, book, track)

    return advance


def _fingerprint() -> int:
    """Return a number for the code and the constants of every part, those of `loop` included."""
    hasher = hashlib.sha256(str(fingerprint()).encode())
    hash_parts(hasher, vars(kernel_loop))
    return int.from_bytes(hasher.digest()[:6], "little")


advance: Callable[..., int] = njit(ORDERS_SIGNATURE, cache=True, nogil=True, error_model="numpy", _nrt=False)(
    _advance_made_of(_fingerprint())
)
