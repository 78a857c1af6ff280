"""`/v1/session`: the page signs in with a token, and has a cookie from then on."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from consumer.adapters.http.api.access import COOKIE, SESSION_SECONDS, Access
from consumer.adapters.http.api.bodies import object_schema, read_object
from consumer.adapters.http.api.documents import problems
from consumer.adapters.http.api.guard import unauthorized
from consumer.adapters.http.api.problems import refused
from consumer.adapters.http.api.queries import NO_QUERY
from schemas.json_text import shown_key
from schemas.problems import INVALID_REQUEST, FieldProblem

router = APIRouter(prefix="/v1/session", tags=["session"], dependencies=[NO_QUERY])

TOKEN = {
    "title": "SignIn",
    "type": "object",
    "required": ["token"],
    "additionalProperties": False,
    "properties": {"token": {"type": "string", "minLength": 1}},
}


@router.post(
    "",
    status_code=204,
    openapi_extra=object_schema(TOKEN, {"token": "the-token-of-yours"}),
    responses={204: {"description": "Signed in, by a cookie."}, **problems(400, 403, 413, 415)},
)
async def sign_in(request: Request) -> Response:
    """Sign in for seven days. The cookie is good at every process with the same tokens."""
    access: Access = request.app.state.access
    decoded = await read_object(request)
    wrong = [FieldProblem(key, INVALID_REQUEST, "stands more than once") for key in decoded.repeated_keys]
    wrong += [
        FieldProblem(shown_key(name), INVALID_REQUEST, "is not a known field")
        for name in decoded.value
        if name != "token"
    ]
    token = decoded.value.get("token")
    if not isinstance(token, str) or not token:
        wrong.append(FieldProblem("token", INVALID_REQUEST, "must be text, and not empty"))
    if wrong:
        raise refused(wrong)
    if access.is_open:
        return Response(status_code=204)
    name = access.name_of_token(str(token))
    if name is None:
        raise unauthorized()
    response = Response(status_code=204)
    response.set_cookie(
        COOKIE,
        access.new_session(name),
        max_age=SESSION_SECONDS,
        path=access.cookie_path,
        secure=is_behind_https(request),
        httponly=True,
        samesite="strict",
    )
    return response


@router.delete("", status_code=204, responses={204: {"description": "Signed out."}, **problems(403)})
async def sign_out(request: Request) -> Response:
    """Sign out: the cookie is taken from this browser. A copy is good until its seven days end or the token changes."""
    access: Access = request.app.state.access
    response = Response(status_code=204)
    response.delete_cookie(
        COOKIE, path=access.cookie_path, secure=is_behind_https(request), httponly=True, samesite="strict"
    )
    return response


def is_behind_https(request: Request) -> bool:
    """By the proxy's word too: who makes it up can but lose his own cookie."""
    forwarded = request.headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
    return forwarded == "https" or request.url.scheme == "https"
