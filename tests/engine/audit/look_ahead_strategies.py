"""Strategies that look ahead, each in one of the ways in which people do it without noticing, and honest ones."""

import sys
from typing import Any, ClassVar

import numpy as np
import polars as pl

from engine.indicators import actions, sma
from engine.strategies.sma_cross import SmaCross
from engine.strategy import Action, Decision, Instrument, Market, StrategyParams, View


class _Columns:
    class Params(StrategyParams):
        pass

    def __init__(self, params: Params, instrument: Instrument) -> None: ...


def decide(buy: pl.Expr, sell: pl.Expr) -> pl.Expr:
    return pl.when(buy).then(pl.lit("BUY")).when(sell).then(pl.lit("SELL")).alias("action")


def once(frame: pl.DataFrame) -> pl.DataFrame:
    """Keep an action only where it differs from the one before, so that decisions are as rare as real ones."""
    return frame.with_columns(
        pl.when(pl.col("action").ne_missing(pl.col("action").forward_fill().shift(1))).then(pl.col("action"))
    )


# ---------------------------------------------------------------------------------------------------- dishonest


class NegativeShift(_Columns):
    """The classic: tomorrow's close decides today."""

    def decide_all(self, market: Market) -> pl.DataFrame:
        tomorrow = pl.col("close").shift(-1)
        return market.bars.select(decide(tomorrow > pl.col("close") * 1.001, tomorrow < pl.col("close") * 0.999))


class CentredWindow(_Columns):
    """A smoothed price that knows the bars on both sides."""

    def decide_all(self, market: Market) -> pl.DataFrame:
        smooth = pl.col("close").rolling_mean(21, center=True)
        rising = smooth > smooth.shift(1)
        return once(market.bars.select(decide(rising, ~rising)))


class ContextBeforeItsClose(_Columns):
    """Makes H4 bars of its own and joins each to the bars inside it."""

    def decide_all(self, market: Market) -> pl.DataFrame:
        h4 = market.bars.group_by_dynamic("time", every="4h").agg(h4_open=pl.first("open"), h4_close=pl.last("close"))
        joined = market.bars.join_asof(h4, on="time")
        return once(
            joined.select(decide(pl.col("h4_close") > pl.col("h4_open"), pl.col("h4_close") < pl.col("h4_open")))
        )


class WholeSeriesNormalisation(_Columns):
    """Scores each close by the mean and deviation of all closes, those to come included."""

    def decide_all(self, market: Market) -> pl.DataFrame:
        score = (pl.col("close") - pl.col("close").mean()) / pl.col("close").std()
        return once(market.bars.select(decide(score < -1, score > 1)))


class StopFromTheNextLow(_Columns):
    """Decides honestly, but the stop is under a low that has not happened yet."""

    def decide_all(self, market: Market) -> pl.DataFrame:
        next_low = pl.min_horizontal("low", pl.col("low").shift(-1).fill_null(pl.col("low")))
        buys = market.bars.select(decide(pl.col("close") > pl.col("close").shift(5) * 1.004, pl.lit(value=False)))
        return buys.with_columns(market.bars.select(stop_loss=next_low - 0.001))


class NextVolume(_Columns):
    """Only ever looks at the volume to come."""

    def decide_all(self, market: Market) -> pl.DataFrame:
        to_come = pl.col("volume").shift(-1, fill_value=0)
        return market.bars.select(decide(to_come > pl.col("volume") * 2, pl.lit(value=False)))


class LastBar(_Columns):
    """Knows which bar is the last one."""

    def decide_all(self, market: Market) -> pl.DataFrame:
        row = pl.int_range(pl.len())
        return market.bars.select(
            action=pl.when(row == 5).then(pl.lit("BUY")).when(row == pl.len() - 1).then(pl.lit("CLOSE"))
        )


class RemembersTheLongest(_Columns):
    """Keeps the longest market it was ever shown, and looks at what comes next in there."""

    longest: ClassVar[pl.DataFrame | None] = None

    def decide_all(self, market: Market) -> pl.DataFrame:
        cls = type(self)
        if cls.longest is None or market.bars.height > cls.longest.height:
            cls.longest = market.bars
        ahead = cls.longest.head(market.bars.height + 1)
        tomorrow = pl.col("close").shift(-1)
        decided = ahead.select(decide(tomorrow > pl.col("close") * 1.001, tomorrow < pl.col("close") * 0.999))
        return decided.head(market.bars.height)


class RemembersAsBars(_Columns):
    """A bar strategy that cannot see the future, but has kept it since it saw it last time."""

    closes: ClassVar[list[float]] = []

    def decide(self, view: View) -> Decision | None:
        kept, now = type(self).closes, len(view.close)
        kept.extend(view.close[len(kept) : now].tolist())
        if len(kept) == now:
            return None
        return Decision("BUY" if kept[now] > view.close[-1] else "SELL")


class LooksThroughTheStack(_Columns):
    """A bar strategy that finds the engine's own bars in the frames of its callers."""

    asked_in_vain = 0

    def __init__(self, params: Any, instrument: Instrument) -> None:
        del params, instrument
        self._asked = 0

    def decide(self, view: View) -> Decision | None:
        self._asked += 1
        if self._asked <= self.asked_in_vain:
            return None
        frame = sys._getframe()  # that is its trick
        while not hasattr(frame.f_locals["self"], "_run"):
            assert frame.f_back is not None
            frame = frame.f_back
        to_come = frame.f_locals["self"]._run.bars.close[len(view.close) :][:1]
        if not to_come.size:
            return None
        return Decision("BUY" if to_come[0] > view.close[-1] else "SELL")


