"""What an API process reads and writes of files: what runs left, market data, instruments."""

from consumer.adapters.files.instruments import read_instruments
from consumer.adapters.files.market_data_store import MarketDataStore
from consumer.adapters.files.model_messages import MessageFiles
from consumer.adapters.files.run_tables import RunTableFiles
from consumer.adapters.http.api.data_services import DataServices
from consumer.ports.instrument_rows import InstrumentRows
from consumer.preparation.known_instruments import KnownInstruments
from consumer.settings import ApiSettings
from consumer.wiring.page_report import report_shell


def open_data(settings: ApiSettings, rows: InstrumentRows) -> DataServices:
    """Nothing is contacted yet. Raises ArtifactsUnavailable for a place that is none, BadInstruments."""
    known = KnownInstruments(read_instruments(settings.instruments_file), rows)

    async def instruments() -> KnownInstruments:
        await known.learn()
        return known

    max_body_bytes = settings.api_max_body_mb * 2**20
    return DataServices(
        tables=RunTableFiles(settings.artifacts_url),
        messages=MessageFiles(settings.artifacts_url),
        stored_bars=MarketDataStore(settings.market_data_url, max_body_bytes),
        max_body_bytes=max_body_bytes,
        report_shell=report_shell,
        instruments=instruments,
        instrument_rows=rows,
    )
