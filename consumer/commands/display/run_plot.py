"""The picture of a run, `--png`: warnings, equity, drawdown, months and key figures on one sheet. matplotlib draws into
the file alone; no window and no browser is ever opened.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from textwrap import fill, wrap
from typing import Any, Final

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from consumer.reports.curves import months_of
from consumer.reports.figure_groups import FigureGroup, ambiguity, figure_groups
from consumer.reports.heading import heading
from engine.results.result import BacktestResult

_LINE, _FALL, _WARNING, _PALE = "#1f77b4", "#d62728", "#b35900", "#777777"
_WIDTH, _BOLD_WIDTH, _SHEET = 150, 118, 12.0
"""Characters of a line across the sheet; inches."""
_MOST_POINTS: Final = 20_000
"""Of a line: more are thinned to the lowest and highest of each stretch, which a sheet cannot show apart."""
_MOST_WARNINGS: Final = 8
_MOST_YEARS: Final = 15
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_COLUMNS: Final = (("result", "trades"), ("risk", "costs"), ("doubt",))
"""Groups of figures, from left to right."""
_BESIDE, _VALUE = 0.155, 30
"""Where a value stands beside its label, as a share of the sheet's width; characters of its line."""


@dataclass(frozen=True, slots=True, eq=False)
class RunPicture:
    """What is drawn. heading: lines. metrics: as `backtest run --json` has them. equity: columns time and equity, a row
    a bar. trades: columns exit_time and profit, a row an exit.
    """

    heading: Sequence[str]
    warnings: Sequence[str]
    metrics: Mapping[str, Any]
    currency: str
    deposit: float
    equity: pl.DataFrame
    trades: pl.DataFrame


def picture_of(result: BacktestResult, full_params: Mapping[str, Any]) -> RunPicture:
    """full_params: of whoever decided, with the defaults."""
    asked = result.specification
    return RunPicture(
        heading(asked, full_params, result.instrument),
        result.warnings,
        result.to_json_dict(),
        asked.account_currency,
        asked.initial_balance,
        result.equity,
        result.trades.select("exit_time", "profit"),
    )


def plot_run(run: RunPicture) -> bytes:
    """Draw it, as PNG."""
    months = _last_years(months_of(run.trades, run.deposit))
    years = max(1, months["year"].n_unique())
    told, figures_told = _told(run), list(_placed(figure_groups(run.metrics, run.currency)))
    rows = 1 + max((each.row for each in figures_told), default=0.0)
    heights = [0.19 * len(told) + 0.1, 3.0, 1.5, 0.55 + 0.24 * years, 0.19 * rows]
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(_SHEET, sum(heights) + 0.6), dpi=130, layout="constrained")
        FigureCanvasAgg(figure)
        top, equity, fall, table, figures = figure.subplots(5, 1, height_ratios=heights)
        _write_heading(top, told)
        _draw_equity(equity, run)
        _draw_fall(fall, run)
        fall.sharex(equity)
        _draw_months(table, months, run.currency)
        _write_figures(figures, figures_told, rows)
        drawn = BytesIO()
        figure.savefig(drawn, format="png")
    return drawn.getvalue()


def _told(run: RunPicture) -> list[tuple[str, str, str]]:
    """Lines above all else, with weight and colour: a careful person reads the warnings before any figure."""
    decided, *filled = run.heading or ("",)
    lines = [(line, "bold", "black") for line in _wrapped([decided], _BOLD_WIDTH)]
    lines += [(line, "normal", "black") for line in _wrapped(filled)]
    doubts = [f"warning: {warning}" for warning in run.warnings[:_MOST_WARNINGS]]
    if len(run.warnings) > _MOST_WARNINGS:
        doubts.append(f"and {len(run.warnings) - _MOST_WARNINGS} more warnings")
    doubts += filter(None, [ambiguity(run.metrics, run.currency)])
    return [*lines, *((line, "normal", _WARNING) for line in _wrapped(doubts))]


def _wrapped(lines: Sequence[str], width: int = _WIDTH) -> list[str]:
    return [part for line in lines for part in wrap(_plain(line), width) or [""]]


def _write_heading(axes: Axes, told: Sequence[tuple[str, str, str]]) -> None:
    axes.set_axis_off()
    for row, (line, weight, colour) in enumerate(told):
        height = 1 - (row + 0.5) / len(told)
        axes.text(0, height, line, weight=weight, color=colour, va="center", transform=axes.transAxes)


def _draw_equity(axes: Axes, run: RunPicture) -> None:
    _, low, high, times = _stretches(run.equity["time"].to_numpy(), run.equity["equity"].to_numpy())
    if low is high:
        axes.plot(times, low, color=_LINE, linewidth=1)
    else:
        axes.fill_between(times, low, high, color=_LINE, linewidth=0.8)
    axes.axhline(run.deposit, color=_PALE, linewidth=0.8, linestyle="--")
    beside = axes.get_yaxis_transform()
    axes.text(1.0, run.deposit, "deposit", color=_PALE, ha="right", va="bottom", transform=beside)
    axes.set_ylabel(f"equity{_unit(run.currency)}")
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.margins(x=0.01)
    axes.tick_params(labelbottom=False)