class LooksThroughTheStackLater(LooksThroughTheStack):
    """The same, once it has been asked so often that no short run shows it."""

    asked_in_vain = 400


# ---------------------------------------------------------------------------------------------------- other defects


class Dice(_Columns):
    """Decides by chance, without a seed."""

    def decide_all(self, market: Market) -> pl.DataFrame:
        codes = np.random.default_rng().integers(-1, 2, market.bars.height).astype(np.int8)
        return pl.DataFrame([actions(codes)])


class ShiftsInPlace(_Columns):
    """Moves the closes in the frame that it was given."""

    def decide_all(self, market: Market) -> pl.DataFrame:
        bars = market.bars
        bars.replace_column(bars.get_column_index("close"), bars["close"].shift(1).fill_null(1.0))
        return pl.DataFrame({"action": [None] * bars.height})


class AveragesContextRows(_Columns):
    """Takes the rows of a context frame for its bars: an average of 20 H1 rows, in which H4 closes repeat."""

    def decide_all(self, market: Market) -> pl.DataFrame:
        return _above(
            market.bars["close"],
            sma(market.context["H4"]["close"] * 1.0, 20) + 0 * sma(market.context["D1"]["high"], 2),
        )


class AveragesContextBars(_Columns):
    """The same average of 20 H4 bars, and an honest one of its own closes."""

    def decide_all(self, market: Market) -> pl.DataFrame:
        trend = market.on("H4", lambda bars: sma(bars["close"], 20))
        return _above(sma(market.bars["close"], 3), trend)


def _above(fast: pl.Series, slow: pl.Series) -> pl.DataFrame:
    above = fast > slow
    begins = above & ~above.shift(1)
    return pl.select(pl.when(begins).then(pl.lit("BUY")).when(~above).then(pl.lit("CLOSE")).alias("action"))


class NeedsManyBars(_Columns):
    """Gives up on a short past; on a longer one it is honest."""

    def decide_all(self, market: Market) -> pl.DataFrame:
        if market.bars.height < 400:
            raise ValueError("at least 400 bars")
        change = pl.col("close") / pl.col("close").shift(24)
        return once(market.bars.select(decide(change > 1.005, change < 0.995)))


# ---------------------------------------------------------------------------------------------------- honest


class ContextInTime(_Columns):
    """Uses the context as it is given: H4 bars once they have closed."""

    def decide_all(self, market: Market) -> pl.DataFrame:
        h4 = market.context["H4"]
        return once(h4.select(decide(pl.col("close") > pl.col("open"), pl.col("close") < pl.col("open"))))


class LevelsBesideNothing(_Columns):
    """Fills its stop column on every row, beyond what it decides; only a stop beside a decision is one."""

    def decide_all(self, market: Market) -> pl.DataFrame:
        change = pl.col("close") / pl.col("close").shift(24)
        decided = market.bars.select(decide(change > 1.005, pl.lit(value=False)))
        behind = market.bars.select(stop_loss=pl.col("low").shift(-1).fill_null(1.0))["stop_loss"]
        own = market.bars["low"] - 0.001
        stop = pl.select(pl.when(decided["action"].is_not_null()).then(own).otherwise(behind)).to_series()
        return decided.with_columns(stop_loss=stop)


class BarCross(_Columns):
    """A bar strategy that minds its position, and says why it decides."""

    def decide(self, view: View) -> Decision | None:
        if len(view.close) < 30:
            return None
        fast, slow = view.close[-10:].mean(), view.close[-30:].mean()
        side: Action = "BUY" if fast > slow else "SELL"
        if view.position is not None and view.position.direction == side:
            return None
        stop = float(view.close[-1]) * (0.99 if side == "BUY" else 1.01)
        return Decision(side, stop_loss=stop, pattern_name="cross", pattern_metadata={"equity": view.equity})


class BarCrossWithWarmUp(BarCross):
    """It sees fewer bars than there are before the start."""

    warm_up_bars = 40


LOOKING_AHEAD: dict[str, tuple[type[Any], str]] = {
    "a negative shift": (NegativeShift, "action"),
    "a centred window": (CentredWindow, "action"),
    "a context bar used before its close": (ContextBeforeItsClose, "action"),
    "whole-series normalisation": (WholeSeriesNormalisation, "action"),
    "a stop from the next bar": (StopFromTheNextLow, "stop_loss"),
    "the next bar's volume": (NextVolume, "action"),
    "knowing the last bar": (LastBar, "action"),
    "remembering the longest market": (RemembersTheLongest, "action"),
    "looking through the stack": (LooksThroughTheStack, "action"),
    "looking through the stack after many bars": (LooksThroughTheStackLater, "action"),
}
"""Defect -> strategy with it, and the column in which it shows."""

HONEST: dict[str, type[Any]] = {
    "sma_cross": SmaCross,
    "a bar strategy": BarCross,
    "a bar strategy with a warm-up": BarCrossWithWarmUp,
    "context in time": ContextInTime,
    "levels beside nothing": LevelsBesideNothing,
}
