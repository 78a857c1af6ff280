"""An API process, and a client that speaks to it as any upstream does."""

from dataclasses import dataclass
from typing import Any

import httpx

from tests.faults.worker_process import Worker

AnyBody = dict[str, Any]


@dataclass(eq=False, slots=True)
class Api:
    """One that may die at any time."""

    process: Worker
    client: httpx.AsyncClient

    async def post(self, path: str, body: AnyBody, key: str | None = None) -> httpx.Response | None:
        """The answer; None where there was none: it died, or took too long."""
        headers = {} if key is None else {"Idempotency-Key": key}
        try:
            return await self.client.post(path, json=body, headers=headers)
        except httpx.TransportError:
            return None

    async def answers(self) -> bool:
        """Soon, and that it is well."""
        try:
            return (await self.client.get("/healthz", timeout=2)).status_code == 200
        except httpx.TransportError:
            return False
