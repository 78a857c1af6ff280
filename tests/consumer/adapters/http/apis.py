"""The API in this process, over what a test gives it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import httpx

from consumer.adapters.http.api.access import Access
from consumer.adapters.http.api.application import make_application
from consumer.adapters.http.api.data_services import DataServices
from consumer.adapters.http.api.services import Services
from consumer.adapters.http.api.table_answers import Turns
from consumer.adapters.memory.instrument_rows import MemoryInstruments
from consumer.ports.history import Row
from consumer.ports.run_tables import RunTables
from consumer.preparation.known_instruments import KnownInstruments
from consumer.reports.page_report import SLOT
from engine.market.instruments import packaged_instruments

SHELL = f"<!doctype html>{SLOT}<script>show()</script>"


@dataclass
class KnownRuns:
    """The part of `History` that results need."""

    rows: Mapping[int, Row]
    results: Mapping[int, Row] = field(default_factory=dict)

    async def run(self, run_id: int) -> Row | None:
        return self.rows.get(run_id)

    async def specification_of(self, run_id: int) -> Row | None:
        return self.results.get(run_id, {}).get("specification")

    async def result_of(self, run_id: int) -> Row | None:
        return self.results.get(run_id)

    async def request_of(self, run_id: int) -> Row | None:
        return self.results.get(run_id, {}).get("request")

    async def warnings_of(self, run_ids: Sequence[int]) -> Mapping[int, Sequence[str]]:
        del run_ids
        return {}


def client_of(history: KnownRuns, tables: RunTables, **data: Any) -> httpx.AsyncClient:
    """Whatever else a route would need is not there."""

    rows = MemoryInstruments()
    known = KnownInstruments(packaged_instruments(), rows)

    async def instruments() -> KnownInstruments:
        await known.learn()
        return known

    given = {
        "tables": tables,
        "instruments": instruments,
        "instrument_rows": rows,
        "turns": Turns(),
        "report_shell": lambda: SHELL,
        **data,
    }
    absent: dict[str, Any] = {each.name: None for each in fields(DataServices)}
    services: dict[str, Any] = {each.name: None for each in fields(Services)}
    services |= {"history": history, "data": DataServices(**{**absent, **given})}
    app = make_application(Services(**services), Access({}))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost:8080")
