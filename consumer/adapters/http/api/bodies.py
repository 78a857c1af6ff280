"""Bodies in JSON: bounded before they are read, and decoded by the same rules as a record of the topics."""

from typing import Any, Final

from starlette.requests import Request

from consumer.adapters.http.api.problems import Problem
from schemas.json_text import DecodedJson, JsonTextError, decode_json, printable

MAX_JSON_BYTES: Final = 1_048_576
JSON: Final = frozenset({"application/json"})
MERGE_PATCH: Final = frozenset({"application/json", "application/merge-patch+json"})


async def read_object(
    request: Request, *, may_be_empty: bool = False, media_types: frozenset[str] = JSON
) -> DecodedJson:
    """The body, a JSON object, with the keys that stand twice in one of its objects; numbers and text are as sent.

    may_be_empty: no body at all is an empty object. Raises Problem: 400, 413, 415.
    """
    if may_be_empty and not _has_body(request):
        return DecodedJson({}, ())
    _check_media_type(request, media_types)
    body = await read_bytes(request, MAX_JSON_BYTES)
    if may_be_empty and not body:
        return DecodedJson({}, ())
    try:
        decoded = decode_json(body.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise Problem(400, "undecodable", f"the body is not UTF-8 at byte {error.start}") from error
    except JsonTextError as error:
        raise Problem(400, "undecodable", f"the body is not JSON: {printable(str(error))}") from error
    if not isinstance(decoded.value, dict):
        raise Problem(400, "undecodable", "the body is not a JSON object")
    return decoded


async def read_bytes(request: Request, limit: int) -> bytes:
    """The whole body. Raises Problem (413) as soon as it is known to be longer, without reading on."""
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced[:20]) > limit:
        raise too_large(limit)
    read = bytearray()
    async for part in request.stream():
        read += part
        if len(read) > limit:
            raise too_large(limit)
    return bytes(read)


def too_large(limit: int) -> Problem:
    # Closed, since the rest of the body is not read.
    return Problem(413, "too_large", f"the body is longer than {limit} bytes", headers={"Connection": "close"})


def _has_body(request: Request) -> bool:
    return request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers


def _check_media_type(request: Request, media_types: frozenset[str]) -> None:
    given = request.headers.get("content-type", "")
    media_type, _, parameters = given.partition(";")
    charset = parameters.replace('"', "").strip().lower()
    if media_type.strip().lower() not in media_types or charset not in {"", "charset=utf-8"}:
        wanted = " or ".join(sorted(media_types))
        raise Problem(415, "unsupported_media_type", f"the body must be {wanted}, not {given[:80] or 'unnamed'}")
    if request.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
        raise Problem(415, "unsupported_media_type", "the body must not be encoded")


def object_schema(schema: dict[str, Any], example: dict[str, Any], *, required: bool = True) -> dict[str, Any]:
    """What a route whose body is read here says of it in the OpenAPI document."""
    content = {"application/json": {"schema": schema, "examples": {"example": {"value": example}}}}
    return {"requestBody": {"required": required, "content": content}}
