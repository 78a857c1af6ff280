"""What holds for any run, of the reference itself: it must be trusted before an engine is held against it."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings

from tests.engine.random_runs import RandomRun, random_runs
from tests.engine.reference import NoConversionError, RunRefusedError, Simulation, simulate
from tests.engine.reference.scenarios import Scenario, scenarios

SOME = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


@SOME
@given(scenarios())
def test_rows_add_up_to_the_account(scenario: Scenario) -> None:
    run = _simulate(scenario)
    assert run.final_equity - scenario.config.initial_balance == pytest.approx(run.net_profit, abs=1e-6)
    if run.trades:
        assert run.trades[-1].equity_after == run.final_equity
    volumes: dict[int, float] = {}
    for row in run.trades:
        volumes[row.position_id] = volumes.get(row.position_id, 0.0) + row.volume
    assert sorted(volumes) == list(range(1, len(volumes) + 1))
    assert all(volume > 0 for volume in volumes.values())


@SOME
@given(scenarios())
def test_the_first_half_of_the_bars_gives_the_first_half_of_the_rows(scenario: Scenario) -> None:
    half = max(scenario.first_bar + 1, len(scenario.bars) // 2)
    whole = _simulate(scenario)
    part = _simulate(replace(scenario, bars=scenario.bars[:half], decisions=scenario.decisions[:half]))
    last_us = scenario.bars[half - 1].time_us
    before = [row for row in part.trades if row.exit_time < last_us]
    assert before == [row for row in whole.trades if row.exit_time < last_us]
    assert part.equity[:-1] == whole.equity[: len(part.equity) - 1]


@SOME
@given(random_runs(calendar=True))
def test_rows_add_up_to_the_account_whatever_the_calendar(run: RandomRun) -> None:
    try:
        simulation = _simulate(run)
    except NoConversionError:
        return
    assert simulation.final_equity - run.config.initial_balance == pytest.approx(simulation.net_profit, abs=1e-6)


@SOME
@given(random_runs(calendar=True, orders=True))
def test_rows_add_up_to_the_account_whatever_the_orders(run: RandomRun) -> None:
    try:
        simulation = _simulate(run)
    except NoConversionError:
        return
    assert simulation.final_equity - run.config.initial_balance == pytest.approx(simulation.net_profit, abs=1e-6)
    volumes: dict[int, float] = {}
    for row in simulation.trades:
        volumes[row.position_id] = volumes.get(row.position_id, 0.0) + row.volume
    assert sorted(volumes) == list(range(1, len(volumes) + 1))
    assert simulation.total_slippage_cost >= 0


@SOME
@given(random_runs())
def test_an_account_without_limits_or_orders_has_no_cost_of_them(run: RandomRun) -> None:
    simulation = _simulate(run)
    assert simulation.total_slippage_cost == 0
    assert not {row.exit_reason for row in simulation.trades} & {"trailing_stop", "time"}
    assert not simulation.warnings.keys() & {"no_margin", "not_moved"}


def test_the_random_orders_reach_what_only_orders_and_limits_do() -> None:
    reasons: set[str] = set()
    warnings: set[str] = set()
    refused = ambiguous = differing = 0

    @settings(SOME, max_examples=120, database=None)
    @given(random_runs(orders=True))
    def explore(run: RandomRun) -> None:
        nonlocal refused, ambiguous, differing
        try:
            simulation = _simulate(run)
        except NoConversionError:
            return
        except RunRefusedError:
            refused += 1
            return
        reasons.update(row.exit_reason for row in simulation.trades)
        warnings.update(simulation.warnings)
        ambiguous += simulation.ambiguous_bars > 0
        differing += simulation.net_profit_stop_first != simulation.net_profit_target_first

    explore()
    assert reasons >= {"trailing_stop", "time"}
    assert warnings >= {"no_margin", "not_moved"}
    assert ambiguous > 0
    assert differing > 0
    assert refused == 0


def test_the_scenarios_reach_every_way_out() -> None:
    reasons: set[str] = set()
    ambiguous = differing = refused = 0

    @settings(SOME, max_examples=80, database=None)
    @given(scenarios())
    def explore(scenario: Scenario) -> None:
        nonlocal ambiguous, differing, refused
        try:
            run = _simulate(scenario)
        except RunRefusedError:
            refused += 1
            return
        reasons.update(row.exit_reason for row in run.trades)
        ambiguous += run.ambiguous_bars > 0
        differing += run.net_profit_stop_first != run.net_profit_target_first

    explore()
    assert reasons == {"stop_loss", "take_profit", "signal", "reverse", "stop_out", "end_of_data"}
    assert ambiguous > 0
    assert differing > 0
    assert refused == 0


def _simulate(scenario: Scenario | RandomRun) -> Simulation:
    return simulate(
        scenario.bars,
        scenario.decisions,
        scenario.config,
        first_bar=scenario.first_bar,
        conversion_bars=scenario.conversion_bars,
        finer_bars=scenario.finer_bars,
    )
