"""A run's calls to language models: what was asked, what was answered, what came of it."""

from typing import Annotated, Any, Final

from fastapi import APIRouter
from fastapi import Query as FromQuery
from starlette.responses import Response

from consumer.adapters.http.api.answers import json_response
from consumer.adapters.http.api.data_services import DataNow
from consumer.adapters.http.api.documents import answered, listed, problems
from consumer.adapters.http.api.listing import read_cursor, write_cursor
from consumer.adapters.http.api.problems import not_found
from consumer.adapters.http.api.queries import ListQuery, PathId
from consumer.adapters.http.api.services import ServicesNow
from consumer.errors import NoSuchRun
from consumer.reports.model_calls import ModelCall, model_calls

router = APIRouter(prefix="/v1/backtest/{run_id}", tags=["results"])

_COLUMNS: Final = (
    "number", "bar_time", "role", "key", "model", "state", "answer", "error", "input_tokens", "output_tokens", "cost",
    "latency_ms", "asked_at",
)  # fmt: skip
_WHOLE: Final = frozenset({"number", "input_tokens", "output_tokens", "latency_ms"})
_TIMES: Final = frozenset({"bar_time", "asked_at"})


def _of_column(name: str) -> dict[str, Any]:
    if name in _TIMES:
        return {"type": "string", "format": "date-time"}
    if name in _WHOLE:
        return {"type": ["integer", "null"]}
    return {"type": ["number", "null"] if name == "cost" else ["string", "null"]}


_MESSAGE: Final = {
    "type": "object",
    "properties": {"author": {"enum": ["system", "user", "assistant"]}, "content": {"type": "string"}},
}
_DECIDED: Final = {
    "type": ["object", "null"],
    "properties": {
        "action": {"enum": ["BUY", "SELL", "CLOSE", "HOLD"]},
        "stop_loss": {"type": ["number", "null"]},
        "take_profits": {"type": "array", "items": {"type": "number"}},
        "confidence": {"type": ["number", "null"]},
        "reason": {"type": "string"},
    },
}
CALL: Final[dict[str, Any]] = {
    "title": "LlmCall",
    "type": "object",
    "required": [*_COLUMNS, "messages", "decided", "problem", "positions"],
    "properties": {
        **{name: _of_column(name) for name in _COLUMNS},
        "messages": {"type": ["array", "null"], "items": _MESSAGE},
        "decided": _DECIDED,
        "problem": {"type": "string"},
        "positions": {"type": "array", "items": {"type": "integer"}},
    },
}


@router.get("/llm-calls", responses={**answered("Calls.", listed(CALL)), **problems(404)})
async def list_calls(
    services: ServicesNow, data: DataNow, run_id: PathId, query: Annotated[ListQuery, FromQuery()]
) -> Response:
    """Calls to language models, in the order they were made; none where the rule decides alone.

    `messages` is null where what was asked is not kept any more. `positions`: opened on the decision. Answers that the
    run had for nothing, from other runs' calls, are listed with those runs.
    """
    kind = f"model calls of run {run_id}"
    [after] = read_cursor(kind, {}, query.cursor) if query.cursor is not None else (0,)
    try:
        found = await model_calls(services.history, data.messages, run_id, limit=query.limit + 1, after=after)
    except NoSuchRun:
        raise not_found(f"run {run_id}") from None
    items = found[: query.limit]
    last = items[-1].row["number"] if len(found) > len(items) else None
    response = json_response(
        {
            "items": [_shown(each) for each in items],
            "next_cursor": None if last is None else write_cursor(kind, {}, (last,)),
        }
    )
    response.headers["Cache-Control"] = "no-store"
    return response


def _shown(call: ModelCall) -> dict[str, Any]:
    decided = call.decided
    return {
        **{name: call.row[name] for name in _COLUMNS},
        "messages": call.asked,
        "decided": None
        if decided is None
        else {
            "action": decided.action,
            "stop_loss": decided.stop_loss,
            "take_profits": list(decided.take_profits),
            "confidence": decided.confidence,
            "reason": decided.reason,
        },
        "problem": call.problem,
        "positions": list(call.positions),
    }
