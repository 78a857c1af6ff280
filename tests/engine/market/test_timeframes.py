"""The names of candle lengths, and what asking for one costs."""

import subprocess
import sys

import pytest

from engine.errors import UnknownTimeframe
from engine.market.timeframes import TIMEFRAMES, Timeframe, can_resample, timeframe


def test_the_timeframes_are_those_of_the_contract() -> None:
    expected = "M1 M2 M3 M4 M5 M6 M10 M12 M15 M20 M30 H1 H2 H3 H4 H6 H8 H12 D1 W1 MN1"
    assert " ".join(TIMEFRAMES) == expected
    assert timeframe("M15") == Timeframe("M15", 900_000_000)
    assert timeframe("W1").duration_us == 7 * timeframe("D1").duration_us


@pytest.mark.parametrize("name", ["", "h1", "M7", "H5", "MN2", "D2", " H1"])
def test_another_name_is_refused(name: str) -> None:
    with pytest.raises(UnknownTimeframe, match="unknown timeframe"):
        timeframe(name)


def test_a_month_holds_whole_days_but_no_whole_weeks() -> None:
    month = timeframe("MN1")
    made_of = [name for name in TIMEFRAMES if can_resample(timeframe(name), month)]
    assert made_of == [name for name in TIMEFRAMES if name != "W1"]
    assert not can_resample(month, timeframe("W1"))


def test_checking_a_name_loads_no_compiler() -> None:
    program = "import sys, engine.market.timeframes; sys.exit('numba' in sys.modules or 'polars' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
