"""What a strategy is: the protocol of docs/strategies.md, and the objects it sees and returns."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal, NamedTuple, NoReturn, Protocol, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from engine.errors import InvalidParams, MissingContext, ParameterProblem, StrategyError
from engine.market.instruments import Instrument

__all__ = [
    "Action",
    "BarStrategy",
    "Candles",
    "ColumnStrategy",
    "Decision",
    "Instrument",
    "Market",
    "Order",
    "Position",
    "StrategyParams",
    "View",
    "checked_params",
]

Action = Literal["BUY", "SELL", "CLOSE", "MOVE", "CANCEL"]
Order = Literal["market", "limit", "stop"]


class StrategyParams(BaseModel):
    """Base of a strategy's parameters: unknown names are refused, values are validated and frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def checked_params(strategy: Any, strategy_key: str, params: Mapping[str, Any]) -> StrategyParams:
    """Validate parameters against the strategy's Params. Raises InvalidParams naming every field at fault."""
    try:
        validated: StrategyParams = strategy.Params.model_validate(dict(params))
    except ValidationError as error:
        problems = tuple(
            ParameterProblem(
                ".".join(str(part) for part in found["loc"]) or "params",
                no_parameter(str(found["loc"][0]), strategy.Params.model_fields)
                if found["type"] == "extra_forbidden" and len(found["loc"]) == 1
                else found["msg"],
            )
            for found in error.errors()
        )
        raise InvalidParams(strategy_key, problems) from error
    return validated


def no_parameter(name: str, known: Collection[str], of: str = "parameter of it") -> str:
    """Say that there is no such parameter, which may be meant and which there are."""
    close = get_close_matches(name, list(known), n=1) if max(len(name), len(known)) <= _MOST_GUESSED else []
    advice = f"; did you mean {close[0]!r}?" if close else "."
    listed = ", ".join(list(known)[:_MOST_LISTED]) + (", ..." if len(known) > _MOST_LISTED else "")
    return f"{_NO}{of}{advice} It has {listed or 'none'}"


def is_no_parameter(message: str) -> bool:
    """Whether that is what `no_parameter` says: that a name is wrong, whatever its value."""
    return message.startswith(_NO)


_NO = "is no "


_MOST_GUESSED, _MOST_LISTED = 100, 20
"""Characters of a name, and names, among which looking for the nearest is quick; names somebody may read."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a bar strategy answers at a bar's close. Prices are absolute levels; volume is in lots.

    MOVE carries stop_loss and take_profits only, CLOSE and CANCEL nothing; all else is for BUY and SELL.
    """

    action: Action
    volume: float | None = None
    stop_loss: float | None = None
    take_profits: tuple[float, ...] = ()
    pattern_name: str | None = None
    pattern_metadata: Mapping[str, Any] | None = None
    trailing_stop: float | None = None
    """A distance in price, at which the stop follows the market."""
    max_bars: int | None = None
    """The position leaves at the close of so many bars."""
    order: Order = "market"
    price: float | None = None
    """Where a limit or stop order fills; its levels are measured from here."""
    expires_bars: int | None = None
    """How many bars an entry order rests in; None: until it is replaced or removed."""


@dataclass(frozen=True, slots=True)
class Position:
    """The open position as a bar strategy sees it at a close."""

    direction: Literal["BUY", "SELL"]
    entry_price: float
    volume: float
    """Lots still open."""
    entry_time: np.datetime64
    stop_loss: float | None
    take_profits: tuple[float, ...]
    """Targets not yet reached, nearest first."""


Timeframed = TypeVar("Timeframed")


class Contexts(dict[str, Timeframed]):
    """What there is of each context timeframe; asking for another raises MissingContext, which is a KeyError too."""

    def __missing__(self, timeframe: str) -> NoReturn:
        ways = "name it in --context-timeframes, or in context_tfs of the strategy's row; a column strategy may also"
        raise MissingContext(timeframe, f"{ways} compute on it, with market.on({timeframe!r}, function)")


class OwnBars(NamedTuple):
    """A timeframe's own bars; rows: for each bar of the run, the last of them closed by its close, -1 for none.

    close_time_us: when each is known. spread_pips: as the run reckons with it, one for all or one a bar; NaN where it
    is not known.
    """

    frame: pl.DataFrame
    rows: NDArray[np.int64]
    close_time_us: NDArray[np.int64]
    spread_pips: NDArray[np.float64] | float


