"""Strategies that only the fault tests register: runs that last, at no cost of CPU, for faults to find at work."""

import time
from contextlib import suppress

from pydantic import Field

from engine.strategy import Decision, Instrument, StrategyParams, View


class Slow:
    """Waits a little at every bar, and trades by the count of bars alone: the same result however long it took."""

    class Params(StrategyParams):
        seconds_a_bar: float = Field(0.003, ge=0, le=1)
        every: int = Field(20, ge=2)

    def __init__(self, params: Params, instrument: Instrument) -> None:
        self.params = params
        self.asked = 0

    def decide(self, view: View) -> Decision | None:
        time.sleep(self.params.seconds_a_bar)
        self.asked += 1
        if self.asked % self.params.every:
            return None
        return Decision("BUY" if self.asked // self.params.every % 2 else "SELL", stop_loss=None)


class Endless:
    """Never returns, and swallows whatever it is told."""

    class Params(StrategyParams):
        pass

    def __init__(self, params: Params, instrument: Instrument) -> None:
        self.params = params

    def decide(self, view: View) -> Decision | None:
        while True:
            with suppress(BaseException):  # the worst that a user's code can do
                time.sleep(60)
