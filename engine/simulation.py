"""One pass over a prepared run, with its own state and its own books: the kernel's driver."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.deciders.decisions import Decisions, OneDecision
from engine.errors import BooksDoNotBalance, NoRateYet, StrategyError
from engine.kernel import layout
from engine.kernel.loop import advance
from engine.numeric.times import iso_time
from engine.prepared import PreparedRun
from engine.results.trail import Trail
from engine.strategy import Position

_FIRST_ROWS = 1024
_NOT_YET = "MOVE, CANCEL, trailing_stop, max_bars and entry orders are not simulated yet"


class Simulation:
    """One pass over a run: drives the kernel, keeps its state, grows its books."""

    def __init__(self, run: PreparedRun, decisions: Decisions, *, target_first: bool = False) -> None:
        """decisions: all of a column strategy's; for a bar strategy a single slot that `conclude` fills anew."""
        self.run = run
        if decisions.terms is not None:
            raise StrategyError(_NOT_YET)
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
        rows, actions, steps, levels = self._plan
        rows[0] = -1
        if decision is not None:
            actions[0], steps[0], wanted, terms = decision
            if terms is not None:
                raise StrategyError(_NOT_YET)
            rows[0] = bar
            if len(wanted) > levels.shape[1]:
                levels = self._widen(len(wanted))
            levels[0] = np.nan
            levels[0, : len(wanted)] = wanted
        self.state["bar"] = bar
        self.state["next_decision"] = 0
        self._advance(layout.CONCLUDE, bar + 1)

    def position(self) -> Position | None:
        """Return the open position as a strategy may see it; the stop is the one that rests from the next bar on."""
        state = self.state[0]
        if state["direction"] == 0:
            return None
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

    def _advance(self, command: int, until: int) -> int:
        reached: int = advance(
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
        rows, actions, steps, _ = self._plan
        levels = np.full((1, columns), np.nan)
        self._plan = (rows, actions, steps, levels)
        targets = np.full(columns - 1, np.nan)
        targets[: self._targets.size] = self._targets
        self._targets = targets
        self._make_room()
        return levels


def _grown(records: NDArray[Any], size: int) -> NDArray[Any]:
    larger = np.empty(size, records.dtype)
    larger[: records.size] = records
    return larger