def _no_own_bars(timeframe: str | None) -> OwnBars:
    raise StrategyError(f"market.on({timeframe!r}): this market was made without a run")


@dataclass(frozen=True, slots=True, eq=False)
class Market:
    """All bars of a run, for a column strategy. The frames are the strategy's own.

    bars: the run's timeframe, warm-up included; columns time (Datetime us UTC), open, high, low, close, volume
    and, where recorded, spread. context[timeframe]: same height; row i is the last bar of that timeframe closed
    by the close of bar i, nulls before the first one. own_bars: looks up what `on` computes on, None being the run's
    bars. left_out: empty; a strategy may put there, by the reason, at which bars it would have decided had it known
    enough (one truth value a bar), and the run's warnings count them. remarks: empty; sentences that a strategy adds to
    the run's warnings.
    """

    bars: pl.DataFrame
    context: Mapping[str, pl.DataFrame]
    own_bars: Callable[[str | None], OwnBars] = _no_own_bars
    left_out: dict[str, Any] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def on(self, timeframe: str, function: Callable[[pl.DataFrame], Any]) -> Any:
        """Compute on a timeframe's own bars and return a Series of the run's height: at row i the value of the last of
        those bars closed by the close of bar i, null before the first one.

            trend = market.on("H4", lambda bars: ema(bars["close"], 50))

        function: takes a frame as `bars`, returns one value a row of it, as a Series or an array; or a tuple of such
        columns, for which a tuple is returned. NaN becomes null. A timeframe that the run was not given is resampled
        from its bars. Raises StrategyError where that cannot be, and for another number of values.
        """
        own = self.own_bars(timeframe)
        answer = function(own.frame)
        columns = answer if isinstance(answer, tuple) else (answer,)
        joined = tuple(_joined(timeframe, own, column) for column in columns)
        return joined if isinstance(answer, tuple) else joined[0]


def _joined(timeframe: str, own: OwnBars, column: Any) -> pl.Series:
    if not isinstance(column, (pl.Series, np.ndarray)) or column.shape != (own.frame.height,):
        what = f"{len(column)} values" if isinstance(column, (pl.Series, np.ndarray)) else type(column).__name__
        raise StrategyError(f"market.on({timeframe!r}): the function returned {what} for {own.frame.height} bars")
    values = pl.Series(column)
    if values.dtype.is_float():
        values = values.fill_nan(None)
    blank = int(np.searchsorted(own.rows, 0))
    return values.clear(blank).append(values.gather(own.rows[blank:]))


class Candles(Protocol):
    """The bars of one timeframe that are known by now; the future is not reachable from here.

    Arrays are read-only, 1-d, newest last, warm-up included; `time` is datetime64[us], UTC.
    """

    @property
    def time(self) -> NDArray[np.datetime64]: ...
    @property
    def open(self) -> NDArray[np.float64]: ...
    @property
    def high(self) -> NDArray[np.float64]: ...
    @property
    def low(self) -> NDArray[np.float64]: ...
    @property
    def close(self) -> NDArray[np.float64]: ...
    @property
    def volume(self) -> NDArray[np.float64]: ...


class View(Candles, Protocol):
    """What has happened up to and including the deciding bar, on the run's timeframe and every context timeframe.

    position, balance and equity are those at the close, after levels and before the decision.
    """

    @property
    def context(self) -> Mapping[str, Candles]: ...
    @property
    def position(self) -> Position | None: ...
    @property
    def balance(self) -> float: ...
    @property
    def equity(self) -> float: ...


class ColumnStrategy(Protocol):
    """Decides for all bars in one pass over columns.

    It may say how many bars before the start it has to see: see engine.warm_up.
    """

    def __init__(self, params: Any, instrument: Instrument) -> None: ...

    def decide_all(self, market: Market) -> pl.DataFrame:
        """Return one row a bar: action ("BUY", "SELL", "CLOSE", "MOVE", "CANCEL" or null), optional volume, stop_loss,
        take_profit, take_profit_2, ..., trailing_stop, max_bars, order, price, expires_bars, pattern_name,
        pattern_metadata."""
        ...


class BarStrategy(Protocol):
    """Decides bar by bar, from the run's first bar on."""

    def __init__(self, params: Any, instrument: Instrument) -> None: ...

    def decide(self, view: View) -> Decision | None:
        """Return the decision at the close of the view's newest bar, or None."""
        ...
