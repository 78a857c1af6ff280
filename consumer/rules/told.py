"""What a follower is told of a run or a search that the tables tell of: where it stands, and how it ended.

An end is told by its event, with the event's words; where that is gone from the topics, or Kafka is away, by these.
"""

from collections.abc import Mapping
from typing import Any, Final

from schemas.cancelled import REASON_ROW

ENDED: Final = frozenset({"completed", "failed", "cancelled"})
_FACTS: Final = ("run_id", "optimization_id", "request_id", "strategy_id", "symbol", "timeframe")
_OF_RUN: Final = ("metrics", "data_file_path", "artifacts", "result_digest", "engine_version", "duration_seconds")
_OF_SEARCH: Final = (
    "best_params", "best_value", "best_run_id", "robust_params", "statistics", "results_file_path", "result_digest",
    "failed_combinations", "duration_seconds",
)  # fmt: skip


def state_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """The data of a `state`: what every event of it says."""
    return {
        **{name: row[name] for name in _FACTS if name in row},
        "progress_pct": row["progress_pct"],
        "sequence": row["sequence"],
        "attempt": row["attempt"],
        "status": row["status"],
    }


def end_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """The data of the terminal event, of a row that has ended."""
    data = state_of(row)
    match row["status"]:
        case "completed":
            names = _OF_SEARCH if "optimization_id" in row else _OF_RUN
            warnings = (row.get("metrics") or {}).get("warnings", [])
            return {**data, "progress_pct": 100, **{name: row.get(name) for name in names}, "warnings": warnings}
        case "failed":
            code, _, message = (row["error_message"] or "").partition(": ")
            return {**data, "error": {"code": code, "message": message, "details": []}}
        case _:
            return {**data, "reason": row["cancel_reason"] or REASON_ROW}
