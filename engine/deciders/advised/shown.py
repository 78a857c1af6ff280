"""What of the market is shown at a close: the last closed bars of each timeframe, and indicators, as JSON values.

In blind mode without dates and scale. Nothing here reads a bar that had not closed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.advice import Advice
from engine.deciders.advised.terms import checked_indicators
from engine.expressions.evaluation import evaluate
from engine.expressions.operations import Source
from engine.expressions.program import Program, program_of
from engine.expressions.syntax import parse
from engine.market.bars import PRICES, Bars
from engine.market.resampling import last_closed
from engine.market.timeframes import DAY_US, MINUTE_US
from engine.numeric.times import iso_time
from engine.prepared import PreparedRun
from engine.specification import SpreadSource

_DECIMALS: Final = 10
"""Of scaled prices and volumes."""
_DIGITS: Final = 8
"""Of indicators."""


def indicators_program(advice: Advice) -> Program:
    """Return what to compute for llm.indicators: a result under each name."""
    rules = checked_indicators(advice.indicators)
    return program_of(replace(rules, expressions={name: parse(name) for name in rules.indicators}))


class Shown:
    """The market of one run as a model is shown it; bars are counted from the run's first."""

    def __init__(self, run: PreparedRun, advice: Advice) -> None:
        self._run, self._advice = run, advice
        own = run.bars.timeframe.name
        counted = run.first + 1 + np.arange(run.bar_count)
        self._known: dict[str, tuple[Bars, NDArray[np.int64]]] = {own: (run.bars, counted)}
        for name, bars in run.context.items():
            if name != own:
                self._known[name] = bars, last_closed(run.close_time_us, bars.close_time_us) + 1
        self._program = indicators_program(advice) if advice.indicators else None

    def close(self, bar: int) -> float:
        """Return the bid close of the deciding bar."""
        return float(self._run.bars.close[self._run.first + bar])

    def unit(self, bar: int, most: int) -> float:
        """Return what prices are divided by: 1, or in blind mode the first close sent of the run's timeframe."""
        if not self._advice.blind:
            return 1.0
        seen = self._run.first + bar + 1
        return float(self._run.bars.close[max(0, seen - most)])

    def bars(self, bar: int, most: int) -> dict[str, Any]:
        """Return the last bars of each timeframe, `most` of each at most, oldest first."""
        unit = self.unit(bar, most)
        first_volume = self._first_volume(bar, most)
        return {
            name: self._window(bars, max(0, int(known[bar]) - most), int(known[bar]), unit, first_volume)
            for name, (bars, known) in self._known.items()
        }

    def indicators(self, bar: int, most: int) -> dict[str, Any]:
        """Return each indicator's value at the close; None where it is unknown."""
        if self._program is None:
            return {}
        row = self._run.first + bar
        if self._advice.blind:
            columns = self._evaluated(self._scaled(bar, most), self._run.instrument.pip)
        else:
            columns = self._columns
        return {name: _value(column[row]) for name, column in columns.items()}

    @cached_property
    def _columns(self) -> dict[str, Any]:
        run = self._run
        height = run.bars.height
        sources = {name: self._source(bars, bars.height, height, 1.0, 1.0) for name, (bars, _) in self._known.items()}
        return self._evaluated(sources, run.instrument.pip)

    def _scaled(self, bar: int, most: int) -> dict[str, Source]:
        """Return all that is known by then, in the units that are sent: an indicator of scaled bars tells no scale."""
        unit, first_volume = self.unit(bar, most), self._first_volume(bar, most)
        seen = self._run.first + bar + 1
        return {
            name: self._source(bars, int(known[bar]), seen, unit, first_volume)
            for name, (bars, known) in self._known.items()
        }

    def _source(self, bars: Bars, count: int, seen: int, unit: float, first_volume: float) -> Source:
        """Return the first `count` bars, beside the run's first `seen`."""
        run = self._run
        columns = {each: getattr(bars, each)[:count] / unit for each in PRICES}
        columns["volume"] = bars.volume[:count] / first_volume
        closes_us = bars.close_time_us[:count]
        rows = None if bars is run.bars else last_closed(run.bars.close_time_us[:seen], closes_us)
        return Source(columns, closes_us, self._spread_pips(bars, count), rows)

    def _spread_pips(self, bars: Bars, count: int) -> NDArray[np.float64] | float:
        run = self._run
        if run.specification.spread_source is SpreadSource.FIXED:
            return run.specification.spread_pips
        if bars.spread_points is not None:
            return bars.spread_points[:count] / run.instrument.points_per_pip
        assert run.bars.spread_points is not None, "refused before the run"
        rows = last_closed(bars.close_time_us[:count], run.bars.close_time_us)
        return np.where(rows < 0, np.nan, run.bars.spread_points[rows] / run.instrument.points_per_pip)

    def _evaluated(self, sources: Mapping[str, Source], pip: float) -> dict[str, Any]:
        program, own = self._program, self._run.bars.timeframe.name
        assert program is not None
        places = dict(program.results)
        columns = evaluate(program, list(places.values()), lambda name: sources[own if name is None else name], pip)
        return dict(zip(places, columns, strict=True))

    def _first_volume(self, bar: int, most: int) -> float:
        """Return what volumes are divided by: in blind mode the first one sent that is above 0."""
        if not self._advice.blind:
            return 1.0
        seen = self._run.first + bar + 1
        sent = self._run.bars.volume[max(0, seen - most) : seen]
        above = np.flatnonzero(sent > 0.0)
        return float(sent[above[0]]) if above.size else 1.0

    def _window(self, bars: Bars, begin: int, behind: int, unit: float, first_volume: float) -> dict[str, Any]:
        columns: list[tuple[str, list[Any]]] = [("time", list(self._times(bars, begin, behind)))]
        columns += [(name, self._numbers(getattr(bars, name)[begin:behind], unit)) for name in PRICES]
        volume = bars.volume[begin:behind]
        if (volume > 0.0).any():
            columns.append(("volume", self._numbers(volume, first_volume)))
        rows = zip(*dict(columns).values(), strict=True)
        return {"columns": [name for name, _ in columns], "rows": [list(row) for row in rows]}

    def _numbers(self, values: NDArray[np.float64], unit: float) -> list[float | None]:
        sent = np.round(values / unit, _DECIMALS) if self._advice.blind else values
        return [None if np.isnan(value) else value + 0.0 for value in sent.tolist()]

    def _times(self, bars: Bars, begin: int, behind: int) -> Iterator[Any]:
        time_us = bars.time_us[begin:behind]
        if not self._advice.blind:
            yield from (iso_time(moment) for moment in time_us.tolist())
            return
        length_us = bars.timeframe.duration_us
        steps = np.diff(time_us)
        # From days on lengths differ, by summer time and months, which would tell dates.
        steps[(steps - length_us > DAY_US) | (length_us >= DAY_US)] = length_us
        yield from (np.concatenate([[0], np.cumsum(steps)])[: time_us.size] // MINUTE_US).tolist()


def _value(value: Any) -> Any:
    if isinstance(value, bool | np.bool_):
        return bool(value)
    number = float(value)
    return None if np.isnan(number) else float(f"{number:.{_DIGITS}g}") + 0.0
