"""What `backtest strategy new` writes: a strategy that works as it stands, and the project that registers it."""

from string import Template

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

[tool.hatch.build]
only-include = ["$name.py"]
""")

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
    return (_BAR_BY_BAR if bar_by_bar else _COLUMNS).substitute(cls=_class_name(name))


def project_file(name: str) -> str:
    """Its pyproject.toml, which registers the class under the name."""
    return _PROJECT.substitute(
        name=name, cls=_class_name(name), project=f"{name.rstrip('_').replace('_', '-')}-strategy"
    )


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))
