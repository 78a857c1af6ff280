"""What an engine child does for a step of a search: survey, range, ask, gather.

Nothing but files passes from one step to the next, so that any child of any machine can take any of them; what a child
has loaded for a search it keeps for the next step of the same one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

import numpy as np

from consumer.optimization.learning import Learning
from consumer.optimization.numbering import Numbered, number_on
from consumer.optimization.searching import RETURNS
from consumer.optimization.shard_tables import numbering_of_table, table_of_numbering, table_of_shard
from consumer.optimization.stored_shards import Patiently, StoredShards
from consumer.optimization.tables import returns_of, rows_of
from consumer.ports.search_files import SearchFiles
from consumer.ports.searches import StepTask
from consumer.preparation.inputs import MarketData, assemble, spelled_as_known
from consumer.preparation.snapshot import recorded_instruments, specification_from_json
from consumer.preparation.varied import params_over, varied_strategy
from engine.errors import BadBars, StrategyError
from engine.market.instruments import Instrument, instrument_for
from engine.prepared import RunData, prepare_run
from engine.search.answer import Answer, answer
from engine.search.combinations import Combinations
from engine.search.figures import candidates, column, ranking
from engine.search.folds import read_walk_forward
from engine.search.parts import Bench, Part, Shard, simulate_part
from engine.search.question import Question, ask
from engine.search.space import read_space
from engine.specification import Specification
from engine.warm_up import WarmUp, signals_warm_up

SURVEYED_AT_ONCE: Final = 40_000
"""Places of a grid; a larger one is numbered in parts."""
SURVEY_SECONDS: Final = 1.0
KEPT: Final = 2
"""Searches that a child keeps loaded."""


class StepControl(Protocol):
    """What a step tells and asks while it runs."""

    def mark(self, number: int) -> None:
        """Begin, or go on with, the combination at this position. Raises what ends the step when the worker wants."""
        ...


@dataclass(slots=True)
class _Loaded:
    """A search as a child has it loaded. numbering: rows of its combinations; None: of tpe, or place is number."""

    question: Question
    numbering: Any = None
    benches: dict[int | None, Bench] = field(default_factory=dict)
    learning: Learning | None = None


@dataclass(slots=True)
class SearchSteps:
    """The steps, over the stores that a child has open. clock: monotonic seconds."""

    market_data: MarketData
    registry: Mapping[str, Instrument]
    files: SearchFiles
    clock: Callable[[], float]
    engine_version: str
    loaded: dict[int, _Loaded] = field(default_factory=dict)

    def take(self, task: StepTask, control: StepControl, patiently: Patiently) -> dict[str, Any]:
        """Carry out one step, and return what the worker is told; plain JSON. Raises what a run raises."""
        match task.step["kind"]:
            case "survey":
                return self.survey(task, patiently)
            case "range":
                return self.simulate(task, control, patiently)
            case "ask":
                return self.ask(task, patiently)
            case "gather":
                return self.gather(task, patiently)
            case kind:
                raise AssertionError(f"there is no step {kind!r}")

    def survey(self, task: StepTask, patiently: Patiently) -> dict[str, Any]:
        """Number the combinations, load what they need, and say how many there are, times folds.

        A large grid is numbered in parts of about a second.
        """
        numbered = self._number_on(task, patiently)
        if numbered is not None and not numbered.is_done:
            return {"surveying": self._save_numbered(task, numbered, patiently)}
        warm_ups: list[WarmUp] = []

        def load(warm_up: WarmUp) -> RunData:
            warm_ups.append(warm_up)
            return self._data(task, warm_up, patiently)

        if numbered is None:
            question = self._question(task, load, room=None)
        else:
            question = self._question(task, load(numbered.warm_up), room=numbered.count)
            question = replace(question, combinations=numbered.combinations(question.space))
        prepare(question, question.fold_numbers[0])
        combinations, [warm_up] = question.combinations, warm_ups
        rows = None
        if combinations is not None:
            rows = combinations.drawn if combinations.drawn is not None else combinations.places
        found = self._remember(task, _Loaded(question, rows))
        plan: dict[str, Any] = {
            "count": question.room,
            "folds": len(question.folds),
            "left_out": combinations.left_out if combinations is not None else 0,
            "learns": combinations is None,
            "numbering": self._save_numbering(task, rows, patiently),
            "warm_up": [dict(warm_up.bars), dict(warm_up.wanted)],
            "lower_is_better": task.step["search"]["lower_is_better"],
            "strategy_version": question.strategy_version,
            "bars": question.data.bars.digest,
        }
        if combinations is not None:
            return {"total": question.total, "released": question.total, "plan": {**plan, "unit": question.room}}
        found.learning = Learning(question)
        return _asked(found.learning, plan)

    def simulate(self, task: StepTask, control: StepControl, patiently: Patiently) -> dict[str, Any]:
        """Simulate a range, which lies within one fold."""
        found = self._load(task, patiently)
        fold, start, part = _part(found, task)
        bench = self._bench(found, fold)
        at = task.step["first"]

        def begin(number: int) -> None:
            nonlocal at
            at = start + number
            control.mark(at)

        def go_on(_progress: Any) -> bool:
            control.mark(at)
            return True

        began = self.clock()
        shard = simulate_part(bench, part, go_on, begin)
        seconds = self.clock() - began
        table = table_of_shard(fold, shard)
        place = patiently(lambda: self.files.save_part(task.optimization_id, task.number, task.epoch, table))
        value, params = _best_of(bench, shard)
        failed = len(shard.errors)
        return {"file": place, "failed": failed, "seconds": seconds, "best_value": value, "best_params": params}

    def ask(self, task: StepTask, patiently: Patiently) -> dict[str, Any]:
        """Tell tpe what came of its batches, and draw the next one."""
        found = self._load(task, patiently)
        if found.learning is None:
            found.learning = Learning(found.question)
        found.learning.catch_up(StoredShards(self.files, task, patiently).batch)
        return _asked(found.learning, task.step["plan"])

    def gather(self, task: StepTask, patiently: Patiently) -> dict[str, Any]:
        """Put all results together: the best, the files, the statistics."""
        found = self._load(task, patiently)
        plan, question = task.step["plan"], found.question
        if not plan["learns"]:
            question = replace(question, combinations=_combinations(question, plan, found.numbering))
        stored = StoredShards(self.files, task, patiently)
        with self.files.results(task.optimization_id, task.epoch) as results:

            def keep(fold: int | None, shard: Shard) -> None:
                results.add(rows_of(question, fold, shard))

            reached = answer(question, stored.parts, keep, trials_before=task.step["trials_before"])
            place = patiently(results.finish)
        statistics = {**reached.statistics, RETURNS: None}
        if question.folds:
            statistics["null_reasons"] = {**statistics["null_reasons"], RETURNS: "walk_forward"}
        else:
            table = returns_of(reached)
            statistics[RETURNS] = patiently(lambda: self.files.save_returns(task.optimization_id, task.epoch, table))
        return {
            "columns": {
                "best_params": reached.best_params,
                "best_value": reached.best_value,
                "robust_params": reached.robust_params,
                "results": reached.results,
                "statistics": statistics,
                "results_file_path": place,
            },
            "result_digest": reached.result_digest,
            "engine_version": self.engine_version,
            "warnings": list(reached.warnings),
            "best": _to_run(task, reached),
        }

    def _number_on(self, task: StepTask, patiently: Patiently) -> Numbered | None:
        """A large grid as far as it is numbered, a second's work further; None: it is no large grid."""
        search, plan = task.step["search"], task.step["plan"]
        if search["method"] != "grid":
            return None
        space = read_space(search["param_grid"], intervals=False)
        if (space.size or 0) <= SURVEYED_AT_ONCE:
            return None
        parts = [self._read_numbering(task, place, patiently) for place in plan.get("parts", ())]
        numbered = Numbered.of_plan(space.size or 0, plan, parts)
        specification = self._specification(task)
        choose, _, _ = varied_strategy(specification)
        return number_on(numbered, space, choose, specification, self.clock, SURVEY_SECONDS)

    def _save_numbered(self, task: StepTask, numbered: Numbered, patiently: Patiently) -> dict[str, Any]:
        """The plan for the survey that goes on."""
        plan = task.step["plan"]
        place = self._save_numbering(task, numbered.latest, patiently)
        return {**numbered.plan, "parts": [*plan.get("parts", ()), place]}

    # --- what steps share -------------------------------------------------------------------------------------------

    def _load(self, task: StepTask, patiently: Patiently) -> _Loaded:
        """The search as this child has it loaded already, or loads it now.

        Raises CodeChanged where this process has old code, StrategyError or BadBars where code or bars are no longer
        those that the search began with: its combinations would not be comparable.
        """
        plan = task.step["plan"]
        _, version, _ = varied_strategy(self._specification(task))
        if version != plan["strategy_version"]:
            raise StrategyError("the strategy's code was changed while the search was at work")
        known = self.loaded.get(task.optimization_id)
        if known is not None:
            return known
        data = self._data(task, WarmUp(*plan["warm_up"]), patiently)
        if data.bars.digest != plan["bars"]:
            raise BadBars("the bars were changed while the search was at work")
        question = self._question(task, data, room=plan["count"])
        numbering = None
        if plan["numbering"] is not None:
            numbering = self._read_numbering(task, plan["numbering"], patiently)
        return self._remember(task, _Loaded(question, numbering))

    def _remember(self, task: StepTask, found: _Loaded) -> _Loaded:
        self.loaded.pop(task.optimization_id, None)
        while len(self.loaded) >= KEPT:
            del self.loaded[next(iter(self.loaded))]
        self.loaded[task.optimization_id] = found
        return found

    def _specification(self, task: StepTask) -> Specification:
        return spelled_as_known(specification_from_json(dict(task.specification)), self._known(task))

    def _known(self, task: StepTask) -> Mapping[str, Instrument]:
        return {**self.registry, **recorded_instruments(task.specification)}

    def _question(self, task: StepTask, data: RunData | Callable[[WarmUp], RunData], room: int | None) -> Question:
        specification, search = self._specification(task), task.step["search"]
        choose, version, fixed = varied_strategy(specification)
        walk_forward = search["walk_forward"]
        return ask(
            specification,
            instrument_for(specification.symbol, self._known(task)),
            data,
            choose,
            search["param_grid"],
            method=search["method"],
            samples=search["samples"],
            seed=search["seed"],
            metric=search["optimize_metric"],
            min_trades=search["min_trades"],
            walk_forward=None if walk_forward is None else read_walk_forward(walk_forward),
            most=2**62,  # counted when the request was admitted
            strategy_version=version,
            fixed=fixed,
            room=room,
        )

    def _data(self, task: StepTask, warm_up: WarmUp, patiently: Patiently) -> RunData:
        specification = self._specification(task)
        loaded: RunData = patiently(lambda: assemble(specification, self.market_data, self._known(task), warm_up))
        return loaded

    def _save_numbering(self, task: StepTask, rows: Any, patiently: Patiently) -> Any:
        if rows is None:
            return None
        table = table_of_numbering(rows)
        return patiently(lambda: self.files.save_part(task.optimization_id, task.number, task.epoch, table))

    def _read_numbering(self, task: StepTask, place: str, patiently: Patiently) -> Any:
        return numbering_of_table(patiently(lambda: self.files.read_part(task.optimization_id, place)))

    def _bench(self, found: _Loaded, fold: int | None) -> Bench:
        if fold not in found.benches:  # one at a time: folds come one after the other
            found.benches = {fold: prepare(found.question, fold)}
        return found.benches[fold]


