"""A run's spread in words, in pips and in price."""

from decimal import Decimal

from engine.market.instruments import Instrument


def spread_text(pips: float | None, instrument: Instrument | None) -> str:
    """A spread in pips (None: that of the bars) and in price; what a pip is where one coin's differ tenfold."""
    price = "" if instrument is None or pips is None else f" ({_plain(pips * instrument.pip)})"
    shown = "spread of the bars" if pips is None else f"spread {pips:g} pips{price}"
    if instrument is not None and instrument.session == "always":
        return f"{shown}, a pip is {_plain(instrument.pip)}"
    return shown


def _plain(price: float) -> str:
    """0.00015, never 1.5e-05 or 0.00015000000000000001."""
    return f"{Decimal(f'{price:.12g}'):f}"
