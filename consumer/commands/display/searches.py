"""How commands show searches by their rows: a list of them, and one in words, its verdict first."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from consumer.commands.display.columns import text_columns
from consumer.commands.display.live_searches import params_text
from consumer.commands.display.search_words import STATISTICS, statistic_text
from schemas.json_text import printable

_SHOWN = 10
"""Of the best combinations."""
_WALK_FORWARD = "walk_forward"
"""The reason that engine.search.statistics gives."""
_HEADING = ("search", "strategy", "symbol", "tf", "method", "from", "to", "status", "%", "combinations", "best", "run")


def searches_table(found: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """A heading and a row a search, as text."""
    return [_HEADING, *map(_cells, found)]


def search_sections(row: Mapping[str, Any]) -> Iterator[str]:
    """What is shown of a search, an empty line between."""
    statistics = row["statistics"] or {}
    lines = [f"search {row['id']}: {printable(row['strategy_name'])}, {row['status']} ({row['progress_pct']} %)"]
    if statistics.get("verdict"):
        lines.insert(0, printable(f"verdict: {statistics['verdict']}"))
    lines.append(f"{row['symbol']} {row['timeframe']}, {_day(row['start_date'])} to {_day(row['end_date'])}")
    counts = f"{row['completed_combinations']:,} of {row['total_combinations']:,} combinations"
    failed = f", {row['failed_combinations']:,} failed" if row["failed_combinations"] else ""
    lines.append(f"{row['method']}: {counts}{failed}, by {row['optimize_metric']}, at least {row['min_trades']} trades")
    if row["error_message"]:
        lines.append(printable(row["error_message"]))
    yield "\n".join(lines)
    if row["best_value"] is not None:
        run = f", run {row['best_run_id']}" if row["best_run_id"] is not None else ""
        told = [f"best: {row['best_value']:.6g} with {params_text(row['best_params'])}{run}"]
        if row["robust_params"] is not None:
            told.append(f"best together with its neighbours: {params_text(row['robust_params'])}")
        yield "\n".join(told)
    if row["results"]:
        yield text_columns(_results(row))
    if statistics.get("folds"):
        yield text_columns(_folds(row["optimize_metric"], statistics["folds"]))
    if statistics:
        yield text_columns([("statistics", ""), *_statistics(statistics)])
    places = (("every combination", row["results_file_path"]), ("returns", statistics.get("returns_file_path")))
    if told := [f"{what}: {printable(place)}" for what, place in places if place]:
        yield "\n".join([*told, f"result digest: {row['result_digest']}"])


def _statistics(statistics: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Those of this release; a figure that is null says why, but of a walk-forward, which selects nothing that these
    could speak of.
    """
    reasons = statistics.get("null_reasons") or {}
    for name, label in STATISTICS.items():
        value, reason = statistics.get(name), reasons.get(name)
        if value is not None:
            yield label, statistic_text(name, value)
        elif reason is not None and reason != _WALK_FORWARD:
            yield label, printable(f"none: {reason}")
    for name, share in (statistics.get("parameter_sensitivity") or {}).items():
        yield printable(f"{name} explains"), "none" if share is None else f"{share:.1%}"
    joined = statistics.get("walk_forward") or {}
    for name in ("net_profit", "total_trades", "max_drawdown_pct"):
        if joined.get(name) is not None:
            yield f"all folds: {name.replace('_', ' ')}", _figure(joined[name])


def _results(row: Mapping[str, Any]) -> list[tuple[str, ...]]:
    names = list(row["results"][0]["params"])
    metric = row["optimize_metric"]
    figures = list(dict.fromkeys((metric, "total_trades", "net_profit", "max_drawdown_pct")))
    cells = [
        (
            str(each["rank"]),
            *(params_text({name: each["params"][name]}).partition(" ")[2] for name in names),
            *(_figure(each["metrics"].get(name)) for name in figures),
        )
        for each in row["results"][:_SHOWN]
    ]
    return [("rank", *map(printable, names), *figures), *cells]


def _folds(metric: str, folds: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    cells = [
        (
            str(each["fold"]),
            each["test_start"][:10],
            each["test_end"][:10],
            "nothing was traded" if each["params"] is None else params_text(each["params"]),
            _figure(each["train_value"]),
            _figure(each["test_value"]),
        )
        for each in folds
    ]
    return [("fold", "tested from", "to", "with", f"{metric} in training", "in test"), *cells]


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        str(row["id"]),
        printable(row["strategy_name"]),
        row["symbol"],
        row["timeframe"],
        row["method"],
        _day(row["start_date"]),
        _day(row["end_date"]),
        row["status"],
        str(row["progress_pct"]),
        f"{row['completed_combinations']:,}/{row['total_combinations']:,}",
        "" if row["best_value"] is None else f"{row['best_value']:.4g}",
        "" if row["best_run_id"] is None else str(row["best_run_id"]),
    )


def _figure(value: Any) -> str:
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _day(moment: datetime | None) -> str:
    return "-" if moment is None else f"{moment:%Y-%m-%d}"
