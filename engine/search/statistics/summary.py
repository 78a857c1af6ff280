"""All statistics of a search in one object, each null with its reason, and what they come to in words."""

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engine.numeric.arrays import Floats
from engine.search.statistics.overfitting import FEWEST_DAYS, overfitting
from engine.search.statistics.sensitivity import sensitivity
from engine.search.statistics.sharpe import disperse, effective_trials, expected_max_sharpe, probabilistic_sharpe
from engine.search.statistics.superior import superior_p
from engine.search.statistics.verdict import verdict

WALK_FORWARD = "walk_forward"
"""Reason: the joined curve was not selected among others."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evidence:
    """What the statistics are made of.

    trials: combinations simulated here. trials_known: with those of other searches and runs. ratios: of every
    combination, NaN for none. sample: returns of the sample, shape (n, T). judged: returns of the best (walk-forward:
    of the joined curve), None without. yearly: returns a year. values: the metric of each combination, NaN for none;
    groups: by parameter which value each has, and whether these are numbers of an interval.
    """

    trials: int
    trials_known: int
    left_out: int
    ratios: Floats
    sample: Floats
    judged: Floats | None
    yearly: float
    seed: int
    values: Floats
    groups: Mapping[str, tuple[Floats, bool]]
    walk_forward: bool = False


def statistics_of(evidence: Evidence) -> dict[str, Any]:
    """Return every figure by name, `null_reasons` and the `verdict`."""
    found = _Found()
    found.values |= {"trials": evidence.trials, "trials_known": evidence.trials_known}
    expected = None
    if evidence.walk_forward:
        for name in ("effective_trials", "expected_max_sharpe"):
            found.put(name, None, WALK_FORWARD)
    else:
        expected = _luck(evidence, found)
    _ratio(evidence, expected, found)
    _selection(evidence, found)
    of_parameters = {
        name: sensitivity(groups, evidence.values, interval=interval)
        for name, (groups, interval) in evidence.groups.items()
    }
    differ = any(value is not None for value in of_parameters.values())
    found.put("parameter_sensitivity", of_parameters if differ else None, "the metric does not differ")
    found.values["left_out"] = evidence.left_out
    found.values["verdict"] = verdict(found.values)
    return {**found.values, "null_reasons": found.reasons}


@dataclass(slots=True)
class _Found:
    values: dict[str, Any] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def put(self, name: str, value: Any, why_not: str) -> None:
        self.values[name] = value
        if value is None:
            self.reasons[name] = why_not


def _luck(evidence: Evidence, found: _Found) -> float | None:
    """Note what so many tries reach without skill; return it for one return, not for a year."""
    effective = effective_trials(evidence.sample, evidence.trials) if evidence.sample.size else None
    found.put("effective_trials", effective, "fewer than two combinations whose returns differ")
    ratios = evidence.ratios[np.isfinite(evidence.ratios)]
    expected, why_not = None, "fewer than two trials"
    if ratios.size < 2:
        why_not = "fewer than two combinations with a Sharpe ratio"
    elif evidence.trials_known >= 2:
        expected = expected_max_sharpe(float(ratios.var(ddof=1)), evidence.trials_known)
    found.put("expected_max_sharpe", None if expected is None else expected * math.sqrt(evidence.yearly), why_not)
    return expected


def _ratio(evidence: Evidence, expected: float | None, found: _Found) -> None:
    judged = evidence.judged
    why_not, plain, deflated = "", None, None
    if judged is None:
        why_not = "no combination has min_trades"
    elif judged.size < 3:
        why_not = "fewer than three returns"
    elif not disperse(judged[None, :])[0]:
        why_not = "its returns do not differ"
    else:
        why_not = "the variance of its Sharpe ratio is not above 0"
        plain = probabilistic_sharpe(judged)
        deflated = None if expected is None else probabilistic_sharpe(judged, expected)
    found.put("probabilistic_sharpe", plain, why_not)
    if evidence.walk_forward:
        why_not = WALK_FORWARD
    elif plain is not None and expected is None:
        why_not = "expected_max_sharpe is null"
    found.put("deflated_sharpe", deflated, why_not)


def _selection(evidence: Evidence, found: _Found) -> None:
    names = ("pbo", "pbo_loss_share", "pbo_slope", "spa_p")
    days = evidence.sample.shape[1] if evidence.sample.size else 0
    if evidence.walk_forward or days < FEWEST_DAYS:
        why_not = WALK_FORWARD if evidence.walk_forward else f"fewer than {FEWEST_DAYS} returns"
        for name in names:
            found.put(name, None, why_not)
        return
    # At the same time: each takes some milliseconds, in which it lets go of the interpreter.
    with ThreadPoolExecutor(1) as beside:
        superior = beside.submit(superior_p, evidence.sample, evidence.seed)
        judged = overfitting(evidence.sample)
    alike = "fewer than two combinations whose returns differ from each other's"
    for name, value in zip(names, judged or (None, None, None), strict=False):
        found.put(name, value, alike if judged is None else "its performance in sample is always the same")
    found.put("spa_p", superior.result(), "no combination whose returns differ")
