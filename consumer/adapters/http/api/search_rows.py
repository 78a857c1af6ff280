"""A search's row as answers show it, and what the OpenAPI document says of it."""

from typing import Any, Final

from consumer.ports.search_history import Row
from consumer.rules.columns import ALL_SEARCH_COLUMNS, SEARCH_JSON_COLUMNS

_TEXT: Final = frozenset(
    {"symbol", "timeframe", "execution_mode", "method", "optimize_metric", "error_message", "results_file_path"}
)
_MOMENTS: Final = frozenset({"start_date", "end_date", "created_at", "started_at", "completed_at"})


def shown_search(row: Row) -> dict[str, Any]:
    """The row with `optimization_id`."""
    return {"optimization_id": row["id"], **{name: value for name, value in row.items() if name != "id"}}


def _schema_of(name: str) -> dict[str, Any]:
    if name in SEARCH_JSON_COLUMNS:
        return {}
    if name in _TEXT:
        return {"type": ["string", "null"]}
    if name in _MOMENTS:
        return {"type": ["string", "null"], "format": "date-time"}
    return {"type": ["number", "null"]}


SEARCH: Final[dict[str, Any]] = {
    "title": "Optimization",
    "type": "object",
    "required": ["optimization_id", "strategy_id", "strategy_name", "symbol", "timeframe", "status", "progress_pct"],
    "properties": {
        "optimization_id": {"type": "integer"},
        **{name: _schema_of(name) for name in ALL_SEARCH_COLUMNS[1:]},
        "strategy_name": {"type": "string"},
        "strategy_key": {"type": ["string", "null"]},
        "status": {"enum": ["pending", "running", "completed", "failed", "cancelled"]},
        "request_id": {"type": ["string", "null"]},
        "request": {"type": ["object", "null"], "description": "Of one search alone: what was asked for."},
    },
}
RESULT: Final[dict[str, Any]] = {
    "title": "Combination",
    "type": "object",
    "required": ["params", "metrics", "rank"],
    "properties": {"params": {"type": "object"}, "metrics": {"type": "object"}, "rank": {"type": "integer"}},
}
FOLD: Final[dict[str, Any]] = {
    "title": "Fold",
    "type": "object",
    "required": ["fold", "train_start", "train_end", "test_start", "test_end", "params", "train_value", "test_value"],
    "properties": {
        "fold": {"type": "integer"},
        **{
            name: {"type": "string", "format": "date-time"}
            for name in ("train_start", "train_end", "test_start", "test_end")
        },
        "params": {"type": ["object", "null"]},
        "train_value": {"type": ["number", "null"]},
        "test_value": {"type": ["number", "null"]},
    },
}
HEAT_MAP: Final[dict[str, Any]] = {
    "title": "HeatMap",
    "type": "object",
    "required": ["x", "y", "metric", "x_values", "y_values", "values", "trades", "fixed"],
    "properties": {
        "x": {"type": "string"},
        "y": {"type": "string"},
        "metric": {"type": "string"},
        "x_values": {"type": "array", "items": {}},
        "y_values": {"type": "array", "items": {}},
        "values": {"type": "array", "items": {"type": "array", "items": {"type": ["number", "null"]}}},
        "trades": {"type": "array", "items": {"type": "array", "items": {"type": ["integer", "null"]}}},
        "fixed": {"type": "object"},
    },
}
