"""`/v1/strategies`: the rows that requests name; `/v1/strategy-keys`: the code that rows name."""

from dataclasses import asdict
from typing import Annotated, Any, Final

from fastapi import APIRouter
from fastapi import Query as FromQuery
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from consumer.adapters.http.api.answers import REVALIDATE, has_tag, json_response, tag_of_row
from consumer.adapters.http.api.bodies import MERGE_PATCH, object_schema, read_object
from consumer.adapters.http.api.documents import answered, listed, problems
from consumer.adapters.http.api.links import link
from consumer.adapters.http.api.listing import read_cursor, write_cursor
from consumer.adapters.http.api.merge_patch import merge_patch
from consumer.adapters.http.api.problems import Problem, not_found, refused
from consumer.adapters.http.api.queries import NO_QUERY, ListQuery, PathId, Query, Words
from consumer.adapters.http.api.request_schemas import (
    PATCH_EXAMPLE,
    STRATEGY_EXAMPLE,
    STRATEGY_PATCH_SCHEMA,
    STRATEGY_SCHEMA,
)
from consumer.adapters.http.api.services import Services, ServicesNow
from consumer.errors import RowChanged
from consumer.ports.history import Row
from consumer.ports.removal import NeedsConfirmation, Removed
from consumer.requests.strategy_rows import add_strategy, edit_strategy
from consumer.rules.strategy_rows import shown_row
from schemas.problems import INVALID_REQUEST, FieldProblem
from schemas.strategy_row import StrategyRowGiven

router = APIRouter(prefix="/v1/strategies", tags=["strategies"])
keys = APIRouter(prefix="/v1/strategy-keys", tags=["strategies"])

TRIES: Final = 5
"""Of a change without If-Match, against others' changes of the same row."""
ROW: Final[dict[str, Any]] = {
    "title": "Strategy",
    "type": "object",
    "required": ["id", "strategy_id", "name"],
    "properties": {
        "id": {"type": "integer"},
        "strategy_id": {"type": "integer", "description": "The same, by the name that requests and events have."},
        **{name: {} for name in StrategyRowGiven.model_fields},
        "created_at": {"type": ["string", "null"], "format": "date-time"},
    },
}
KEY: Final[dict[str, Any]] = {
    "title": "StrategyKey",
    "type": "object",
    "required": ["key", "package", "version", "kind", "docstring", "params", "trouble"],
    "properties": {
        "key": {"type": "string"},
        "package": {"type": "string"},
        "version": {"type": ["string", "null"]},
        "kind": {"enum": ["decide_all", "decide", None]},
        "docstring": {"type": "string"},
        "params": {"type": ["object", "null"], "description": "JSON Schema of its parameters."},
        "trouble": {"type": ["string", "null"], "description": "Why it cannot be had."},
    },
}
IF_MATCH: Final[dict[str, Any]] = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": "`ETag` of the row as it was read: nothing is changed where it is another one by now.",
    "schema": {"type": "string"},
}


class RowsQuery(ListQuery):
    """Which rows."""

    q: Annotated[Words, Field(description="Words, each in name or strategy_key.")] = ""


class DeleteQuery(Query):
    """How much goes with it."""

    confirm: Annotated[int, Field(ge=0, le=2**31 - 1, description="Runs and searches that go with it.")] = 0


@router.get("", responses={**answered("Rows.", listed(ROW)), **problems()})
async def list_strategies(services: ServicesNow, query: Annotated[RowsQuery, FromQuery()]) -> Response:
    """Rows of strategies, by id."""
    bound = query.model_dump(exclude={"limit", "cursor"})
    (behind,) = read_cursor("strategies", bound, query.cursor) if query.cursor is not None else (0,)
    words = query.q.lower().split()
    found = [
        row
        for row in await services.history.strategies()
        if row["id"] > behind and all(word in f"{row['name']} {row['strategy_key'] or ''}".lower() for word in words)
    ]
    rows = found[: query.limit]
    cursor = write_cursor("strategies", bound, (rows[-1]["id"],)) if len(found) > len(rows) else None
    return json_response({"items": [_shown(row) for row in rows], "next_cursor": cursor})


@router.post(
    "",
    status_code=201,
    dependencies=[NO_QUERY],
    openapi_extra=object_schema(STRATEGY_SCHEMA, STRATEGY_EXAMPLE),
    responses={**answered("It is there.", ROW, status=201), **problems(400, 403, 409, 413, 415)},
)
async def post_strategy(services: ServicesNow, request: Request) -> Response:
    """Add a row, held to what a request for it would be held to."""
    given = await _object(request)
    strategy_id = await add_strategy(services.strategy_rows, given, services.row_judge)
    row = await _row_of(services, strategy_id)
    headers = {"Location": link(request, f"/v1/strategies/{strategy_id}"), "ETag": tag_of_row(row)}
    return json_response(_shown(row), 201, headers)


