"""A part of a search: a range of its combinations on the same bars, simulated; what a shard is made of.

The same part gives the same figures wherever it is simulated, and those of single runs: each combination sees its own
warm-up, has its own strategy object and its own books.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from threading import get_ident
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.deciders.chosen import choose_strategy
from engine.deciders.decider import Decider
from engine.errors import EngineError, InvalidParams, NoData, ParameterProblem
from engine.indicators.shared import SharedColumns, sharing_columns
from engine.market.instruments import Instrument
from engine.numeric.arrays import Floats
from engine.prepared import PreparedRun, RunData, prepare_again, prepare_run
from engine.search.combinations import Combinations, combination_of, named_within
from engine.search.figures import FIGURES, ranking
from engine.search.measured import Measured, measured
from engine.search.space import Space
from engine.simulate import simulate_once
from engine.specification import Specification
from engine.strategy import no_parameter
from engine.warm_up import WarmUp, most_of
from engine.watch import CHUNK_BARS, OnProgress, Watch

BEST_KEPT: Final = 100
LARGEST_SAMPLE: Final = 2_000

Choose = Callable[[Mapping[str, Any]], Decider]
"""The decider of one combination of the varied parameters. Raises InvalidParams for one that does not stand."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Combinations first, first + 1, ... of a search. rows: of each its place in the space, int64 (k,), or what was
    drawn (Combinations.drawn), float64 (k, names).
    """

    first: int
    rows: NDArray[Any]

    @property
    def numbers(self) -> NDArray[np.int64]:
        return np.arange(self.first, self.first + self.rows.shape[0])

    def __len__(self) -> int:
        return int(self.rows.shape[0])

    def cut(self, size: int) -> Iterator["Part"]:
        """Return it as parts of at most `size` combinations."""
        for at in range(0, len(self), size):
            yield Part(self.first + at, self.rows[at : at + size])


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """A part's results, row by row in order of number.

    figures: shape (k, len(FIGURES)), NaN for none; rows of what failed are NaN throughout. ratios: mean / std(ddof=1)
    of the returns, NaN for none. errors: code and message of what failed, by number. kept: numbers whose returns are in
    `returns`, shape (len(kept), T): those of the search's sample, and the best of this part. warm_up: what serves all.
    """

    part: Part
    figures: Floats
    ratios: Floats
    errors: Mapping[int, tuple[str, str]]
    kept: NDArray[np.int64]
    returns: Floats
    warm_up: WarmUp | None


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """What the combinations of a search are simulated on; prepares its bars once for each warm-up.

    sample: numbers whose returns are kept. metric, min_trades: what the best of a part are the best by. shared: by
    thread, what combinations have in common.
    """

    specification: Specification
    instrument: Instrument
    data: RunData
    space: Space
    choose: Choose
    sample: frozenset[int] | range
    metric: str
    min_trades: int
    is_fold: bool = False
    prepared: dict[tuple[tuple[str, int], ...], PreparedRun] = field(default_factory=dict)
    shared: dict[int, SharedColumns] = field(default_factory=dict)

    def combination(self, row: Any) -> dict[str, Any]:
        return self.space.at(int(row)) if np.ndim(row) == 0 else combination_of(self.space, row)

    def run_for(self, decider: Decider) -> PreparedRun:
        """Return the run as this decider sees it."""
        warm_up = decider.warm_up(self.specification)
        key = tuple(warm_up.bars.items())
        found = self.prepared.get(key)
        if found is None:
            other = next(iter(self.prepared.values()), None)
            found = (
                prepare_run(self.specification, self.instrument, self.data, warm_up)
                if other is None
                else prepare_again(other, self.data, warm_up)
            )
            self.prepared[key] = found
        return found


def chooser(
    strategy: Any, specification: Specification, version: str | None = None, within: str | None = None
) -> Choose:
    """Return what chooses a strategy class with the specification's parameters and the varied ones over them.

    version: of the strategy's code, so that digests are those of single runs. within: the parameter that is an object
    of what is varied, of which no other names are taken; None: the parameters themselves are.
    """
    key, fixed = specification.strategy_key or "", specification.strategy_params
    if within is None:
        return lambda varied: choose_strategy(strategy, key, {**fixed, **varied}, version)
    inner = dict(fixed.get(within) or {})

    def choose(varied: Mapping[str, Any]) -> Decider:
        unknown = tuple(
            ParameterProblem(name, no_parameter(name, inner, f"name of its {within}"))
            for name in varied
            if name not in inner
        )
        if unknown:
            raise InvalidParams(key, unknown)
        try:
            return choose_strategy(strategy, key, {**fixed, within: {**inner, **varied}}, version)
        except InvalidParams as error:
            raise InvalidParams(key, named_within(within, error.problems)) from error

    return choose


def whole(combinations: Combinations) -> Part:
    """Return all combinations of a search as one part."""
    if combinations.drawn is not None:
        return Part(0, combinations.drawn)
    return Part(0, np.arange(len(combinations)) if combinations.places is None else combinations.places)


def sample_of(count: int, seed: int) -> frozenset[int] | range:
    """Return the numbers of a search's sample: all, or of more than 2 000 those whose SHA-256 of "<seed>/<number>" is
    smallest.
    """
    if count <= LARGEST_SAMPLE:
        return range(count)
    digests = [hashlib.sha256(b"%d/%d" % (seed, number)).digest() for number in range(count)]
    return frozenset(sorted(range(count), key=digests.__getitem__)[:LARGEST_SAMPLE])


def simulate_part(
    bench: Bench, part: Part, on_progress: OnProgress | None = None, on_begin: Callable[[int], None] | None = None
) -> Shard:
    """Simulate the combinations of a part. One that fails is a result with an error, and the others go on.

    on_progress: called as in run_backtest, for each combination anew; returning False stops the part with Cancelled.
    on_begin: called with each number before it is begun.
    Raises what makes every combination impossible: InputRefused or NoData of the specification and its data.
    """
    count = part.rows.shape[0]
    found: list[Measured | None] = []
    errors: dict[int, tuple[str, str]] = {}
    warm_ups = []
    with sharing_columns(bench.shared.setdefault(get_ident(), SharedColumns())):
        for number, row in zip(part.numbers.tolist(), part.rows, strict=True):
            if on_begin is not None:
                on_begin(number)
            try:
                decider = bench.choose(bench.combination(row))
                run = bench.run_for(decider)
                warm_ups.append(run.warm_up)
                found.append(measured(run, simulate_once(run, decider, Watch(run, on_progress, CHUNK_BARS))))
            except (EngineError, MemoryError) as error:
                # A fold may train on days without a bar; a search over its whole range may not.
                if not bench.prepared and not (bench.is_fold and isinstance(error, NoData)):
                    raise
                errors[number] = failure(error)
                found.append(None)
    days = next(iter(bench.prepared.values())).days.label.size if bench.prepared else 0
    figures, ratios, returns = np.full((count, len(FIGURES)), np.nan), np.full(count, np.nan), np.zeros((count, days))
    for at, each in enumerate(found):
        if each is not None:
            figures[at], ratios[at], returns[at] = each
    kept = _kept(bench, part, figures)
    return Shard(
        part, figures, ratios, errors, part.first + kept, returns[kept], most_of(warm_ups) if warm_ups else None
    )


def failed_shard(number: int, row: NDArray[Any], days: int, code: str, message: str) -> Shard:
    """Return the shard of one combination that its process did not survive. row: as in Part.rows, of one."""
    figures, nothing = np.full((1, len(FIGURES)), np.nan), np.empty(0, np.int64)
    part = Part(number, row)
    return Shard(part, figures, np.full(1, np.nan), {number: (code, message)}, nothing, np.empty((0, days)), None)


def failure(error: BaseException) -> tuple[str, str]:
    """Return code and message of what made a combination fail."""
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, MemoryError):
            return "out_of_memory", "the combination asked for more memory than there is"
        chain = chain.__cause__
    return (error.code, str(error)) if isinstance(error, EngineError) else ("internal_error", repr(error))


def _kept(bench: Bench, part: Part, figures: Floats) -> NDArray[np.int64]:
    """Return the rows whose returns are kept, in order."""
    best = ranking(figures, part.numbers, bench.metric, bench.min_trades)[:BEST_KEPT]
    kept = np.fromiter((number in bench.sample for number in part.numbers.tolist()), bool, part.rows.shape[0])
    kept &= ~np.isnan(figures[:, 0])
    kept[best] = True
    return np.flatnonzero(kept)
