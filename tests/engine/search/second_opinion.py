"""The statistics of a search once more, in plain Python with lists and loops, word by word as they are defined: what
the engine's numpy is held to.
"""

import math
from collections.abc import Sequence
from itertools import combinations
from statistics import NormalDist, fmean, stdev
from typing import NamedTuple

import numpy as np

Series = Sequence[float]
NORMAL = NormalDist()


def ratio(series: Series) -> float | None:
    """mean / std(ddof=1); none without dispersion."""
    if len(series) < 2 or max(series) - min(series) <= 1e-15 * (1 + max(abs(each) for each in series)):
        return None
    return fmean(series) / stdev(series)


def expected_max_sharpe(ratios: Series, trials: int) -> float:
    g = 0.5772156649015329
    first, second = NORMAL.inv_cdf(1 - 1 / trials), NORMAL.inv_cdf(1 - 1 / (trials * math.e))
    return stdev(ratios) * ((1 - g) * first + g * second)


def probabilistic_sharpe(series: Series, benchmark: float = 0.0) -> float:
    mean, count = fmean(series), len(series)
    moments = {j: sum((each - mean) ** j for each in series) / count for j in (2, 3, 4)}
    k3, k4 = moments[3] / moments[2] ** 1.5, moments[4] / moments[2] ** 2
    s = mean / stdev(series)
    return NORMAL.cdf((s - benchmark) * math.sqrt(count - 1) / math.sqrt(1 - k3 * s + (k4 - 1) / 4 * s * s))


def effective_trials(sample: Sequence[Series], trials: int) -> float:
    dispersing = [series for series in sample if ratio(series) is not None]
    pairs = [_correlation(a, b) for a, b in combinations(dispersing, 2)]
    rho = min(max(fmean(pairs), 0.0), 1.0)
    return rho + (1 - rho) * trials


class Overfitting(NamedTuple):
    probability: float
    loss_share: float
    slope: float


def overfitting(sample: Sequence[Series]) -> Overfitting:
    """All 12 870 choices, one after the other."""
    distinct = [list(series) for at, series in enumerate(sample) if list(series) not in [list(s) for s in sample[:at]]]
    days = len(distinct[0]) - len(distinct[0]) % 16
    size = days // 16
    blocks = [[series[len(series) - days :][b * size : (b + 1) * size] for b in range(16)] for series in distinct]
    inside, outside, bad = [], [], 0
    for chosen in combinations(range(16), 8):
        rest = [b for b in range(16) if b not in chosen]
        performance = [_performance(series, chosen) for series in blocks]
        of_rest = [_performance(series, rest) for series in blocks]
        best = performance.index(max(performance))
        below = sum(each < of_rest[best] for each in of_rest)
        equal = sum(each == of_rest[best] for each in of_rest)
        w = (below + (equal + 1) / 2) / (len(blocks) + 1)
        bad += math.log(w / (1 - w)) <= 0
        inside.append(performance[best])
        outside.append(of_rest[best])
    mean_in, mean_out = fmean(inside), fmean(outside)
    covariance = sum((a - mean_in) * (b - mean_out) for a, b in zip(inside, outside, strict=True))
    slope = covariance / sum((a - mean_in) ** 2 for a in inside)
    return Overfitting(bad / 12870, sum(each < 0 for each in outside) / 12870, slope)


def superior_p(sample: Sequence[Series], seed: int) -> float:
    """1 000 draws, day by day."""
    columns = [list(series) for series in sample if ratio(series) is not None]
    days = len(columns[0])
    ratios = [fmean(series) / stdev(series) for series in columns]
    floor = -math.sqrt(2 * math.log(math.log(days)) / days)
    centres = [fmean(series) if s >= floor else 0.0 for series, s in zip(columns, ratios, strict=True)]
    deviations = [stdev(series) for series in columns]
    length = round(days ** (1 / 3))
    generator = np.random.default_rng(seed)
    above = 0
    for _ in range(1000):
        a, u = generator.integers(days, size=days).tolist(), generator.random(days).tolist()
        drawn = [a[0]]
        for i in range(1, days):
            drawn.append(a[i] if u[i] <= 1 / length else (drawn[-1] + 1) % days)
        largest = max(
            (sum(series[day] for day in drawn) / days - centre) / deviation
            for series, centre, deviation in zip(columns, centres, deviations, strict=True)
        )
        above += largest > max(ratios)
    return above / 1000


def sensitivity(groups: Series, values: Series, *, interval: bool) -> float:
    if interval:
        ordered = sorted(groups)
        groups = [ordered.index(each) * 10 // len(ordered) for each in groups]
    mean = fmean(values)
    between = 0.0
    for group in set(groups):
        own = [value for of, value in zip(groups, values, strict=True) if of == group]
        between += len(own) * (fmean(own) - mean) ** 2
    return between / sum((value - mean) ** 2 for value in values)


def _performance(blocks: Sequence[Series], chosen: Sequence[int]) -> float:
    """ratio, 0 without dispersion; without `statistics`, whose exact fractions would take minutes here."""
    series = [each for b in chosen for each in blocks[b]]
    if max(series) == min(series):
        return 0.0
    mean = sum(series) / len(series)
    return mean / math.sqrt(sum([(each - mean) ** 2 for each in series]) / (len(series) - 1))


def _correlation(a: Series, b: Series) -> float:
    mean_a, mean_b = fmean(a), fmean(b)
    covariance = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    return covariance / math.sqrt(sum((x - mean_a) ** 2 for x in a) * sum((y - mean_b) ** 2 for y in b))
