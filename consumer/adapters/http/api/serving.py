"""Serves the application until told to stop: connections end in time, open streams or not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from consumer.adapters.http.api.guard import HEADERS
from consumer.adapters.http.api.problems import Problem, respond
from consumer.adapters.http.server import ServerWithoutSignals, listen

STREAMS_END_SECONDS = 3
"""For requests under way to be answered and streams to end, once told to stop."""
FORCED_SECONDS = 1.0


@asynccontextmanager
async def serve(app: FastAPI, host: str, port: int) -> AsyncIterator[None]:
    """Serve on host:port until the block ends. Raises StartFailed when the address cannot be had."""
    listener = listen(host, port, "API")
    config = uvicorn.Config(
        app,
        http=_Protocol,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=STREAMS_END_SECONDS,
    )
    server = ServerWithoutSignals(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="api server")
    try:
        yield
    finally:
        server.should_exit = True
        await asyncio.wait([serving], timeout=STREAMS_END_SECONDS + FORCED_SECONDS)
        server.force_exit = True
        await asyncio.wait([serving], timeout=FORCED_SECONDS)
        serving.cancel()
        await asyncio.wait([serving])
        listener.close()


class _Protocol(H11Protocol):
    """What is no HTTP reaches no application, and is answered as everything else is."""

    def send_400_response(self, msg: str) -> None:
        answer = respond(Problem(400, "undecodable", f"the request cannot be read: {msg}"))
        for name, value in HEADERS.items():
            answer.headers.setdefault(name, value)
        answer.headers["Connection"] = "close"
        lines = [b"HTTP/1.1 400 Bad Request", *(b": ".join(each) for each in answer.raw_headers)]
        self.transport.write(b"\r\n".join([*lines, b"", bytes(answer.body)]))
        self.transport.close()
