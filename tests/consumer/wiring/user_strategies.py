"""Strategies as users write them, good and bad; engine children load them through entry points of their own."""

import sys
from pathlib import Path
from typing import NoReturn

import polars as pl
from pydantic import Field

from engine.strategy import Decision, Instrument, Market, StrategyParams, View

ENTRY_POINTS = {
    "test_cross": "engine.strategies.sma_cross:SmaCross",
    **{
        key: f"tests.consumer.wiring.user_strategies:{name}"
        for key, name in {
            "test_every_tenth": "EveryTenth",
            "test_endless": "Endless",
            "test_raises": "Raises",
            "test_exits": "Exits",
            "test_hungry": "Hungry",
            "test_nul": "Nul",
        }.items()
    },
}


def install(folder: Path) -> None:
    """Make a distribution that registers the strategies; it is installed where `folder` is on PYTHONPATH."""
    metadata = folder / "test_strategies-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: test-strategies\nVersion: 1.0\n")
    lines = [f"{key} = {target}" for key, target in ENTRY_POINTS.items()]
    (metadata / "entry_points.txt").write_text("\n".join(["[backtest_consumer.strategies]", *lines, ""]))


class EveryTenth:
    """Buys and sells in turn, every tenth time it is asked; counts in the object, and says odd things."""

    class Params(StrategyParams):
        every: int = Field(10, ge=1)

    def __init__(self, params: Params, instrument: Instrument) -> None:
        self._params = params
        self._asked = 0

    def decide(self, view: View) -> Decision | None:
        self._asked += 1
        if self._asked % self._params.every:
            return None
        turn = self._asked // self._params.every
        name = "" if turn % 3 == 0 else f'a "quoted", odd name\n{turn}'
        return Decision("BUY" if turn % 2 else "SELL", pattern_name=name, pattern_metadata={"turn": turn, "é": [None]})


class _Bad:
    class Params(StrategyParams):
        pass

    def __init__(self, params: Params, instrument: Instrument) -> None: ...


class Endless(_Bad):
    def decide(self, view: View) -> NoReturn:
        while True:
            try:
                while True:
                    pass
            except BaseException:
                continue


class Raises(_Bad):
    def decide(self, view: View) -> NoReturn:
        raise LookupError("no such level")


class Exits(_Bad):
    def decide(self, view: View) -> NoReturn:
        sys.exit("I give up")


class Hungry(_Bad):
    def decide_all(self, market: Market) -> pl.DataFrame:
        return pl.DataFrame({"action": [bytes(10**15)]})


class Nul(_Bad):
    def decide(self, view: View) -> Decision:
        return Decision("BUY" if view.position is None else "CLOSE", pattern_name="a\0b")
