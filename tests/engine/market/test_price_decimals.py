"""Prices that are finer than an instrument's are told of, and no others."""

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.market.instruments import packaged_instruments, share
from engine.market.price_decimals import finer_than_digits
from tests.engine.bar_builders import closes_bars, utc

PAIRS = np.round(np.linspace(1.1, 1.2, 2_000), 5)


@pytest.mark.parametrize(
    ("prices", "symbol", "is_doubted"),
    [
        (PAIRS, "USDJPY", True),
        (PAIRS, "EURUSD", False),
        (PAIRS.astype(np.float32).astype(np.float64), "EURUSD", False),
        (PAIRS + np.arange(2_000) // 2 % 2 * 5e-6, "EURUSD", False),  # means of bid and ask
        (np.round(np.linspace(2e-5, 3e-5, 2_000), 8), "SHIBUSD", False),
        (np.round(np.linspace(60_000, 70_000, 2_000), 2), "BTCUSDT", False),
    ],
)
def test_prices_finer_than_the_digits_are_doubted(
    prices: NDArray[np.float64], symbol: str, *, is_doubted: bool
) -> None:
    bars = closes_bars("H1", utc("2024-01-08 00:00"), prices.tolist())
    assert (finer_than_digits(bars, packaged_instruments()[symbol]) is not None) == is_doubted


def test_adjusted_prices_of_a_share_are_not_doubted() -> None:
    bars = closes_bars("D1", utc("2024-01-08 00:00"), (PAIRS * 100 / 3).tolist())
    assert finer_than_digits(bars, share("NOVELTY", "USD")) is None
