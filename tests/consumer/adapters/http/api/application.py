"""The application over services of memory, asked in this process."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, cast

import httpx
from prometheus_client import CollectorRegistry

from consumer.adapters.http.api.access import Access
from consumer.adapters.http.api.application import make_application
from consumer.adapters.http.api.data_services import DataServices
from consumer.adapters.http.api.services import Services
from consumer.adapters.http.api.table_answers import Turns
from consumer.adapters.memory.history import MemoryHistory
from consumer.adapters.memory.tables import MemoryTables

TOKENS = {"alice": "alices-token", "bob": "bobs-token"}


def services(**others: Any) -> Services:
    """What is not given is not there: a route that uses it fails."""

    async def ready() -> Mapping[str, str | None]:
        return {"postgres": None}

    absent: dict[str, Any] = dict.fromkeys(each.name for each in fields(DataServices))
    others = {"data": DataServices(**{**absent, "turns": Turns()}), **others}
    given = {"history": MemoryHistory(MemoryTables()), "readiness": ready, "registry": CollectorRegistry(), **others}
    missing = dict.fromkeys(Services.__dataclass_fields__.keys() - given.keys())
    return Services(**cast("Any", {**missing, **given}))


def client(access: Access | None = None, host: str = "127.0.0.1:8080", **others: Any) -> httpx.AsyncClient:
    app = make_application(services(**others), access or Access({}))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url=f"http://{host}")


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
