"""Asking a bar strategy: what it may see at a close, and what it answers, checked."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import polars as pl

from engine.deciders.decisions import Decisions, encode_decision, metadata_json
from engine.deciders.rules import CODES, skipped
from engine.deciders.view import BarView, Curtain
from engine.errors import EngineError, StrategyError
from engine.kernel.layout import CLOSE_CODE
from engine.market.bars import Bars
from engine.market.resampling import last_closed
from engine.numeric.times import iso_time
from engine.prepared import Machine, Simulation, one_decision_slot
from engine.strategy import BarStrategy, Decision


class Asking:
    """A bar strategy, what it may see, and what it said."""

    def __init__(self, machine: Machine, strategy: BarStrategy, bars: Bars, context: Mapping[str, Bars]) -> None:
        self._machine = machine
        self._decide = strategy.decide
        self._closes = bars.close[machine.first :]
        self._skips = skipped(machine.close_time_us, machine.specification)
        self._any_skips = bool(self._skips.any())
        self._curtain = Curtain(bars)
        self._contexts = [
            (curtain, (last_closed(machine.close_time_us, longer.close_time_us) + 1).tolist())
            for longer in context.values()
            for curtain in (Curtain(longer),)
        ]
        named = zip(context, self._contexts, strict=True)
        self.view: BarView = self._curtain.view({name: curtain.seen for name, (curtain, _) in named})
        self.view.balance = machine.specification.initial_balance
        self._said: dict[int, tuple[str | None, str | None]] = {}

    def look_at(self, simulation: Simulation) -> None:
        """Show the position and the balance as they stand."""
        self.view.position = simulation.position()
        self.view.balance = simulation.balance

    def ask(self, bar: int) -> tuple[int, int, list[float]] | None:
        """Return the checked decision at the close of `bar`, None for nothing or for one in skipped hours."""
        self._curtain.open_to(self._machine.first + bar + 1)
        for curtain, known in self._contexts:
            if known[bar] != len(curtain.seen.time):
                curtain.open_to(known[bar])
        try:
            decision = self._decide(self.view)
        except (EngineError, KeyboardInterrupt):
            raise
        except BaseException as error:  # SystemExit too: a strategy's way out must not become the program's
            raise StrategyError(self._at(bar, f"the strategy raised {_worded(error)}")) from error
        return None if decision is None else self._checked(bar, decision)

    def changes_nothing(self, decision: tuple[int, int, list[float]]) -> bool:
        """Whether a decision meets the position it asks for: the same direction, or CLOSE when flat."""
        position = self.view.position
        return decision[0] == (CLOSE_CODE if position is None else CODES[position.direction])

    def _checked(self, bar: int, decision: Decision) -> tuple[int, int, list[float]] | None:
        machine = self._machine
        time_us = int(machine.time_us[bar])
        try:
            encoded = encode_decision(
                decision, float(self._closes[bar]), time_us, machine.specification, machine.instrument
            )
        except (AttributeError, TypeError, ValueError) as error:
            verdict = "which cannot be read" if isinstance(decision, Decision) else "not a Decision"
            raise StrategyError(self._at(bar, f"decide returned {decision!r}, {verdict}: {error}")) from error
        if self._any_skips and self._skips[bar]:
            return None
        if decision.pattern_name is not None or decision.pattern_metadata is not None:
            self._said[bar] = (decision.pattern_name, metadata_json(decision.pattern_metadata, time_us))
        return encoded

    def _at(self, bar: int, what: str) -> str:
        return f"at {iso_time(int(self._machine.time_us[bar]))}: {what}"

    def said(self) -> Decisions:
        """Return the bars at which the strategy named a pattern, for the look-up by trades."""
        rows = np.array(list(self._said), np.int64)
        if not rows.size:
            return one_decision_slot()
        names, metadata = zip(*self._said.values(), strict=True)
        nothing = np.zeros(rows.size, np.int64)
        texts = (pl.Series(names, dtype=pl.String), pl.Series(metadata, dtype=pl.String))
        return Decisions(rows, nothing, nothing, np.empty((rows.size, 1)), *texts)


def guarded(step: Callable[[], Any], what: str) -> Any:
    """Run a strategy's own code; whatever it raises is the strategy's failure, SystemExit too. Only Ctrl-C passes."""
    try:
        return step()
    except (EngineError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise StrategyError(f"{what} raised {_worded(error)}") from error


def _worded(error: BaseException) -> str:
    """Type and message; a strategy's exception may fail at saying what it is."""
    try:
        message = str(error)
    except Exception as unspeakable:
        message = f"(no message: {type(unspeakable).__name__})"
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