def prepare(question: Question, fold: int | None) -> Bench:
    """A fold's bench, prepared as far as every run is: so what is wrong with the bars is said here, and what is wrong
    with a combination is that combination's error. Raises NoData and its kind.
    """
    bench = question.bench(fold)
    least = signals_warm_up(bench.specification)
    run = prepare_run(bench.specification, bench.instrument, bench.data, least)
    bench.prepared[tuple(least.bars.items())] = run
    return bench


def _asked(learning: Learning, plan: Mapping[str, Any]) -> dict[str, Any]:
    batch, total = learning.pending, learning.total
    released = total if batch is None else batch["position"] + len(batch["rows"])
    return {"total": total, "released": released, "plan": {**plan, "batch": batch}}


def _part(found: _Loaded, task: StepTask) -> tuple[int | None, int, Part]:
    """The fold that a range lies in, the position of its first combination, and the range as a part of it."""
    plan, first, last = task.step["plan"], task.step["first"], task.step["last"]
    if plan["learns"]:
        batch = plan["batch"]
        rows = np.array(batch["rows"], np.float64)[first - batch["position"] : last - batch["position"]]
        start = batch["position"] - batch["number"]
        return batch["fold"], start, Part(first - start, rows)
    index = first // plan["count"]
    start = index * plan["count"]
    numbers = np.arange(first - start, last - start)
    rows = numbers if found.numbering is None else found.numbering[numbers]
    return (index if plan["folds"] else None), start, Part(first - start, rows)


