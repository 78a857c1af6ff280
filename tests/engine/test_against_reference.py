"""The compiled engine and the slow reference agree on random runs, bit for bit."""

from dataclasses import asdict, fields
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings

from engine.errors import EngineError
from tests.engine import compiled_engine, reference
from tests.engine.compiled_engine import KNOWS_ORDERS, STYLES, Style
from tests.engine.random_runs import RandomRun, random_runs

METRIC_TOLERANCE = 1e-9
RATIOS = ("sharpe_ratio", "sortino_ratio")
"""Returns carry the rounding of equity, which these magnify where returns hardly differ or cancel each other."""


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(run=random_runs(calendar=True, orders=KNOWS_ORDERS))
def test_engine_agrees_with_the_reference(run: RandomRun) -> None:
    agree(run)


@pytest.mark.nightly
@pytest.mark.timeout(0)
@settings(max_examples=30_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(run=random_runs(longest=60, calendar=True, orders=KNOWS_ORDERS))
def test_engine_agrees_with_the_reference_for_hours(run: RandomRun) -> None:
    agree(run)


def agree(run: RandomRun) -> None:
    """Assert that both refuse, or that both give the same rows, equity and figures, in every style."""
    arguments: dict[str, Any] = {each.name: getattr(run, each.name) for each in fields(run)}
    try:
        expected = reference.simulate(**arguments)
    except reference.RunRefusedError as refusal:
        note(f"the reference refuses: {refusal}")
        for style in STYLES:
            with pytest.raises(EngineError):
                compiled_engine.simulate(**arguments, style=style)
        return
    for style in STYLES:
        agree_on(expected, compiled_engine.simulate(**arguments, style=style), style)


def agree_on(expected: reference.Simulation, got: reference.Simulation, style: Style) -> None:
    for number, (wanted, row) in enumerate(zip(expected.trades, got.trades, strict=False)):
        assert (style, number, asdict(row)) == (style, number, asdict(wanted))
    assert len(got.trades) == len(expected.trades)
    assert list(got.equity) == list(expected.equity)
    assert got.ambiguous_bars == expected.ambiguous_bars
    assert got.net_profit_target_first == pytest.approx(expected.net_profit_target_first, abs=1e-8)
    assert got.total_slippage_cost == pytest.approx(expected.total_slippage_cost, abs=1e-8)
    assert dict(got.warnings) == dict(expected.warnings)
    for name, value in expected.metrics.items():
        assert got.metrics[name] == _close_to(value, expected.ratio_noise if name in RATIOS else 0.0), name
    assert set(got.null_reasons) == set(expected.null_reasons)


def _close_to(value: Any, noise: float) -> Any:
    return None if value is None else pytest.approx(value, rel=METRIC_TOLERANCE, abs=max(1e-12, noise))
