"""Instruments of the database beside one's own, and what of them is recorded with a run."""

from datetime import UTC, datetime
from typing import Any

import pytest

from consumer.adapters.memory.instrument_rows import MemoryInstruments
from consumer.preparation.known_instruments import KnownInstruments, block_of, snapshot_of
from consumer.preparation.snapshot import recorded_instruments, specification_from_json, specification_to_json
from engine.market.instruments import Instrument, packaged_instruments
from engine.specification import Specification

XPT = Instrument("XPTEUR", "XPT", "EUR", pip=0.1, contract=100.0, digits=2, session="fx")
OTHER = Instrument("ZZZUSD", "ZZZ", "USD", pip=0.1, contract=100.0, digits=2, session="fx")
PAIR = Instrument("EURUSD.x", "EUR", "USD", pip=0.0001, contract=100_000.0, digits=5, session="fx")


def asked(symbol: str) -> Specification:
    return Specification(
        symbol=symbol,
        timeframe="H1",
        start=datetime(2024, 1, 1, tzinfo=UTC),
        end=datetime(2024, 2, 1, tzinfo=UTC),
        strategy_key="sma_cross",
        strategy_params={},
    )


async def known(*posted: Instrument, own: Any = None) -> KnownInstruments:
    rows = MemoryInstruments({each.symbol: block_of(each) for each in posted})
    instruments = KnownInstruments(own or packaged_instruments(), rows)
    await instruments.learn()
    return instruments


async def test_what_is_brought_later_is_known_after_the_next_look() -> None:
    rows = MemoryInstruments()
    instruments = KnownInstruments(packaged_instruments(), rows)
    await instruments.learn()
    assert "XPTEUR" not in instruments
    assert await rows.add("XPTEUR", block_of(XPT))
    await instruments.learn()
    assert instruments["XPTEUR"] == XPT
    assert len(instruments) == len(packaged_instruments()) + 1
    assert set(instruments) == {*packaged_instruments(), "XPTEUR"}


async def test_ones_own_instrument_goes_before_that_of_the_database() -> None:
    own = {**packaged_instruments(), "xpteur": OTHER}
    instruments = await known(XPT, own=own)
    assert "XPTEUR" not in instruments
    assert snapshot_of(asked("EURUSD"), instruments) == specification_to_json(asked("EURUSD"))


async def test_a_row_that_no_instrument_is_made_of_is_passed_over() -> None:
    rows = MemoryInstruments({"BAD": {"pip": "much"}, "XPTEUR": block_of(XPT)})
    instruments = KnownInstruments(packaged_instruments(), rows)
    await instruments.learn()
    assert set(instruments.posted) == {"XPTEUR"}


async def test_a_run_of_it_records_it_and_the_pairs_that_may_convert_its_profit() -> None:
    instruments = await known(XPT, OTHER, PAIR)
    document = snapshot_of(asked("XPTEUR"), instruments)
    assert recorded_instruments(document) == {"XPTEUR": XPT, "EURUSD.x": PAIR}
    assert specification_from_json(document) == asked("XPTEUR")
    assert recorded_instruments(specification_to_json(asked("EURUSD"))) == {}


async def test_a_run_of_packaged_instruments_alone_has_the_snapshot_it_always_had() -> None:
    instruments = await known(OTHER)
    assert snapshot_of(asked("EURUSD"), instruments) == specification_to_json(asked("EURUSD"))
    assert snapshot_of(asked("EURUSD"), packaged_instruments()) == specification_to_json(asked("EURUSD"))


@pytest.mark.parametrize("symbol", ["EURUSD", "BTCUSD", "XAUUSD"])
def test_a_block_gives_its_instrument_back(symbol: str) -> None:
    from engine.market.instruments import instrument_of

    assert instrument_of(symbol, block_of(packaged_instruments()[symbol])) == packaged_instruments()[symbol]
