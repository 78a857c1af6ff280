"""What POSTs that make something durable have in common: whose request it is, its id, and the answer."""

import os
import re
import time
from typing import Any, Final
from uuid import UUID

import structlog
from starlette.requests import Request
from starlette.responses import Response

from consumer.adapters.http.api.answers import json_response
from consumer.adapters.http.api.problems import Problem, refused
from consumer.ports import Refused, RequestToRecord
from consumer.ports.posting import Conflict, Taken
from consumer.ports.searches import SearchToRecord
from consumer.submission import Answer
from schemas.envelope import MAX_VALUE_BYTES
from schemas.json_text import shown_key, why_unusable_text
from schemas.problems import INVALID_REQUEST, FieldProblem

log = structlog.get_logger(__name__)

NOT_TAKEN: Final = "is made by the service, and not taken here"
SOURCE: Final = "backtest-api"
ENVELOPE_BYTES: Final = 8_192
"""For all of an event but its data."""
IDEMPOTENCY_KEY: Final[dict[str, Any]] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The request's id, with or without quotes: the same key and body again is the same request.",
    "schema": {"type": "string", "pattern": "^[!#-~]([ -~]{0,253}[!#-~])?$", "maxLength": 255},
}
"""Of the OpenAPI document."""


def source_of(request: Request) -> str:
    """The source of events: which API, and whose token."""
    caller = request.state.caller
    return f"{SOURCE}/{caller}" if caller else SOURCE


def request_id_of(request: Request, data: dict[str, Any]) -> tuple[str, list[FieldProblem]]:
    """The request's id, by header, body or made now (UUIDv7); and what is wrong with header and body together."""
    keys = request.headers.getlist("idempotency-key")
    given = data.get("request_id")
    if not keys:
        usable = isinstance(given, str) and 0 < len(given) <= 255 and why_unusable_text(given) is None
        return (str(given) if usable else str(uuid7()), [])
    key = _unquoted(keys[0].strip())
    if len(keys) > 1 or not 0 < len(key) <= 255 or why_unusable_text(key) is not None:
        problem = FieldProblem("request_id", INVALID_REQUEST, "must be one Idempotency-Key of 1 to 255 characters")
        return str(uuid7()), [problem]
    if given is not None and given != key:
        # Neither is the request's: what is known of either must not answer for it.
        problem = FieldProblem("request_id", INVALID_REQUEST, "must equal the Idempotency-Key where both are given")
        return str(uuid7()), [problem]
    return key, []


def _unquoted(key: str) -> str:
    """Without quotes, where it stands in them (RFC 8941)."""
    if len(key) >= 2 and key[0] == key[-1] == '"':
        return re.sub(r'\\(["\\])', r"\1", key[1:-1])
    return key


def uuid7() -> UUID:
    """Time in milliseconds, then random: ids made one after the other stand together in an index."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & (2**48 - 1)) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    return UUID(int=value & ~(0x3 << 62) | 0x2 << 62)


def check_size(decoded: RequestToRecord | SearchToRecord) -> None:
    """What is taken has to fit into one record. Raises Problem (413)."""
    if len(decoded.data) > MAX_VALUE_BYTES - ENVELOPE_BYTES:
        raise Problem(413, "too_large", f"as a record it would be longer than {MAX_VALUE_BYTES} bytes")


def accepted(
    request: Request, answer: Answer, request_id: str, what: str, links: "dict[str, str] | None" = None
) -> Response:
    """The answer to a POST: the same for each repeat. what: run_id or optimization_id. Raises Problem."""
    outcome = type(answer).__name__.lower()
    log.info("request_answered", request_id=request_id, outcome=outcome, caller=request.state.caller)
    match answer:
        case Taken(number, is_repeat):
            content = {what: number, "request_id": request_id, "status": "pending", "links": links or {}}
            headers = {"Location": (links or {})["self"]}
            if is_repeat:
                headers["Idempotency-Replayed"] = "true"
            return json_response(content, 202, headers)
        case Refused(problems):
            raise refused(problems)
        case Conflict():
            raise Problem(
                409,
                "conflict",
                f"request_id {request_id!r} was used before, with other content",
                [FieldProblem("request_id", "conflict", "was used before, with other content")],
            )


def refuse_targets(data: dict[str, Any]) -> None:
    """Of a cancel: the path names what is meant."""
    problems = [
        FieldProblem(shown_key(name), INVALID_REQUEST, "is not a known field")
        for name in data
        if name in {"run_id", "request_id", "optimization_id"}
    ]
    if problems:
        raise refused(problems)
