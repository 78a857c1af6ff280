"""Bar strategies: asked at each close; what they may see there, and what they answer, checked.

A kind of strategy (`decider.StrategyKind`).
"""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from engine.deciders.decider import Carrier, Listener
from engine.deciders.decisions import Decisions, OneDecision, encode_decision, metadata_json, one_decision_slot
from engine.deciders.guard import worded
from engine.deciders.left_out import no_decision
from engine.deciders.rules import CODES, skipped
from engine.deciders.view import BarView, Curtain
from engine.errors import EngineError, StrategyError
from engine.kernel.layout import CLOSE_CODE
from engine.market.resampling import last_closed
from engine.numeric.times import iso_time
from engine.prepared import PreparedRun
from engine.strategy import BarStrategy, Contexts, Decision, Position, View


def takes(strategy: Any) -> bool:
    return hasattr(strategy, "decide")


def decide(strategy: BarStrategy, run: PreparedRun, carrier: Carrier, before: Decisions | None) -> Decisions:
    """Ask in every simulation: what the strategy sees of its position depends on fills."""
    del before
    asking = _Asking(run, strategy)
    carrier.ask_at_each_close(asking)
    return asking.said()


def overheard(strategy: BarStrategy, listener: Listener) -> "_Overheard":
    return _Overheard(strategy, listener)


class _Overheard:
    def __init__(self, strategy: BarStrategy, listener: Listener) -> None:
        self._strategy, self._listener = strategy, listener

    def decide(self, view: View) -> Decision | None:
        return self._listener.decide(self._strategy, view)


class _Asking:
    """A bar strategy, what it may see, and what it said. Implements decider.Asked."""

    def __init__(self, run: PreparedRun, strategy: BarStrategy) -> None:
        self._run = run
        self._decide = strategy.decide
        self._closes = run.bars.close[run.first :]
        self._skips = skipped(run.close_time_us, run.specification)
        self._any_skips = bool(self._skips.any())
        self._curtain = Curtain(run.bars)
        self._contexts = [
            (curtain, (last_closed(run.close_time_us, longer.close_time_us) + 1).tolist())
            for longer in run.context.values()
            for curtain in (Curtain(longer),)
        ]
        named = zip(run.context, self._contexts, strict=True)
        self._view: BarView = self._curtain.view(Contexts({name: curtain.seen for name, (curtain, _) in named}))
        self._view.balance = run.specification.initial_balance
        self._position: Position | None = None
        self._has_terms = self._has_decided = False
        self._said: dict[int, tuple[str | None, str | None]] = {}

    def show(self, position: Position | None, balance: float) -> None:
        self._position = self._view.position = position
        self._view.balance = balance

    def ask(self, bar: int, equity: float) -> OneDecision | None:
        """Return the checked decision at the close of `bar`; None also for one in skipped hours or in its position."""
        self._view.equity = equity
        self._curtain.open_to(self._run.first + bar + 1)
        for curtain, known in self._contexts:
            if known[bar] != len(curtain.seen.time):
                curtain.open_to(known[bar])
        try:
            decision = self._decide(self._view)
        except (EngineError, KeyboardInterrupt):
            raise
        except BaseException as error:  # SystemExit too: a strategy's way out must not become the program's
            raise StrategyError(self._at(bar, f"the strategy raised {worded(error)}")) from error
        return None if decision is None else self._checked(bar, decision)

    def _checked(self, bar: int, decision: Decision) -> OneDecision | None:
        run = self._run
        time_us = int(run.time_us[bar])
        try:
            encoded = encode_decision(decision, float(self._closes[bar]), time_us, run.specification, run.instrument)
        except (AttributeError, TypeError, ValueError) as error:
            verdict = "which cannot be read" if isinstance(decision, Decision) else "not a Decision"
            raise StrategyError(self._at(bar, f"decide returned {decision!r}, {verdict}: {error}")) from error
        if self._any_skips and self._skips[bar]:
            return None
        self._has_decided = True
        if decision.pattern_name is not None or decision.pattern_metadata is not None:
            self._said[bar] = (decision.pattern_name, metadata_json(decision.pattern_metadata, time_us))
        position = self._position
        meets_its_position = encoded[0] == (CLOSE_CODE if position is None else CODES[position.direction])
        # With a trail, a time or an order about, even a decision like the position may do something.
        self._has_terms |= encoded[-1] is not None
        return None if meets_its_position and not self._has_terms else encoded

    def said_at(self, bar: int) -> tuple[str | None, str | None]:
        return self._said.get(bar, (None, None))

    def _at(self, bar: int, what: str) -> str:
        return f"at {iso_time(int(self._run.time_us[bar]))}: {what}"

    def said(self) -> Decisions:
        """Return the bars at which the strategy named a pattern, for the look-up by trades."""
        rows = np.array(list(self._said), np.int64)
        if not rows.size:
            return (
                one_decision_slot()
                if self._has_decided
                else replace(one_decision_slot(), warnings=(no_decision(self._run),))
            )
        names, metadata = zip(*self._said.values(), strict=True)
        nothing = np.zeros(rows.size, np.int64)
        texts = (pl.Series(names, dtype=pl.String), pl.Series(metadata, dtype=pl.String))
        return Decisions(rows, nothing, nothing, np.empty((rows.size, 1)), *texts)
