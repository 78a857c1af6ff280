"""Makes and changes rows of `strategies`: whole, and held to what a request for them would be held to."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, assert_never

from consumer.errors import NoSuchStrategy, RowChanged
from consumer.ports import Refused, StrategyCheck, StrategyChecker, Unchecked, Verdict
from consumer.ports.history import History, Row
from consumer.ports.strategy_rows import StrategyRows
from consumer.preparation.known_instruments import nothing_to_learn
from consumer.rules.admission import Admission
from consumer.rules.strategy_rows import Fit, columns_of, judge_row, shown_row
from schemas.problems import InvalidRequestError
from schemas.strategy_row import StrategyRowGiven, parse_strategy_row


@dataclass(frozen=True, slots=True)
class RowJudge:
    """What a row is held against."""

    admission: Admission
    checker: StrategyChecker
    learn: Callable[[], Awaitable[None]] = nothing_to_learn
    """Takes up instruments that were brought since; raises StoreUnavailable."""


async def add_strategy(rows: StrategyRows, given: Mapping[str, Any], judge: RowJudge) -> int:
    """Add a row and return its id. Raises InvalidRequestError with every column at fault, and NameTaken."""
    columns = await _fitting(parse_strategy_row(given), judge)
    return await rows.add(columns)


async def edit_strategy(
    history: History,
    rows: StrategyRows,
    strategy_id: int,
    changes: Mapping[str, Any],
    judge: RowJudge,
    seen: Row | None = None,
) -> None:
    """Change columns of a row; it must be right as a whole afterwards, what others put into it included.

    Runs that were accepted keep the row as it was. seen: the row as the changes were made for. Raises NoSuchStrategy,
    InvalidRequestError, NameTaken, and RowChanged where it is not what was seen any more.
    """
    row = seen if seen is not None else await history.strategy(strategy_id)
    if row is None:
        raise NoSuchStrategy(strategy_id)
    columns = await _fitting(parse_strategy_row({**_as_given(row), **changes}), judge)
    if not changes:
        return
    if not await rows.change(strategy_id, {name: columns[name] for name in changes}, seen):
        raise NoSuchStrategy(strategy_id) if seen is None else RowChanged(strategy_id)


def _as_given(row: Row) -> dict[str, Any]:
    return {name: value for name, value in shown_row(row).items() if name in StrategyRowGiven.model_fields}


async def _fitting(given: StrategyRowGiven, judge: RowJudge) -> dict[str, Any]:
    columns = columns_of(given)
    verdicts: dict[StrategyCheck, Verdict] = {}
    await judge.learn()
    while True:
        match judge_row(columns, judge.admission, verdicts):
            case Fit():
                return columns
            case Refused(problems):
                raise InvalidRequestError(problems)
            case Unchecked(check):
                async for answered in judge.checker.check([check]):
                    verdicts.update(answered)
            case other:
                assert_never(other)
