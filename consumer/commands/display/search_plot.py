"""The pictures of `backtest optimize --plot`: where in the space the metric is good, how it is distributed beside what
luck reaches, and the account of a walk-forward. matplotlib draws into the file alone; no window is ever opened.
"""

import json
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from engine.search.answer import Answer
from engine.search.figures import worth_of
from engine.search.space import Choice, Interval

_COLOURS: Final = "viridis"
_BEST, _LUCK, _LINE = "#d62728", "#555555", "#1f77b4"
_MOST_TICKS: Final = 12
_MOST_LINES: Final = 2_000
_BINS: Final = 50
_BUNDLE: Final = 0.06
"""How far lines between the same values are apart, of the height of the axes."""


def plot_search(answer: Answer, path: Path) -> None:
    """Draw what fits the search. Raises OSError where the file cannot be written."""
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(12, 6), dpi=130, layout="constrained")
        FigureCanvasAgg(figure)
        if answer.question.folds:
            _walk_forward(figure, answer)
        else:
            left, right = figure.subplots(1, 2, width_ratios=(3, 2))
            _space(figure, left, answer)
            _distribution(right, answer)
        figure.suptitle(_wrapped(f"{_heading(answer)}\n{answer.statistics['verdict']}"), fontsize=10)
        figure.savefig(path)


def _heading(answer: Answer) -> str:
    asked = answer.question.specification
    return f"{asked.strategy_key} on {asked.symbol} {asked.timeframe}, {asked.start:%Y-%m-%d} to {asked.end:%Y-%m-%d}"


def _wrapped(text: str) -> str:
    from textwrap import fill

    return "\n".join(fill(line, 150) for line in text.splitlines())


# --- the space ------------------------------------------------------------------------------------------------------


def _space(figure: Figure, axes: Axes, answer: Answer) -> None:
    names = list(answer.question.space.choices)
    combinations = answer.combinations[0]
    if len(names) == 1:
        _along(axes, answer, names[0])
    elif len(names) == 2 and combinations.is_whole:
        _heat_map(figure, axes, answer, names)
    elif len(names) == 2:
        _scatter(figure, axes, answer, names)
    else:
        _parallel(figure, axes, answer, names)


def _heat_map(figure: Figure, axes: Axes, answer: Answer, names: list[str]) -> None:
    """One cell a combination; blank where the strategy takes none, or it has no value."""
    combinations = answer.combinations[0]
    down, across = names
    table = np.full(answer.question.space.shape, np.nan)
    at = (combinations.groups(down).astype(int), combinations.groups(across).astype(int))
    table[at] = _values(answer)
    image = axes.imshow(table, origin="lower", aspect="auto", cmap=_colour_map(answer), interpolation="nearest")
    figure.colorbar(image, ax=axes, label=answer.question.metric)
    for name, which in ((across, axes.xaxis), (down, axes.yaxis)):
        choice = answer.question.space.choices[name]
        ticks = _ticks(choice.count or 1)
        which.set_ticks(ticks, [_shown(choice.at(tick)) for tick in ticks])
        which.set_label_text(name)
    for number, marker, label in _marked(answer):
        axes.plot(at[1][number], at[0][number], marker, label=label, markersize=11, color=_BEST, fillstyle="none")
    _legend_below(axes)
    axes.set_title(f"{answer.question.metric} of every combination")


def _scatter(figure: Figure, axes: Axes, answer: Answer, names: list[str]) -> None:
    values = _values(answer)
    down, across = names
    x, y = (_numbers(answer, name) for name in (across, down))
    points = axes.scatter(x, y, c=values, cmap=_colour_map(answer), s=22)
    figure.colorbar(points, ax=axes, label=answer.question.metric)
    for name, which, scale in ((across, axes.xaxis, axes.set_xscale), (down, axes.yaxis, axes.set_yscale)):
        choice = answer.question.space.choices[name]
        which.set_label_text(name)
        if isinstance(choice, Interval) and choice.log:
            scale("log")
            for formatter in (which.set_major_formatter, which.set_minor_formatter):
                formatter("{x:g}")
        _label_places(which, choice)
    for number, marker, label in _marked(answer):
        axes.plot(x[number], y[number], marker, label=label, markersize=11, color=_BEST, fillstyle="none")
    _legend_below(axes)
    axes.set_title(f"{answer.question.metric} of what was drawn")


