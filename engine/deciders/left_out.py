"""Decisions that would have been taken, had all been known that they need: counted, so that their absence is seen."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from engine.deciders.rules import skipped
from engine.prepared import PreparedRun


def left_out_warnings(masks: Mapping[str, ArrayLike], run: PreparedRun) -> tuple[str, ...]:
    """Say how many decisions of the run were left out, skipped hours aside, and why.

    masks: by the reason, in words that follow "left out:", at which bars; one entry a bar, warm-up included.
    """
    if not masks:
        return ()
    counted = ~skipped(run.close_time_us, run.specification)
    counts = {why: int(np.count_nonzero(np.asarray(mask)[run.first :] & counted)) for why, mask in masks.items()}
    return tuple(
        f"{count} decision{'s' if count > 1 else ''} left out: {why}" for why, count in counts.items() if count
    )


def no_decision(run: PreparedRun) -> str:
    """Say that there is none at all, which a figure of 0 trades does not tell from decisions that opened nothing."""
    return f"no decision in {run.bar_count:,} bar{'s' if run.bar_count > 1 else ''}"
