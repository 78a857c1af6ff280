"""One run made ready for the kernel: every array it reads, made once and shared by the simulations of that run.

And `Simulation`: one pass over those arrays, with its own state and its own books.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.deciders.decisions import Decisions
from engine.errors import BooksDoNotBalance, InvalidSpecification, NoData, NoRateYet
from engine.kernel import layout
from engine.kernel.loop import advance
from engine.market.bars import Bars
from engine.market.conversion import conversion_rates
from engine.market.instruments import Instrument
from engine.market.lots import lot_steps
from engine.market.sessions import SessionDays, session_days
from engine.market.spread import average_spread
from engine.market.swap import NO_NIGHTS, nights
from engine.numeric.times import as_us, iso_time
from engine.results.result import Ledger
from engine.specification import ExecutionMode, OnOpposite, Specification, SpreadSource
from engine.strategy import Position

_MODES = {
    ExecutionMode.CLOSE_PRICE: layout.CLOSE_PRICE,
    ExecutionMode.INTRA_CANDLE: layout.INTRA_CANDLE,
    ExecutionMode.NEXT_OPEN: layout.NEXT_OPEN,
}
_ON_OPPOSITE = {OnOpposite.REVERSE: layout.REVERSE, OnOpposite.CLOSE: layout.CLOSE, OnOpposite.IGNORE: layout.IGNORE}
_NO_FLOATS = np.empty(0)
_FIRST_ROWS = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Machine:
    """A run's arrays; bars are counted from the run's first bar, warm-up left out.

    prices: the kernel's seven price arrays. spread_pips: of each bar, or of all; average_spread: theirs. nights,
    finer: as the kernel takes them. rules: one record, target_first still 0. days: the trading days of all bars.
    """

    specification: Specification
    instrument: Instrument
    first: int
    time_us: NDArray[np.int64]
    close_time_us: NDArray[np.int64]
    duration_us: int
    prices: tuple[NDArray[np.float64], ...]
    nights: tuple[NDArray[np.int64], NDArray[np.int64]]
    finer: tuple[NDArray[Any], ...]
    rules: NDArray[Any]
    spread_pips: NDArray[np.float64] | float
    average_spread: float
    days: SessionDays

    @property
    def bars(self) -> int:
        """How many bars the run has."""
        return self.time_us.size


def build_machine(
    specification: Specification,
    instrument: Instrument,
    bars: Bars,
    finer: Bars | None,
    conversion: Mapping[str, Bars],
    registry: Mapping[str, Instrument],
) -> Machine:
    """Make everything a simulation of this run reads. bars: warm-up included, none at or after the run's end.

    Raises NoData without a bar in the range, NoConversion without a pair, InvalidSpecification when the spread is to
    come from bars that have none.
    """
    first, end = bars.between(as_us(specification.start), as_us(specification.end))
    if first >= end:
        raise NoData(f"no {bars.timeframe.name} bars of {instrument.symbol} in the run's range")
    run = bars.rows(first, end)
    spread, spread_pips = _spread(specification, instrument, run)
    rate_open, rate_close = _rates(specification, instrument, bars, first, end, conversion, registry)
    charged = nights(run) if instrument.swap_long or instrument.swap_short else NO_NIGHTS
    return Machine(
        specification=specification,
        instrument=instrument,
        first=first,
        time_us=run.time_us,
        close_time_us=run.close_time_us,
        duration_us=bars.timeframe.duration_us,
        prices=(run.open, run.high, run.low, run.close, spread, rate_open, rate_close),
        nights=(charged.rows, charged.weights),
        finer=_finer(run, finer),
        rules=_rules(specification, instrument, run.height, spread, rate_close, finer is not None),
        spread_pips=spread_pips,
        average_spread=average_spread(spread_pips),
        days=session_days(run.time_us, instrument.session),
    )


class Simulation:
    """One pass over a run: drives the kernel, keeps its state, grows its books."""

    def __init__(self, machine: Machine, decisions: Decisions, *, target_first: bool = False) -> None:
        """decisions: all of a column strategy's; for a bar strategy a single slot that `conclude` fills anew."""
        self.machine = machine
        self._rules = machine.rules.copy()
        self._rules["target_first"] = int(target_first)
        self.state: Any = np.zeros(1, layout.STATE)
        self.state["balance"] = self.state["equity"] = machine.specification.initial_balance
        self.state["pending"] = self.state["last_ambiguous"] = -1
        self.state["stop"] = self.state["target_price"] = np.nan
        self.equity = np.empty(machine.bars)
        self._plan = (decisions.rows, decisions.actions, decisions.steps, decisions.levels)
        self._targets = np.full(max(1, decisions.levels.shape[1] - 1), np.nan)
        # Room for an exit a decision: a page that is never written to takes no memory, and growing copies.
        room = max(_FIRST_ROWS, decisions.rows.size + _FIRST_ROWS)
        self._rows = np.empty(room, layout.ROW)
        self._balances = np.empty(room, layout.BALANCE)
        self._balances[0] = (0, machine.specification.initial_balance)
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
        self._advance(layout.SETTLE, self.machine.bars)

    def conclude(self, bar: int, decision: tuple[int, int, list[float]] | None) -> None:
        """Carry out a bar strategy's decision at `bar` (None: nothing) and go on. Bars before it were quiet."""
        self._make_room()
        rows, actions, steps, levels = self._plan
        rows[0] = -1
        if decision is not None:
            actions[0], steps[0], wanted = decision
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
            volume=round(int(state["steps"]) * self.machine.instrument.lot_step, 9),
            entry_time=np.datetime64(int(self.machine.time_us[state["entry_bar"]]), "us"),
            stop_loss=None if np.isnan(stop) else float(stop),
            take_profits=tuple(self._targets[state["target"] : state["target_count"]].tolist()),
        )

    def ledger(self) -> Ledger:
        """Return what was written so far."""
        bars = self.bars_done + int(self.ended)
        rows, balances = self.rows, int(self.state["balances"][0])
        return Ledger(
            self.machine.time_us,
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
            *self.machine.prices,
            *self._plan,
            *self.machine.nights,
            *self.machine.finer,
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
                f"the books do not balance after the bar at {iso_time(int(self.machine.time_us[bar]))}:"
                f" balance {self.balance}, deposit {self.machine.specification.initial_balance},"
                f" booked profit {float(self.state['booked_gross'][0])},"
                f" commission {float(self.state['booked_commission'][0])}, swap {float(self.state['booked_swap'][0])}"
            )
        at_open = fault == layout.NO_RATE_AT_OPEN
        moment_us = int((self.machine.time_us if at_open else self.machine.close_time_us)[bar])
        raise NoRateYet(
            f"no rate from {self.machine.instrument.quote} to {self.machine.specification.account_currency}"
            f" is known yet at {iso_time(moment_us)}"
        )

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


