"""A run as the API and the report file tell it: one JSON object."""

import json
from collections.abc import Mapping
from typing import Any, Final

from consumer.ports.history import History, Row
from consumer.ports.run_tables import RunTables
from consumer.reports.completed import CompletedRun
from consumer.reports.run_view import run_view

HIDDEN: Final = frozenset({"epoch"})


def shown_run(row: Row) -> dict[str, Any]:
    """The row with `run_id`, its JSON as JSON, and without what is nobody's business."""
    told = {name: value for name, value in row.items() if name not in HIDDEN and name != "id"}
    return {"run_id": row["id"], **told, "context_tfs": parsed(row["context_tfs"])}


def parsed(text: str | None) -> Any:
    """A JSON column; as text where another service wrote something else into it."""
    try:
        return json.loads(text) if text is not None else None
    except ValueError:
        return text


async def of_history(history: History, row: Row) -> dict[str, Any]:
    """What `answer` takes of the tables: result, request and the account's currency."""
    result = await history.result_of(row["id"]) if row["status"] == "completed" else None
    specification = await history.specification_of(row["id"]) or {}
    return {
        "result": result,
        "request": await history.request_of(row["id"]),
        "account_currency": specification.get("account_currency"),
    }


def answer(
    row: Row,
    tables: RunTables,
    *,
    result: Row | None,
    request: Mapping[str, Any] | None,
    account_currency: str | None = None,
) -> dict[str, Any]:
    """The row, its figures once it has completed (metrics, warnings, figures by side, drawdowns), and the request.

    account_currency: of all money in it; None where nobody recorded it.
    """
    metrics = result["metrics"] if result is not None else None
    view = run_view(CompletedRun(row, {}), tables) if row["status"] == "completed" else {}
    return {
        **shown_run(row),
        "account_currency": account_currency,
        "metrics": metrics,
        "warnings": (metrics or {}).get("warnings", []),
        "duration_seconds": result["duration_seconds"] if result is not None else None,
        "request": request,
        **view,
    }
