"""`/v1/optimization`: asking for searches, and for their end."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from consumer.adapters.http.api.answers import ENDED, json_response
from consumer.adapters.http.api.bodies import object_schema, read_object
from consumer.adapters.http.api.documents import answered, problems
from consumer.adapters.http.api.links import search_links
from consumer.adapters.http.api.posting import (
    IDEMPOTENCY_KEY,
    NOT_TAKEN,
    accepted,
    check_size,
    refuse_targets,
    request_id_of,
    source_of,
)
from consumer.adapters.http.api.problems import Problem, not_found
from consumer.adapters.http.api.queries import NO_QUERY, PathId
from consumer.adapters.http.api.request_schemas import (
    ACCEPTED_SEARCH,
    CANCEL_EXAMPLE,
    CANCEL_SCHEMA,
    SEARCH_EXAMPLE,
    SEARCH_SCHEMA,
)
from consumer.adapters.http.api.routes.optimizations import search_of
from consumer.adapters.http.api.services import ServicesNow
from consumer.decoding import read_search
from consumer.ports.posting import Taken
from consumer.ports.removal import Removed, StillActive
from schemas.optimization_cancel_requested import parse_optimization_cancel_requested
from schemas.problems import INVALID_REQUEST, FieldProblem

router = APIRouter(prefix="/v1/optimization", tags=["optimization"], dependencies=[NO_QUERY])


@router.post(
    "",
    status_code=202,
    openapi_extra={**object_schema(SEARCH_SCHEMA, SEARCH_EXAMPLE), "parameters": [IDEMPOTENCY_KEY]},
    responses={**answered("It is durable.", ACCEPTED_SEARCH, status=202), **problems(400, 403, 409, 413, 415)},
)
async def post_search(services: ServicesNow, request: Request) -> Response:
    """Ask for a search of parameters. The answer comes once the request is durable, with its search."""
    decoded = await read_object(request)
    data = decoded.value
    request_id, wrong = request_id_of(request, data)
    if data.get("optimization_id") is not None:
        wrong.append(FieldProblem("optimization_id", INVALID_REQUEST, NOT_TAKEN))
    given = {name: value for name, value in data.items() if name != "optimization_id"}
    asked = read_search(given, decoded.repeated_keys, request_id, source_of(request), more=wrong)
    check_size(asked)
    answer = await services.submission.submit_search(asked)
    links = search_links(request, answer.number) if isinstance(answer, Taken) else None
    return accepted(request, answer, request_id, "optimization_id", links)


@router.post(
    "/{optimization_id}/cancel",
    status_code=202,
    openapi_extra=object_schema(CANCEL_SCHEMA, CANCEL_EXAMPLE, required=False),
    responses={
        **answered("The wish is durable.", ACCEPTED_SEARCH, status=202),
        **problems(400, 403, 404, 409, 413, 415),
    },
)
async def cancel_search(services: ServicesNow, request: Request, optimization_id: PathId) -> Response:
    """Ask for the end of a search. Durable when it is answered, also while Kafka is away."""
    decoded = await read_object(request, may_be_empty=True)
    refuse_targets(decoded.value)
    target = {**decoded.value, "optimization_id": optimization_id}
    reason = parse_optimization_cancel_requested(target, decoded.repeated_keys).reason
    search = await search_of(services, optimization_id)
    if (status := search["status"]) in ENDED:
        raise Problem(
            409, "run_ended", f"optimization {optimization_id} has ended: it is {status}", more={"run_status": status}
        )
    await services.submission.cancel_search(optimization_id, reason)
    after = await services.searches.search(optimization_id) or search
    content = {
        "optimization_id": optimization_id,
        "request_id": search["request_id"],
        "status": after["status"],
        "links": search_links(request, optimization_id),
    }
    return json_response(content, 202)


@router.delete(
    "/{optimization_id}",
    status_code=204,
    responses={204: {"description": "It is gone."}, **problems(403, 404, 409)},
)
async def delete_search(services: ServicesNow, optimization_id: PathId) -> Response:
    """Delete a search that has ended; its best run stays, and its request is remembered."""
    match await services.removal.remove_search(optimization_id):
        case None:
            raise not_found(f"optimization {optimization_id}")
        case StillActive(status):
            detail = f"optimization {optimization_id} is {status}: cancel it first"
            raise Problem(409, "run_active", detail, more={"run_status": status})
        case Removed():
            return Response(status_code=204)
