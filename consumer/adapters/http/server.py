"""`/healthz`, `/readyz` and `/metrics` for whoever watches a worker; nothing of the work itself depends on them."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from consumer.errors import StartFailed

READINESS_TIMEOUT_SECONDS = 5.0
STOP_TIMEOUT_SECONDS = 1.0

Checks = Mapping[str, str | None]
"""Name of what is checked -> None where it is well, else what is wrong with it, in a line without secrets."""


@asynccontextmanager
async def http_server(
    host: str,
    port: int,
    readiness: Callable[[], Awaitable[Checks]],
    registry: CollectorRegistry,
    liveness: Callable[[], Checks] = dict,
) -> AsyncIterator[int | None]:
    """Serve on host:port until the block ends; yields the port, or None for port 0, which means off.

    /healthz: 200 while the event loop answers and `liveness` finds nothing wrong. /readyz: 200 when `readiness` finds
    nothing wrong, else 503; asked anew each time, bounded in time. Both say each check in JSON. /metrics: `registry`
    for Prometheus. Signals stay with the caller. Raises StartFailed when the address cannot be had.
    """
    if port == 0:
        yield None
        return
    listener = listen(host, port, "HTTP")
    config = uvicorn.Config(
        _application(readiness, registry, liveness),
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=1,
    )
    server = ServerWithoutSignals(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="http server")
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        server.force_exit = True  # a client that keeps its connection open must not keep us
        await asyncio.wait([serving], timeout=STOP_TIMEOUT_SECONDS)
        serving.cancel()
        await asyncio.wait([serving])
        listener.close()


def listen(host: str, port: int, setting: str) -> socket.socket:
    """Here and not in uvicorn, which ends the process when an address is taken. setting: HTTP or API, whose address it
    is. Raises StartFailed.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        where = f"BACKTEST_{setting}_HOST {host}, BACKTEST_{setting}_PORT {port}"
        raise StartFailed(f"cannot listen on {where}: {error}") from error


def _application(
    readiness: Callable[[], Awaitable[Checks]], registry: CollectorRegistry, liveness: Callable[[], Checks]
) -> Starlette:
    async def healthz(_request: Request) -> Response:
        return _answer(liveness())

    async def readyz(_request: Request) -> Response:
        try:
            async with asyncio.timeout(READINESS_TIMEOUT_SECONDS):
                return _answer(await readiness())
        except TimeoutError:
            return _answer({"readiness": f"no answer within {READINESS_TIMEOUT_SECONDS:g} s"})

    async def metrics(_request: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return Starlette(
        routes=[Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)],
    )


def _answer(checks: Checks) -> Response:
    well = all(problem is None for problem in checks.values())
    return JSONResponse(
        {
            "status": "ok" if well else "unavailable",
            "checks": {name: problem or "ok" for name, problem in checks.items()},
        },
        status_code=200 if well else 503,
    )


class ServerWithoutSignals(uvicorn.Server):
    """uvicorn offers no setting for this: the program owns SIGTERM and SIGINT, and drains before it stops."""

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]  # the base is a generator
        return nullcontext()
