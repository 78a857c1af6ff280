"""What a request that cannot be answered is told: RFC 9457 problems, always with `code` and `details`."""

import math
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from consumer.errors import NameTaken, NotThere, StartFailed, Unavailable
from schemas.json_text import shown_key
from schemas.problems import INVALID_REQUEST, REJECTION_CODES, FieldProblem, InvalidRequestError, bounded, summarise

log = structlog.get_logger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_SECONDS: Final = 2
BETWEEN_NAMES: Final = "between_names"
"""Type of an error of a query's model that stands between its names: its context has `name` and `message`."""


class Problem(Exception):
    """Ends a request with a status, a code for programs and words for people."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        details: Sequence[FieldProblem] = (),
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail
        self.details, self.headers, self.more = tuple(details), dict(headers or {}), dict(more or {})


def not_found(what: str) -> Problem:
    """what: as "run 7"."""
    return Problem(404, "not_found", f"there is no {what}")


def refused(problems: Sequence[FieldProblem]) -> Problem:
    """A body or a query that is not taken: every field at fault, in the words of `error.details` of a rejection."""
    told = bounded(tuple(problems))
    return Problem(422, code_of(told), summarise(told), told)


def refused_field(field: str, message: str, code: str = INVALID_REQUEST) -> Problem:
    """One field, or one name of the query, at fault. message: reads on after the name."""
    return refused([FieldProblem(field, code, message)])


def unavailable(detail: str) -> Problem:
    """A server that is away, and nothing is half done."""
    return Problem(503, "unavailable", detail, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


def code_of(problems: Iterable[FieldProblem]) -> str:
    """The first code in the order of rejections; one that those do not have stands behind them all."""
    order = {code: place for place, code in enumerate(REJECTION_CODES)}
    return min((problem.code for problem in problems), key=lambda code: order.get(code, math.inf))


def respond(problem: Problem) -> Response:
    content = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
        "details": [{"field": each.field, "code": each.code, "message": each.message} for each in problem.details],
        **problem.more,
    }
    headers = {"Cache-Control": "no-store", **problem.headers}
    return JSONResponse(content, problem.status, headers=headers, media_type=MEDIA_TYPE)


def handle_problems(app: FastAPI) -> None:
    """Let every exception of a route end as a problem."""

    async def own(_request: Request, error: Problem) -> Response:
        return respond(error)

    async def not_valid(_request: Request, error: InvalidRequestError) -> Response:
        return respond(refused(error.problems))

    async def not_there(_request: Request, error: NotThere) -> Response:
        return respond(Problem(404, "not_found", str(error)))

    async def name_taken(_request: Request, error: NameTaken) -> Response:
        return respond(Problem(409, "name_taken", str(error), [FieldProblem("name", "name_taken", "is taken")]))

    async def away(request: Request, error: Unavailable | StartFailed) -> Response:
        log.warning("answered_unavailable", method=request.method, path=request.url.path, error=str(error))
        return respond(unavailable(str(error)))

    for kind, handler in {
        Problem: own,
        InvalidRequestError: not_valid,
        NotThere: not_there,
        NameTaken: name_taken,
        Unavailable: away,
        StartFailed: away,
        RequestValidationError: _invalid,
        HTTPException: _of_router,
    }.items():
        app.add_exception_handler(kind, handler)  # type: ignore[arg-type]  # each takes its own kind


async def _invalid(_request: Request, error: RequestValidationError) -> Response:
    """FastAPI's word on path and query. What a path cannot name is not there."""
    found: list[FieldProblem] = []
    for each in error.errors():
        kind, *names = each["loc"]
        if kind == "path":
            return respond(Problem(404, "not_found", f"there is nothing named {str(each.get('input'))[:80]!r} here"))
        limits = each.get("ctx", {})
        if each["type"] == BETWEEN_NAMES:
            found.append(FieldProblem(limits["name"], INVALID_REQUEST, limits["message"]))
        else:
            found.append(FieldProblem(shown_key(names[0]) if names else str(kind), INVALID_REQUEST, _wording(each)))
    return respond(refused(found))


def _wording(each: Mapping[str, Any]) -> str:
    """An error of pydantic on one name of a query, as the house says it: it reads on after the name."""
    limits = each.get("ctx", {})
    match each["type"]:
        case "literal_error":
            return f"must be one of {str(limits['expected']).replace(' or ', ', ').replace(chr(39), '')}"
        case known if known in _TOLD:
            return _TOLD[known].format(**limits)
        case _:
            message = str(each["msg"]).removeprefix("Value error, ")
            return f"{message[:1].lower()}{message[1:]}"


_TOLD: Final = {
    "extra_forbidden": "is not a known name of this query",
    "missing": "is required",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number of fewer digits",
    "bool_parsing": "must be true or false",
    "string_too_long": "must have at most {max_length} characters",
}


async def _of_router(request: Request, error: HTTPException) -> Response:
    """What the router says by itself: 404, and 405, to which it knows one route's methods only."""
    if error.status_code != 405:
        words = {404: f"there is no {request.url.path[:200]}"}
        detail = words.get(error.status_code, str(error.detail))
        code = {404: "not_found", 400: "undecodable"}.get(error.status_code, "http")
        return respond(Problem(error.status_code, code, detail, headers=error.headers))
    allowed = {"Allow": ", ".join(_methods_of_path(request))}
    return respond(Problem(405, "method_not_allowed", f"{request.method[:20]} is not for this path", headers=allowed))


def _methods_of_path(request: Request) -> list[str]:
    """Asked of all routes, since several may share the path."""
    found = [
        method
        for method in ("DELETE", "GET", "PATCH", "POST", "PUT")
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.routes)
    ]
    return sorted([*found, "HEAD"]) if "GET" in found else found
