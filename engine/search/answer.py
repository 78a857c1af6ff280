"""What a search comes to: the best, its neighbours, the hundred best, and how much of it is luck."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import ResultsDisagree, SearchFailed
from engine.market.sessions import session_days
from engine.numeric.arrays import Floats
from engine.numeric.times import as_us, iso_time
from engine.prepared import prepare_run
from engine.results.digest import canonical_json, values_by_field
from engine.results.metrics import returns_per_year
from engine.results.result import BacktestResult
from engine.search.combinations import Combinations, corners, refuses_all
from engine.search.curve import Curve, Tested, join, trade_fold
from engine.search.figures import worth_of
from engine.search.gathering import Gathering
from engine.search.parts import Part, Shard, whole
from engine.search.question import Question
from engine.search.robust import Robust, most_robust
from engine.search.space import Interval
from engine.search.statistics.summary import Evidence, statistics_of
from engine.simulate import run_backtest

Simulate = Callable[[Sequence[tuple[int | None, Part]]], Iterator[tuple[int | None, Shard]]]
"""Simulates parts of folds (None: of the whole range), cut as it likes, and returns their shards in any order."""
OnShard = Callable[[int | None, Shard], None]


@dataclass(frozen=True, eq=False, kw_only=True)
class Answer:
    """A finished search. combinations: as numbered, those of tpe as drawn. gathered: by fold, one without folds.

    total: combinations, times folds. best_params: None where none has min_trades; of a walk-forward the last fold's.
    results: the best 100, empty for a walk-forward. curve, tested: of a walk-forward.
    """

    question: Question
    combinations: tuple[Combinations, ...]
    gathered: tuple[Gathering, ...]
    total: int
    best_params: dict[str, Any] | None
    best_value: float | None
    best_figures: Mapping[str, Any] | None
    robust: Robust | None
    results: list[dict[str, Any]]
    statistics: dict[str, Any]
    warnings: tuple[str, ...]
    curve: Curve | None = None
    tested: tuple[Tested, ...] = field(default=())

    @property
    def robust_params(self) -> dict[str, Any] | None:
        """The combination that is good together with its neighbours."""
        return None if self.robust is None else self.combinations[0].at(self.robust.number)

    @property
    def completed(self) -> int:
        return sum(each.completed for each in self.gathered)

    @property
    def failed(self) -> int:
        return sum(each.failed for each in self.gathered)

    @cached_property
    def result_digest(self) -> str:
        """SHA-256 in hex over what was asked, the data, and every combination's parameters, figures and error code."""
        return search_digest(self.question, self.gathered)

    def returns(self) -> tuple[NDArray[np.int64], list[int], Floats]:
        """Return the days (since 1970) of a search without folds, the numbers of its sample and of its best 100, and
        their returns, shape (numbers, days).
        """
        question = self.question
        bars = question.data.bars
        begin, end = bars.between(as_us(question.specification.start), as_us(question.specification.end))
        days = session_days(bars.time_us[begin:end], question.instrument.session).label
        numbers, returns = self.gathered[0].returns_kept()
        return days, numbers, returns

    def best_run(self) -> BacktestResult:
        """Run the best combination as an ordinary run. Raises ResultsDisagree where its figures are others."""
        if self.best_params is None or self.best_figures is None:
            raise AssertionError("there is no best to run")
        question = self.question
        decider = question.choose(self.best_params)
        result = run_backtest(question.specification, question.instrument, question.data, decider)
        ran = {**result.to_json_dict(), "ambiguous_bars": result.ambiguous_bars}
        differing = tuple(name for name, value in self.best_figures.items() if ran[name] != value)
        if differing:
            raise ResultsDisagree(json.dumps(self.best_params), differing)
        return result


