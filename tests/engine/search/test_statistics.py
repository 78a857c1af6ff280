"""The statistics of a search: published figures, a second opinion in plain Python, and what each says of skill."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.search.statistics.overfitting import overfitting
from engine.search.statistics.sensitivity import sensitivity
from engine.search.statistics.sharpe import (
    effective_trials,
    expected_max_sharpe,
    probabilistic_sharpe,
    sharpe_confidence,
    sharpe_ratios,
)
from engine.search.statistics.summary import Evidence, statistics_of
from engine.search.statistics.superior import superior_p
from tests.engine.search import second_opinion

Floats = NDArray[np.float64]


def market(count: int, days: int, seed: int, *, together: float = 0.3) -> Floats:
    """Returns of strategies that resemble each other and have no skill."""
    generator = np.random.default_rng(seed)
    common = generator.standard_t(4, size=days)
    return 0.01 * (together * common + generator.standard_t(4, size=(count, days)))


# --- published ------------------------------------------------------------------------------------------------------


def test_deflated_sharpe_of_the_paper() -> None:
    """Bailey & Lopez de Prado 2014, "A numerical example": 5 years of 250 days, 100 trials, V 1/2 a year."""
    variance, ratio = 0.5 / 250, 2.5 / math.sqrt(250)
    luck = expected_max_sharpe(variance, 100)
    assert luck == pytest.approx(0.1132, abs=5e-5)
    assert luck is not None
    assert sharpe_confidence(ratio, luck, 1250, -3.0, 10.0) == pytest.approx(0.9004, abs=1e-4)


@pytest.mark.parametrize(("trials", "skewness", "kurtosis"), [(46, -3.0, 10.0), (88, 0.0, 3.0)])
def test_trials_at_which_the_paper_rejects(trials: int, skewness: float, kurtosis: float) -> None:
    """The same: had there been 46 trials, or 88 of normal returns, the confidence would be 0.9505."""
    luck = expected_max_sharpe(0.5 / 250, trials)
    assert luck is not None
    assert sharpe_confidence(2.5 / math.sqrt(250), luck, 1250, skewness, kurtosis) == pytest.approx(0.9505, abs=1e-4)


@pytest.mark.parametrize(("skewness", "kurtosis", "published"), [(-2.448, 10.164, 0.913), (0.0, 3.0, 0.982)])
def test_probabilistic_sharpe_of_the_paper(skewness: float, kurtosis: float, published: float) -> None:
    """Bailey & Lopez de Prado 2012: two years of months at 0.458 a month."""
    assert sharpe_confidence(0.458, 0.0, 24, skewness, kurtosis) == pytest.approx(published, abs=5e-4)


# --- a second opinion -----------------------------------------------------------------------------------------------


def test_sharpe_figures_agree_with_the_definitions() -> None:
    sample = market(12, 90, 1)
    ratios = sharpe_ratios(sample)
    assert ratios == pytest.approx([second_opinion.ratio(row) for row in sample.tolist()], abs=1e-12)
    luck = expected_max_sharpe(float(ratios.var(ddof=1)), 40)
    assert luck == pytest.approx(second_opinion.expected_max_sharpe(ratios.tolist(), 40), abs=1e-12)
    for benchmark in (0.0, luck or 0.0):
        expected = second_opinion.probabilistic_sharpe(sample[0].tolist(), benchmark)
        assert probabilistic_sharpe(sample[0], benchmark) == pytest.approx(expected, abs=1e-12)
    expected = second_opinion.effective_trials(sample.tolist(), 40)
    assert effective_trials(sample, 40) == pytest.approx(expected, abs=1e-9)


def test_overfitting_agrees_with_the_definition() -> None:
    sample = market(5, 79, 79)
    sample[1] = 0.0
    sample[1, -20:] = market(1, 20, 3)[0]  # trades in some blocks only
    sample[3] = sample[0]  # left out: equal to an earlier one
    sample = np.vstack([sample, sample[2] * 0.5])  # equal in performance, and so in rank, day for day not
    found = overfitting(sample)
    expected = second_opinion.overfitting(sample.tolist())
    assert found is not None
    assert found.loss_share == pytest.approx(expected.loss_share, abs=1e-12)
    assert found.slope == pytest.approx(expected.slope, abs=1e-9)
    assert found.probability == pytest.approx(expected.probability, abs=1e-12)


def test_superior_p_agrees_with_the_definition() -> None:
    sample = market(4, 70, 5)
    sample[1] -= 0.02  # loses so much that it is not recentred
    sample[2] = 0.0
    assert superior_p(sample, 7) == second_opinion.superior_p(sample.tolist(), 7)


def test_sensitivity_agrees_with_the_definition() -> None:
    generator = np.random.default_rng(2)
    values = generator.normal(size=53)
    places, numbers = generator.integers(4, size=53).astype(float), np.round(generator.random(53), 1)
    for groups, interval in ((places, False), (numbers, True)):
        expected = second_opinion.sensitivity(groups.tolist(), values.tolist(), interval=interval)
        assert sensitivity(groups, values, interval=interval) == pytest.approx(expected, abs=1e-12)


# --- what they say --------------------------------------------------------------------------------------------------


def test_one_with_skill_among_many_without_is_told_from_luck() -> None:
    lucky, skilled = market(50, 640, 4), market(50, 640, 4)
    skilled[17] += 0.004
    of_luck, of_skill = overfitting(lucky), overfitting(skilled)
    assert of_luck is not None
    assert of_skill is not None
    assert of_luck.probability > 0.3
    assert of_skill.probability < 0.01
    assert superior_p(lucky, 0) > 0.05  # type: ignore[operator]
    assert superior_p(skilled, 0) == 0.0


def test_the_same_series_many_times_is_one_trial() -> None:
    series = market(1, 64, 1)[0]
    assert effective_trials(np.stack([series, 2 * series, 3 * series]), 3) == pytest.approx(1.0)
    assert overfitting(np.stack([series, series])) is None


def test_opposite_series_do_not_count_as_fewer_than_independent_ones() -> None:
    series = market(1, 64, 1)[0]
    assert effective_trials(np.stack([series, -series]), 5) == 5.0


def test_expected_maximum_is_what_many_independent_tries_reach() -> None:
    generator = np.random.default_rng(0)
    largest = generator.normal(size=(4000, 50)).max(axis=1).mean()
    assert expected_max_sharpe(1.0, 50) == pytest.approx(largest, abs=0.03)


# --- nulls ----------------------------------------------------------------------------------------------------------


def evidence(sample: Floats, **changes: object) -> Evidence:
    given: dict[str, object] = {
        "trials": sample.shape[0],
        "trials_known": sample.shape[0],
        "left_out": 3,
        "ratios": sharpe_ratios(sample),
        "sample": sample,
        "judged": sample[0],
        "yearly": 252.0,
        "seed": 0,
        "values": sharpe_ratios(sample),
        "groups": {"length": (np.arange(sample.shape[0], dtype=float), False)},
    }
    return Evidence(**{**given, **changes})  # type: ignore[arg-type]


def test_every_null_has_its_reason() -> None:
    for sample in (market(3, 63, 1), market(1, 80, 1), np.zeros((4, 80)), market(2, 2, 1)):
        found = statistics_of(evidence(sample))
        nulls = {name for name, value in found.items() if value is None}
        assert nulls == found["null_reasons"].keys()
        assert all(found["null_reasons"].values())
    assert statistics_of(evidence(market(3, 63, 1)))["null_reasons"].keys() == {
        "pbo", "pbo_loss_share", "pbo_slope", "spa_p",
    }  # fmt: skip


def test_no_best_has_no_ratio_to_judge() -> None:
    found = statistics_of(evidence(market(3, 64, 1), judged=None))
    assert found["probabilistic_sharpe"] is None
    assert found["deflated_sharpe"] is None
    assert found["pbo"] is not None
    assert found["verdict"].startswith("nothing to judge")


def test_tries_before_this_search_raise_what_luck_reaches() -> None:
    sample = market(5, 64, 1)
    alone, after_many = (statistics_of(evidence(sample, trials_known=known)) for known in (5, 500))
    assert after_many["expected_max_sharpe"] > alone["expected_max_sharpe"]
    assert after_many["deflated_sharpe"] < alone["deflated_sharpe"]
    assert after_many["probabilistic_sharpe"] == alone["probabilistic_sharpe"]
    assert after_many["trials"] == 5


def test_expected_maximum_is_annualised_and_the_deflated_ratio_is_not() -> None:
    sample = market(5, 64, 1)
    found = statistics_of(evidence(sample))
    luck = second_opinion.expected_max_sharpe(sharpe_ratios(sample).tolist(), 5)
    assert found["expected_max_sharpe"] == pytest.approx(luck * math.sqrt(252.0))
    assert found["deflated_sharpe"] == pytest.approx(second_opinion.probabilistic_sharpe(sample[0].tolist(), luck))
