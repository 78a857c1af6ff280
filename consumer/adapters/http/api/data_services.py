"""What the routes of results and market data work with, opened by `wiring.api`."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from consumer.adapters.http.api.table_answers import Turns
from consumer.ports.advice import KeptMessages
from consumer.ports.instrument_rows import InstrumentRows
from consumer.ports.run_tables import RunTables
from consumer.ports.stored_bars import StoredBars
from consumer.preparation.known_instruments import KnownInstruments


@dataclass(frozen=True, slots=True)
class DataServices:
    """tables: what runs left. messages: what they asked of language models. instruments: the registry as it stands now.
    max_body_bytes: of an uploaded file. report_shell: the report's page with an empty slot for data; raises
    NoReportPage where it was not built.
    """

    tables: RunTables
    messages: KeptMessages
    stored_bars: StoredBars
    max_body_bytes: int
    report_shell: Callable[[], str]
    instruments: Callable[[], Awaitable[KnownInstruments]]
    instrument_rows: InstrumentRows
    turns: Turns = field(default_factory=Turns)


async def data_services_of(request: Request) -> DataServices:
    services: DataServices = request.app.state.services.data
    return services


DataNow = Annotated[DataServices, Depends(data_services_of)]
