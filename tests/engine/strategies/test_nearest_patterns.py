"""Nearest patterns: decided by what followed stretches of the same shape, whatever their level and size."""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.market.instruments import instrument_for, packaged_instruments
from engine.strategies.nearest_patterns import NearestPatterns
from engine.strategy import Decision

SHAPE = np.array([1.0, 1.2, 1.1, 1.4])
"""Four closes; in every history below it comes again and again, and the newest four are of its shape."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the strategy looks at of a view."""

    close: NDArray[np.float64]
    position: object | None = None


@pytest.mark.parametrize(("followed_by", "action"), [(1.6, "BUY"), (0.9, "SELL")])
def test_what_followed_the_same_shape_before_decides(followed_by: float, action: str) -> None:
    assert decide(history(followed_by)) == Decision(action)  # type: ignore[arg-type]  # one of the literals


def test_the_level_and_the_size_of_a_pattern_do_not_count() -> None:
    assert decide(history(1.6) * 250.0) == Decision("BUY")
    assert decide(np.concatenate([history(1.6)[:-4], 5.0 + 0.01 * SHAPE])) == Decision("BUY")


def test_votes_that_disagree_close_what_is_open_and_open_nothing() -> None:
    mixed = np.concatenate([history(1.6)[:-4], history(0.9)])
    assert decide(mixed, neighbours=20) is None
    assert decide(mixed, neighbours=20, position=object()) == Decision("CLOSE")


def test_without_enough_history_nothing_is_decided() -> None:
    assert decide(history(1.6)[-8:]) is None


def test_only_as_much_is_remembered_as_was_asked_for() -> None:
    closes = np.concatenate([np.tile(history(0.9), 6), np.tile(history(1.6), 2)])
    assert decide(closes, memory=5_000) == Decision("SELL")
    assert decide(closes, memory=100) == Decision("BUY")


def history(followed_by: float) -> NDArray[np.float64]:
    """Ten times the shape and one close after it, then the shape alone."""
    return np.concatenate([np.tile([*SHAPE, followed_by], 10), SHAPE])


def decide(
    closes: NDArray[np.float64], neighbours: int = 5, memory: int = 5_000, position: object | None = None
) -> Decision | None:
    params = NearestPatterns.Params(length=4, neighbours=neighbours, memory=memory, horizon=1, share=0.6)
    strategy = NearestPatterns(params, instrument_for("EURUSD", packaged_instruments()))
    return strategy.decide(Seen(closes, position))  # type: ignore[arg-type]  # the part of a view that it reads
