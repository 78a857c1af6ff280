"""Random runs for Hypothesis: whole, valid inputs of a simulation, dense in gaps, touches, ties and reversals.

Run bars are made of their own quarter bars, so that finer bars agree with them (some are then taken away). Prices
walk on a coarse
grid, so that levels are often touched exactly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from hypothesis import strategies as st

from tests.engine.reference.calendar import to_us
from tests.engine.reference.model import Bar, Config, Decision, Instrument, Mode, Series

HOUR_US = 3_600_000_000
QUARTER_US = HOUR_US // 4
MODES: tuple[Mode, ...] = ("close_price", "intra_candle", "next_open")


@dataclass(frozen=True, slots=True)
class Scenario:
    """The arguments of `simulate`."""

    bars: Sequence[Bar]
    decisions: Sequence[Decision | None]
    config: Config
    first_bar: int
    conversion_bars: Mapping[str, Series]
    finer_bars: Series | None


@dataclass(frozen=True, slots=True)
class Market:
    """An instrument with its account, where its price starts (in grid steps of `digits` decimals) and what
    converts it.
    """

    instrument: Instrument
    account_currency: str
    start: int
    digits: int
    conversion: Mapping[str, float]


MARKETS = (
    Market(Instrument(), "USD", 11_000, 4, {}),
    Market(Instrument(base="USD", quote="JPY", pip=0.01, digits=3), "USD", 15_000, 2, {}),
    Market(Instrument(base="EUR", quote="GBP"), "USD", 8_600, 4, {"GBPUSD": 1.25}),
    Market(Instrument(base="EUR", quote="GBP"), "JPY", 8_600, 4, {"GBPUSD": 1.25, "USDJPY": 150.0}),
    Market(Instrument(base="BTC", quote="USD", pip=1.0, contract=1, digits=2, session="always"), "USD", 40_000, 0, {}),
)
# A Friday evening, a Tuesday, a Wednesday, and the evenings around both changes of New York's clocks.
STARTS = ("2024-01-12 18:00", "2024-01-09 10:00", "2024-01-10 19:00", "2024-03-08 19:00", "2024-10-31 17:00")
HOURS_TO_NEXT_BAR = (1, 1, 1, 1, 1, 1, 2, 5, 49)


@st.composite
def scenarios(draw: st.DrawFn, mode: Mode | None = None, max_bars: int = 40) -> Scenario:
    """Whole runs; mode None: any of the three."""
    market = draw(st.sampled_from(MARKETS))
    bars, quarters = _walk(draw, market, draw(st.integers(2, max_bars)))
    finer = draw(st.sampled_from(("none", "all", "holes")))
    if finer == "holes":
        quarters = [quarter for quarter in quarters if draw(st.booleans())]
    return Scenario(
        bars=bars,
        decisions=[draw(_decisions(bar, market)) for bar in bars],
        config=draw(_configs(mode, market)),
        first_bar=draw(st.integers(0, min(3, len(bars) - 1))),
        conversion_bars={symbol: _conversion(draw, bars, rate) for symbol, rate in market.conversion.items()},
        finer_bars=None if finer == "none" else Series(QUARTER_US, quarters),
    )


def _walk(draw: st.DrawFn, market: Market, count: int) -> tuple[list[Bar], list[Bar]]:
    """Run bars and the quarter bars they are made of."""
    moves = st.tuples(
        st.sampled_from((0, 0, 0, 0, 0, -3, 3, -15, 15)), st.integers(-6, 6), st.integers(0, 6), st.integers(0, 6)
    )
    spreads = st.integers(0, 40)
    hours = st.sampled_from(HOURS_TO_NEXT_BAR)
    time_us = _start_us(draw(st.sampled_from(STARTS)))
    price, bars, quarters = market.start, [], []
    for _ in range(count):
        parts: list[tuple[int, int, int, int]] = []
        for gap, body, above, below in draw(st.lists(moves, min_size=4, max_size=4)):
            opening = price + gap
            price = opening + body
            parts.append((opening, max(opening, price) + above, min(opening, price) - below, price))
        spread = float(draw(spreads))
        whole = (parts[0][0], max(part[1] for part in parts), min(part[2] for part in parts), parts[-1][3])
        bars.append(_bar(time_us, whole, market, spread))
        quarters += [_bar(time_us + i * QUARTER_US, part, market, spread) for i, part in enumerate(parts)]
        time_us += draw(hours) * HOUR_US
    return bars, quarters


def _bar(time_us: int, prices: tuple[int, int, int, int], market: Market, spread_points: float) -> Bar:
    opening, high, low, close = (_price(steps, market) for steps in prices)
    return Bar(time_us, opening, high, low, close, spread_points)


def _decisions(bar: Bar, market: Market) -> st.SearchStrategy[Decision | None]:
    close = round(bar.close * 10**market.digits)

    def build(side: Literal["BUY", "SELL"], lots: int | None, stop: int | None, targets: Sequence[int]) -> Decision:
        up = 1 if side == "BUY" else -1
        levels, steps = [], close
        for distance in targets:
            steps += up * distance
            levels.append(_price(steps, market))
        return Decision(
            side,
            None if lots is None else lots / 100,
            None if stop is None else _price(close - up * stop, market),
            tuple(levels),
        )

    sides: st.SearchStrategy[Literal["BUY", "SELL"]] = st.sampled_from(("BUY", "SELL"))
    opening = st.builds(
        build,
        sides,
        st.none() | st.integers(1, 150),
        st.none() | st.integers(1, 25),
        st.lists(st.integers(1, 12), max_size=3),
    )
    nothing, leave = st.none(), st.just(Decision("CLOSE"))
    return st.sampled_from((nothing, nothing, nothing, nothing, opening, opening, leave)).flatmap(lambda kind: kind)


def _configs(mode: Mode | None, market: Market) -> st.SearchStrategy[Config]:
    instruments = st.builds(
        lambda swap_long, swap_short: replace(market.instrument, swap_long=swap_long, swap_short=swap_short),
        st.sampled_from((0.0, -7.3, 1.25)),
        st.sampled_from((0.0, 2.1, -4.0)),
    )
    return st.builds(
        Config,
        instrument=instruments,
        account_currency=st.just(market.account_currency),
        mode=st.sampled_from(MODES) if mode is None else st.just(mode),
        spread_pips=st.sampled_from((0.0, 1.0, 1.5, 2.0, 0.3, 8.0)),
        spread_source=st.sampled_from(("fixed", "fixed", "bars")),
        commission_per_lot=st.sampled_from((0.0, 7.0, 6.95, 3.333)),
        initial_balance=st.sampled_from((300.0, 10_000.0, 100_000.0, 1_000_000.0, 1_000_000.0)),
        tp_partial_close_ratio=st.sampled_from((0.5, 0.5, 0.3, 0.33, 1 / 3, 1.0)),
        on_opposite=st.sampled_from(("reverse", "reverse", "close", "ignore")),
        stop_to_entry=st.booleans(),
        volume=st.sampled_from((None, 0.01, 0.29, 1.0)),
        risk_pct=st.sampled_from((None, None, 0.01, 0.005)),
        sl_pips=st.sampled_from((None, None, 10.0, 12.5)),
        tp_pips=st.sampled_from((None, None, 15.0)),
        skip_hours=st.sampled_from(((), (), (13, 22))),
        skip_weekdays=st.sampled_from(((), (), (0,))),
        skip_timezone=st.sampled_from(("UTC", "Europe/Berlin")),
    )


def _conversion(draw: st.DrawFn, bars: Sequence[Bar], rate: float) -> Series:
    """Closes of a pair that begins before the run and misses some of its bars."""
    times = [bars[0].time_us - HOUR_US, *(bar.time_us for bar in bars if draw(st.integers(0, 3)) > 0)]
    closes = [round(rate * (1 + draw(st.integers(-50, 50)) / 1000), 5) for _ in times]
    return Series(HOUR_US, [Bar(time, close, close, close, close) for time, close in zip(times, closes, strict=True)])


def _price(steps: int, market: Market) -> float:
    return float(steps) / float(10**market.digits)


def _start_us(text: str) -> int:
    return to_us(datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=UTC))
