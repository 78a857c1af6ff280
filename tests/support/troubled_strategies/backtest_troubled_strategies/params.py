"""Parameters whose validation goes wrong."""

import os
import sys
import time

from pydantic import field_validator

from engine.strategy import Decision, Instrument, StrategyParams, View


class _Strategy:
    def __init__(self, params: StrategyParams, instrument: Instrument) -> None: ...

    def decide(self, view: View) -> Decision | None:
        return None


class Sleeps(_Strategy):
    class Params(StrategyParams):
        seconds: float = 0.0

        @field_validator("seconds")
        @classmethod
        def slowly(cls, seconds: float) -> float:
            time.sleep(seconds)
            return seconds


class Ends(_Strategy):
    class Params(StrategyParams):
        status: int = 0

        @field_validator("status")
        @classmethod
        def finally_(cls, status: int) -> int:
            os._exit(status)


class Leaves(_Strategy):
    class Params(StrategyParams):
        status: int = 0

        @field_validator("status")
        @classmethod
        def leave(cls, status: int) -> int:
            sys.exit(status)