def answer(question: Question, simulate: Simulate, on_shard: OnShard | None = None, trials_before: int = 0) -> Answer:
    """Carry a search out. trials_before: earlier tries of the same strategy on the same range (trials_known).

    Raises SearchFailed where every combination failed, InvalidParams where tpe drew none that stands, and what makes
    all impossible.
    """
    if question.combinations is None:
        searched = [_learn(question, simulate, fold, on_shard) for fold in question.fold_numbers]
    else:
        searched = _simulate_all(question, question.combinations, simulate, on_shard)
    gathered = tuple(gathering for _, gathering in searched)
    combinations = tuple(each for each, _ in searched)
    if not any(each.completed for each in gathered):
        against = question.judge(next(corners(question.space)))
        raise refuses_all(question.specification.strategy_key or "", question.space, against)
    if not any(each.succeeded for each in gathered):
        failures = [each.first_failure for each in gathered if each.first_failure is not None]
        raise SearchFailed(failures[0].code, failures[0].message)
    if question.folds:
        return _walked(question, combinations, gathered, trials_before)
    return _searched(question, combinations[0], gathered[0], trials_before)


def search_digest(question: Question, gathered: Sequence[Gathering]) -> str:
    """Return what two searches share exactly when they asked the same of the same data and found the same, whoever
    computed what, in whatever order. Statistics and messages are not in it.
    """
    asked = {
        "method": question.method,
        "space": _plain_space(question),
        "samples": question.samples,
        "seed": question.seed,
        "optimize_metric": question.metric,
        "min_trades": question.min_trades,
        "walk_forward": None if question.walk_forward is None else question.walk_forward.to_json_dict(),
        "strategy_version": question.strategy_version,
    }
    warm_up = next((each.warm_up for each in gathered if each.warm_up is not None), None)
    hasher = hashlib.sha256(b"backtest-search-1")
    parts = [canonical_json(asked), canonical_json(values_by_field(question.specification))]
    parts.append(canonical_json(values_by_field(question.instrument)))
    if warm_up is not None:
        used = prepare_run(question.specification, question.instrument, question.data, warm_up).used
        parts += [f"{role}:{used[role].digest}".encode() for role in sorted(used)]
    parts += sorted(digest for each in gathered for digest in each.digests().tolist())
    for part in parts:
        hasher.update(len(part).to_bytes(8, "little"))
        hasher.update(part)
    return hasher.hexdigest()


def _simulate_all(
    question: Question, combinations: Combinations, simulate: Simulate, on_shard: OnShard | None
) -> list[tuple[Combinations, Gathering]]:
    gathered = {fold: _gathering(question, fold) for fold in question.fold_numbers}
    for fold, shard in simulate([(fold, whole(combinations)) for fold in question.fold_numbers]):
        gathered[fold].add(shard)
        if on_shard is not None:
            on_shard(fold, shard)
    return [(combinations, each) for each in gathered.values()]


def _learn(
    question: Question, simulate: Simulate, fold: int | None, on_shard: OnShard | None
) -> tuple[Combinations, Gathering]:
    from engine.search.tpe import Learner  # late: optuna takes a second, and few searches need it

    learner = Learner(question.space, question.judge, question.samples or 0, question.seed)
    gathering = _gathering(question, fold)
    while (rows := learner.ask()).shape[0]:
        part = Part(gathering.completed, rows)
        for _, shard in simulate([(fold, part)]):
            gathering.add(shard)
            if on_shard is not None:
                on_shard(fold, shard)
        told = np.where(gathering.may_be_best, worth_of(gathering.values, question.metric), np.nan)
        learner.tell(told[part.numbers].tolist())
    return Combinations(question.space, gathering.completed, learner.left_out, drawn=learner.drawn), gathering


def _gathering(question: Question, fold: int | None) -> Gathering:
    sample = question.bench(fold).sample
    return Gathering(question.room, sample, question.metric, question.min_trades, fold)


