"""What strategies of a fast and a slow length share: both parameters, and that they stand in their order."""

from pydantic import model_validator

from engine.strategy import StrategyParams


class FastAndSlow(StrategyParams):
    """Two lengths in bars, the first below the second."""

    fast: int
    slow: int

    @model_validator(mode="after")
    def fast_is_below_slow(self) -> "FastAndSlow":
        if self.fast >= self.slow:
            raise ValueError(f"fast ({self.fast}) must be below slow ({self.slow})")
        return self
