"""The instruments that a process knows: its own, packaged and of its file, and those that the database has beside them.

A process that admits a request records with it what only the database told it: the run is then computed with that,
wherever it runs and however often.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, Final

from consumer.ports.instrument_rows import InstrumentRows
from consumer.preparation.snapshot import INSTRUMENTS, specification_to_json
from engine.errors import BadInstruments
from engine.market.instruments import Instrument, instrument_of, symbol_in
from engine.specification import Specification

BRIDGE: Final = "USD"
"""The currency through which two others are joined (engine.market.conversion, which loads the compiler)."""


async def nothing_to_learn() -> None:
    """For who goes by instruments that never change."""


class KnownInstruments(Mapping[str, Instrument]):
    """By symbol. A symbol of one's own hides one of the database."""

    def __init__(self, own: Mapping[str, Instrument], rows: InstrumentRows | None = None) -> None:
        self.own, self._rows = own, rows
        self.posted: dict[str, Instrument] = {}
        """Those of the database that are none of one's own."""
        self._seen: set[str] = set()

    async def learn(self) -> None:
        """Take up what was brought since. Raises StoreUnavailable."""
        if self._rows is None:
            return
        for symbol, block in (await self._rows.others_than(self._seen)).items():
            self._seen.add(symbol)
            try:
                instrument = instrument_of(symbol, block)
            except BadInstruments:
                continue  # somebody else's row, or another release's
            if symbol_in(self.own, symbol) is None:
                self.posted[symbol] = instrument

    def __getitem__(self, symbol: str) -> Instrument:
        found = self.own.get(symbol)
        return self.posted[symbol] if found is None else found

    def __iter__(self) -> Iterator[str]:
        yield from self.own
        yield from self.posted

    def __len__(self) -> int:
        return len(self.own) + len(self.posted)


def snapshot_of(specification: Specification, instruments: Mapping[str, Instrument]) -> dict[str, Any]:
    """The snapshot that a run executes, with what its process knows of the database alone and the run may need: the
    traded instrument, and every pair that may convert its profit.
    """
    document = specification_to_json(specification)
    if not isinstance(instruments, KnownInstruments) or not instruments.posted:
        return document
    traded, posted = instruments[specification.symbol], instruments.posted
    money = {traded.quote, specification.account_currency, BRIDGE}
    needed = [each for each in posted.values() if each is traded or {each.base, each.quote} <= money]
    return {**document, INSTRUMENTS: {each.symbol: asdict(each) for each in needed}} if needed else document


def block_of(instrument: Instrument) -> dict[str, Any]:
    """The keys of an instruments file's table, without those that are not there."""
    return {name: value for name, value in asdict(instrument).items() if name != "symbol" and value is not None}
