"""Valid records and events; each test overrides one thing."""

import json
from datetime import UTC, datetime
from typing import Any

from schemas.completed import Completed
from schemas.progress import Progress
from schemas.topics import EventType

NOON = datetime(2024, 5, 6, 12, tzinfo=UTC)


def request_data(**changes: Any) -> dict[str, Any]:
    data: dict[str, Any] = {
        "strategy_id": 7,
        "symbol": "EURUSD",
        "start_date": "2024-01-01T00:00:00Z",
        "end_date": "2024-02-01T00:00:00+00:00",
    }
    return {**data, **changes}


def without(data: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name not in names}


def cloud_event(**changes: Any) -> dict[str, Any]:
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": "request-1",
        "source": "upstream",
        "type": str(EventType.REQUESTED),
        "data": request_data(),
    }
    return {**event, **changes}


def structured(**changes: Any) -> bytes:
    return json.dumps(cloud_event(**changes)).encode()


def binary_headers(**changes: bytes | None) -> list[tuple[str, bytes | None]]:
    headers: dict[str, bytes | None] = {
        "ce_specversion": b"1.0",
        "ce_id": b"request-1",
        "ce_source": b"upstream",
        "ce_type": b"backtest.requested",
        "content-type": b"application/json",
    }
    return list({**headers, **changes}.items())


def run_fields(**changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "run_id": 17,
        "request_id": "request-1",
        "strategy_id": 7,
        "symbol": "EURUSD",
        "timeframe": "H1",
        "progress_pct": 40,
        "sequence": 3,
        "attempt": 1,
    }
    return {**fields, **changes}


def progress(**changes: Any) -> Progress:
    fields: dict[str, Any] = {
        "bars_done": 40,
        "bars_total": 100,
        "simulated_time": datetime(2024, 1, 2, tzinfo=UTC),
        "equity": 10_050.25,
        "trades": 2,
        "eta_seconds": 0.75,
    }
    return Progress(**run_fields(**{**fields, **changes}))


def completed(**changes: Any) -> Completed:
    fields: dict[str, Any] = {
        "progress_pct": 100,
        "metrics": {
            "total_trades": 2,
            "win_rate": 0.5,
            "profit_factor": None,
            "null_reasons": {"profit_factor": "no losses"},
        },
        "data_file_path": "/artifacts/bars/ab.csv",
        "artifacts": {"trades": "/artifacts/runs/17/1/trades.csv"},
        "result_digest": "ab" * 32,
        "engine_version": "1",
        "duration_seconds": 0.25,
        "warnings": ["gap of 2 bars"],
    }
    return Completed(**run_fields(**{**fields, **changes}))
