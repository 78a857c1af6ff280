"""A strategy that is overheard: it decides as it would, and what it decides is written down to be compared.

Apart from `probe` because it knows how strategies are asked and nothing of futures.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.deciders.chosen import ChosenStrategy, kind_of
from engine.deciders.plots import without_plots
from engine.deciders.rules import TERM_NUMBERS, target_name
from engine.deciders.table import PATTERN_COLUMNS, columns_of, frame_problem, pattern_texts
from engine.deciders.terms import CLOSES
from engine.indicators import heard_by
from engine.market.instruments import Instrument
from engine.numeric.arrays import Floats
from engine.strategy import Decision, Market, View

_SAME = 1e-9
"""Levels closer than this share of themselves are equal: how a library sums may depend on how many bars there are."""
_FEWEST_REPEATS = 20
"""Of a context's bars, before a column that never changes there is taken for one of them."""
_NOTHING = pl.DataFrame(schema={"row": pl.Int64, "action": pl.String})


class Recording:
    """Overhears the first simulation of a run, as the Listener of its strategy.

    Rows are those of all bars there are. unseen: how many of them lie before what the run sees. last_row: asked no
    further than this bar; None: to the end.

    finished: nothing more will be recorded, so that the run may as well be stopped. asked_at_each_close: it is asked
    bar by bar, from the run's first bar on; else one answer decides for all bars. Known once it was asked.
    """

    def __init__(self, strategy: ChosenStrategy, unseen: int, first_row: int, last_row: int | None) -> None:
        self._strategy, self._unseen = strategy, unseen
        self._first_row, self._last_row = first_row, last_row
        self._simulations = 0
        self._said: list[dict[str, Any]] = []
        self._columns: pl.DataFrame | None = None
        self.finished = self.asked_at_each_close = False
        self._notes: list[str] = []

    @property
    def chosen(self) -> ChosenStrategy:
        return replace(self._strategy, strategy=_Overheard(self._strategy.strategy, self._make))

    @property
    def decisions(self) -> pl.DataFrame:
        """One row a decision: row (in the bars), action and, as far as any decision carries them, the other columns."""
        if self._columns is not None:
            return self._columns
        return pl.DataFrame(self._said, infer_schema_length=None) if self._said else _NOTHING

    @property
    def notes(self) -> tuple[str, ...]:
        """What is worth knowing and no fault, of the run on the data as they are."""
        return tuple(self._notes)

    def _make(self, params: Any, instrument: Instrument) -> Any:
        strategy = self._strategy.strategy(params, instrument)
        self._simulations += 1
        if self._simulations > 1:
            # The second simulation of an ambiguous run; a probe needs none.
            self.finished = True
            return strategy
        return kind_of(strategy).overheard(strategy, self)

    def decide_all(self, strategy: Any, market: Market) -> Any:
        """Ask and record; a probe, which has no use for fills, gets no decision to carry out."""
        height = market.bars.height
        frame = strategy.decide_all(market) if self._last_row is not None else self._watched(strategy, market)
        if not isinstance(frame, pl.DataFrame) or frame.height != height:
            return frame
        frame, _ = without_plots(frame)  # nothing decides by them
        if frame_problem(columns_of(frame)):
            return frame
        self._columns = self._taken(frame)
        if self._last_row is None:
            return frame
        self.finished = True
        return pl.DataFrame({"action": pl.Series([None], dtype=pl.String).new_from_index(0, frame.height)})

    def _watched(self, strategy: Any, market: Market) -> Any:
        """Ask, and note what it does with what it is given."""
        contents, repeats = _contents(market), {name: _repeats(frame) for name, frame in market.context.items()}
        over_repeats: dict[str, None] = {}

        def hear(column: Floats) -> None:
            made_of = [name for name, rows in repeats.items() if _is_repeated(column, rows)]
            if made_of:
                # A bar of D1 is repeated wherever one of H4 is, and at more rows.
                over_repeats[max(made_of, key=lambda name: repeats[name].size)] = None

        listening = heard_by.set(hear)
        try:
            frame = strategy.decide_all(market)
        finally:
            heard_by.reset(listening)
        self._notes += (
            f"an indicator is computed over market.context[{name!r}], whose rows repeat each bar until the next one"
            f" closes; market.on({name!r}, function) computes on the bars themselves"
            for name in over_repeats
        )
        changed = _first_difference(contents, _contents(market))
        if changed is not None:
            self._notes.append(f"it changes the frames it is given, first {changed}; they are its own")
        return frame

    def decide(self, strategy: Any, view: View) -> Decision | None:
        """Ask and record, up to the last row."""
        self.asked_at_each_close = True
        row = self._unseen + len(view.close) - 1
        if self._last_row is not None and row > self._last_row:
            self.finished = True
            return None
        decision: Decision | None = strategy.decide(view)
        if decision is not None:
            self._said.append(_as_row(row, decision))
        return decision

    def _taken(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Keep what is a decision and taken: what stands beside a CLOSE, a CANCEL or nothing no run looks at either."""
        behind = frame.height if self._last_row is None else self._last_row + 1 - self._unseen
        rows = frame["action"].is_not_null().arg_true().cast(pl.Int64)
        rows = rows.filter((rows >= self._first_row - self._unseen) & (rows < behind))
        kept = frame[rows]
        action = kept["action"].cast(pl.String)
        opens = ~action.is_in(["CLOSE", "CANCEL"])
        texts = ("order", CLOSES)
        columns = [(rows + self._unseen).alias("row"), action]
        for name in frame.columns:
            if name in PATTERN_COLUMNS:
                text = pattern_texts({name: kept[name]}, name)
                columns += [] if text is None else [text.alias(name)]
            elif name != "action":
                values = kept[name].cast(pl.String if name in texts else pl.Float64)
                looked_at = opens if name != CLOSES else action.is_not_null()
                columns.append(pl.select(pl.when(looked_at).then(values).otherwise(None).alias(name)).to_series())
        return pl.DataFrame(columns)


class _Overheard:
    """A strategy class that makes other objects, and else says what the class says: of its warm-up, for one."""

    def __init__(self, strategy: Callable[[Any, Instrument], Any], make: Callable[[Any, Instrument], Any]) -> None:
        self._strategy, self._make = strategy, make

    def __call__(self, params: Any, instrument: Instrument) -> Any:
        return self._make(params, instrument)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._strategy, name)


def _as_row(row: int, decision: Decision) -> dict[str, Any]:
    """A bar strategy's decision under the names of columns. What is no decision raises, as a strategy's own mistake."""
    targets = {target_name(number): float(level) for number, level in enumerate(decision.take_profits)}
    metadata = decision.pattern_metadata
    terms = {name: getattr(decision, name) for name in TERM_NUMBERS}
    return {
        "row": row,
        "action": decision.action,
        "volume": None if decision.volume is None else float(decision.volume),
        "stop_loss": None if decision.stop_loss is None else float(decision.stop_loss),
        **targets,
        **{name: None if value is None else float(value) for name, value in terms.items()},
        "order": None if decision.order == "market" else decision.order,
        "pattern_name": decision.pattern_name,
        "pattern_metadata": None if metadata is None else json.dumps(dict(metadata)),
    }


class Change(NamedTuple):
    """One cell of two recordings that differs. was, became: its text, "nothing" for null or no decision."""

    row: int
    column: str
    was: str
    became: str


def first_change(before: pl.DataFrame, after: pl.DataFrame, last_row: int) -> Change | None:
    """Return the first decision up to a bar that is not the same in both recordings, None when all are."""
    before, after = (each.filter(pl.col("row") <= last_row) for each in (before, after))
    if before.equals(after):
        return None
    both = before.join(after, on="row", how="full", coalesce=True, suffix=" after").sort("row")
    first: Change | None = None
    for name in dict.fromkeys((*before.columns[1:], *after.columns[1:])):
        was, became = _cells(both, before, name, name), _cells(both, after, name, _after(name, before))
        index = _differ(was, became).arg_max() if was.len() else None
        if index is None or not _differ(was, became)[index]:
            continue
        row = int(both["row"][index])
        if first is None or row < first.row:
            first = Change(row, name, _text(was[index]), _text(became[index]))
    return first


def _after(name: str, before: pl.DataFrame) -> str:
    return f"{name} after" if name in before.columns else name


def _cells(both: pl.DataFrame, side: pl.DataFrame, name: str, name_in_both: str) -> pl.Series:
    return both[name_in_both] if name in side.columns else pl.Series(name, [None]).new_from_index(0, both.height)


def _differ(was: pl.Series, became: pl.Series) -> pl.Series:
    if was.dtype == pl.Float64 and became.dtype == pl.Float64:
        close = ((was - became).abs() <= _SAME * was.abs()).fill_null(value=False)
        return was.ne_missing(became) & ~close
    if pl.Null in (was.dtype, became.dtype):
        return was.is_not_null() | became.is_not_null()
    return was.cast(pl.String).ne_missing(became.cast(pl.String))


def _text(cell: Any) -> str:
    if cell is None:
        return "nothing"
    return f"{cell:.10g}" if isinstance(cell, float) else str(cell)


def _contents(market: Market) -> dict[str, bytes]:
    """Every column of the market as bytes, named `close`, or `H4 close` for a context frame."""
    frames = {"": market.bars} | {f"{name} ": frame for name, frame in market.context.items()}
    return {
        prefix + name: np.ascontiguousarray(frame[name].to_physical().to_numpy()).tobytes()
        for prefix, frame in frames.items()
        for name in frame.columns
    }


def _repeats(frame: pl.DataFrame) -> NDArray[np.intp]:
    """Return the rows at which a context frame shows the bar of the row before."""
    time = frame["time"]
    return np.flatnonzero((time == time.shift(1)).fill_null(value=False).to_numpy())


def _is_repeated(column: Floats, repeats: NDArray[np.intp]) -> bool:
    """Whether a column changes, and never at the rows that repeat a context bar: then it was made of that context."""
    if repeats.size < _FEWEST_REPEATS or repeats[-1] >= column.size:
        return False
    same = (column[repeats] == column[repeats - 1]) | (np.isnan(column[repeats]) & np.isnan(column[repeats - 1]))
    return bool(same.all()) and np.unique(column[np.isfinite(column)]).size > 1


def _first_difference(before: dict[str, bytes], after: dict[str, bytes]) -> str | None:
    names = dict.fromkeys((*before, *after))
    return next((name for name in names if before.get(name) != after.get(name)), None)
