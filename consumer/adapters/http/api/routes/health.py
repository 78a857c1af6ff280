"""`/healthz`, `/readyz`, `/metrics`: for whoever watches the process."""

import asyncio
from typing import Any, Final

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import PlainTextResponse, Response

from consumer.adapters.http.api.answers import json_response
from consumer.adapters.http.api.documents import answered, problems
from consumer.adapters.http.api.queries import NO_QUERY
from consumer.adapters.http.api.services import ServicesNow
from consumer.adapters.http.server import READINESS_TIMEOUT_SECONDS, Checks

router = APIRouter(tags=["health"], dependencies=[NO_QUERY])

CHECKS: Final[dict[str, Any]] = {
    "title": "Checks",
    "type": "object",
    "required": ["status", "checks"],
    "properties": {
        "status": {"enum": ["ok", "unavailable"]},
        "checks": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}
NEEDED: Final = frozenset({"postgres", "readiness"})
"""Kafka away is told, and is no reason to send requests elsewhere: they are taken all the same."""


@router.get("/healthz", responses={**answered("The process answers.", CHECKS), **problems()})
async def healthz() -> Response:
    """Whether the process answers at all."""
    return json_response({"status": "ok", "checks": {}})


@router.get("/readyz", responses={**answered("It can do its work.", CHECKS), **problems()})
async def readyz(services: ServicesNow) -> Response:
    """Whether Postgres answers, and what is the matter with Kafka, whose absence stops nothing here."""
    checks: Checks
    try:
        async with asyncio.timeout(READINESS_TIMEOUT_SECONDS):
            checks = await services.readiness()
    except TimeoutError:
        checks = {"readiness": f"no answer within {READINESS_TIMEOUT_SECONDS:g} s"}
    well = all(trouble is None for name, trouble in checks.items() if name in NEEDED)
    told = {name: trouble or "ok" for name, trouble in checks.items()}
    headers = {} if well else {"Retry-After": "2"}
    return json_response({"status": "ok" if well else "unavailable", "checks": told}, 200 if well else 503, headers)


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses={200: {"description": "For Prometheus.", "content": {"text/plain": {}}}, **problems()},
)
async def metrics(services: ServicesNow) -> Response:
    """Figures of this process, for Prometheus."""
    return Response(generate_latest(services.registry), media_type=CONTENT_TYPE_LATEST)
