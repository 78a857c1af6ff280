"""Random runs on a tick grid, made to touch, gap, tie and run out of money often.

`calendar` adds what the clock decides: H4, D1 and W1 bars in UTC, Athens' and New York's time, over both changes of the
clocks, nights inside bars and in holes, rates that grow old. `orders` adds trails, time exits, moves, entry orders,
slippage, commission in per cent and leverage.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from typing import Literal, get_args
from zoneinfo import ZoneInfo

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from tests.engine.reference import Bar, Config, Decision, Instrument, Series
from tests.engine.reference.calendar import from_us, to_us
from tests.engine.reference.model import DAY_US, HOUR_US, WEEK_US, Mode, OrderKind

START_US = 1_704_672_000_000_000
"""2024-01-08 00:00 UTC, a Monday."""

EURUSD = Instrument(swap_long=-7.3, swap_short=2.1)
USDJPY = Instrument(base="USD", quote="JPY", pip=0.01, digits=3, swap_long=12.5, swap_short=-20.0)
EURGBP = Instrument(base="EUR", quote="GBP")
BTCUSD = Instrument(base="BTC", quote="USD", pip=1.0, contract=1, digits=2, session="always", swap_long=-1500.0)
ODD = Instrument(base="XAG", quote="USD", pip=0.01, contract=5_000, digits=3, lot_step=0.03, swap_short=-3.0)


@dataclass(frozen=True, slots=True)
class RandomRun:
    """Arguments of `simulate`, of the reference and of the engine alike."""

    bars: tuple[Bar, ...]
    decisions: tuple[Decision | None, ...]
    config: Config
    first_bar: int
    conversion_bars: dict[str, Series]
    finer_bars: Series | None


@dataclass(frozen=True, slots=True)
class Grid:
    """Prices are whole numbers of ticks."""

    tick: float
    digits: int

    def price(self, ticks: int) -> float:
        return round(ticks * self.tick, self.digits)


@dataclass(frozen=True, slots=True)
class Clock:
    """How the opens of a run's bars follow one another: whole lengths, or so many days by a zone's wall clock."""

    duration_us: int
    start_us: int
    zone: ZoneInfo | None = None

    def after(self, time_us: int, bars: int) -> int:
        if self.zone is None:
            return time_us + bars * self.duration_us
        local = from_us(time_us).astimezone(self.zone)
        day = local.date() + timedelta(days=bars * self.duration_us // DAY_US)
        return to_us(datetime.combine(day, local.time(), tzinfo=self.zone))


@st.composite
def random_runs(draw: DrawFn, longest: int = 24, *, calendar: bool = False, orders: bool = False) -> RandomRun:
    """Draw a whole run: bars with gaps in price and time, decisions of every kind, and a configuration."""
    instrument, middle, account, tick = draw(
        st.sampled_from(
            [
                (EURUSD, 11_000, "USD", 0.0001),
                (EURUSD, 11_000, "EUR", 0.0001),
                (USDJPY, 15_000, "USD", 0.01),
                (USDJPY, 15_000, "EUR", 0.01),
                (EURGBP, 8_500, "USD", 0.0001),
                (BTCUSD, 40_000, "USD", 1.0),
                (ODD, 2_400, "USD", 0.01),
            ]
        )
    )
    grid = Grid(tick, instrument.digits)
    is_converted = instrument.quote != account
    if calendar:
        clock, gaps = draw(st.sampled_from(CLOCKS)), [1, 1, 1, 1, 2, 8 if is_converted else 30]
    else:
        instrument, clock, gaps = _timeless(draw, instrument, is_converted=is_converted)
    duration_us = clock.duration_us
    finer_count = draw(st.sampled_from([0, 0, 7, 7] if duration_us == WEEK_US else [0, 0, 2, 4]))
    count = draw(st.integers(2, longest))
    first_bar = draw(st.integers(0, min(2, count - 1)))
    mode: Mode = draw(st.sampled_from(get_args(Mode)))
    spread_source: Literal["fixed", "bars"] = draw(st.sampled_from(["fixed", "bars"]))
    pips_a_tick = tick / instrument.pip

    times_us, bars, finer = [], [], []
    time_us, ticks = clock.start_us + (0 if clock.zone else draw(st.integers(0, 24)) * HOUR_US), middle
    for _ in range(count):
        time_us = clock.after(time_us, draw(st.sampled_from(gaps)))
        if calendar and clock.zone is None:
            time_us += draw(st.sampled_from([0] * 12 + [1, 2, 3])) * HOUR_US
        times_us.append(time_us)
        ticks += draw(st.sampled_from([0, 0, 0, -3, 4, -25, 25]))
        spread = draw(st.integers(0, 4)) * 10.0
        path = _path(draw, ticks, max(1, finer_count))
        if finer_count and draw(st.integers(0, 9)) > 0:
            step_us = duration_us // finer_count
            kept = [draw(st.booleans()) for _ in path]
            parts = zip(range(finer_count), path, kept, strict=True)
            finer += [_bar(grid, time_us + n * step_us, *part, None) for n, part, is_kept in parts if is_kept]
        bars.append(_whole(grid, time_us, path, spread))
        ticks = path[-1][-1]
    config = Config(
        mode=mode,
        timeframe_us=duration_us,
        spread_pips=draw(st.sampled_from([0.0, 1.0, 1.5, 3.0])) * pips_a_tick,
        spread_source=spread_source,
        commission_per_lot=draw(st.sampled_from([0.0, 7.0, 3.33])),
        initial_balance=draw(st.sampled_from([10_000.0, 500.0, 60.0])),
        tp_partial_close_ratio=draw(st.sampled_from([0.5, 0.5, 0.0, 1.0, 0.3, 0.66])),
        on_opposite=draw(st.sampled_from(["reverse", "close", "ignore"])),
        stop_to_entry=draw(st.booleans()),
        volume=draw(st.sampled_from([instrument.lot_step, 9 * instrument.lot_step, 30 * instrument.lot_step])),
        risk_pct=draw(st.sampled_from([None, None, 0.01, 0.2])),
        sl_pips=draw(st.sampled_from([None, None, 5.0])),
        tp_pips=draw(st.sampled_from([None, None, 8.0])),
        instrument=instrument,
        account_currency=account,
        skip_hours=draw(st.sampled_from([(), (), (), (0, 4, 8)])),
        skip_weekdays=draw(st.sampled_from([(), (), (2,)])),
        skip_timezone=draw(st.sampled_from(["UTC", "America/New_York"])),
    )
    config = _with_whole_volume(config)
    if orders:
        config = _with_account(draw, config, pips_a_tick)
        decisions = [_order(draw, grid, bar, config) for bar in bars]
    else:
        decisions = [_decision(draw, grid, bar, config) for bar in bars]
    return RandomRun(
        bars=tuple(bars),
        decisions=tuple(decisions),
        config=config,
        first_bar=first_bar,
        conversion_bars=_conversion(draw, account, instrument, times_us, duration_us, calendar=calendar),
        finer_bars=_finer_bars(finer, duration_us // finer_count) if finer else None,
    )


def _clocks() -> Iterator[Clock]:
    """Starts some weeks before both changes of clocks (Athens' and New York's lie apart), and at a New Year."""
    for text in ("2024-01-08", "2024-02-26", "2024-10-21", "2023-12-25"):
        midnight = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
        for hours in (1, 4, 4, 24, 24, 168):
            yield Clock(hours * HOUR_US, to_us(midnight))
        for name, opens_at, days_before in (("Europe/Athens", time(0), 0), ("America/New_York", time(17), 1)):
            zone = ZoneInfo(name)
            opened = datetime.combine(midnight.date() - timedelta(days=days_before), opens_at, tzinfo=zone)
            for days in (1, 1, 7):
                yield Clock(days * DAY_US, to_us(opened), zone)


CLOCKS = tuple(_clocks())


def _timeless(draw: DrawFn, instrument: Instrument, *, is_converted: bool) -> tuple[Instrument, Clock, list[int]]:
    """Draw a clock by which the calendar decides little: no night but between two hours, no rate that grows old."""
    duration_us = HOUR_US if is_converted else draw(st.sampled_from([HOUR_US, 4 * HOUR_US, 24 * HOUR_US]))
    gaps = draw(st.sampled_from([[1], [1, 1, 1, 1, 2] if is_converted else [1, 1, 1, 1, 2, 30]]))
    if duration_us > HOUR_US or len(gaps) > 1:
        instrument = replace(instrument, swap_long=0.0, swap_short=0.0)
    return instrument, Clock(duration_us, START_US), gaps


def _finer_bars(bars: Sequence[Bar], length_us: int) -> Series:
    """Without those that a day of 23 hours leaves no room for."""
    kept: list[Bar] = []
    for bar in bars:
        if not kept or bar.time_us - kept[-1].time_us >= length_us - (HOUR_US if length_us == DAY_US else 0):
            kept.append(bar)
    return Series(length_us, tuple(kept))


def _path(draw: DrawFn, ticks: int, parts: int) -> list[tuple[int, int, int, int]]:
    """Draw open, high, low, close of consecutive finer bars."""
    path = []
    for _ in range(parts):
        close = ticks + draw(st.integers(-6, 6))
        high = max(ticks, close) + draw(st.integers(0, 5))
        low = min(ticks, close) - draw(st.integers(0, 5))
        path.append((ticks, high, low, close))
        ticks = close + draw(st.sampled_from([0, 0, 0, 2, -2]))
    return path


def _whole(grid: Grid, time_us: int, path: Sequence[tuple[int, int, int, int]], spread: float) -> Bar:
    high, low = max(each[1] for each in path), min(each[2] for each in path)
    return _bar(grid, time_us, path[0][0], high, low, path[-1][3], spread)


def _bar(grid: Grid, time_us: int, open_: int, high: int, low: int, close: int, spread: float | None) -> Bar:
    return Bar(time_us, grid.price(open_), grid.price(high), grid.price(low), grid.price(close), spread)


def _decision(draw: DrawFn, grid: Grid, bar: Bar, config: Config, reach: int = 1) -> Decision | None:
    """Draw a decision; reach multiplies how far its levels are from the close."""
    action = draw(st.sampled_from([None, None, "BUY", "SELL", "BUY", "SELL", "CLOSE"]))
    if action is None or action == "CLOSE":
        return None if action is None else Decision("CLOSE")
    side = 1 if action == "BUY" else -1
    close = round(bar.close / grid.tick)
    stop = None if draw(st.booleans()) else grid.price(close - side * reach * draw(st.integers(1, 8)))
    distances = sorted(draw(st.sets(st.integers(1, 12), max_size=3)))
    targets = tuple(grid.price(close + side * reach * distance) for distance in distances)
    steps = draw(st.sampled_from([None, None, None, 1, 3, 7, 50]))
    volume = None if steps is None else round(steps * config.instrument.lot_step, 9)
    return Decision("BUY" if side > 0 else "SELL", volume, stop, targets)


ORDER_KINDS = (
    *(["nothing"] * 4),
    *(["market", "limit", "stop"] * 2),
    *("plain", "plain", "MOVE", "MOVE", "CANCEL"),
)
"""Mostly nothing, so that positions live long enough for their trails and times."""


def _order(draw: DrawFn, grid: Grid, bar: Bar, config: Config) -> Decision | None:
    """Draw a decision of any kind of section 7, or one without any of it."""
    kind = draw(st.sampled_from(ORDER_KINDS))
    if kind == "nothing":
        return None
    if kind == "MOVE":
        return _move(draw, grid, bar)
    if kind == "CANCEL":
        return draw(st.sampled_from([None, None, Decision("CANCEL")]))
    opening = _decision(draw, grid, bar, config, reach=draw(st.sampled_from([1, 1, 4])))
    if kind == "plain" or opening is None or opening.action == "CLOSE":
        return opening
    max_bars = draw(st.sampled_from([None, 1, 2, 5]))
    trail = draw(st.sampled_from([None, 3, 8, 20]))
    trailing_stop = None if trail is None else grid.price(trail)
    if trail is not None:
        opening = replace(opening, stop_loss=None, take_profits=opening.take_profits[1:])
    if kind == "market":
        return replace(opening, trailing_stop=trailing_stop, max_bars=max_bars)
    order: OrderKind = "limit" if kind == "limit" else "stop"
    ticks = draw(st.integers(1, 8)) * (1 if (opening.action == "BUY") == (order == "stop") else -1)
    return replace(
        _shifted(opening, grid, ticks),
        trailing_stop=trailing_stop,
        max_bars=max_bars,
        order=order,
        price=grid.price(round(bar.close / grid.tick) + ticks),
        expires_bars=draw(st.sampled_from([None, None, 1, 3])),
    )


def _shifted(decision: Decision, grid: Grid, ticks: int) -> Decision:
    """With its levels as far from an order's price as they were from the close."""

    def shifted(level: float) -> float:
        return grid.price(round(level / grid.tick) + ticks)

    stop = None if decision.stop_loss is None else shifted(decision.stop_loss)
    return replace(decision, stop_loss=stop, take_profits=tuple(shifted(target) for target in decision.take_profits))


