"""Draws that learn from what was found: optuna's tree-structured Parzen estimator, in batches, so that the number of
workers decides nothing.

Source: Bergstra, Bardenet, Bengio & Kegl, "Algorithms for Hyper-Parameter Optimization", NIPS 2011. Apart because
optuna takes a second to import.
"""

import warnings
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import optuna
from numpy.typing import NDArray

from engine.numeric.arrays import Floats
from engine.search.combinations import Judge, combination_of, most_refused
from engine.search.space import Choice, Interval, Listed, Space, Stepped

BATCH: Final = 16


class Learner:
    """Draws batches, and is told what came of each.

    A draw that the strategy refuses, or that was drawn before, is told as failed and drawn anew, at most 100 * samples
    + 1 000 times in all; after that no batch comes any more. The same seed and the same answers give the same draws.
    """

    def __init__(self, space: Space, judge: Judge, samples: int, seed: int) -> None:
        self._space, self._judge, self._samples = space, judge, samples
        sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=False)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._distributions = {name: _distribution(choice) for name, choice in space.choices.items()}
        self._seen: set[bytes] = set()
        self._asked: list[optuna.trial.Trial] = []
        self._drawn: list[Floats] = []
        self._refused = 0
        self.left_out = 0

    @property
    def drawn(self) -> Floats:
        """All that was drawn, in order of number (Combinations.drawn)."""
        return np.array(self._drawn).reshape(len(self._drawn), len(self._space.choices))

    def ask(self) -> NDArray[np.float64]:
        """Return the next batch, at most 16 rows; none once there are enough or no more are found."""
        first = len(self._drawn)
        while len(self._drawn) < min(self._samples, first + BATCH) and self._refused <= most_refused(self._samples):
            trial = self._study.ask(self._distributions)
            row = np.array([float(trial.params[name]) for name in self._space.choices])
            again = row.tobytes() in self._seen
            if again or self._judge(combination_of(self._space, row)):
                self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
                self._refused += 1
                self.left_out += not again
                continue
            self._seen.add(row.tobytes())
            self._asked.append(trial)
            self._drawn.append(row)
        return self.drawn[first:]

    def tell(self, better: Sequence[float]) -> None:
        """Say how good each of the batch is, in order, higher being better; NaN for one that came to nothing."""
        for trial, value in zip(self._asked, better, strict=True):
            if np.isnan(value):
                self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
            else:
                self._study.tell(trial, float(value))
        self._asked = []


def _distribution(choice: Choice) -> optuna.distributions.BaseDistribution:
    match choice:
        case Interval(low, high, log, whole=True):
            return optuna.distributions.IntDistribution(int(low), int(high), log=log)
        case Interval(low, high, log):
            return optuna.distributions.FloatDistribution(low, high, log=log)
        case Stepped():
            return optuna.distributions.IntDistribution(0, choice.count - 1)
        case Listed(values) if _ascend(values):
            return optuna.distributions.IntDistribution(0, choice.count - 1)
        case Listed():
            return optuna.distributions.CategoricalDistribution(tuple(range(choice.count)))


def _ascend(values: tuple[Any, ...]) -> bool:
    """Whether they are numbers in order, so that places near each other are values near each other."""
    if any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in values):
        return False
    return all(before < after for before, after in pairwise(values))
