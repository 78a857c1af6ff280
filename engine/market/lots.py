"""Volumes in lots, which are whole lot steps."""

import math

LARGEST_STEPS = 2**53
"""A float counts no further one by one."""


def lot_steps(volume: float, lot_step: float) -> int:
    """Return a volume as whole lot steps; only for volumes without a volume_problem."""
    return round(volume / lot_step)


def volume_problem(volume: float, lot_step: float) -> str | None:
    """Say what is wrong with a volume in lots, or None: it must be above 0 and in whole steps, float noise aside."""
    if not math.isfinite(volume) or volume <= 0.0:
        return f"volume {volume} is not above 0"
    steps = volume / lot_step
    if steps > LARGEST_STEPS:
        return f"volume {volume} is too large"
    if round(steps) < 1 or abs(steps - round(steps)) > 1e-9 * max(1.0, steps * 1e-3):
        return f"volume {volume} is not in whole lot steps of {lot_step}"
    return None
