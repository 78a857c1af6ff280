"""Market data at rest for the API: what is stored, uploads through a process of their own, removal.

What was told of stored bars is kept until their files change: telling it means reading all of them.
"""

import asyncio
import json
import os
import re
import sys
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from consumer.adapters.files.market_data import MarketDataUnavailable, ParquetMarketData
from consumer.adapters.files.market_data_removal import remove_bars
from consumer.adapters.files.store import FileStoreError, open_file_store
from consumer.adapters.files.stored_list import described, spelled
from consumer.adapters.files.stored_years import year_files
from consumer.adapters.files.unpacking import LIMIT_BYTES
from consumer.ports.stored_bars import Upload, UploadRefused
from engine.errors import BadBars, UnknownSymbol
from engine.market.instruments import Instrument, packaged_instruments, refuse_impossible

UPLOAD_SECONDS: Final = 600.0
UNPACKS_TO: Final = 20
"""Times the largest body."""
_TOLD_KEPT: Final = 1_000
_LONGEST_ANSWER: Final = 4_000_000


@dataclass(slots=True)
class MarketDataStore:
    """Implements `StoredBars`. url: of the market data. max_body_bytes: of one upload."""

    url: str
    max_body_bytes: int
    _told: "OrderedDict[tuple[Any, ...], dict[str, Any]]" = field(default_factory=OrderedDict)
    _one_at_a_time: dict[str, asyncio.Lock] = field(default_factory=dict)
    _readers: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))

    @property
    def formats(self) -> tuple[str, ...]:
        from consumer.adapters.files.formats import FORMATS  # only for who asks

        return tuple(FORMATS)

    async def places(self) -> list[tuple[str, str]]:
        """Symbol and timeframe of all that is stored, by symbol, shortest timeframe first."""
        return await asyncio.to_thread(self._places)

    async def told(self, symbol: str, timeframe_name: str, registry: Mapping[str, Instrument]) -> dict[str, Any] | None:
        """As `stored_list.described`; of bars that cannot be read symbol, timeframe and `fault`."""
        async with self._readers:
            return await asyncio.to_thread(self._described, symbol, timeframe_name, registry)

    async def spelled(self, symbol: str, registry: Mapping[str, Instrument]) -> str | None:
        """The symbol as the store spells it; None where it has none of it."""
        return await asyncio.to_thread(self._spelled, symbol, registry)

    async def remove(self, symbol: str, timeframe_name: str) -> bool:
        """Remove all bars of a timeframe; False where there are none. Raises MarketDataUnavailable."""
        return bool(await asyncio.to_thread(remove_bars, self.url, symbol, timeframe_name, None, None))

    async def put(self, upload: Upload, registry: Mapping[str, Instrument]) -> dict[str, Any]:
        """Check a file as a whole and store it; return what is stored now, with notes.

        One at a time a symbol, also among processes. Raises UploadRefused, and then nothing is stored;
        MarketDataUnavailable.
        """
        lock = self._one_at_a_time.setdefault(upload.symbol.upper(), asyncio.Lock())
        async with lock, self._readers:
            answer = await _asked(self._job(upload, registry))
        if answer is None:
            raise UploadRefused(BadBars.code, f"{upload.name}: is damaged: what reads such files gave up on it")
        if "unavailable" in answer:
            raise MarketDataUnavailable(answer["unavailable"])
        if "refused" in answer:
            message = answer["message"]
            row = re.match(re.escape(upload.name) + r": row (\d+) \(time ", message)
            raise UploadRefused(answer["refused"], message, int(row[1]) if row else None, answer.get("sides"))
        stored: dict[str, Any] = answer["stored"]
        return stored

    def _job(self, upload: Upload, registry: Mapping[str, Instrument]) -> dict[str, Any]:
        packaged = packaged_instruments()
        own = {name: asdict(each) for name, each in registry.items() if packaged.get(name) != each}
        limit = min(UNPACKS_TO * self.max_body_bytes, LIMIT_BYTES)
        return {**asdict(upload), "path": str(upload.path), "url": self.url, "instruments": own, "limit_bytes": limit}

    def _places(self) -> list[tuple[str, str]]:
        stored = ParquetMarketData(self.url, cache_bytes=1)
        return [(symbol, name) for symbol in stored.symbols() for name in stored.timeframes(symbol)]

    def _spelled(self, symbol: str, registry: Mapping[str, Instrument]) -> str | None:
        try:
            refuse_impossible(symbol)
        except UnknownSymbol:
            return None
        stored = ParquetMarketData(self.url, cache_bytes=1)
        found = spelled(stored, symbol, registry)
        return found if found in stored.symbols() else None

    def _described(self, symbol: str, timeframe_name: str, registry: Mapping[str, Instrument]) -> dict[str, Any] | None:
        try:
            files = year_files(open_file_store(self.url), f"{symbol}/{timeframe_name}")
        except FileStoreError as error:
            raise MarketDataUnavailable(str(error)) from error
        session = next((each.session for name, each in registry.items() if name.upper() == symbol.upper()), None)
        key = (symbol, timeframe_name, session, tuple((year, each.version) for year, each in sorted(files.items())))
        if key not in self._told:
            stored = ParquetMarketData(self.url, cache_bytes=1)
            try:
                told = described(stored, symbol, timeframe_name, registry)
            except BadBars as error:
                return {"symbol": symbol, "timeframe": timeframe_name, "fault": str(error)}
            if told is None:
                return None
            self._told[key] = told
            while len(self._told) > _TOLD_KEPT:
                self._told.popitem(last=False)
        return self._told[key]


async def _asked(job: dict[str, Any]) -> dict[str, Any] | None:
    """What the process said of the job; None where it ended, or did not end, without an answer."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BACKTEST_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "consumer.adapters.files.upload_child"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=_LONGEST_ANSWER,
        env=environment,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(UPLOAD_SECONDS):
            written, _ = await process.communicate(json.dumps(job).encode())
        answer: dict[str, Any] = json.loads(written)
    except (TimeoutError, ValueError):
        return None
    finally:
        with suppress(ProcessLookupError):
            process.kill()
    return answer