def _along(axes: Axes, answer: Answer, name: str) -> None:
    """One parameter: the metric over its values."""
    x, values = _numbers(answer, name), _values(answer)
    order = np.argsort(x, kind="stable")
    axes.plot(x[order], values[order], "-o", markersize=3, color=_LINE)
    for number, marker, label in _marked(answer):
        axes.plot(x[number], values[number], marker, label=label, markersize=11, color=_BEST, fillstyle="none")
    axes.set_xlabel(name)
    axes.set_ylabel(answer.question.metric)
    _label_places(axes.xaxis, answer.question.space.choices[name])
    _legend(axes)
    axes.set_title(f"{answer.question.metric} over {name}")


def _parallel(figure: Figure, axes: Axes, answer: Answer, names: list[str]) -> None:
    """A line a combination through one axis a parameter, the better ones on top; many are thinned evenly by rank."""
    values = _values(answer)
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.argsort(worth_of(values[known], answer.question.metric), kind="stable")]
    if order.size > _MOST_LINES:
        order = order[np.linspace(0, order.size - 1, _MOST_LINES).astype(int)]
    heights = np.stack([_scaled(answer, name) for name in names], axis=1)
    colours = mpl.colormaps[_colour_map(answer)]
    lowest, highest = (float(values[known].min()), float(values[known].max())) if known.size else (0.0, 1.0)
    norm = Normalize(lowest, highest)
    width = 0.6 if order.size > 300 else 1.0
    # Lines between the same values lie beside each other, the better ones higher.
    heights[order] += _BUNDLE * (np.linspace(-0.5, 0.5, order.size)[:, None] if order.size > 1 else 0.0)
    for number in order:
        axes.plot(heights[number], color=colours(norm(values[number])), linewidth=width, alpha=0.6)
    for number, _, label in _marked(answer):
        style = "-" if label == "best" else "--"
        axes.plot(heights[number], style, color=_BEST, linewidth=2.2, label=label)
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    for at, name in enumerate(names):
        axes.axvline(at, color="black", linewidth=0.8)
        for height, text in _ends(answer.question.space.choices[name]):
            box: dict[str, Any] = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.0}
            axes.annotate(
                text, (at, height), (6, 0), textcoords="offset points", va="center", fontsize=8, bbox=box, zorder=5
            )
    axes.set_ylim(-0.08, 1.08)
    axes.set_xlim(-0.1, len(names) - 1 + 0.25)
    figure.colorbar(ScalarMappable(norm, colours), ax=axes, label=answer.question.metric)
    _legend_below(axes)
    axes.set_title(f"{answer.question.metric} by parameter")


# --- distribution and walk-forward ----------------------------------------------------------------------------------


