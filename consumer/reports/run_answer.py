"""A run as the API and the report file tell it: one JSON object."""

import json
from collections.abc import Mapping
from typing import Any, Final

from consumer.ports.history import History, Row
from consumer.ports.run_tables import RunTables
from consumer.reports.beside_models import run_of_rule_alone, told_alone
from consumer.reports.completed import CompletedRun
from consumer.reports.run_view import run_view
from consumer.rules.advice import RULE_ONLY

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
    """What `answer` takes of the tables."""
    result = await history.result_of(row["id"]) if row["status"] == "completed" else None
    specification = await history.specification_of(row["id"]) or {}
    return {
        "result": result,
        "request": await history.request_of(row["id"]),
        "account_currency": specification.get("account_currency"),
        "decided_by": (specification.get("advice") or {}).get("decided_by", RULE_ONLY) if specification else None,
        "rule_alone": told_alone(await run_of_rule_alone(history, row, specification)) if specification else None,
    }


def answer(
    row: Row,
    tables: RunTables,
    *,
    result: Row | None,
    request: Mapping[str, Any] | None,
    account_currency: str | None = None,
    decided_by: str | None = None,
    rule_alone: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The row, its figures once it has completed (metrics, warnings, figures by side, drawdowns), and the request.

    account_currency: of all money in it; None where nobody recorded it. decided_by: the mode, likewise. rule_alone:
    what the rule of a run with a language model earned without it, where that is known.
    """
    metrics = result["metrics"] if result is not None else None
    view = run_view(CompletedRun(row, {}), tables) if row["status"] == "completed" else {}
    return {
        **shown_run(row),
        "account_currency": account_currency,
        "decided_by": decided_by,
        "rule_alone": rule_alone,
        "metrics": metrics,
        "warnings": (metrics or {}).get("warnings", []),
        "duration_seconds": result["duration_seconds"] if result is not None else None,
        "request": request,
        **view,
    }
