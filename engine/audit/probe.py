"""The probe for look-ahead: rewrite the future at many moments, and see whether a decision of the past changes.

A decision that follows from what was known stays as it is, whatever comes after. The strategy is asked through
`run_backtest`, so that what is audited is what a run sees.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import polars as pl

from engine.audit.recording import Recording, first_change
from engine.audit.rewrites import Future, rewrite_after
from engine.deciders.chosen import ChosenStrategy
from engine.errors import EngineError, NoData, StrategyError
from engine.market.instruments import Instrument
from engine.numeric.times import as_us, iso_time
from engine.prepared import RunData
from engine.simulate import run_backtest
from engine.specification import Specification
from engine.watch import Cancelled, Progress

__all__ = ["Audit", "Finding", "audit_strategy"]

DEFAULT_MOMENTS = 24
_SEED = 20_240_229
_ASKED_BEFORE = 150
"""Bars up to a moment at which a strategy is asked that answers bar by bar: each costs an answer in every future."""

Defect = Literal["look_ahead", "unrepeatable"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The first decision, in time, that was not the same again.

    time_us: open of the deciding bar. column: of decide_all's frame; a bar strategy's fields go by the same names.
    was, became: the cell as text, "nothing" for null. moment_us: the close after which all was rewritten, as `future`
    says; both None unless the defect is look-ahead.
    """

    defect: Defect
    time_us: int
    column: str
    was: str
    became: str
    moment_us: int | None = None
    future: Future | None = None

    def __str__(self) -> str:
        decision = f"the decision at {iso_time(self.time_us)}, column {self.column}, "
        match self.defect:
            case "look_ahead":
                after = iso_time(self.moment_us or 0)
                change = f"when what comes after {after} is {self.future}"
                return f"look-ahead: {decision}changes from {self.was} to {self.became} {change}"
            case "unrepeatable":
                return f"not repeatable: {decision}was {self.was} and, asked again on the same bars, {self.became}"


@dataclass(frozen=True, slots=True)
class Audit:
    """What was tried and found. decisions: BUY, SELL and CLOSE on the bars as they are.

    probes: futures tried; changed: those that changed a decision of their past; unanswered: those that the strategy or
    the engine failed on, with the first reason: a future may well be one in which a strategy cannot decide. notes: what
    is worth knowing and no fault.
    """

    finding: Finding | None
    decisions: int
    moments: int
    probes: int
    changed: int
    unanswered: int
    unanswered_reason: str | None
    notes: tuple[str, ...] = ()


