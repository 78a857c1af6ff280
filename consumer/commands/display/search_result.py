"""What `backtest optimize` shows: the verdict in words first, then the best, on stderr; or a JSON object on stdout."""

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

from consumer.commands.display.search_words import STATISTICS, statistic_text
from consumer.optimization.searching import Standing
from engine.numeric.sums import exact_sum
from engine.search.answer import Answer
from engine.search.figures import WHOLE, worth_of
from engine.search.statistics.summary import WALK_FORWARD

_SHOWN: Final = 10
_WIDEST: Final = 1_000
_ALWAYS: Final = ("total_trades", "net_profit", "max_drawdown_pct", "sharpe_ratio", "profit_factor")


def print_search_json(found: Mapping[str, Any]) -> None:
    """One object on one line."""
    sys.stdout.write(json.dumps(found, allow_nan=False) + "\n")


def print_search(answer: Answer, seconds: float) -> None:
    """Verdict, warnings, the best in a table, what is known of luck, and the digest, on stderr."""
    from rich.console import Console  # here: --json need not pay for it

    console = Console(stderr=True)
    statistics = answer.statistics
    console.print(f"verdict: {statistics['verdict']}", style="bold", markup=False, highlight=False, soft_wrap=True)
    for warning in answer.warnings:
        console.print(f"warning: {warning}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    console.print(_counts(answer, seconds), markup=False, highlight=False, soft_wrap=True)
    table = _folds_table(answer) if answer.question.folds else _best_table(answer)
    # As wide as it is: a terminal may break a line, but a number that is cut is another number.
    wide = console.options.update(max_width=_WIDEST)
    console.width = max(console.width, console.measure(table, options=wide).maximum)
    console.print(table)
    if answer.question.folds:
        console.print(_joined(statistics["walk_forward"]), markup=False, highlight=False, soft_wrap=True)
    if (told := _robust(answer)) is not None:
        console.print(told, markup=False, highlight=False, soft_wrap=True)
    console.print(_statistics_table(statistics))
    console.print(f"result digest: {answer.result_digest}", soft_wrap=True, highlight=False)


@contextmanager
def search_bar() -> Iterator[Callable[[Standing], None] | None]:
    """Yield what shows where a search stands, with rate and time left; None where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    import rich.progress
    from rich.console import Console

    columns = (
        rich.progress.TextColumn("Searching"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TextColumn("{task.fields[told]}"),
    )
    with rich.progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, told="")

        def show(now: Standing) -> None:
            bar.update(task, completed=now.done, total=now.total, told=_told(now))

        yield show


def _told(now: Standing) -> str:
    rate = f"{now.per_second:,.0f}/s" if now.per_second >= 10 else f"{now.per_second:.2g}/s"
    left = "" if now.seconds_left is None else f", {_duration(now.seconds_left)} left"
    best = "" if now.best_value is None else f", best so far {now.best_value:.4g}"
    return f"{rate}{left}{best}" if now.per_second else ""


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _counts(answer: Answer, seconds: float) -> str:
    question, left_out = answer.question, answer.statistics["left_out"]
    count = f"{answer.completed:,} combinations"
    if question.folds:
        sizes = {each.completed for each in answer.gathered}
        each_has = f"{sizes.pop():,} combinations in each of" if len(sizes) == 1 else f"{count} in"
        count = f"{each_has} {len(question.folds)} folds"
    failed = f", {answer.failed:,} failed" if answer.failed else ""
    refused = f", {left_out:,} left out by the strategy" if left_out else ""
    return f"{count} in {seconds:.1f} s ({question.method}){failed}{refused}"


def _best_table(answer: Answer) -> Any:
    from rich.table import Table

    metric = answer.question.metric
    figures = [metric, *(name for name in _ALWAYS if name != metric)]
    table = Table(title=f"the best {min(_SHOWN, len(answer.results))} by {metric}", title_justify="left")
    for heading in ("rank", *answer.question.space.choices, *figures):
        table.add_column(heading, justify="right")
    for result in answer.results[:_SHOWN]:
        values = [_value(value) for value in result["params"].values()]
        values += [_figure(name, result["metrics"][name]) for name in figures]
        few = result["metrics"]["total_trades"] < answer.question.min_trades
        table.add_row(str(result["rank"]), *values, style="dim" if few else None)
    return table


def _robust(answer: Answer) -> str | None:
    """The plateau, and how high it is: the best alone is a peak that may be luck."""
    robust, metric = answer.robust, answer.question.metric
    if robust is None or answer.robust_params is None:
        return None
    told = f"best together with its neighbours: {_params(answer.robust_params)}"
    if not math.isfinite(robust.median):
        return f"{told} (most of its {robust.neighbours} neighbours have too few trades or no {metric})"
    level = _figure(metric, float(worth_of(np.array([robust.median]), metric)[0]))
    alone = _figure(metric, float(answer.gathered[0].values[robust.number]))
    return f"{told} (median {metric} of it and its {robust.neighbours} neighbours {level}, alone {alone})"


def _folds_table(answer: Answer) -> Any:
    from rich.table import Table

    metric = answer.question.metric
    table = Table(title="each fold trades what was best before it", title_justify="left")
    for heading in ("fold", "tested from", "to", *answer.question.space.choices, f"{metric} in training", "in test"):
        table.add_column(heading, justify="right")
    for heading in ("net profit", "trades"):
        table.add_column(heading, justify="right")
    for row, tested in zip(answer.statistics["folds"], answer.tested, strict=True):
        params = row["params"] or dict.fromkeys(answer.question.space.choices, "-")
        cells = [str(row["fold"]), row["test_start"][:10], row["test_end"][:10], *map(_value, params.values())]
        cells += [_figure(metric, row["train_value"]), _figure(metric, row["test_value"])]
        table.add_row(*cells, _figure("net_profit", exact_sum(tested.profits)), f"{tested.profits.size:,}")
    joined = answer.statistics["walk_forward"]
    table.add_section()
    blank = [""] * (2 + len(answer.question.space.choices))
    money = (_figure(name, joined[name]) for name in ("net_profit", "total_trades"))
    table.add_row("all", *blank, "", _figure(metric, joined[metric]), *money, style="bold")
    return table


def _joined(figures: Mapping[str, Any]) -> str:
    """The money of a walk-forward, whose folds trade one account."""
    told = (("net profit", "net_profit"), ("trades", "total_trades"), ("max drawdown %", "max_drawdown_pct"))
    return "all folds on one account: " + ", ".join(f"{label} {_figure(name, figures[name])}" for label, name in told)


def _statistics_table(statistics: Mapping[str, Any]) -> Any:
    from rich.table import Table

    table = Table(show_header=False)
    for name, label in STATISTICS.items():
        value, reason = statistics[name], statistics["null_reasons"].get(name)
        if reason == WALK_FORWARD:  # which selects nothing that these could speak of
            continue
        shown = f"none: {reason}" if value is None else statistic_text(name, value)
        table.add_row(label, shown)
    for name, share in (statistics["parameter_sensitivity"] or {}).items():
        table.add_row(f"{name} explains", "none" if share is None else f"{share:.1%}")
    return table


def _figure(name: str, value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if name in WHOLE else f"{value:,.2f}" if name == "net_profit" else f"{value:.4g}"


def _params(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_value(value)}" for name, value in params.items())


def _value(value: Any) -> str:
    if isinstance(value, str):
        return value
    return f"{value:g}" if isinstance(value, float) else json.dumps(value)
