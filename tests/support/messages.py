"""Records as producers send them, decoded as intake does it; each test overrides one thing."""

import json
from itertools import count
from typing import Any

from consumer.adapters.files.instruments import read_instruments
from consumer.adapters.memory.tables import ManualClock
from consumer.decoding import decode
from consumer.ports import (
    Admitted,
    CancelToRecord,
    Claim,
    Record,
    Refused,
    RequestToRecord,
    RunRow,
    StrategyCheck,
    StrategyRow,
    Unchecked,
    Verdict,
)
from consumer.ports.outcomes import Completed
from consumer.ports.searches import SearchAdmitted, SearchRefused, SearchRow, SearchToRecord, SearchUnchecked
from consumer.preparation.strategy_verdict import verdict_of
from consumer.rules.admission import Admission
from consumer.rules.events import EventRenderer
from consumer.rules.search_admission import SearchAdmission
from consumer.rules.search_events import SearchEventRenderer
from schemas.optimization_requested import OptimizationRequested
from schemas.problems import FieldProblem
from schemas.requested import BacktestRequested
from schemas.topics import Topic

_offsets = count()

ADMISSION = Admission(read_instruments(None), "USD")
SEARCH_ADMISSION = SearchAdmission(ADMISSION, 1_000_000)


class AskedInPlace(dict[StrategyCheck, Verdict]):
    """Verdicts for any check, of strategies that need no process of their own."""

    def get(self, check: StrategyCheck, default: object = None) -> Verdict:
        return self.setdefault(check, verdict_of(check))


def ADMIT(  # noqa: N802  # stands for a constant: admission with strategies' code asked in place
    request: BacktestRequested, strategy: StrategyRow | None, run: RunRow | None, problems: tuple[FieldProblem, ...]
) -> Admitted | Refused:
    decision = ADMISSION(request, strategy, run, problems, AskedInPlace())
    assert not isinstance(decision, Unchecked)
    return decision


STRATEGY: dict[str, Any] = {"strategy_key": "sma_cross", "primary_tf": "H1"}


def event_writer(clock: ManualClock | None = None) -> EventRenderer:
    return EventRenderer("backtest-consumer/test", clock or ManualClock())


def search_event_writer(clock: ManualClock | None = None) -> SearchEventRenderer:
    return SearchEventRenderer("backtest-consumer/test", clock or ManualClock())


def ADMIT_SEARCH(  # noqa: N802  # stands for a constant, as ADMIT
    request: OptimizationRequested,
    strategy: StrategyRow | None,
    row: SearchRow | None,
    problems: tuple[FieldProblem, ...],
) -> SearchAdmitted | SearchRefused:
    decision = SEARCH_ADMISSION(request, strategy, row, problems, AskedInPlace())
    assert not isinstance(decision, SearchUnchecked)
    return decision


def search_record(request_id: str | None = "search-1", *, source: str = "upstream", **data: Any) -> Record:
    """An optimization.requested event; without strategy, symbol, range and space where `optimization_id` is given."""
    full = {
        "strategy_id": 1,
        "symbol": "EURUSD",
        "start_date": "2024-01-01T00:00:00Z",
        "end_date": "2024-02-01T00:00:00Z",
        "param_grid": {"fast": [5, 10], "slow": {"from": 20, "to": 40, "step": 10}},
    }
    content = data if data.get("optimization_id") is not None else {**full, **data}
    return event_record(Topic.OPTIMIZATION_REQUESTED, request_id or "event", source, content)


def search(request_id: str = "search-1", *, source: str = "upstream", **data: Any) -> SearchToRecord:
    decoded = decode(search_record(request_id, source=source, **data), event_writer())
    assert isinstance(decoded, SearchToRecord)
    return decoded


def search_cancel(**data: Any) -> CancelToRecord:
    decoded = decode(event_record(Topic.OPTIMIZATION_CANCEL_REQUESTED, "cancel", "upstream", data), event_writer())
    assert isinstance(decoded, CancelToRecord)
    return decoded


def requested_record(request_id: str | None = "request-1", *, source: str = "upstream", **data: Any) -> Record:
    """A backtest.requested event; without strategy, symbol and range where `run_id` is given."""
    full = {
        "strategy_id": 1,
        "symbol": "EURUSD",
        "start_date": "2024-01-01T00:00:00Z",
        "end_date": "2024-02-01T00:00:00Z",
    }
    content = data if data.get("run_id") is not None else {**full, **data}
    return event_record(Topic.REQUESTED, request_id or "event", source, content)


def cancel_record(source: str = "upstream", **data: Any) -> Record:
    return event_record(Topic.CANCEL_REQUESTED, "cancel", source, data)


def event_record(topic: Topic, event_id: str, source: str, data: dict[str, Any]) -> Record:
    event = {"specversion": "1.0", "id": event_id, "source": source, "type": str(topic), "data": data}
    return raw_record(json.dumps(event).encode(), topic=topic)


def raw_record(value: bytes | None, *, topic: Topic = Topic.REQUESTED, key: bytes | None = b"key") -> Record:
    return Record(str(topic), 0, next(_offsets), key, value)


def requested(request_id: str = "request-1", *, source: str = "upstream", **data: Any) -> RequestToRecord:
    decoded = decode(requested_record(request_id, source=source, **data), event_writer())
    assert isinstance(decoded, RequestToRecord)
    return decoded


def cancel(**data: Any) -> CancelToRecord:
    decoded = decode(cancel_record(**data), event_writer())
    assert isinstance(decoded, CancelToRecord)
    return decoded


def completed(claim: Claim, trades: int = 2, **changes: Any) -> Completed:
    """A result with that many trades of one row each."""
    fields: dict[str, Any] = {
        "columns": {"total_trades": trades, "win_rate": 0.5, "profit_factor": None, "total_return_pct": 1.25},
        "metrics": {"total_trades": trades, "win_rate": 0.5},
        "trades_csv": b"".join(trade_row(claim.run_id, number) for number in range(1, trades + 1)),
        "trade_count": trades,
        "data_file_path": "/artifacts/bars/ab.csv",
        "artifacts": {"trades": f"/artifacts/runs/{claim.run_id}/{claim.epoch}/trades.csv"},
        "result_digest": "ab" * 32,
        "engine_version": "1",
        "strategy_version": "cd" * 32,
        "warnings": (),
        "duration_seconds": 0.25,
    }
    return Completed(**{**fields, **changes})


def trade_row(run_id: int, position_id: int) -> bytes:
    return (
        f"{run_id},{position_id},EURUSD,BUY,2024-01-02T00:00:00Z,2024-01-02T05:00:00Z,1.1,1.2,0.1,1000.0,0.0,0.0,0.0,"
        f"11000.0,,,signal,,,rule\n"
    ).encode()


def body(value: bytes | None) -> dict[str, Any]:
    """The data of an outgoing event, with its type."""
    assert value is not None
    event = json.loads(value)
    return {**event["data"], "type": event["type"], "id": event["id"]}