def _draw_fall(axes: Axes, run: RunPicture) -> None:
    """Per cent of the highest equity so far, the deposit being the first; downwards."""
    equity = run.equity["equity"].to_numpy()
    peak = np.maximum(np.maximum.accumulate(equity), run.deposit) if equity.size else equity
    share = np.divide(equity - peak, peak, out=np.zeros_like(peak), where=peak > 0.0) * 100.0
    _, low, _, times = _stretches(run.equity["time"].to_numpy(), share)
    axes.fill_between(times, low, 0.0, color=_FALL, alpha=0.35, linewidth=0)
    axes.plot(times, low, color=_FALL, linewidth=0.6)
    axes.set_ylabel("drawdown, %")
    if share.size and share.min() < 0.0:
        at = int(np.argmin(share))
        side, offset = ("left", 4) if at < share.size / 2 else ("right", -4)
        axes.annotate(
            f"{share[at]:.2f} %",
            (run.equity["time"].to_numpy()[at], share[at]),
            xytext=(offset, 3),
            textcoords="offset points",
            ha=side,
            color=_FALL,
        )
    locator = AutoDateLocator()  # type: ignore[no-untyped-call]  # matplotlib's dates have no types
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    axes.margins(x=0.01)


def _stretches(times: Any, values: Any) -> tuple[int, Any, Any, Any]:
    """How many rows a stretch has; its lowest and highest value (the same array where each row stands), its times."""
    size = -(-values.size // _MOST_POINTS) if values.size else 1
    if size == 1:
        return 1, values, values, times
    starts = np.arange(0, values.size, size)
    return size, np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts), times[starts]


def _draw_months(axes: Axes, months: pl.DataFrame, currency: str) -> None:
    """A row a year: what the exits of each month came to, in per cent of the balance that it began with."""
    axes.set_axis_off()
    axes.set_title(
        "profit of what was closed in each month (UTC), in % of the balance before it", loc="left", fontsize=9
    )
    if not months.height:
        axes.text(0, 0.5, "no trade was closed", va="center", transform=axes.transAxes)
        return
    years = sorted(months["year"].unique().to_list())
    largest = max((abs(share) for share in months["return_pct"].drop_nulls()), default=0.0) or 1.0
    axes.set_xlim(-1.2, 13.6)
    axes.set_ylim(len(years) - 0.5, -1.1)
    for at, name in enumerate(_MONTHS):
        axes.text(at, -0.8, name, ha="center", va="center", color=_PALE)
    axes.text(12.7, -0.8, f"net{_unit(currency)}", ha="center", va="center", color=_PALE)
    for row, year in enumerate(years):
        axes.text(-0.6, row, str(year), ha="right", va="center")
        of_year = months.filter(pl.col("year") == year)
        for month, share in of_year.select("month", "return_pct").iter_rows():
            colour = "none" if share is None else (_LINE if share >= 0 else _FALL)
            strength = 0.0 if share is None else 0.08 + 0.5 * abs(share) / largest
            axes.fill_between([month - 1.48, month - 0.52], row - 0.46, row + 0.46, color=colour, alpha=strength, lw=0)
            axes.text(month - 1, row, "-" if share is None else f"{share:+.2f}", ha="center", va="center")
        axes.text(12.7, row, f"{of_year['net'].sum():+,.0f}", ha="center", va="center", weight="bold")


@dataclass(frozen=True, slots=True)
class _Placed:
    """A text among the figures: left as a share of the sheet's width, row from the top, both of its beginning."""

    left: float
    row: float
    text: str
    looks: Mapping[str, Any]


def _placed(groups: Sequence[FigureGroup]) -> Iterator[_Placed]:
    """Each figure with its unit, or why it has none."""
    by_title = {group.title: group for group in groups}
    for column, titles in enumerate(_COLUMNS):
        left, row = column / len(_COLUMNS), 0.0
        for group in (by_title[title] for title in titles if title in by_title):
            yield _Placed(left, row, group.title, {"weight": "bold"})
            row += 1
            for label, value in group.rows:
                text = fill(_plain(value), _VALUE)
                yield _Placed(left, row, label, {})
                is_none = value == "-" or value.startswith("- (")
                yield _Placed(left + _BESIDE, row, text, {"color": _PALE if is_none else "black"})
                row += 1 + text.count("\n")
            row += 0.7


def _write_figures(axes: Axes, placed: Sequence[_Placed], rows: float) -> None:
    axes.set_axis_off()
    for each in placed:
        at = (each.left, 1 - each.row / rows)
        axes.text(*at, each.text, va="top", fontsize=8.5, transform=axes.transAxes, **each.looks)


def _last_years(months: pl.DataFrame) -> pl.DataFrame:
    years = sorted(months["year"].unique().to_list())[-_MOST_YEARS:]
    return months.filter(pl.col("year").is_in(years))


def _unit(currency: str) -> str:
    return f", {currency}" if currency else ""


def _plain(text: str) -> str:
    """Without what matplotlib would set as a formula."""
    return text.replace("$", r"\$")
