"""Figures as people read them."""

from dataclasses import fields

import pytest

from consumer.ports.advice import AdviceFigures
from consumer.reports.figure_groups import GROUPED_FIGURES, Unit, ambiguity, figure_groups, figure_text
from engine.results.metrics import Metrics
from engine.results.metrics_extended import ExtendedMetrics

OTHERS = {
    "ambiguous_bars",
    "net_profit_stop_first",
    "net_profit_target_first",
    *(each.name for each in fields(AdviceFigures)),
}


def test_every_figure_has_a_place_in_a_group() -> None:
    computed = {each.name for kind in (Metrics, ExtendedMetrics) for each in fields(kind)} - {"null_reasons"}
    assert computed | OTHERS == GROUPED_FIGURES


def test_a_figure_without_a_place_is_told_last_by_its_name() -> None:
    groups = figure_groups({"total_trades": 3, "tail_ratio": 1.23456, "ulcer_index": 7}, "USD")
    assert [group.title for group in groups] == ["trades", "further"]
    assert groups[1].rows == (("tail ratio", "1.2346"), ("ulcer index", "7"))


def test_a_null_figure_says_why() -> None:
    [group] = figure_groups(
        {"profit_factor": None, "win_rate": None, "null_reasons": {"profit_factor": "no loss"}}, "USD"
    )
    assert dict(group.rows) == {"win rate": "-", "profit factor": "- (no loss)"}


@pytest.mark.parametrize(
    ("value", "unit", "told"),
    [
        (-1972.3, Unit.MONEY, "-1,972.30 EUR"),
        (-0.004, Unit.MONEY, "0.00 EUR"),
        (0.37254, Unit.FRACTION, "37.25 %"),
        (26.13194, Unit.PERCENT, "26.13 %"),
        (1.5, Unit.PIPS, "1.50 pips"),
        (827.2916, Unit.DAYS, "827.3 days"),
        (-0.06943, Unit.RATIO, "-0.069"),
        (0.83964, Unit.PROBABILITY, "0.8396"),
        (12345, Unit.COUNT, "12,345"),
    ],
)
def test_each_unit_is_written_as_people_read_it(value: float, unit: Unit, told: str) -> None:
    assert figure_text(value, unit, "EUR") == told


def test_the_interval_is_told_where_bars_leave_it_open() -> None:
    metrics = {"ambiguous_bars": 182, "net_profit_stop_first": -1972.3, "net_profit_target_first": -152.3}
    assert ambiguity(metrics, "USD") == (
        "interval: net profit from -1,972.30 USD (stops first) to -152.30 USD (targets first), 182 ambiguous bars"
    )
    assert ambiguity({**metrics, "ambiguous_bars": 0}, "USD") is None
    assert ambiguity({}, "USD") is None
