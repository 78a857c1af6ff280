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


@pytest.mark.parametrize("case", load_cases("", "calendar", "orders"), ids=lambda case: case.name)
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


@pytest.mark.parametrize(
    "config",
    [
        Config(slippage_pips=-1.0),
        Config(commission_pct=-0.01),
        Config(leverage=0.0),
        Config(leverage=-30.0),
        Config(leverage=30.0, stop_out_pct=-1.0),
        Config(stop_out_pct=50.0),
    ],
)
def test_costs_below_zero_and_limits_without_leverage_are_refused(config: Config) -> None:
    with pytest.raises(RunRefusedError) as refusal:
        simulate(BARS, (None, None), config)
    assert refusal.value.time_us is None


@pytest.mark.parametrize(
    "decision",
    [
        Decision("BUY", order="limit"),
        Decision("BUY", order="limit", price=float("nan")),
        Decision("SELL", order="stop", price=-1.0),
        Decision("SELL", max_bars=True),
        Decision("BUY", trailing_stop=-0.001),
        Decision("BUY", trailing_stop=float("inf")),
        Decision("MOVE", stop_loss=1.0, max_bars=2),
        Decision("CLOSE", order="limit"),
        Decision("CANCEL", expires_bars=1),
    ],
)
def test_what_no_order_can_carry_is_refused_with_its_time(decision: Decision) -> None:
    with pytest.raises(DecisionRefusedError) as refusal:
        simulate(BARS, (None, decision), Config())
    assert refusal.value.time_us == BARS[1].time_us


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