def audit_strategy(
    specification: Specification,
    instrument: Instrument,
    data: RunData,
    strategy: ChosenStrategy,
    *,
    moments: int = DEFAULT_MOMENTS,
    on_probe: Callable[[int, int], None] | None = None,
) -> Audit:
    """Ask the strategy about the same past with many futures, and return the first decision that changed.

    moments: at how many bars the future begins; half of them are spread over the run, half stand at decisions that the
    strategy took, where leaning on the next bars shows at once. on_probe(done, total) is called after each future.
    A bar strategy is asked over the last bars before each moment, by a run that begins there, with its warm-up.

    Deterministic. Raises what run_backtest raises on the data as they are, NoData for fewer than two bars, and
    StrategyError when no other future could be tried.
    """
    asked = _Asked(specification, instrument, data, strategy)
    if asked.last <= asked.first:
        raise NoData("an audit needs two bars in the range at least, so that there is a future to rewrite")
    spread = _spread(asked, (moments + 1) // 2)
    # Pasts that end early come first, before the whole is shown: a strategy may keep what it has seen.
    early = {row: asked.with_future(asked.begin(row), row, Future.CUT, 0) for row in spread}
    whole = asked.as_is()
    decided = whole.decisions
    again = first_change(decided, asked.again(asked.first, asked.last).decisions, asked.last)
    if again is not None:
        finding = Finding("unrepeatable", asked.time_us(again.row), again.column, again.was, again.became)
        return Audit(finding, decided.height, 0, 0, 0, 0, None, whole.notes)
    at_decisions = _at_decisions(asked, decided, moments - len(spread))
    probes = _Probes(asked, on_probe, (len(spread) + len(at_decisions)) * len(Future))
    for number, row in enumerate([*spread, *at_decisions]):
        begin, past = asked.past(row, decided)
        for future in Future:
            known = early.pop(row, None) if future is Future.CUT and begin == asked.begin(row) else None
            answer = asked.with_future(begin, row, future, _SEED + number) if known is None else known
            probes.compare(past, row, future, answer)
    return probes.audit(whole, len(spread) + len(at_decisions))


class _Asked:
    """A strategy on its data, to be asked about the same past with any future."""

    def __init__(
        self, specification: Specification, instrument: Instrument, data: RunData, strategy: ChosenStrategy
    ) -> None:
        self._specification, self._instrument = specification, instrument
        self._data, self._strategy = data, strategy
        self.first, behind = data.bars.between(as_us(specification.start), as_us(specification.end))
        self.last = behind - 1
        self._warm_up = strategy.warm_up(specification).bars[specification.timeframe]

    @cached_property
    def _asked_at_each_close(self) -> bool:
        """Ask for the first bar alone, and see how; a failure there says nothing yet."""
        recording = self._recording(self.first, self.first)
        with suppress(EngineError, Cancelled):
            data = rewrite_after(self._data, self.close_time_us(self.first), Future.CUT, 0)
            run_backtest(self._specification, self._instrument, data, recording.chosen)
        return recording.asked_at_each_close

    def time_us(self, row: int) -> int:
        return int(self._data.bars.time_us[row])

    def close_time_us(self, row: int) -> int:
        return int(self._data.bars.close_time_us[row])

    def begin(self, row: int) -> int:
        """At which bar the run begins that asks about the decisions up to `row`."""
        return max(self.first, row - _ASKED_BEFORE + 1) if self._asked_at_each_close else self.first

    def past(self, row: int, decided: pl.DataFrame) -> tuple[int, pl.DataFrame]:
        """Return where to begin for the decisions up to `row`, and what they are in a run that begins there.

        decided: those of the whole run. They count from its first bar where a later beginning leaves nothing of them:
        a strategy may have to be asked many times before it decides.
        """
        begin = self.begin(row)
        of_whole = decided.filter(pl.col("row").is_between(begin, row))
        if begin > self.first:
            with suppress(EngineError):
                past = self.again(begin, row).decisions
                if past.height or not of_whole.height:
                    return begin, past
        return self.first, decided

    def as_is(self) -> Recording:
        """Ask on the data as they are, through a run to its end, which checks every decision on its way."""
        recording = self._recording(self.first, None)
        run_backtest(self._specification, self._instrument, self._data, recording.chosen)
        return recording

    def again(self, begin: int, last_row: int) -> Recording:
        """Ask from one bar to another, on the data as they are."""
        return self._overhear(self._data, begin, last_row)

    def with_future(self, begin: int, row: int, future: Future, seed: int) -> Recording | EngineError:
        """Ask up to bar `row`, with another future after its close; an error is an answer too."""
        try:
            return self._overhear(rewrite_after(self._data, self.close_time_us(row), future, seed), begin, row)
        except EngineError as error:
            return error

    def _overhear(self, data: RunData, begin: int, last_row: int) -> Recording:
        recording = self._recording(begin, last_row)
        specification = self._specification
        if begin > self.first:
            specification = replace(specification, start=self._data.bars.frame["time"][begin])

        def go_on(_: Progress) -> bool:
            return not recording.finished

        with suppress(Cancelled):
            run_backtest(specification, self._instrument, data, recording.chosen, on_progress=go_on)
        return recording

    def _recording(self, begin: int, last_row: int | None) -> Recording:
        return Recording(self._strategy, max(0, begin - self._warm_up), begin, last_row)


class _Probes:
    """Counts what was tried and keeps the earliest decision that changed."""

    def __init__(self, asked: _Asked, on_probe: Callable[[int, int], None] | None, total: int) -> None:
        self._asked, self._on_probe, self._total = asked, on_probe, total
        self._done = self._changed = 0
        self._first_row: int | None = None
        self._finding: Finding | None = None
        self._errors: list[str] = []

    def compare(self, decided: pl.DataFrame, row: int, future: Future, answer: Recording | EngineError) -> None:
        """Count one probe, and keep what changed if it is the earliest so far."""
        if isinstance(answer, EngineError):
            self._errors.append(str(answer))
        else:
            change = first_change(decided, answer.decisions, row)
            self._changed += change is not None
            if change is not None and (self._first_row is None or change.row < self._first_row):
                time_us, moment_us = self._asked.time_us(change.row), self._asked.close_time_us(row)
                self._first_row = change.row
                self._finding = Finding(
                    "look_ahead", time_us, change.column, change.was, change.became, moment_us, future
                )
        self._done += 1
        if self._on_probe is not None:
            self._on_probe(self._done, self._total)

    def audit(self, whole: Recording, moments: int) -> Audit:
        reason = self._errors[0] if self._errors else None
        if len(self._errors) == self._done:
            raise StrategyError(f"no other future could be tried, the first because: {reason}")
        counts = whole.decisions.height, moments, self._done, self._changed, len(self._errors)
        return Audit(self._finding, *counts, reason, whole.notes)


def _spread(asked: _Asked, count: int) -> list[int]:
    """Draw one bar from each of `count` equal parts of the run; its last bar has no future."""
    random = np.random.default_rng(_SEED)
    edges = np.linspace(asked.first, asked.last, count + 1)
    return [int(row) for row in np.unique(random.uniform(edges[:-1], edges[1:]).astype(np.int64))]


def _at_decisions(asked: _Asked, decided: pl.DataFrame, count: int) -> list[int]:
    """Pick bars at which the strategy decided, evenly among its decisions."""
    rows = decided["row"].to_numpy()
    rows = rows[rows < asked.last]
    if not rows.size or not count:
        return []
    picked = np.unique(np.linspace(0, rows.size - 1, count).astype(np.int64))
    return [int(row) for row in rows[picked]]
