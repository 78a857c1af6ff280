"""Holds a request to what a worker would hold it to, for whoever runs it, or reckons with it, without sending it."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, assert_never

from consumer.errors import NoSuchRun, NoSuchStrategy
from consumer.ports import Admitted, Refused, RunRow, StrategyCheck, StrategyRow, Unchecked, Verdict
from consumer.ports.history import History, Row
from consumer.ports.searches import SearchAdmitted, SearchRefused, SearchUnchecked
from consumer.preparation.strategy_verdict import verdict_of
from consumer.rules.admission import Admission
from consumer.rules.search_admission import SearchAdmission
from schemas.optimization_requested import OptimizationRequested
from schemas.problems import InvalidRequestError
from schemas.requested import BacktestRequested


async def strategy_row(history: History, strategy_id: int, changes: Mapping[str, Any]) -> StrategyRow:
    """A row of `strategies` with some of its columns changed. Raises NoSuchStrategy."""
    found = await history.strategy(strategy_id)
    if found is None:
        raise NoSuchStrategy(strategy_id)
    return replace(_strategy_row(found), **changes)


async def rows_named(history: History, request: BacktestRequested) -> tuple[StrategyRow, RunRow | None]:
    """The rows that a request names. Raises NoSuchRun, NoSuchStrategy."""
    run = None
    if request.run_id is not None:
        found = await history.run(request.run_id)
        if found is None:
            raise NoSuchRun(request.run_id)
        run = _run_row(found)
    strategy_id = run.strategy_id if run is not None else request.strategy_id
    assert strategy_id is not None, "the schema asks for one of them"
    return await strategy_row(history, strategy_id, {}), run


def admit(
    request: BacktestRequested, strategy: StrategyRow, admission: Admission, run: RunRow | None = None
) -> Admitted:
    """What the request would execute. The strategy's own code is asked in this process.

    Raises InvalidRequestError with every field at fault.
    """
    verdicts: dict[StrategyCheck, Verdict] = {}
    while True:
        decision = admission(request, strategy, run, (), verdicts)
        match decision:
            case Admitted():
                return decision
            case Refused(problems):
                raise InvalidRequestError(problems)
            case Unchecked(check):
                verdicts[check] = verdict_of(check)
            case other:
                assert_never(other)


def admit_search(request: OptimizationRequested, strategy: StrategyRow, admission: SearchAdmission) -> SearchAdmitted:
    """What a search would execute, as `admit`; it names no row of its own."""
    verdicts: dict[StrategyCheck, Verdict] = {}
    while True:
        decision = admission(request, strategy, None, (), verdicts)
        match decision:
            case SearchAdmitted():
                return decision
            case SearchRefused(problems):
                raise InvalidRequestError(problems)
            case SearchUnchecked(check):
                verdicts[check] = verdict_of(check)
            case other:
                assert_never(other)


def _strategy_row(row: Row) -> StrategyRow:
    return StrategyRow(**{each.name: row[each.name] for each in fields(StrategyRow)})


def _run_row(row: Row) -> RunRow:
    """As if nobody had asked for it yet: nothing is run, so that it may have been already."""
    values = {**row, "status": "pending", "has_execution": False}
    return RunRow(**{each.name: values[each.name] for each in fields(RunRow)})
