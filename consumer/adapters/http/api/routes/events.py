"""Event streams: what happens to a run, to a search, to all of them, as it happens."""

from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from consumer.adapters.http.api.documents import problems
from consumer.adapters.http.api.event_streams import MEDIA_TYPE, everything, has_seen_end, last_event_id, one, stream
from consumer.adapters.http.api.problems import not_found
from consumer.adapters.http.api.queries import NO_QUERY, PathId
from consumer.adapters.http.api.services import Services, ServicesNow

router = APIRouter(prefix="/v1", tags=["events"], dependencies=[NO_QUERY])

STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "Server-sent events.", "content": {MEDIA_TYPE: {"schema": {"type": "string"}}}}
}
ENDED: Final[dict[int | str, dict[str, Any]]] = {204: {"description": "The client has seen its end."}}
LAST_EVENT_ID: Final[dict[str, Any]] = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "description": "The sequence of the last event that was seen.",
    "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"},
}


class _Stream(StreamingResponse):
    """What the document says of these routes' answers: FastAPI asks for a class that can be made with a status."""

    media_type = MEDIA_TYPE


OF_ONE: Final = {**STREAM, **ENDED, **problems(404)}


@router.get("/events", response_class=_Stream, responses={**STREAM, **problems()})
async def all_events(services: ServicesNow, request: Request) -> Response:
    """All runs and optimisations: `state` of each that has not ended, then every event."""
    return stream(request, everything(services))


@router.get(
    "/backtest/{run_id}/events", openapi_extra={"parameters": [LAST_EVENT_ID]}, response_class=_Stream, responses=OF_ONE
)
async def run_events(services: ServicesNow, request: Request, run_id: PathId) -> Response:
    """One run: `state`, then its events until the last one, after which the stream ends."""
    return await _one(services, request, is_search=False, number=run_id)


@router.get(
    "/optimization/{optimization_id}/events",
    openapi_extra={"parameters": [LAST_EVENT_ID]},
    response_class=_Stream,
    responses=OF_ONE,
)
async def search_events(services: ServicesNow, request: Request, optimization_id: PathId) -> Response:
    """One optimisation: `state`, then its events until the last one, after which the stream ends."""
    return await _one(services, request, is_search=True, number=optimization_id)


async def _one(services: Services, request: Request, *, is_search: bool, number: int) -> Response:
    key = (is_search, number)
    follower = services.broadcaster.follow(key)  # before the look: no event falls between
    row = None
    try:
        row = await (services.standings.search(number) if is_search else services.standings.run(number))
    finally:
        if row is None or has_seen_end(row, last_event_id(request)):
            services.broadcaster.leave(follower)
    if row is None:
        raise not_found(f"{'optimization' if is_search else 'run'} {number}")
    if has_seen_end(row, last_event_id(request)):
        return Response(status_code=204)
    return stream(request, one(services, key, row, follower), lambda: services.broadcaster.leave(follower))
