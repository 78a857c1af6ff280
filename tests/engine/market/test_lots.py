"""Volumes are whole lot steps, float noise aside."""

import pytest

from engine.market.lots import LARGEST_STEPS, lot_steps, volume_problem


@pytest.mark.parametrize(("volume", "step", "good"), [
    (0.58, 0.01, True), (0.29, 0.01, True), (0.015, 0.01, False), (0.005, 0.01, False), (0.09, 0.03, True),
    (0.1, 0.03, False), (1e300, 0.01, False), (-0.01, 0.01, False), (123456.78, 0.01, True),
])  # fmt: skip
def test_volumes_are_whole_steps_float_noise_aside(volume: float, step: float, good: bool) -> None:
    assert (volume_problem(volume, step) is None) == good


@pytest.mark.parametrize(("volume", "says"), [
    (1.0, None), (1.0 + 9e-12, None), (1.0 + 1.1e-11, "whole lot steps"), (1000.0 * (1.0 + 9e-13), None),
    (1000.0 * (1.0 + 3e-12), "whole lot steps"), (1e-12, "whole lot steps"), (0.0, "not above 0"),
    (float("inf"), "not above 0"), (float("nan"), "not above 0"), (LARGEST_STEPS * 0.02, "too large"),
])  # fmt: skip
def test_a_volume_may_miss_a_whole_step_by_float_noise_only(volume: float, says: str | None) -> None:
    problem = volume_problem(volume, 0.01)
    assert problem is None if says is None else says in (problem or "")


def test_a_volume_of_the_most_steps_that_a_float_can_count_is_taken() -> None:
    assert volume_problem(float(LARGEST_STEPS), 1.0) is None
    assert "too large" in (volume_problem(float(LARGEST_STEPS + 2), 1.0) or "")
    assert lot_steps(0.58, 0.01) == 58
