"""The probe for look-ahead: rewrite the future at many moments, and see whether a decision of the past changes.

A decision that follows from what was known stays as it is, whatever comes after. The strategy is asked through
`run_backtest`, so that what is audited is what a run sees.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
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
    Deterministic. Raises what run_backtest raises on the data as they are, NoData for fewer than two bars, and
    StrategyError when no other future could be tried.
    """
    asked = _Asked(specification, instrument, data, strategy)
    if asked.last <= asked.first:
        raise NoData("an audit needs two bars in the range at least, so that there is a future to rewrite")
    spread = _spread(asked, (moments + 1) // 2)
    # Pasts that end early come first, before the whole is shown: a strategy may keep what it has seen.
    early = [(row, asked.with_future(row, Future.CUT, 0)) for row in spread]
    whole = asked.as_is()
    decided = whole.decisions
    again = first_change(decided, asked.again().decisions, asked.last)
    if again is not None:
        finding = Finding("unrepeatable", asked.time_us(again.row), again.column, again.was, again.became)
        return Audit(finding, decided.height, 0, 0, 0, 0, None, whole.notes)
    at_decisions = _at_decisions(asked, decided, moments - len(spread))
    probes = _Probes(asked, on_probe, (len(spread) + len(at_decisions)) * len(Future))
    for row, answer in early:
        probes.compare(decided, row, Future.CUT, answer)
    for number, row in enumerate([*spread, *at_decisions]):
        for future in Future:
            if future is not Future.CUT or number >= len(spread):
                probes.compare(decided, row, future, asked.with_future(row, future, _SEED + number))
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

    def time_us(self, row: int) -> int:
        return int(self._data.bars.time_us[row])

    def close_time_us(self, row: int) -> int:
        return int(self._data.bars.close_time_us[row])

    def as_is(self) -> Recording:
        """Ask on the data as they are, through a run to its end, which checks every decision on its way."""
        recording = Recording(self._strategy, self.first, None)
        run_backtest(self._specification, self._instrument, self._data, recording.chosen)
        return recording

    def again(self) -> Recording:
        """Ask once more on the data as they are."""
        return self._overhear(self._data, self.last)

    def with_future(self, row: int, future: Future, seed: int) -> Recording | EngineError:
        """Ask up to bar `row`, with another future after its close; an error is an answer too."""
        try:
            return self._overhear(rewrite_after(self._data, self.close_time_us(row), future, seed), row)
        except EngineError as error:
            return error

    def _overhear(self, data: RunData, last_row: int) -> Recording:
        recording = Recording(self._strategy, self.first, last_row)

        def go_on(_: Progress) -> bool:
            return not recording.finished

        with suppress(Cancelled):
            run_backtest(self._specification, self._instrument, data, recording.chosen, on_progress=go_on)
        return recording


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