def _distribution(axes: Axes, answer: Answer) -> None:
    """How the metric is spread, where the best is, and for Sharpe ratios what the best of so many reaches by luck."""
    metric = answer.question.metric
    values = _values(answer)
    values = values[np.isfinite(values)]
    if values.size:
        axes.hist(values, bins=min(_BINS, max(5, values.size // 4)), color=_LINE, alpha=0.75)
    if answer.best_value is not None:
        axes.axvline(answer.best_value, color=_BEST, linewidth=2, label=f"the best: {answer.best_value:.4g}")
    luck = answer.statistics["expected_max_sharpe"]
    if metric == "sharpe_ratio" and luck is not None:
        label = f"what the best of {answer.statistics['trials_known']:,}\nreaches without skill: {luck:.4g}"
        axes.axvline(luck, color=_LUCK, linewidth=2, linestyle="--", label=label)
    axes.set_xlabel(metric)
    axes.set_ylabel("combinations")
    axes.margins(y=0.25)
    _legend(axes)
    axes.set_title(f"distribution of {metric}")


def _walk_forward(figure: Figure, answer: Answer) -> None:
    """The account over all test ranges, each fold shaded, and what each fold promised beside what it kept."""
    curve = answer.curve
    if curve is None:
        raise AssertionError("a walk-forward has a curve")
    upper, lower = figure.subplots(2, 1, height_ratios=(3, 2))
    times = curve.time_us.astype("datetime64[us]")
    upper.plot(times, curve.equity, color=_LINE, linewidth=1.1)
    upper.axhline(answer.question.specification.initial_balance, color=_LUCK, linewidth=0.8, linestyle=":")
    for fold in answer.question.folds:
        begin, end = (np.datetime64(each.replace(tzinfo=None)) for each in (fold.test_start, fold.test_end))
        if fold.number % 2 == 0:
            upper.axvspan(begin, end, color="black", alpha=0.05, linewidth=0)
    upper.set_ylabel(f"equity, {answer.question.specification.account_currency}")
    upper.set_title("account over the test ranges; each fold trades what was best before it")
    upper.margins(x=0)
    rows = answer.statistics["folds"]
    at = np.arange(len(rows))
    for shift, name, label, colour in (
        (-0.2, "train_value", "in training", _LUCK),
        (0.2, "test_value", "in test", _BEST),
    ):
        heights = [np.nan if row[name] is None else row[name] for row in rows]
        lower.bar(at + shift, heights, 0.4, color=colour, alpha=0.8, label=label)
    lower.axhline(0.0, color="black", linewidth=0.8)
    ticks = _ticks(len(rows))
    lower.set_xticks(ticks, [rows[tick]["test_start"][:10] for tick in ticks])
    lower.set_xlabel("fold, by the begin of its test range")
    lower.set_ylabel(answer.question.metric)
    _legend(lower)


# --- values ---------------------------------------------------------------------------------------------------------


def _values(answer: Answer) -> NDArray[np.float64]:
    gathering = answer.gathered[0]
    return gathering.values[: gathering.completed]


def _marked(answer: Answer) -> list[tuple[int, str, str]]:
    """Numbers of the best and of the most robust combination, with marker and label."""
    combinations, best = answer.combinations[0], answer.gathered[0].best
    marked = [] if best is None else [(best, "s", "best")]
    if answer.robust_params is not None and answer.robust_params != answer.best_params:
        number = next(n for n in range(len(combinations)) if combinations.at(n) == answer.robust_params)
        marked.append((number, "o", "best with its neighbours"))
    return marked


def _colour_map(answer: Answer) -> str:
    return _COLOURS if worth_of(np.ones(1), answer.question.metric)[0] > 0 else f"{_COLOURS}_r"


def _numbers(answer: Answer, name: str) -> NDArray[np.float64]:
    """What stands on an axis: numbers themselves, the place in the list of anything else."""
    combinations, choice = answer.combinations[0], answer.question.space.choices[name]
    groups = combinations.groups(name)
    if isinstance(choice, Interval) and not combinations.is_whole:
        return groups
    if not _is_numeric(choice):
        return groups
    return np.array([choice.at(int(place)) for place in groups], float)


def _is_numeric(choice: Choice) -> bool:
    if isinstance(choice, Interval):
        return True
    sampled = (choice.at(place) for place in range(min(choice.count, 1000)))
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in sampled)


def _label_places(axis: Any, choice: Choice) -> None:
    """Write values in place of places, where an axis has these."""
    if not _is_numeric(choice):
        ticks = _ticks(choice.count or 1)
        axis.set_ticks(ticks, [_shown(choice.at(tick)) for tick in ticks])


def _scaled(answer: Answer, name: str) -> NDArray[np.float64]:
    """Return the parameter of each combination as a height from 0 to 1."""
    combinations, choice = answer.combinations[0], answer.question.space.choices[name]
    groups = combinations.groups(name)
    if isinstance(choice, Interval) and not combinations.is_whole:
        low, high = choice.low, choice.high
        if choice.log:
            groups, low, high = np.log(groups), float(np.log(low)), float(np.log(high))
        return (groups - low) / (high - low)
    return groups / max(1, (choice.count or 1) - 1)


def _ends(choice: Choice) -> list[tuple[float, str]]:
    """Heights and texts to write beside an axis."""
    if isinstance(choice, Interval):
        return [(0.0, _shown(choice.low)), (1.0, _shown(choice.high))]
    count = choice.count
    places = range(count) if count <= 6 else (0, count - 1)
    return [(place / max(1, count - 1), _shown(choice.at(place))) for place in places]


def _ticks(count: int) -> list[int]:
    step = -(-count // _MOST_TICKS)
    return list(range(0, count, step))


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)


def _legend_below(axes: Axes) -> None:
    """Where the whole of the axes is data."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2, frameon=False)


def _legend(axes: Axes) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="best", framealpha=0.9)
