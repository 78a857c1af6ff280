"""What the OpenAPI document says of a run's results."""

from typing import Any, Final

from consumer.adapters.http.api.table_answers import MEDIA_TYPES
from consumer.reports.analytics import GROUPINGS
from consumer.reports.trade_list import COLUMNS

_TEXTS: Final = frozenset({"symbol", "direction", "exit_reason", "pattern_name", "source", "entry_at", "exit_at"})
_WHOLE: Final = frozenset({"trade", "position_id"})
_TIMES: Final = frozenset({"entry_time", "exit_time"})
_COUNTS: Final = frozenset({"position_id", "year", "month", "trades"})
JSON: Final = MEDIA_TYPES["json"]
DRAWDOWN: Final[dict[str, Any]] = {
    "title": "Drawdown",
    "type": "object",
    "required": ["percent", "amount", "peak", "trough", "recovered"],
    "properties": {
        "percent": {"type": "number"},
        "amount": {"type": "number"},
        "peak": {"type": "string", "format": "date-time"},
        "trough": {"type": "string", "format": "date-time"},
        "recovered": {"type": ["string", "null"], "format": "date-time"},
    },
}


def _of_trade(name: str) -> dict[str, Any]:
    if name == "pattern_metadata":
        return {}
    if name in _TIMES:
        return {"type": "string", "format": "date-time"}
    return {"type": ["string", "null"] if name in _TEXTS else "integer" if name in _WHOLE else ["number", "null"]}


TRADE: Final[dict[str, Any]] = {
    "title": "Trade",
    "type": "object",
    "required": list(COLUMNS),
    "properties": {name: _of_trade(name) for name in COLUMNS},
}
INDICATORS: Final[dict[str, Any]] = {
    "title": "Indicators",
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
    "title": "Analytics",
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


def table_answered(title: str, *columns: str, **said: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    """`responses` of a table: JSON by columns, or a file."""
    schema = {
        "title": title,
        "type": "object",
        "required": ["columns", *columns, *said],
        "properties": {
            "columns": {"type": "array", "items": {"enum": list(columns)}},
            **{name: {"type": "array", "items": _of_column(name)} for name in columns},
            **said,
        },
    }
    return or_as_file({200: {"description": f"Columns {', '.join(columns)}.", "content": {JSON: {"schema": schema}}}})


def or_as_file(answered: dict[int | str, dict[str, Any]]) -> dict[int | str, dict[str, Any]]:
    """`responses` of a table that is JSON or, where `format` says so, a file."""
    files = {kind: {"schema": {"type": "string"}} for form, kind in MEDIA_TYPES.items() if form != "json"}
    return {status: {**told, "content": {**told["content"], **files}} for status, told in answered.items()}


def _of_column(name: str) -> dict[str, Any]:
    if name == "time":
        return {"type": "string", "format": "date-time"}
    if name == "complete":
        return {"type": "boolean"}
    if name == "kind":
        return {"type": "string"}
    return {"type": ["integer", "null"] if name in _COUNTS else ["number", "null"]}
