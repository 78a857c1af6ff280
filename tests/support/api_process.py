"""`backtest api` as a process of its own, and a client that speaks to it as any program would."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support.front_door import JANUARY, FrontDoor, Worker
from tests.support.waiting import eventually


@dataclass(slots=True)
class Api(Worker):
    """An API process, and all it was asked."""

    base_url: str
    client: httpx.AsyncClient

    async def get(self, path: str, **arguments: Any) -> httpx.Response:
        return await self.client.get(path, **arguments)

    async def post(self, path: str, body: object = None, **arguments: Any) -> httpx.Response:
        given: dict[str, Any] = {"json": body} if body is not None else {}
        return await self.client.post(path, **given, **arguments)

    async def post_run(self, strategy_id: int, *, key: str | None = None, **data: Any) -> httpx.Response:
        body = {"strategy_id": strategy_id, "symbol": "EURUSD", **JANUARY, **data}
        return await self.post("/v1/backtest", body, headers={"Idempotency-Key": key} if key is not None else {})


@asynccontextmanager
async def api_process(
    door: FrontDoor, *packages: Path, token: str | None = None, **settings: str
) -> AsyncIterator[Api]:
    """Start `backtest api` and wait until it answers; killed at the end, if it still runs."""
    port = free_port()
    log_file = door.directory / f"api-{next(door.numbers)}.log"
    with log_file.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "consumer", "api"),
            env=door.environment(*packages, api_port=str(port), **settings),
            stdout=log,
            stderr=log,
        )
    base_url = f"http://127.0.0.1:{port}"
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    async with httpx.AsyncClient(base_url=base_url, headers=headers, timeout=30, trust_env=False) as client:
        api = Api(process, log_file, base_url, client)
        try:
            await eventually(lambda: _answers(api), "the API to answer", seconds=240)
            yield api
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _answers(api: Api) -> bool:
    if api.process.returncode is not None:
        raise AssertionError(f"the API has ended: {api.log_text()[-2000:]}")
    try:
        return (await api.get("/healthz")).status_code == 200
    except httpx.TransportError:
        return False


def free_port() -> int:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
