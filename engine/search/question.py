"""What a search is asked: on what, over which combinations, by which metric. All of it checked before anything runs."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final

from engine.errors import InvalidParams, InvalidSpace, ParameterProblem
from engine.market.instruments import Instrument
from engine.prepared import RunData
from engine.search.combinations import (
    Combinations,
    Judge,
    check_values,
    combinations_of_grid,
    corners,
    draw_combinations,
    judge_of,
)
from engine.search.figures import check_metric
from engine.search.folds import Fold, WalkForward, folds_of
from engine.search.limits import MOST_COMBINATIONS, Method, check_method
from engine.search.parts import Bench, Choose, sample_of
from engine.search.space import Space, read_space
from engine.specification import Specification
from engine.warm_up import OF_OTHERS, WarmUp, most_of

_MOST_CORNERS: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Question:
    """A search, checked; see `asked`. combinations: None for tpe, which draws as it learns. folds: empty without a
    walk-forward. room: how many combinations there will be at most, without folds. strategy_version: of the code that
    decides.
    """

    specification: Specification
    instrument: Instrument
    data: RunData
    choose: Choose
    space: Space
    document: Mapping[str, Any]
    method: Method
    samples: int | None
    seed: int
    metric: str
    min_trades: int
    walk_forward: WalkForward | None
    folds: tuple[Fold, ...]
    room: int
    combinations: Combinations | None
    strategy_version: str | None = None

    @property
    def total(self) -> int:
        """With folds."""
        return self.room * max(1, len(self.folds))

    @property
    def fold_numbers(self) -> tuple[int | None, ...]:
        """Those of the searches to make: None for the one over the whole range."""
        return tuple(fold.number for fold in self.folds) or (None,)

    @property
    def judge(self) -> Judge:
        return judge_of(self.choose)

    def bench(self, fold: int | None, sample: frozenset[int] | range | None = None) -> Bench:
        """Return what the combinations of a fold are simulated on, its training range."""
        specification = self.specification
        if fold is not None:
            at = self.folds[fold]
            specification = replace(specification, start=at.train_start, end=at.train_end)
        kept = range(0) if fold is not None else sample_of(self.room, self.seed) if sample is None else sample
        return Bench(
            specification=specification,
            instrument=self.instrument,
            data=self.data,
            space=self.space,
            choose=self.choose,
            sample=kept,
            metric=self.metric,
            min_trades=self.min_trades,
            is_fold=fold is not None,
        )


def ask(
    specification: Specification,
    instrument: Instrument,
    data: RunData | Callable[[WarmUp], RunData],
    choose: Choose,
    space: Mapping[str, Any],
    *,
    method: Method = "grid",
    samples: int | None = None,
    seed: int = 0,
    metric: str = "sharpe_ratio",
    min_trades: int = 30,
    walk_forward: WalkForward | None = None,
    most: int = MOST_COMBINATIONS,
    strategy_version: str | None = None,
    fixed: Collection[str] | None = None,
    room: int | None = None,
) -> Question:
    """Check a search and number its combinations.

    data: or what loads them, given the warm-up that serves every combination. choose: of the varied parameters. space:
    `param_grid`. most: combinations allowed. fixed: names that may not be varied too, by default those of the
    specification's parameters. room: how many combinations there will be, of a search that was checked and numbered
    elsewhere; here it then is not.

    Raises InvalidSpace for what is wrong in form and count, InvalidParams for names and values that the strategy does
    not take and where it takes no combination.
    """
    read = read_space(space, intervals=method != "grid")
    check_metric(metric)
    if min_trades < 0:
        raise InvalidSpace((ParameterProblem("min_trades", "must be at least 0"),))
    twice = sorted(read.choices.keys() & set(specification.strategy_params if fixed is None else fixed))
    if twice:
        raise InvalidSpace(
            tuple(ParameterProblem(f"param_grid.{name}", "is among the fixed parameters too") for name in twice)
        )
    check_method(read, method, samples, seed, most)
    folds = () if walk_forward is None else folds_of(walk_forward, specification.start, specification.end)
    combinations = None
    if room is None:
        combinations = _numbered(read, method, samples or 0, seed, judge_of(choose), specification.strategy_key or "")
        room = samples or 0 if combinations is None else len(combinations)
    return Question(
        specification=specification,
        instrument=instrument,
        data=data if isinstance(data, RunData) else data(_warm_up(specification, choose, read, combinations)),
        choose=choose,
        space=read,
        document=space,
        method=method,
        samples=samples,
        seed=seed,
        metric=metric,
        min_trades=min_trades,
        walk_forward=walk_forward,
        folds=folds,
        room=room,
        combinations=combinations,
        strategy_version=strategy_version,
    )


def _numbered(
    space: Space, method: Method, samples: int, seed: int, judge: Judge, strategy_key: str
) -> Combinations | None:
    """Return the combinations; None for those that tpe will draw."""
    check_values(space, judge, strategy_key)
    if method == "grid":
        return combinations_of_grid(space, judge, strategy_key)
    if method == "random" or (space.size is not None and space.size <= samples):
        return draw_combinations(space, judge, samples, seed, strategy_key)
    return None


def _warm_up(specification: Specification, choose: Choose, space: Space, combinations: Combinations | None) -> WarmUp:
    """Return what serves every combination; of tpe, whose are not known yet, the corners of the space that stand."""
    if combinations is not None:
        varied: Iterator[Mapping[str, Any]] = (combinations.at(number) for number in range(len(combinations)))
    else:
        varied = islice(corners(space), _MOST_CORNERS)
    found: dict[tuple[tuple[str, int], ...], WarmUp] = {}
    for each in varied:
        try:
            warm_up = choose(each).warm_up(specification)
        except InvalidParams:
            continue
        found[tuple(warm_up.bars.items())] = warm_up
    return most_of(found.values()) if found else WarmUp({specification.timeframe: OF_OTHERS}, {})
