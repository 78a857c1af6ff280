"""Which zone bars were written in: told by the closed weekend, and not guessed where that says nothing."""

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from consumer.demo_data import EURUSD_H1
from engine.market.zone_advice import METATRADER, zone_advice
from engine.market.zones import UnknownZoneError, zone_named

HOUR_US = 3_600_000_000
UTC_US = pl.read_parquet(EURUSD_H1)["time"].dt.cast_time_unit("us").to_physical().to_numpy()
"""Three years of hours, in UTC."""


def clock_us(zone_name: str, time_us: NDArray[np.int64] = UTC_US) -> NDArray[np.int64]:
    """What the zone's clock showed at these moments, taken for UTC."""
    zone = zone_named(zone_name)
    moments = pl.Series(time_us).cast(pl.Datetime("us", "UTC")).dt.convert_time_zone(zone.iana)
    return np.unique(moments.dt.replace_time_zone(None).to_physical().to_numpy() + zone.ahead_us)


def without_first_hour_of_weeks(time_us: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.delete(time_us, np.flatnonzero(np.diff(time_us) > 40 * HOUR_US) + 1)


@pytest.mark.parametrize(
    "zone",
    [
        METATRADER,
        "Europe/Athens",
        "Etc/GMT+5",
        "America/New_York",
        "Europe/London",
        "Europe/Berlin",
        "Asia/Tokyo",
        "Asia/Kolkata",
        "Etc/GMT-2",
    ],
)
def test_the_zone_that_bars_were_written_in_is_named(zone: str) -> None:
    advice = zone_advice(clock_us(zone), "fx")
    assert advice is not None
    assert advice.zone == zone
    assert f"--bars-timezone {zone}" in str(advice)


def test_bars_read_in_their_own_zone_bring_no_advice() -> None:
    assert zone_advice(UTC_US, "fx") is None
    assert zone_advice(UTC_US, "fx", "Europe/Athens") is None


def test_server_time_read_as_athens_is_told_by_the_weeks_between_the_two_changes_of_clocks() -> None:
    winter = (clock_us(METATRADER) - 2 * HOUR_US)[:200]
    assert zone_advice(winter, "fx", "Europe/Athens") is None
    wall = pl.Series(clock_us(METATRADER)).cast(pl.Datetime("us"))
    as_athens = wall.dt.replace_time_zone("Europe/Athens", ambiguous="earliest", non_existent="null").drop_nulls()
    advice = zone_advice(np.unique(as_athens.to_physical().to_numpy()), "fx", "Europe/Athens")
    assert advice is not None
    assert (advice.zone, advice.read_as) == (METATRADER, "Europe/Athens")
    assert 0 < advice.astray < advice.weeks / 5


def test_weeks_that_fit_two_zones_name_both() -> None:
    advice = zone_advice(clock_us(METATRADER)[: 24 * 18], "fx")
    assert advice is not None
    assert advice.zone == METATRADER
    assert "Europe/Athens" in advice.as_well


def test_utc_read_in_another_zone_is_advised_to_be_utc() -> None:
    two_hours_early = UTC_US - 2 * HOUR_US
    advice = zone_advice(two_hours_early[:1500], "fx", "Etc/GMT-2")
    assert advice is not None
    assert advice.zone == "UTC"


def test_a_market_that_opens_an_hour_late_is_not_moved_to_the_next_zone() -> None:
    gold = without_first_hour_of_weeks(UTC_US)
    assert zone_advice(gold, "fx") is None
    server = zone_advice(without_first_hour_of_weeks(clock_us(METATRADER)), "fx")
    assert server is not None
    assert server.zone == METATRADER


def test_one_week_with_stray_bars_changes_nothing() -> None:
    friday = int(np.flatnonzero(np.diff(UTC_US) > 40 * HOUR_US)[10])
    stray = np.insert(UTC_US, friday + 1, UTC_US[friday] + HOUR_US)
    assert zone_advice(stray, "fx") is None


@pytest.mark.parametrize(
    "time_us",
    [
        np.arange(0, 24 * 400) * HOUR_US,
        np.arange(0, 400) * 24 * HOUR_US,
        UTC_US[:2],
        UTC_US[3:20],
        np.empty(0, np.int64),
    ],
)
def test_bars_without_a_closed_weekend_say_nothing(time_us: NDArray[np.int64]) -> None:
    assert zone_advice(time_us, "fx") is None


def test_markets_open_at_weekends_are_not_asked() -> None:
    assert zone_advice(clock_us(METATRADER), "always") is None


def test_a_holiday_is_no_reason_to_try_other_zones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trying them takes longer than a small run, and every Christmas closes early."""
    monkeypatch.setattr("engine.market.zone_advice._CANDIDATES", ("No/Such_Zone",))
    closes = np.flatnonzero(np.diff(UTC_US) > 40 * HOUR_US)
    closed_early = np.delete(UTC_US, closes[10] - np.arange(4))
    assert zone_advice(closed_early[:1500], "fx") is None
    with pytest.raises(UnknownZoneError):
        zone_advice(clock_us(METATRADER), "fx")