@router.get("/{strategy_id}", dependencies=[NO_QUERY], responses={**answered("The row.", ROW), **problems(404)})
async def get_strategy(services: ServicesNow, request: Request, strategy_id: PathId) -> Response:
    """One row. Its `ETag` is what a change may be bound to."""
    row = await _row_of(services, strategy_id)
    headers = {"ETag": tag_of_row(row), "Cache-Control": REVALIDATE}
    if has_tag(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return json_response(_shown(row), headers=headers)


@router.patch(
    "/{strategy_id}",
    dependencies=[NO_QUERY],
    openapi_extra={**object_schema(STRATEGY_PATCH_SCHEMA, PATCH_EXAMPLE), "parameters": [IF_MATCH]},
    responses={**answered("As it is now.", ROW), **problems(400, 403, 404, 409, 412, 413, 415)},
)
async def patch_strategy(services: ServicesNow, request: Request, strategy_id: PathId) -> Response:
    """Change a row by a merge patch (RFC 7396): null sets a column back. Runs accepted before keep it as it was."""
    patch = await _object(request, MERGE_PATCH)
    for _ in range(TRIES):
        row = await _row_of(services, strategy_id)
        if "if-match" in request.headers and not has_tag(request, tag_of_row(row), "if-match"):
            raise Problem(412, "precondition_failed", f"strategy {strategy_id} has changed since")
        try:
            await edit_strategy(
                services.history, services.strategy_rows, strategy_id, _changes(row, patch), services.row_judge, row
            )
        except RowChanged:
            continue
        changed = await _row_of(services, strategy_id)
        return json_response(_shown(changed), headers={"ETag": tag_of_row(changed)})
    raise Problem(409, "conflict", f"strategy {strategy_id} is being changed by others all the time")


@router.delete(
    "/{strategy_id}",
    status_code=204,
    responses={204: {"description": "It is gone."}, **problems(403, 404, 409)},
)
async def delete_strategy(
    services: ServicesNow, strategy_id: PathId, query: Annotated[DeleteQuery, FromQuery()]
) -> Response:
    """Delete a row with its runs and searches, whose number has to be confirmed; those at work are cancelled."""
    match await services.removal.remove_strategy(strategy_id, query.confirm):
        case None:
            raise not_found(f"strategy {strategy_id}")
        case NeedsConfirmation(runs, searches):
            raise Problem(
                409,
                "confirm",
                f"{runs} runs and {searches} optimisations would go with strategy {strategy_id}:"
                f" say confirm={runs + searches}",
                more={"confirm": runs + searches, "runs": runs, "optimizations": searches},
            )
        case Removed():
            return Response(status_code=204)


@keys.get("", responses={**answered("Strategies.", listed(KEY)), **problems()})
async def list_keys(services: ServicesNow, query: Annotated[ListQuery, FromQuery()]) -> Response:
    """Registered strategies by key, each with the JSON Schema of its parameters."""
    (behind,) = read_cursor("strategy-keys", {}, query.cursor) if query.cursor is not None else ("",)
    found = [key for key in sorted(services.catalogue.registered()) if key > behind]
    shown = await services.catalogue.describe(found[: query.limit])
    cursor = write_cursor("strategy-keys", {}, (shown[-1].key,)) if len(found) > query.limit else None
    return json_response({"items": [asdict(each) for each in shown], "next_cursor": cursor})


@keys.get("/{key}", dependencies=[NO_QUERY], responses={**answered("It.", KEY), **problems(404)})
async def get_key(services: ServicesNow, key: str) -> Response:
    """One registered strategy: what it says of itself, and what parameters it takes."""
    found = await services.catalogue.describe([key]) if key in services.catalogue.registered() else ()
    if not found:
        raise not_found(f"registered strategy {key[:100]!r}")
    return json_response(asdict(found[0]))


async def _object(request: Request, media_types: "frozenset[str] | None" = None) -> dict[str, Any]:
    """The body. Raises Problem, also for a key that stands twice."""
    decoded = await (read_object(request) if media_types is None else read_object(request, media_types=media_types))
    twice = [FieldProblem(key, INVALID_REQUEST, "stands more than once in its object") for key in decoded.repeated_keys]
    if twice:
        raise refused(twice)
    found: dict[str, Any] = decoded.value
    return found


async def _row_of(services: Services, strategy_id: int) -> Row:
    row = await services.history.strategy(strategy_id)
    if row is None:
        raise not_found(f"strategy {strategy_id}")
    return row


def _shown(row: Row) -> dict[str, Any]:
    return {"id": row["id"], "strategy_id": row["id"], **shown_row(row)}


def _changes(row: Row, patch: dict[str, Any]) -> dict[str, Any]:
    """The columns that the patch changes, whole. A column that is taken away has its default again."""
    merged = merge_patch(shown_row(row), patch)
    return {name: merged[name] if name in merged else _default(name) for name in patch}


def _default(name: str) -> Any:
    field = StrategyRowGiven.model_fields.get(name)
    return None if field is None or field.is_required() else field.get_default(call_default_factory=True)