def _searched(question: Question, combinations: Combinations, gathering: Gathering, trials_before: int) -> Answer:
    best = gathering.best
    robust = None
    if question.method == "grid" and combinations.is_whole:
        better = worth_of(gathering.values, question.metric)
        robust = most_robust(combinations, better, gathering.may_be_best)
    count = gathering.completed
    statistics = statistics_of(
        Evidence(
            trials=gathering.succeeded,
            trials_known=gathering.succeeded + trials_before,
            left_out=combinations.left_out,
            ratios=gathering.ratios[:count],
            sample=gathering.returns_of_sample(),
            judged=None if best is None else gathering.returns_of(best),
            yearly=_yearly(question),
            seed=question.seed,
            values=gathering.values[:count],
            groups=_groups([combinations]),
        )
    )
    return Answer(
        question=question,
        combinations=(combinations,),
        gathered=(gathering,),
        total=len(combinations),
        best_params=None if best is None else combinations.at(best),
        best_value=None if best is None else float(gathering.values[best]),
        best_figures=None if best is None else gathering.figures_of_best(),
        robust=robust,
        results=gathering.results(combinations),
        statistics=statistics,
        warnings=_warnings(question, best is not None, count),
    )


def _walked(
    question: Question, combinations: tuple[Combinations, ...], gathered: tuple[Gathering, ...], trials_before: int
) -> Answer:
    tested: list[Tested] = []
    rows = []
    balance = question.specification.initial_balance
    best_params: dict[str, Any] | None = None
    for fold, numbered, gathering in zip(question.folds, combinations, gathered, strict=True):
        best = gathering.best
        best_params = None if best is None else numbered.at(best)
        trade = trade_fold(question, fold, best_params, balance)
        balance = balance if trade.balance is None else trade.balance
        tested.append(trade)
        rows.append(
            {
                "fold": fold.number,
                **{name: iso_time(as_us(getattr(fold, name))) for name in _FOLD_TIMES},
                "params": best_params,
                "train_value": None if best is None else float(gathering.values[best]),
                "test_value": trade.value,
            }
        )
    curve = join(question, tested)
    counts = [each.completed for each in gathered]
    trials = sum(each.succeeded for each in gathered)
    statistics = statistics_of(
        Evidence(
            trials=trials,
            trials_known=trials + trials_before,
            left_out=sum({id(each): each.left_out for each in combinations}.values()),
            ratios=np.empty(0),
            sample=np.empty((0, 0)),
            judged=curve.returns if curve.figures["total_trades"] else None,
            yearly=_yearly(question),
            seed=question.seed,
            values=np.concatenate([each.values[:count] for each, count in zip(gathered, counts, strict=True)]),
            groups=_groups(combinations),
            walk_forward=True,
        )
    )
    statistics |= {"walk_forward": dict(curve.figures), "folds": rows}
    return Answer(
        question=question,
        combinations=combinations,
        gathered=gathered,
        total=sum(len(each) for each in combinations),
        best_params=best_params,
        best_value=curve.figures[question.metric],
        best_figures=None,
        robust=None,
        results=[],
        statistics=statistics,
        warnings=_warnings(question, any(row["params"] is not None for row in rows), min(counts)),
        curve=curve,
        tested=tuple(tested),
    )


_FOLD_TIMES = ("train_start", "train_end", "test_start", "test_end")


def _groups(combinations: Sequence[Combinations]) -> dict[str, tuple[Floats, bool]]:
    """Return for each parameter which of its values every result has, and whether that is a number of an interval."""
    return {
        name: (np.concatenate([each.groups(name) for each in combinations]), isinstance(choice, Interval))
        for name, choice in combinations[0].space.choices.items()
    }


def _yearly(question: Question) -> float:
    return returns_per_year(question.instrument.session, question.data.bars.timeframe.duration_us)


def _warnings(question: Question, has_best: bool, drawn: int) -> tuple[str, ...]:
    found = list(question.data.warnings)
    if not has_best:
        found.append(
            f"no combination has {question.min_trades} trades or more and a {question.metric}: there is no best"
        )
    if question.combinations is None and drawn < question.room:
        found.append(f"tpe found {drawn:,} different combinations and no more, of {question.room:,} asked for")
    return tuple(found)


def _plain_space(question: Question) -> Any:
    """The space as it was asked for; a range of Python's is its list."""
    return {
        name: list(given) if isinstance(given, (range, tuple)) else given for name, given in question.document.items()
    }
