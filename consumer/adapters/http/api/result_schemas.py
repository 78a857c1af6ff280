"""What the OpenAPI document says of a run's results."""

from typing import Any, Final

from consumer.adapters.http.api.table_answers import MEDIA_TYPES
from consumer.reports.analytics import GROUPINGS
from consumer.reports.trade_list import COLUMNS

_TEXTS: Final = frozenset({"symbol", "direction", "exit_reason", "pattern_name", "source", "entry_at", "exit_at"})
_WHOLE: Final = frozenset({"trade", "position_id"})
_TIMES: Final = frozenset({"entry_time", "exit_time"})


def _of_trade(name: str) -> dict[str, Any]:
    if name == "pattern_metadata":
        return {}
    if name in _TIMES:
        return {"type": "string", "format": "date-time"}
    return {"type": ["string", "null"] if name in _TEXTS else "integer" if name in _WHOLE else ["number", "null"]}


TRADE: Final[dict[str, Any]] = {
    "type": "object",
    "required": list(COLUMNS),
    "properties": {name: _of_trade(name) for name in COLUMNS},
}
INDICATORS: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["timeframe", "time", "indicators"],
    "properties": {
        "timeframe": {"type": "string"},
        "time": {"type": "array", "items": {"type": "string", "format": "date-time"}},
        "indicators": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "pane", "values"],
                "properties": {
                    "name": {"type": "string"},
                    "pane": {"type": "integer", "minimum": 0},
                    "values": {"type": "array", "items": {"type": ["number", "boolean", "null"]}},
                },
            },
        },
    },
}
ANALYTICS: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["by", "groups"],
    "properties": {
        "by": {"type": "array", "items": {"enum": list(GROUPINGS)}},
        "groups": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["trades", "net", "win_rate", "profit_factor", "expectancy", "few"],
                "properties": {
                    "trades": {"type": "integer"},
                    "net": {"type": "number"},
                    "win_rate": {"type": ["number", "null"]},
                    "profit_factor": {"type": ["number", "null"]},
                    "expectancy": {"type": ["number", "null"]},
                    "few": {"type": "boolean"},
                },
            },
        },
    },
}


def table_answered(*columns: str, **said: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    """`responses` of a table: JSON by columns, or a file."""
    schema = {
        "type": "object",
        "required": ["columns", *columns, *said],
        "properties": {
            "columns": {"type": "array", "items": {"enum": list(columns)}},
            **{name: {"type": "array"} for name in columns},
            **said,
        },
    }
    files = {kind: {"schema": {"type": "string"}} for form, kind in MEDIA_TYPES.items() if form != "json"}
    content = {"application/json": {"schema": schema}, **files}
    return {200: {"description": f"Columns {', '.join(columns)}.", "content": content}}
