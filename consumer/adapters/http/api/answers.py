"""Answers in JSON, and the tags of those that do not change any more."""

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from consumer.ports.history import Row
from consumer.reports.json_values import plain

ENDED: Final = frozenset({"completed", "failed", "cancelled"})
REVALIDATE: Final = "private, no-cache"


def json_response(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Moments are RFC 3339 in UTC; a number that is not finite is null."""
    text = json.dumps(plain(content), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Response(text.encode("utf-8", "replace"), status, headers, media_type="application/json")


async def answer_about(run: Row, request: Request, make: Callable[[], Awaitable[Response]], *more: object) -> Response:
    """What is said of a run: with a tag, or 304, once it has ended; not to be kept while it is at work.

    run: a row with status and what identifies its end. more: what else the answer is made of and may change. The tag
    is the same at every process.
    """
    if run["status"] not in ENDED:
        response = await make()
        response.headers["Cache-Control"] = "no-store"
        return response
    tag = tag_of(request, run["id"], run["status"], run.get("result_digest"), run.get("error_message"), *more)
    headers = {"ETag": tag, "Cache-Control": REVALIDATE}
    if has_tag(request, tag):
        return Response(status_code=304, headers=headers)
    response = await make()
    response.headers.update(headers)
    return response


def tag_of(request: Request, *parts: object) -> str:
    """A strong tag of the parts, the path and the query in any order of its names."""
    query = sorted(request.query_params.multi_items())
    text = json.dumps([request.url.path, query, [str(part) for part in parts]])
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def tag_of_row(row: Row) -> str:
    """A strong tag of a row that may change: of all its columns."""
    text = json.dumps(plain(row), sort_keys=True)
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def has_tag(request: Request, tag: str, header: str = "if-none-match") -> bool:
    """Whether the client names this tag: holds the answer already, or has seen the row as it is."""
    given = ",".join(request.headers.getlist(header))
    return any(each.strip().removeprefix("W/") in {tag, "*"} for each in given.split(","))
