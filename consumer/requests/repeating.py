"""Asks again for what a run was, as a new request: a row itself executes once."""

import json
from collections.abc import Mapping
from typing import Any

from consumer.errors import NoSuchRun
from consumer.ports.history import History
from consumer.rules.columns import REPEATABLE_COLUMNS
from engine.errors import InputRefused
from schemas.problems import InvalidRequestError
from schemas.requested import BacktestRequested, parse_requested


async def repeat_run(history: History, run_id: int) -> BacktestRequested:
    """The request for another run like this one, with the strategy as it is now. Raises NoSuchRun, InputRefused."""
    row = await history.run(run_id)
    if row is None:
        raise NoSuchRun(run_id)
    content = await history.request_of(run_id)
    if content is None:
        content = await history.request_of_best(run_id)
    if content is None and await history.result_of(run_id) is not None:
        raise InputRefused(
            f"run {run_id} cannot be asked for again: it is the best of a search that was deleted, and with it went"
            " the parameters that were tried"
        )
    return repeated_request(row, content or {})


def repeated_request(row: Mapping[str, Any], content: Mapping[str, Any]) -> BacktestRequested:
    """A request without run_id that asks for what the row and the content of its request say. Raises InputRefused."""
    beside = {name: value for name, value in content.items() if name not in {"run_id", "request_id", "primary_tf"}}
    columns = {name: row[name] for name in REPEATABLE_COLUMNS}
    try:
        return parse_requested({**beside, **columns, "context_tfs": json.loads(row["context_tfs"])})
    except (InvalidRequestError, ValueError) as error:
        raise InputRefused(f"run {row['id']} cannot be asked for again: {error}") from error
