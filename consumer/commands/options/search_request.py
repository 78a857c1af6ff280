"""From the options of `backtest optimize` to a search: in the command, and again in each process that simulates."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import typer

from consumer.commands.options import values as options
from consumer.commands.options.ready_run import AskedRun, read_asked
from consumer.commands.options.run_request import RunRequest
from consumer.installed.strategy_code import CodeChanged
from consumer.preparation.strategy_file import names_a_file
from consumer.preparation.varied import varied_in_file, varied_strategy
from consumer.wiring.search import OnBegin, SimulatePart
from engine.errors import BadBars, NoData
from engine.prepared import RunData
from engine.search.folds import WalkForward, read_walk_forward
from engine.search.limits import MOST_COMBINATIONS, Method
from engine.search.parts import Part, Shard, simulate_part
from engine.search.question import Question, ask
from engine.warm_up import WarmUp

if TYPE_CHECKING:
    from consumer.commands.options.row_request import RowOfRun, SearchOfRow


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest:
    """Options as given. space: `--grid`, read as JSON. row: that of --strategy-id, once it was read."""

    run: RunRequest
    space: Mapping[str, Any]
    method: Method
    samples: int | None
    seed: int
    metric: str
    min_trades: int
    walk_forward: WalkForward | None
    row: "RowOfRun | None" = None


def search_request(
    run: RunRequest,
    *,
    grid: str,
    random: int | None,
    tpe: int | None,
    seed: int,
    metric: str,
    min_trades: int,
    walk_forward: str | None,
) -> SearchRequest:
    """Read the options of a search. Raises what each refuses."""
    if random is not None and tpe is not None:
        raise typer.BadParameter("give either --random or --tpe", param_hint="'--random'")
    if run.strategy is None and run.rules is None and run.strategy_id is None:
        what = "give the --strategy KEY, the --rules FILE or the --strategy-id N whose parameters are searched"
        raise typer.BadParameter(what, param_hint="'--strategy'")
    method: Method = "grid" if random is None and tpe is None else "random" if tpe is None else "tpe"
    space = options.json_object(grid, "--grid")
    if run.rules is not None and run.params is not None:
        _refuse_both(space, options.json_object(run.params, "--params"))
    split = None if walk_forward is None else read_walk_forward(options.json_object(walk_forward, "--walk-forward"))
    return SearchRequest(
        run=run,
        space=space,
        method=method,
        samples=random if tpe is None else tpe,
        seed=seed,
        metric=metric,
        min_trades=min_trades,
        walk_forward=split,
    )


def _refuse_both(space: Mapping[str, Any], fixed: Mapping[str, Any]) -> None:
    """Names of rules that are given a value beside those to try. (Of other strategies the search itself says so.)"""
    both = sorted(space.keys() & fixed.keys())
    if both:
        raise typer.BadParameter(f"has {', '.join(both)}, which --grid varies", param_hint="'--params'")


@dataclass(frozen=True, slots=True, eq=False)
class ReadSearch:
    """question: checked, its data loaded. in_process: makes the same search in another process. trials_before: tries
    of a row's strategy that the database knows of.
    """

    question: Question
    in_process: "SearchInProcess"
    trials_before: int


def read_search(request: SearchRequest, most: int) -> ReadSearch:
    """Check the search, number its combinations and load its data. Raises InputRefused, and NoData.

    most: combinations allowed. What makes every combination impossible, a spread that is not recorded say, is refused
    here.
    """
    asked = read_asked(request.run, search=_search_of_row(request, most))
    request = replace(request, row=asked.row)
    loaded: list[WarmUp] = []

    def load(warm_up: WarmUp) -> RunData:
        loaded.append(warm_up)
        return asked.data(warm_up)

    question = _question(asked, request, load, most=most)
    if question.combinations is not None:
        first = question.choose(question.combinations.at(0))
        # A fold may train on days without a bar.
        with suppress(NoData) if question.folds else nullcontext():
            question.bench(question.fold_numbers[0], range(0)).run_for(first)
    version, digest = question.strategy_version, question.data.bars.digest
    in_process = SearchInProcess(request, loaded[0], version, digest, question.room)
    return ReadSearch(question, in_process, _trials_before(asked))


@dataclass(frozen=True, slots=True)
class SearchInProcess:
    """Called in another process it loads the bars anew and returns what simulates a part.

    warm_up, digest: of the bars that the command itself loaded. version: of the strategy's code there. room: how many
    combinations there will be.
    """

    request: SearchRequest
    warm_up: WarmUp
    version: str | None
    digest: str
    room: int

    def __call__(self) -> SimulatePart:
        """Raises InputRefused where the files or the strategy's code changed in between."""
        asked = read_asked(self.request.run, row=self.request.row)
        data = asked.data(self.warm_up)
        if data.bars.digest != self.digest:
            raise BadBars("the bars changed while the search was running")
        question = _question(asked, self.request, data, room=self.room)
        if question.strategy_version != self.version:
            raise CodeChanged(asked.specification.strategy_key or "")
        benches = {fold: question.bench(fold) for fold in question.fold_numbers}

        def simulate(fold: int | None, part: Part, on_begin: OnBegin) -> Shard:
            return simulate_part(benches[fold], part, on_begin=on_begin)

        return simulate


def _search_of_row(request: SearchRequest, most: int) -> "SearchOfRow | None":
    """What a request of the service would say of the search."""
    if request.run.strategy_id is None:
        return None
    from consumer.commands.options.row_request import SearchOfRow  # late: most searches are of no row

    fields = {
        "param_grid": dict(request.space),
        "method": request.method,
        "samples": request.samples,
        "seed": request.seed,
        "optimize_metric": request.metric,
        "min_trades": request.min_trades,
        "walk_forward": None if request.walk_forward is None else request.walk_forward.to_json_dict(),
    }
    return SearchOfRow(fields, most)


def _trials_before(asked: AskedRun) -> int:
    if asked.row is None:
        return 0
    from consumer.commands.options.row_request import tries_of_row  # late, as above

    return tries_of_row(asked.row.strategy.id, asked.specification)


def _question(
    asked: AskedRun,
    request: SearchRequest,
    data: RunData | Callable[[WarmUp], RunData],
    *,
    most: int = MOST_COMBINATIONS,
    room: int | None = None,
) -> Question:
    named = request.run.strategy or ""
    is_file = names_a_file(named)
    choose, version, fixed = (
        varied_in_file(named, asked.specification) if is_file else varied_strategy(asked.specification)
    )
    return ask(
        asked.specification,
        asked.instrument,
        data,
        choose,
        request.space,
        method=request.method,
        samples=request.samples,
        seed=request.seed,
        metric=request.metric,
        min_trades=request.min_trades,
        walk_forward=request.walk_forward,
        most=most,
        strategy_version=version,
        fixed=fixed,
        room=room,
    )
