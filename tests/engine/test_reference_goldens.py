"""The reference simulator gives every hand-computed figure."""

import pytest

from tests.engine.goldens import Case, Refusal, differences, load_cases
from tests.engine.reference import DecisionRefusedError, NoConversionError, RunRefusedError, Simulation, simulate

REFUSALS: dict[str, type[RunRefusedError]] = {"decision": DecisionRefusedError, "conversion": NoConversionError}


@pytest.mark.parametrize("case", load_cases(), ids=lambda case: case.name)
def test_reference_gives_the_hand_computed_figures(case: Case) -> None:
    if isinstance(case.expected, Refusal):
        with pytest.raises(REFUSALS[case.expected.kind]) as refusal:
            _simulate(case)
        assert refusal.value.time_us == case.expected.time_us
    else:
        assert differences(case.expected, _simulate(case)) == []


def _simulate(case: Case) -> Simulation:
    return simulate(
        case.bars,
        case.decisions,
        case.config,
        first_bar=case.first_bar,
        conversion_bars=case.conversion_bars,
        finer_bars=case.finer_bars,
    )
