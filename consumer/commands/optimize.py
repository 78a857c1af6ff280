"""`backtest optimize`: a search over a strategy's parameters here and now, and how much of its best is luck."""

import sys
import time
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from consumer.commands.display.search_result import print_search, print_search_json, search_bar
from consumer.commands.options import run_options as given
from consumer.commands.options.ready_run import show_unknown_symbol
from consumer.commands.options.run_request import ADVICE_OPTIONS, RunRequest, with_run_options
from consumer.commands.options.search_request import read_search, search_request
from consumer.optimization.searching import search
from consumer.optimization.tables import search_object
from consumer.settings import SearchSettings, StrategySettings, load_settings
from consumer.wiring.artifacts import check_picture_path
from consumer.wiring.search import SearchTable, check_table_path, start_search_processes

app = typer.Typer(add_completion=False)
_SEARCH, _OUTPUT = "Search", "Output"


@app.command()
@with_run_options(without=("signals", *ADVICE_OPTIONS))
def optimize(
    request: RunRequest,
    grid: Annotated[
        str,
        typer.Option(
            metavar="JSON",
            help='The space: {"fast": [5, 10], "slow": {"from": 30, "to": 120, "step": 10}, "x": {"low": 1, "high": 4}}'
            " (low, high, log, int: with --random and --tpe only).",
            rich_help_panel=_SEARCH,
        ),
    ],
    random: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Draw N combinations.", rich_help_panel=_SEARCH)
    ] = None,
    tpe: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Draw N combinations that learn from each other.", rich_help_panel=_SEARCH
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Of the draws.", rich_help_panel=_SEARCH)] = 0,
    walk_forward: Annotated[
        str | None,
        typer.Option(
            metavar="JSON",
            help='Train and test in turn: {"train_days": 365, "test_days": 90, "anchored": false, "purge_days": 0}.',
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    metric: Annotated[str, typer.Option(help="What the best is best by.", rich_help_panel=_SEARCH)] = "sharpe_ratio",
    min_trades: Annotated[
        int, typer.Option(min=0, help="Trades without which none is the best.", rich_help_panel=_SEARCH)
    ] = 30,
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="Processes.", show_default="cores", rich_help_panel=_SEARCH)
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write every combination to this .parquet or .csv file, and returns beside it.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw what was found.", rich_help_panel=_OUTPUT)
    ] = None,
    as_json: given.AsJsonOption = False,
) -> None:
    """Search a strategy's parameters, and say how much of the best result is luck. No server is needed.

    Options of the run are those of `backtest run`; --params are the parameters that are not varied. Exit status: 0
    done, 1 the search failed, 2 bad input.
    """
    begun = time.monotonic()
    asked = search_request(
        request,
        grid=grid,
        random=random,
        tpe=tpe,
        seed=seed,
        metric=metric,
        min_trades=min_trades,
        walk_forward=walk_forward,
    )
    _check_outputs(results, plot, request)
    if not as_json:
        show_unknown_symbol(request)
    limits = load_settings(SearchSettings)
    # What a strategy prints is not the result: stdout holds nothing but that.
    with redirect_stdout(sys.stderr), ExitStack() as stack:
        # They take a second to be there, in which the search is read.
        processes = stack.enter_context(start_search_processes(workers, limits, load_settings(StrategySettings)))
        read = read_search(asked, limits.max_combinations)
        processes.open(read.in_process)
        table = None if results is None else stack.enter_context(SearchTable(results))
        show = stack.enter_context(search_bar())
        answer = search(
            read.question,
            processes.simulate,
            clock=time.monotonic,
            table=table,
            show=show,
            trials_before=read.trials_before,
        )
    if plot is not None:
        from consumer.commands.display.search_plot import plot_search  # late: a second of imports

        plot_search(answer, plot)
    seconds = time.monotonic() - begun
    if as_json:
        print_search_json(search_object(answer, seconds))
    else:
        print_search(answer, seconds)


def _check_outputs(results: Path | None, plot: Path | None, request: RunRequest) -> None:
    """Refuse what cannot be written, or would be written over, before a search is spent on it."""
    if results is not None:
        check_table_path(results, spare=request.named_files)
    if plot is not None:
        check_picture_path(plot)
