"""What the Sharpe ratio of the best of many tries is worth. All ratios here are of a return, not of a year.

Sources: Bailey & Lopez de Prado, "The Sharpe Ratio Efficient Frontier", Journal of Risk 15(2), 2012 (probabilistic);
the same, "The Deflated Sharpe Ratio: Correcting for Selection Bias, Backtest Overfitting and Non-Normality", Journal of
Portfolio Management 40(5), 2014 (deflated, expected maximum, effective number of trials in its appendix 3).
"""

import math
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.numeric.arrays import Floats

EULER_GAMMA: Final = 0.5772156649015329
_NORMAL: Final = NormalDist()
_ROUNDING: Final = 1e-15


def sharpe_ratios(returns: Floats) -> Floats:
    """Return mean / std(ddof=1) of each row, NaN without dispersion.

    returns: shape (n, T), fractions. Rows differ by more than their own rounding, or they do not disperse: the same 1 %
    twice is none.
    """
    count = returns.shape[1]
    if count < 2:
        return np.full(returns.shape[0], np.nan)
    ratios = np.full(returns.shape[0], np.nan)
    differ = disperse(returns)
    if differ.any():
        some = returns[differ]
        ratios[differ] = some.mean(axis=1) / some.std(axis=1, ddof=1)
    return ratios


def disperse(returns: Floats) -> NDArray[np.bool_]:
    """Return which rows disperse. returns: shape (n, T)."""
    if returns.shape[1] == 0:
        return np.zeros(returns.shape[0], bool)
    lowest, highest = returns.min(axis=1), returns.max(axis=1)
    dispersing: NDArray[np.bool_] = highest - lowest > _ROUNDING * (1.0 + np.maximum(highest, -lowest))
    return dispersing


def effective_trials(returns: Floats, trials: int) -> float | None:
    """Return rho + (1 - rho) * trials: how many independent tries so many tries, which resemble each other, are worth.

    rho: the mean Pearson correlation of all pairs of rows that disperse, cut to [0, 1]. None below two such rows.
    returns: shape (n, T). Bailey & Lopez de Prado 2014, appendix 3.
    """
    columns = returns[disperse(returns)]
    count = columns.shape[0]
    if count < 2:
        return None
    centred = columns - columns.mean(axis=1, keepdims=True)
    units = centred / np.sqrt((centred**2).sum(axis=1, keepdims=True))
    # The square of the sum of all has each pair twice, and each row with itself once, which is 1.
    together = units.sum(axis=0)
    squares = float((together**2).sum())
    rho: float = min(max((squares - count) / (count * (count - 1)), 0.0), 1.0)
    return rho + (1.0 - rho) * trials


def expected_max_sharpe(variance: float, trials: int) -> float | None:
    """Return sqrt(V) * ((1 - g) * Z(1 - 1/N) + g * Z(1 - 1/(N * e))): the largest ratio that N tries without any skill
    reach on average. g: Euler's constant, Z: the inverse normal distribution.

    variance: V, of the ratios tried, ddof=1. trials: N. None for fewer than two. Bailey & Lopez de Prado 2014, eq. 2.
    """
    if trials < 2:
        return None
    first, second = _NORMAL.inv_cdf(1.0 - 1.0 / trials), _NORMAL.inv_cdf(1.0 - 1.0 / (trials * math.e))
    return math.sqrt(variance) * ((1.0 - EULER_GAMMA) * first + EULER_GAMMA * second)


def probabilistic_sharpe(returns: Floats, benchmark: float = 0.0) -> float | None:
    """Return Phi((S - benchmark) * sqrt(T - 1) / sqrt(1 - k3 * S + (k4 - 1) / 4 * S^2)): how sure it is that the ratio
    behind these returns is above the benchmark.

    S = mean / std(ddof=1); k3 = m3 / m2^1.5, k4 = m4 / m2^2 (3 for a normal distribution), m_j = mean((r - mean)^j),
    without correction of bias. returns: shape (T,). None for T < 3, without dispersion, and where the variance of S
    comes out as 0 or less. With a benchmark of `expected_max_sharpe` it is the deflated one. Bailey & Lopez de Prado
    2012, eq. 11.
    """
    count = returns.size
    if count < 3 or not disperse(returns[None, :])[0]:
        return None
    centred = returns - returns.mean()
    ratio = float(returns.mean() / returns.std(ddof=1))
    m2, m3, m4 = (float((centred**power).mean()) for power in (2, 3, 4))
    return sharpe_confidence(ratio, benchmark, count, m3 / m2**1.5, m4 / m2**2)


def sharpe_confidence(ratio: float, benchmark: float, count: int, skewness: float, kurtosis: float) -> float | None:
    """Return `probabilistic_sharpe` from S, T, k3 and k4."""
    variance = 1.0 - skewness * ratio + (kurtosis - 1.0) / 4.0 * ratio**2
    if not variance > 0.0:
        return None
    return _NORMAL.cdf((ratio - benchmark) * math.sqrt(count - 1) / math.sqrt(variance))
