"""What `backtest strategy new` writes: a strategy that works as it stands, its test, and the project around it."""

from string import Template
from typing import Final

_PROJECT = Template("""\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "$project"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["backtest-consumer"]

# The name on the left is the key: `backtest run --strategy $name`.
[project.entry-points."backtest_consumer.strategies"]
$name = "$name:$cls"

[dependency-groups]
test = ["pytest"]

[tool.hatch.build]
only-include = ["$name.py"]
""")

_TEST = Template('''\
"""$cls trades on bars that rise and fall, and knows nothing of the future. Run it with: python -m pytest $name"""

import math
from datetime import UTC, datetime, timedelta

import polars as pl

from engine.audit.probe import audit_strategy
from engine.deciders.chosen import choose_strategy
from engine.market.bars import bars_from_frame
from engine.market.instruments import packaged_instruments
from engine.market.timeframes import timeframe
from engine.prepared import RunData
from engine.simulate import run_backtest
from engine.specification import Specification

from $name import $cls

# A week and a half of hours that go up and down every two days, a little higher each time.
TIMES = [datetime(2024, 1, 8, tzinfo=UTC) + timedelta(hours=hour) for hour in range(240)]
CLOSES = [1.1 + 0.01 * math.sin(hour / 48 * 2 * math.pi) + 0.00005 * hour for hour in range(240)]
OPENS = [CLOSES[0], *CLOSES[:-1]]
BARS = bars_from_frame(
    pl.DataFrame(
        {
            "time": TIMES,
            "open": OPENS,
            "high": [max(pair) + 0.0005 for pair in zip(OPENS, CLOSES)],
            "low": [min(pair) - 0.0005 for pair in zip(OPENS, CLOSES)],
            "close": CLOSES,
        }
    ),
    timeframe("H1"),
    "made up",
)
EURUSD = packaged_instruments()["EURUSD"]
RUN = Specification(
    symbol="EURUSD",
    timeframe="H1",
    start=TIMES[0],
    end=TIMES[-1] + timedelta(hours=1),
    strategy_key="$name",
    strategy_params={},
)


def strategy(**params):
    return choose_strategy($cls, "$name", params)


def test_it_buys_on_the_way_up_and_sells_on_the_way_down():
    trades = run_backtest(RUN, EURUSD, RunData(bars=BARS), strategy(length=5, use_stop=True)).trades
    assert trades.height > 4
    assert set(trades["direction"]) == {"BUY", "SELL"}


def test_no_decision_changes_with_what_comes_after_it():
    found = audit_strategy(RUN, EURUSD, RunData(bars=BARS), strategy(length=5, use_stop=True), moments=8)
    assert found.finding is None, str(found.finding)
''')

_COLUMNS = Template('''\
"""$cls: BUY when the close rises above the highs of the bars before, SELL when it falls below their lows."""

import polars as pl
from pydantic import Field

from engine.strategy import Instrument, Market, StrategyParams


class $cls:
    """Breakout of a channel, with an optional stop on the other side of it."""

    class Params(StrategyParams):
        length: int = Field(20, ge=2)
        use_stop: bool = False

    def __init__(self, params: Params, instrument: Instrument) -> None:
        self._params = params

    def decide_all(self, market: Market) -> pl.DataFrame:
        """One row a bar, from that bar and those before it, never a later one: shift(1), not shift(-1)."""
        length = self._params.length
        top = pl.col("high").rolling_max(length).shift(1)
        bottom = pl.col("low").rolling_min(length).shift(1)
        up, down = pl.col("close") > top, pl.col("close") < bottom
        decided = market.bars.select(
            action=pl.when(up).then(pl.lit("BUY")).when(down).then(pl.lit("SELL")),
            stop_loss=pl.when(up).then(bottom).when(down).then(top),
        )
        return decided if self._params.use_stop else decided.select("action")
''')

_BAR_BY_BAR = Template('''\
"""$cls: BUY when the close rises above the highs of the bars before, SELL when it falls below their lows."""

from pydantic import Field

from engine.strategy import Decision, Instrument, StrategyParams, View


class $cls:
    """Breakout of a channel, with an optional stop on the other side of it."""

    class Params(StrategyParams):
        length: int = Field(20, ge=2)
        use_stop: bool = False

    def __init__(self, params: Params, instrument: Instrument) -> None:
        self._params = params

    def decide(self, view: View) -> Decision | None:
        """Asked at every close; the arrays of `view` end at the deciding bar, newest last."""
        length = self._params.length
        if len(view.close) <= length:
            return None
        top, bottom = float(view.high[-length - 1 : -1].max()), float(view.low[-length - 1 : -1].min())
        close = float(view.close[-1])
        if close > top:
            return Decision("BUY", stop_loss=bottom if self._params.use_stop else None)
        if close < bottom:
            return Decision("SELL", stop_loss=top if self._params.use_stop else None)
        return None
''')


def strategy_file(name: str, *, bar_by_bar: bool) -> str:
    """The module `<name>.py`: the same breakout, as columns or bar by bar; both decide alike."""
    return (_BAR_BY_BAR if bar_by_bar else _COLUMNS).substitute(cls=class_name(name))


def test_file(name: str) -> str:
    """The module `test_<name>.py`, which passes on the strategy as it is written."""
    return _TEST.substitute(name=name, cls=class_name(name))


def project_file(name: str) -> str:
    """Its pyproject.toml, which registers the class under the name."""
    return _PROJECT.substitute(
        name=name, cls=class_name(name), project=f"{name.rstrip('_').replace('_', '-')}-strategy"
    )


def class_name(name: str) -> str:
    """my_strategy: MyStrategy."""
    return "".join(part.capitalize() for part in name.split("_"))


_RULES: Final = """\
# $name: averages that cross, in the direction of a longer timeframe's trend.
#
#     backtest run --rules $name.toml --bars BARS.csv --symbol EURUSD --timeframe H1
#
# What can be written: docs/strategies.md, "Write rules"; `backtest strategy schema rules` has it for an editor.

# Conditions, asked at each close. buy or sell is required.
buy = "crosses_above(quick, calm) and close > trend and rsi(close, 14) < 70"
sell = "crosses_below(quick, calm) and close < trend and rsi(close, 14) > 30"

# Leaving by a condition: close closes either side, close_long and close_short one.
close = "weekday == 4 and hour >= 20" # Friday evening, UTC

# Distances from the deciding close, in price. Several targets close a part each.
stop_loss = "2 * atr(14)"
take_profit = ["pips(30)", "4 * atr(14)"]
# trailing_stop = "3 * atr(14)"

# max_bars = 48     # bars after which a position leaves
# volume = "0.1"    # lots; else the run's --volume or --risk-pct

# Numbers with names, which `--params '{"fast": 5}'`, a request and a search vary.
[params]
fast = 10
slow = 30

# Expressions with names. With a timeframe all names in it are of that timeframe's own bars, and its
# value is that of the last of them that has closed: nothing here can look ahead.
[indicators]
quick = "sma(close, fast)"
calm = "sma(close, slow)"
trend = { timeframe = "H4", value = "ema(close, 50)" }
"""


def rules_file(name: str) -> str:
    """The document `<name>.toml`, which runs as it stands and says what else it could have."""
    return Template(_RULES).substitute(name=name)
