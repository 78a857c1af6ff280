"""A run's row as answers show it, and what the OpenAPI document says of it."""

from typing import Any, Final

from consumer.adapters.http.api.result_schemas import DRAWDOWN
from consumer.reports.run_answer import HIDDEN
from consumer.rules.columns import ALL_RUN_COLUMNS, EXECUTION_COLUMNS, METRIC_COLUMNS

_NUMBERS: Final = frozenset({"initial_balance", "spread_pips", "commission_per_lot", "tp_partial_close_ratio"})
_COUNTS: Final = frozenset({"strategy_id", "max_llm_calls", "progress_pct"})
_MOMENTS: Final = frozenset({"start_date", "end_date", "created_at", "queued_at", "started_at", "finished_at"})
_ALWAYS: Final = ("run_id", "strategy_id", "strategy_name", "symbol", "timeframe", "status", "progress_pct")


def _schema_of(name: str) -> dict[str, Any]:
    if name in _COUNTS:
        return {"type": "integer"}
    if name in _NUMBERS:
        return {"type": "number"}
    if name in METRIC_COLUMNS:
        return {"type": ["number", "null"]}
    if name in _MOMENTS:
        return {"type": ["string", "null"], "format": "date-time"}
    if name == "attempts":
        return {"type": ["integer", "null"]}
    return {"type": ["string", "null"]}


RUN: Final[dict[str, Any]] = {
    "title": "Run",
    "type": "object",
    "required": list(_ALWAYS),
    "properties": {
        "run_id": {"type": "integer"},
        **{
            name: _schema_of(name)
            for name in (*ALL_RUN_COLUMNS[1:], "strategy_name", "strategy_key", *EXECUTION_COLUMNS)
            if name not in HIDDEN and name != "context_tfs"
        },
        "context_tfs": {"type": ["array", "string"], "items": {"type": "string"}},
        "status": {"enum": ["pending", "running", "completed", "failed", "cancelled"]},
        "metrics": {"type": ["object", "null"]},
        "warnings": {"type": "array", "items": {"type": "string"}},
        "request": {"type": ["object", "null"]},
        "duration_seconds": {"type": ["number", "null"]},
        "account_currency": {"type": ["string", "null"], "description": "Of all money in it."},
        "decided_by": {"type": ["string", "null"], "description": "The strategy's mode: rule_only, llm_only, ..."},
        "rule_alone": {
            "type": ["object", "null"],
            "description": "Of a run that a language model had a say in: the newest run of the same rule without it.",
            "properties": {
                "run_id": {"type": "integer"},
                "net_profit": {"type": "number"},
                "total_trades": {"type": ["integer", "null"]},
                "result_digest": {"type": ["string", "null"]},
            },
        },
        **{name: {"type": ["object", "null"]} for name in ("all", "long", "short")},
        "drawdowns": {"type": ["array", "null"], "items": DRAWDOWN},
        "missing": {"type": ["string", "null"]},
    },
}
RUN_EXAMPLE: Final[dict[str, Any]] = {
    "run_id": 7,
    "strategy_id": 1,
    "strategy_name": "sma cross",
    "strategy_key": "sma_cross",
    "symbol": "EURUSD",
    "timeframe": "H1",
    "start_date": "2017-01-02T00:00:00Z",
    "end_date": "2017-02-01T00:00:00Z",
    "status": "pending",
    "progress_pct": 0,
    "created_at": "2026-01-05T10:00:00Z",
}
