"""Strategies that only the service's benchmarks register: what they need is time that passes, not figures."""

import time

import polars as pl

from engine.strategy import Decision, Instrument, Market, StrategyParams, View


class Sleep:
    """Takes `seconds` and no CPU: what is left to measure is coordination."""

    class Params(StrategyParams):
        seconds: float

    def __init__(self, params: Params, instrument: Instrument) -> None:
        self.seconds = params.seconds

    def decide_all(self, market: Market) -> pl.DataFrame:
        time.sleep(self.seconds)
        return pl.DataFrame({"action": pl.Series([None] * market.bars.height, dtype=pl.String)})


class NoParams(StrategyParams):
    """Nothing to set."""


class Spin:
    """A bar strategy that never returns, and swallows whatever it is told."""

    Params = NoParams

    def __init__(self, params: NoParams, instrument: Instrument) -> None:
        pass

    def decide(self, view: View) -> Decision | None:
        spin_for_ever()
        return None


class SpinColumns:
    """A column strategy that never returns: no bar is ever done, so there is nothing between which to look."""

    Params = NoParams

    def __init__(self, params: NoParams, instrument: Instrument) -> None:
        pass

    def decide_all(self, market: Market) -> pl.DataFrame:
        spin_for_ever()
        return pl.DataFrame()


class SlowBars:
    """Well behaved, and busy for 10 ms at every bar."""

    Params = NoParams

    def __init__(self, params: NoParams, instrument: Instrument) -> None:
        pass

    def decide(self, view: View) -> Decision | None:
        until = time.perf_counter() + 0.01
        while time.perf_counter() < until:
            pass
        return None


def spin_for_ever() -> None:
    while True:
        try:
            while True:
                pass
        except BaseException:  # noqa: BLE001, PERF203, RUF100  # the worst that a user's code can do
            pass
