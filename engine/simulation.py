"""One pass over a prepared run, with its own state and its own books: the kernel's driver."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.deciders.decisions import Decisions, OneDecision
from engine.errors import BooksDoNotBalance, NoRateYet
from engine.kernel import layout
from engine.kernel.loop import advance
from engine.numeric.times import iso_time
from engine.prepared import PreparedRun
from engine.results.trail import Trail
from engine.strategy import Position

_FIRST_ROWS = 1024
_NO_TERMS = (0, 0, 0, 0, 0.0, 0.0)


class Simulation:
    """One pass over a run: drives the kernel, keeps its state, grows its books.

    orders: the kernel's record of them, None until something needs it; from then on the loop is the one with orders.
    """

    def __init__(self, run: PreparedRun, decisions: Decisions, *, target_first: bool = False) -> None:
        """decisions: all of a column strategy's; for a bar strategy a single slot that `conclude` fills anew."""
        self.run = run
        self._rules = run.rules.copy()
        self._rules["target_first"] = int(target_first)
        self.state: Any = np.zeros(1, layout.STATE)
        self.state["balance"] = self.state["equity"] = run.specification.initial_balance
        self.state["pending"] = self.state["last_ambiguous"] = -1
        self.state["stop"] = self.state["target_price"] = np.nan
        self.equity = np.empty(run.bar_count)
        self._plan = (decisions.rows, decisions.actions, decisions.steps, decisions.levels)
        self._targets = np.full(max(1, decisions.levels.shape[1] - 1), np.nan)
        # Room for an exit a decision: a page that is never written to takes no memory, and growing copies.
        room = max(_FIRST_ROWS, decisions.rows.size + _FIRST_ROWS)
        self._rows = np.empty(room, layout.ROW)
        self._balances = np.empty(room, layout.BALANCE)
        self._balances[0] = (0, run.specification.initial_balance)
        self.state["balances"] = 1
        self.orders: Any = None
        self._terms: NDArray[Any] = np.empty(0, layout.TERMS)
        if run.needs_orders or decisions.terms is not None:
            self._begin_orders(
                np.zeros(decisions.rows.size, layout.TERMS) if decisions.terms is None else decisions.terms
            )

    @property
    def bars_done(self) -> int:
        return int(self.state["bar"][0])

    @property
    def ended(self) -> bool:
        """Whether a stop-out ended the run before its last bar was through."""
        return bool(self.state["ended"][0])

    @property
    def rows(self) -> int:
        return int(self.state["rows"][0])

    @property
    def balance(self) -> float:
        return float(self.state["balance"][0])

    @property
    def equity_now(self) -> float:
        """Equity at the newest close, before that bar's decision while it is still to be taken."""
        return float(self.state["equity"][0])

    def simulate(self, until: int) -> None:
        """Simulate all bars before `until`, unless the run ends first."""
        while self.bars_done < until and not self.ended:
            before = self.bars_done
            self._advance(layout.SIMULATE, until)
            if self.bars_done < until and not self.ended and not self._make_room() and self.bars_done == before:
                raise AssertionError("the kernel stopped without a reason")

    def scan(self, until: int) -> int:
        """Return the first bar before `until` that needs settling; up to there equity stands, decisions aside."""
        return self._advance(layout.SCAN, until)

    def settle(self) -> None:
        """Go through the next bar up to its decision."""
        self._make_room()
        self._advance(layout.SETTLE, self.run.bar_count)

    def conclude(self, bar: int, decision: OneDecision | None) -> None:
        """Carry out a bar strategy's decision at `bar` (None: nothing) and go on. Bars before it were quiet."""
        self._make_room()
        if decision is not None and decision[-1] is not None and self.orders is None:
            self._begin_orders(np.zeros(self._plan[0].size, layout.TERMS))
        slot = self._free_slot()
        self._plan[0][slot] = -1
        if decision is not None:
            self._put(slot, bar, decision)
        self.state["bar"] = bar
        self.state["next_decision"] = slot
        self._advance(layout.CONCLUDE, bar + 1)

    def position(self) -> Position | None:
        """Return the open position as a strategy may see it; the stop is the one that rests from the next bar on."""
        state = self.state[0]
        if state["direction"] == 0:
            return None
        if self.orders is not None:
            stop = self.orders["coming_stop"][0]
        else:
            stop = state["entry_price"] if state["stop_moves"] else state["stop"]
        return Position(
            direction="BUY" if state["direction"] > 0 else "SELL",
            entry_price=float(state["entry_price"]),
            volume=round(int(state["steps"]) * self.run.instrument.lot_step, 9),
            entry_time=np.datetime64(int(self.run.time_us[state["entry_bar"]]), "us"),
            stop_loss=None if np.isnan(stop) else float(stop),
            take_profits=tuple(self._targets[state["target"] : state["target_count"]].tolist()),
        )

    def trail(self) -> Trail:
        """Return what was written so far."""
        bars = self.bars_done + int(self.ended)
        rows, balances = self.rows, int(self.state["balances"][0])
        return Trail(
            self.run.time_us,
            self.equity[:bars],
            self._rows[:rows],
            self._balances[:balances],
        )

    def _begin_orders(self, terms: NDArray[Any]) -> None:
        """Go on with the loop that knows orders. What is open came of a plain decision, by the rules that all have."""
        self.orders, self._terms, state = self.run.orders.copy(), terms, self.state[0]
        self.orders["coming_stop"] = state["entry_price"] if state["stop_moves"] else state["stop"]
        self.orders["entry_commission_lot"] = self._rules["commission_half"]
        state["stop_moves"] = 0

    def _free_slot(self) -> int:
        """Return the place of the next decision of a bar strategy: another one than that whose order rests."""
        if self.orders is None or self.orders["resting"][0] < 0:
            return 0
        if self._plan[0].size == 1:
            rows, actions, steps, levels = self._plan
            self._plan = (np.tile(rows, 2), np.tile(actions, 2), np.tile(steps, 2), np.tile(levels, (2, 1)))
            self._terms = np.concatenate((self._terms, self._terms))
        return 1 - int(self.orders["resting"][0])

    def _put(self, slot: int, bar: int, decision: OneDecision) -> None:
        action, size, wanted, said = decision
        rows, actions, steps, levels = self._plan
        if len(wanted) > levels.shape[1]:
            levels = self._widen(len(wanted))
        rows[slot], actions[slot], steps[slot] = bar, action, size
        levels[slot] = np.nan
        levels[slot, : len(wanted)] = wanted
        if self.orders is not None:
            self._terms[slot] = said or _NO_TERMS

    def _advance(self, command: int, until: int) -> int:
        further: tuple[Any, ...] = ()
        run_loop = advance
        if self.orders is not None:
            run_loop, further = _loop_with_orders(), (self.orders, self._terms)
        reached: int = run_loop(
            command,
            until,
            self.state,
            self._rules,
            *self.run.prices,
            *self._plan,
            *self.run.nights,
            *self.run.finer,
            self._rows,
            self._targets,
            self.equity,
            self._balances,
            *further,
        )
        fault = int(self.state["fault"][0])
        if fault != layout.NO_FAULT:
            self._fail(fault)
        return reached

    def _fail(self, fault: int) -> None:
        bar = self.bars_done
        if fault == layout.BOOKS_BROKEN:
            raise BooksDoNotBalance(
                f"the books do not balance after the bar at {iso_time(int(self.run.time_us[bar]))}:"
                f" balance {self.balance}, deposit {self.run.specification.initial_balance},"
                f" booked profit {float(self.state['booked_gross'][0])},"
                f" commission {float(self.state['booked_commission'][0])}, swap {float(self.state['booked_swap'][0])}"
            )
        raise NoRateYet(self._missing_rate(fault, bar))

    def _missing_rate(self, fault: int, bar: int) -> str:
        run = self.run
        if fault == layout.NO_RATE_AT_NIGHT:
            moment_us = int(run.night_moments_us[self.state["next_night"][0]])
        else:
            moment_us = int((run.time_us if fault == layout.NO_RATE_AT_OPEN else run.close_time_us)[bar])
        assert run.rates is not None, "a rate of 1 is always known"
        return run.rates.missing_at(moment_us)

    def _make_room(self) -> bool:
        """Double the books if one more bar might not fit; whether they grew."""
        wanted = self._targets.size + layout.ROWS_A_BAR + 1
        if min(self._rows.size - self.rows, self._balances.size - int(self.state["balances"][0])) >= wanted:
            return False
        more = 4 * self._rows.size + wanted
        self._rows, self._balances = _grown(self._rows, more), _grown(self._balances, more)
        return True

    def _widen(self, columns: int) -> NDArray[np.float64]:
        """Make room for a decision of more targets than any before."""
        rows, actions, steps, before = self._plan
        levels = np.full((rows.size, columns), np.nan)
        levels[:, : before.shape[1]] = before
        self._plan = (rows, actions, steps, levels)
        targets = np.full(columns - 1, np.nan)
        targets[: self._targets.size] = self._targets
        self._targets = targets
        self._make_room()
        return levels


def _loop_with_orders() -> Callable[..., int]:
    """Return it, loaded for the first run that needs it: it takes as long to load as the one that all need."""
    from engine.kernel.loop_with_orders import advance as with_orders

    return with_orders


def _grown(records: NDArray[Any], size: int) -> NDArray[Any]:
    larger = np.empty(size, records.dtype)
    larger[: records.size] = records
    return larger
