"""The compiled engine gives every hand-computed figure, however the decisions reach it."""

import pytest

from engine.errors import BadSignals, EngineError, NoConversion, NoRateYet, StrategyError
from engine.numeric.times import iso_time
from tests.engine.compiled_engine import KNOWS_ORDERS, STYLES, Style, simulate
from tests.engine.goldens import Case, Refusal, differences, load_cases
from tests.engine.reference import Simulation

REFUSALS: dict[str, tuple[type[EngineError], ...]] = {
    "decision": (StrategyError, BadSignals),
    "conversion": (NoConversion, NoRateYet),
}

CASES = [
    *load_cases(),
    *load_cases("calendar"),
    *(load_cases("orders") if KNOWS_ORDERS else []),
]


NOT_LOOKED_AT = ("trail: CLOSE carries none", "cancel: it carries nothing")
"""Beside CLOSE and CANCEL a column strategy may fill its columns of levels and trails, as it does beside nothing."""
RUNS = [(case, style) for case in CASES for style in STYLES if style != "columns" or case.name not in NOT_LOOKED_AT]


@pytest.mark.parametrize(("case", "style"), RUNS, ids=lambda each: each if isinstance(each, str) else each.name)
def test_engine_gives_the_hand_computed_figures(case: Case, style: Style) -> None:
    if isinstance(case.expected, Refusal):
        with pytest.raises(REFUSALS[case.expected.kind]) as refusal:
            _simulate(case, style)
        if case.expected.time_us is not None:
            assert iso_time(case.expected.time_us) in str(refusal.value)
    else:
        assert differences(case.expected, _simulate(case, style), money_tolerance=0.0) == []


def _simulate(case: Case, style: Style) -> Simulation:
    return simulate(
        case.bars,
        case.decisions,
        case.config,
        first_bar=case.first_bar,
        conversion_bars=case.conversion_bars,
        finer_bars=case.finer_bars,
        style=style,
    )