def one_decision_slot() -> Decisions:
    """Return room for one decision at a time, as `Simulation.conclude` uses it."""
    return Decisions(np.full(1, -1, np.int64), np.zeros(1, np.int64), np.zeros(1, np.int64), np.full((1, 2), np.nan))


def _grown(records: NDArray[Any], size: int) -> NDArray[Any]:
    larger = np.empty(size, records.dtype)
    larger[: records.size] = records
    return larger


def _spread(
    specification: Specification, instrument: Instrument, run: Bars
) -> tuple[NDArray[np.float64], NDArray[np.float64] | float]:
    """Return spreads as prices (one for all, or one a bar) and as pips."""
    if specification.spread_source is SpreadSource.FIXED:
        return np.array([specification.spread_pips * instrument.pip]), specification.spread_pips
    points = run.spread_points
    if points is None:
        raise InvalidSpecification("spread_source: bars have no recorded spread")
    return points * instrument.point, points / instrument.points_per_pip


def _rates(
    specification: Specification,
    instrument: Instrument,
    bars: Bars,
    first: int,
    end: int,
    conversion: Mapping[str, Bars],
    registry: Mapping[str, Instrument],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if instrument.quote == specification.account_currency:
        return np.ones(1), np.ones(1)
    rates = conversion_rates(instrument, specification.account_currency, bars, conversion, registry)
    return np.ascontiguousarray(rates.at_open[first:end]), np.ascontiguousarray(rates.at_close[first:end])


def _finer(run: Bars, finer: Bars | None) -> tuple[NDArray[Any], ...]:
    if finer is None:
        return _NO_FLOATS, _NO_FLOATS, _NO_FLOATS, np.empty((2, 0), np.int64)
    spans = np.stack([np.searchsorted(finer.time_us, run.time_us), np.searchsorted(finer.time_us, run.close_time_us)])
    return finer.open, finer.high, finer.low, np.ascontiguousarray(spans.astype(np.int64))


def _rules(
    specification: Specification,
    instrument: Instrument,
    bars: int,
    spread: NDArray[np.float64],
    rate: NDArray[np.float64],
    has_finer: bool,
) -> NDArray[Any]:
    rules = np.zeros(1, layout.RULES)
    values = {
        "mode": _MODES[specification.execution_mode],
        "on_opposite": _ON_OPPOSITE[specification.on_opposite],
        "stop_to_entry": int(specification.stop_to_entry),
        "last_bar": bars - 1,
        # One bar only: a step of 0 or 1 is the same then.
        "spread_step": int(spread.size > 1),
        "rate_step": int(rate.size > 1),
        "has_finer": int(has_finer),
        "scale": instrument.price_scale,
        "deposit": specification.initial_balance,
        "commission_half": specification.commission_per_lot / 2.0,
        "partial_ratio": specification.tp_partial_close_ratio,
        "lot_step": instrument.lot_step,
        "contract": instrument.contract,
        "swap_long": instrument.swap_long * instrument.point,
        "swap_short": instrument.swap_short * instrument.point,
    }
    if specification.risk_pct is not None:
        values["risk_pct"] = specification.risk_pct
    elif specification.volume is not None:
        values["fixed_steps"] = lot_steps(specification.volume, instrument.lot_step)
    for name, value in values.items():
        rules[name] = value
    return rules