def _move(draw: DrawFn, grid: Grid, bar: Bar) -> Decision:
    close, side = round(bar.close / grid.tick), draw(st.sampled_from([1, -1]))
    distances = sorted(draw(st.sets(st.integers(1, 12), max_size=2)))
    stop = draw(st.integers(1, 8)) if not distances or draw(st.booleans()) else None
    return Decision(
        "MOVE",
        stop_loss=None if stop is None else grid.price(close - side * stop),
        take_profits=tuple(grid.price(close + side * distance) for distance in distances),
    )


def _with_account(draw: DrawFn, config: Config, pips_a_tick: float) -> Config:
    leverage = draw(st.sampled_from([None, None, None, 30.0, 500.0]))
    return replace(
        config,
        slippage_pips=draw(st.sampled_from([0.0, 0.0, 1.0, 0.37])) * pips_a_tick,
        commission_pct=draw(st.sampled_from([0.0, 0.0, 0.01, 0.0033])),
        leverage=leverage,
        stop_out_pct=0.0 if leverage is None else draw(st.sampled_from([0.0, 50.0, 100.0])),
    )


def _with_whole_volume(config: Config) -> Config:
    return replace(config, volume=None if config.volume is None else round(config.volume, 9))


def _conversion(
    draw: DrawFn,
    account: str,
    instrument: Instrument,
    times_us: Sequence[int],
    duration_us: int,
    *,
    calendar: bool,
) -> dict[str, Series]:
    """Draw bars of the pairs that join quote and account currency; sometimes they begin late, or grow old."""
    wanted = {
        ("GBP", "USD"): [("GBPUSD", 1.27)],
        ("JPY", "EUR"): [("EURUSD", 1.09)],
    }.get((instrument.quote, account), [])
    conversion = {}
    for symbol, middle in wanted:
        late = draw(st.sampled_from([-3, -3, -3, 2]))
        begin_us = times_us[0] + late * duration_us
        counts = st.integers(1, 40)
        if calendar:
            duration_us = draw(st.sampled_from([duration_us, duration_us, DAY_US, WEEK_US]))
            begin_us = times_us[0] + (late - 1) * duration_us
            counts = st.sampled_from([1, 5, 100, 100])
        bars = []
        for n in range(draw(counts)):
            close = round(middle + draw(st.integers(-50, 50)) * 0.0001, 5)
            bars.append(Bar(begin_us + n * duration_us, close, close, close, close))
        conversion[symbol] = Series(duration_us, tuple(bars))
    return conversion
