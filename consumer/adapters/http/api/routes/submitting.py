"""`/v1/backtest`: asking for runs, asking again, and asking for their end."""

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from consumer.adapters.http.api.answers import ENDED, json_response
from consumer.adapters.http.api.bodies import object_schema, read_object
from consumer.adapters.http.api.documents import answered, problems
from consumer.adapters.http.api.links import run_links
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
    ACCEPTED_RUN,
    CANCEL_EXAMPLE,
    CANCEL_SCHEMA,
    REQUEST_EXAMPLE,
    REQUEST_SCHEMA,
    RERUN_EXAMPLE,
    RERUN_SCHEMA,
)
from consumer.adapters.http.api.routes.backtests import run_of
from consumer.adapters.http.api.services import Services, ServicesNow
from consumer.decoding import read_request
from consumer.ports.posting import Taken
from consumer.ports.removal import Removed, StillActive
from consumer.requests.overlaying import repeated_with
from engine.errors import InputRefused
from schemas.cancel_requested import parse_cancel_requested
from schemas.problems import INVALID_REQUEST, FieldProblem

router = APIRouter(prefix="/v1/backtest", tags=["backtest"], dependencies=[NO_QUERY])


@router.post(
    "",
    status_code=202,
    openapi_extra={**object_schema(REQUEST_SCHEMA, REQUEST_EXAMPLE), "parameters": [IDEMPOTENCY_KEY]},
    responses={**answered("It is durable.", ACCEPTED_RUN, status=202), **problems(400, 403, 409, 413, 415)},
)
async def post_run(services: ServicesNow, request: Request) -> Response:
    """Ask for a backtest. The answer comes once the request is durable, with its run; workers take it from there."""
    decoded = await read_object(request)
    return await _submit(services, request, decoded.value, decoded.repeated_keys)


@router.post(
    "/{run_id}/rerun",
    status_code=202,
    openapi_extra={
        **object_schema(RERUN_SCHEMA, RERUN_EXAMPLE, required=False),
        "parameters": [IDEMPOTENCY_KEY],
    },
    responses={**answered("It is durable.", ACCEPTED_RUN, status=202), **problems(400, 403, 404, 409, 413, 415)},
)
async def rerun(services: ServicesNow, request: Request, run_id: PathId) -> Response:
    """Ask for a run as this one was, the fields of the body over it, with the strategy as it is now; the best run of a
    search with the parameters that made it the best.
    """
    decoded = await read_object(request, may_be_empty=True)
    await run_of(services, run_id)
    try:
        data = await repeated_with(services.history, run_id, decoded.value)
    except InputRefused as error:
        raise Problem(422, INVALID_REQUEST, str(error)) from error
    return await _submit(services, request, data, decoded.repeated_keys)


@router.post(
    "/{run_id}/cancel",
    status_code=202,
    openapi_extra=object_schema(CANCEL_SCHEMA, CANCEL_EXAMPLE, required=False),
    responses={
        **answered("The wish is durable.", ACCEPTED_RUN, status=202),
        **problems(400, 403, 404, 409, 413, 415),
    },
)
async def cancel(services: ServicesNow, request: Request, run_id: PathId) -> Response:
    """Ask for the end of a run. Durable when it is answered, also while Kafka is away."""
    decoded = await read_object(request, may_be_empty=True)
    refuse_targets(decoded.value)
    reason = parse_cancel_requested({**decoded.value, "run_id": run_id}, decoded.repeated_keys).reason
    run = await run_of(services, run_id)
    if run["status"] in ENDED:
        raise Problem(
            409, "run_ended", f"run {run_id} has ended: it is {run['status']}", more={"run_status": run["status"]}
        )
    await services.submission.cancel_run(run_id, reason)
    after = await services.history.run(run_id) or run
    content = {
        "run_id": run_id,
        "request_id": run["request_id"],
        "status": after["status"],
        "links": run_links(request, run_id),
    }
    return json_response(content, 202)


@router.delete(
    "/{run_id}",
    status_code=204,
    responses={204: {"description": "It is gone."}, **problems(403, 404, 409)},
)
async def delete_run(services: ServicesNow, run_id: PathId) -> Response:
    """Delete a run that has ended, with its trades. Its request stays remembered."""
    match await services.removal.remove_run(run_id):
        case None:
            raise not_found(f"run {run_id}")
        case StillActive(status):
            raise Problem(409, "run_active", f"run {run_id} is {status}: cancel it first", more={"run_status": status})
        case Removed():
            return Response(status_code=204)


async def _submit(
    services: Services, request: Request, data: dict[str, Any], repeated_keys: tuple[str, ...]
) -> Response:
    request_id, wrong = request_id_of(request, data)
    if data.get("run_id") is not None:
        wrong.append(FieldProblem("run_id", INVALID_REQUEST, NOT_TAKEN))
    given = {name: value for name, value in data.items() if name != "run_id"}
    asked = read_request(given, repeated_keys, request_id, source_of(request), more=wrong)
    check_size(asked)
    answer = await services.submission.submit(asked)
    links = run_links(request, answer.number) if isinstance(answer, Taken) else None
    return accepted(request, answer, request_id, "run_id", links)
