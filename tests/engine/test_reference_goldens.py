"""The reference simulator gives every hand-computed figure, and refuses what has none."""

import pytest

from tests.engine.goldens import Case, Refusal, differences, load_cases
from tests.engine.reference import (
    Bar,
    Config,
    Decision,
    DecisionRefusedError,
    Instrument,
    NoConversionError,
    RunRefusedError,
    Simulation,
    simulate,
)

REFUSALS: dict[str, type[RunRefusedError]] = {"decision": DecisionRefusedError, "conversion": NoConversionError}
BARS = (Bar(0, 1.1, 1.2, 1.0, 1.1), Bar(3_600_000_000, 1.1, 1.2, 1.0, 1.1))


@pytest.mark.parametrize("case", load_cases("", "calendar"), ids=lambda case: case.name)
def test_reference_gives_the_hand_computed_figures(case: Case) -> None:
    if isinstance(case.expected, Refusal):
        with pytest.raises(REFUSALS[case.expected.kind]) as refusal:
            _simulate(case)
        assert refusal.value.time_us == case.expected.time_us
    else:
        assert differences(case.expected, _simulate(case)) == []


@pytest.mark.parametrize("volume", [0.0, -0.1, 0.015])
def test_a_configured_volume_off_the_step_is_refused(volume: float) -> None:
    with pytest.raises(RunRefusedError, match="lot step"):
        simulate(BARS, (None, None), Config(volume=volume))


def test_more_digits_than_prices_are_rounded_to_are_refused() -> None:
    with pytest.raises(RunRefusedError, match="digits"):
        simulate(BARS, (None, None), Config(instrument=Instrument(digits=13)))


def test_spread_from_bars_that_have_none_is_refused() -> None:
    with pytest.raises(RunRefusedError, match="no recorded spread"):
        simulate(BARS, (None, None), Config(spread_source="bars"))


@pytest.mark.parametrize("level", [float("nan"), float("-inf")])
def test_a_level_that_is_no_number_is_refused_with_its_time(level: float) -> None:
    with pytest.raises(DecisionRefusedError) as refusal:
        simulate(BARS, (None, Decision("BUY", stop_loss=level)), Config())
    assert refusal.value.time_us == BARS[1].time_us


def _simulate(case: Case) -> Simulation:
    return simulate(
        case.bars,
        case.decisions,
        case.config,
        first_bar=case.first_bar,
        conversion_bars=case.conversion_bars,
        finer_bars=case.finer_bars,
    )