def _combinations(question: Question, plan: Mapping[str, Any], numbering: Any) -> Combinations:
    is_drawn = numbering is not None and numbering.ndim > 1
    places, drawn = (None, numbering) if is_drawn else (numbering, None)
    return Combinations(question.space, plan["count"], plan["left_out"], places=places, drawn=drawn)


def _best_of(bench: Bench, shard: Shard) -> tuple[float | None, dict[str, Any] | None]:
    """Value and parameters of the best of a range; None where none may be the best."""
    order = ranking(shard.figures, shard.part.numbers, bench.metric, bench.min_trades)
    if not order.size or not candidates(shard.figures, bench.metric, bench.min_trades)[order[0]]:
        return None, None
    best = int(order[0])
    return float(column(shard.figures, bench.metric)[best]), bench.combination(shard.part.rows[best])


def _to_run(task: StepTask, reached: Answer) -> dict[str, Any] | None:
    """What the best is run as, and the figures it must have; None: there is nothing to run."""
    if reached.best_params is None or reached.best_figures is None or reached.question.folds:
        return None
    specification = dict(task.specification)
    fixed = specification["strategy_params"]
    specification["strategy_params"] = params_over(specification["strategy_key"], fixed, reached.best_params)
    return {"specification": specification, "figures": dict(reached.best_figures)}
