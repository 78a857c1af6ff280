"""What each operation of a program makes of its inputs' columns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from engine import indicators
from engine.expressions.functions import FUNCTIONS
from engine.expressions.program import Step
from engine.expressions.windows import bars_since, on_all, on_any
from engine.market.timeframes import DAY_US, HOUR_US, MINUTE_US
from engine.numeric.arrays import Floats, read_only

Masks = NDArray[np.bool_]
Side = Literal["value", "true", "false"]
"""Of a condition, where it is surely true or surely false; of a number, or of where columns cross, the value."""


@dataclass(frozen=True, slots=True)
class Source:
    """Bars to compute on. columns: open, high, low, close and volume. spread_pips: NaN where it is unknown.

    rows: for each bar of the run the last of these that closed by its close, -1 for none; None: they are the run's.
    """

    columns: Mapping[str, Floats]
    close_time_us: NDArray[np.int64]
    spread_pips: Floats | float
    rows: NDArray[np.int64] | None = None

    @property
    def size(self) -> int:
        return self.close_time_us.size


class Sources:
    """The bars of each timeframe, looked up once; None for the run's."""

    def __init__(self, source_of: Callable[[str | None], Source], pip: float) -> None:
        self._source_of, self.pip = source_of, pip
        self._found: dict[str | None, Source] = {}

    def of(self, timeframe: str | None) -> Source:
        if timeframe not in self._found:
            self._found[timeframe] = self._source_of(timeframe)
        return self._found[timeframe]

    def whole(self, step: Step, column: Any) -> Any:
        """Return a column of one value a bar, also of what is the same for all."""
        return read_only(np.broadcast_to(column, self.of(step.timeframe).size))


def compute(sources: Sources, step: Step, side: Side, inputs: list[Any]) -> Any:
    """Return a step's column: an array of one value a bar, or one value that is the same for all.

    inputs: in the step's order, each on the side that this one is made of.
    """
    if step.operation in _ARITHMETIC:
        return _finite(_ARITHMETIC[step.operation](*inputs))
    operation: Operation = _OPERATIONS.get(step.operation, _indicator)
    return operation(sources, step, side, inputs)


Operation = Callable[[Sources, Step, Side, list[Any]], Any]


def _constant(sources: Sources, step: Step, side: Side, inputs: list[Any]) -> Any:
    return np.float64(step.given[0])


def _column(sources: Sources, step: Step, side: Side, inputs: list[Any]) -> Any:
    source, name = sources.of(step.timeframe), str(step.given[0])
    if name in source.columns:
        return source.columns[name]
    match name:
        case "spread":
            return np.asarray(source.spread_pips)
        case "hour":
            of_close = source.close_time_us % DAY_US // HOUR_US
        case "minute":
            of_close = source.close_time_us % HOUR_US // MINUTE_US
        case _:
            # The first day of 1970 was a Thursday.
            of_close = (source.close_time_us // DAY_US + 3) % 7
    return of_close.astype(np.float64)


def _negative(sources: Sources, step: Step, side: Side, inputs: list[Any]) -> Any:
    return -inputs[0]


def _pips(sources: Sources, step: Step, side: Side, inputs: list[Any]) -> Any:
    return _finite(inputs[0] * sources.pip)


def _extreme(sources: Sources, step: Step, side: Side, inputs: list[Any]) -> Any:
    return reduce(np.minimum if step.operation == "min" else np.maximum, inputs)


def _compare(sources: Sources, step: Step, side: Side, inputs: list[Any]) -> Any:
    sign = str(step.given[0])
    return _COMPARED[sign if side == "true" else _OPPOSITE[sign]](*inputs)


def _and_or(sources: Sources, step: Step, side: Side, inputs: list[Any]) -> Any:
    all_of_them = (step.operation == "and") == (side == "true")
    return reduce(np.logical_and if all_of_them else np.logical_or, inputs)


def _not(sources: Sources, step: Step, side: Side, inputs: list[Any]) -> Any:
    return inputs[0]


def _crosses(sources: Sources, step: Step, side: Side, inputs: list[Any]) -> Any:
    a, b = (sources.whole(step, each) for each in inputs)
    return indicators.crosses(a, b, sources.of(step.timeframe).columns["close"] if step.given[0] else None)


def _crossed(sources: Sources, step: Step, side: Side, inputs: list[Any]) -> Any:
    direction = 1 if step.operation == "crosses_above" else -1
    if side == "true":
        return np.equal(inputs[0], direction)
    codes, a, b = inputs
    return ~(np.isnan(a) | np.isnan(b)) & np.not_equal(codes, direction)


def _window(sources: Sources, step: Step, side: Side, inputs: list[Any]) -> Masks:
    in_window = on_any if (step.operation == "any") == (side == "true") else on_all
    return in_window(sources.whole(step, inputs[0]), int(step.given[0]))


def _bars_since(sources: Sources, step: Step, side: Side, inputs: list[Any]) -> Floats:
    return bars_since(sources.whole(step, inputs[0]))


def _shift(sources: Sources, step: Step, side: Side, inputs: list[Any]) -> Any:
    column = sources.whole(step, inputs[0])
    bars = min(int(step.given[0]), column.size)
    shifted = np.empty(column.size, column.dtype)
    shifted[:bars] = _UNKNOWN[column.dtype.kind]
    shifted[bars:] = column[: column.size - bars]
    return shifted


def _join(sources: Sources, step: Step, side: Side, inputs: list[Any]) -> Any:
    """Bring a column of other bars to the run's: at each bar that of the last one closed by then."""
    source = sources.of(str(step.given[0]))
    rows = source.rows
    assert rows is not None
    values = np.broadcast_to(inputs[0], source.size)
    joined = np.empty(rows.size, values.dtype)
    blank = int(np.searchsorted(rows, 0))
    joined[:blank] = _UNKNOWN[values.dtype.kind]
    joined[blank:] = values[rows[blank:]]
    return joined


def _candle(sources: Sources, step: Step, side: Side, inputs: list[Any]) -> Floats:
    opened, high, low, close = _bars(sources, step, FUNCTIONS["candle"].bars)
    values: Floats = indicators.candle(opened, high, low, close, str(step.given[0])).to_numpy()
    return values


def _indicator(sources: Sources, step: Step, side: Side, inputs: list[Any]) -> Floats:
    name = step.operation.removeprefix("indicator ")
    function = FUNCTIONS[name]
    lengths, numbers = list(step.given), list(inputs)
    arguments: list[Any] = _bars(sources, step, function.bars)
    for argument in function.arguments:
        match argument.kind:
            case "length":
                arguments.append(int(lengths.pop(0)))
            case "multiplier":
                arguments.append(float(numbers.pop(0)))
            case _:
                arguments.append(sources.whole(step, numbers.pop(0)))
    values: Floats = getattr(indicators, name)(*arguments).to_numpy()
    return values


def _bars(sources: Sources, step: Step, names: tuple[str, ...]) -> list[Any]:
    columns = sources.of(step.timeframe).columns
    return [columns[name] for name in names]


def _finite(values: Any) -> Any:
    """What is too large for a number, or divided by 0, is unknown. values: made just now, and changed."""
    if np.ndim(values) == 0:
        return values if np.isfinite(values) else np.float64(np.nan)
    infinite = np.isinf(values)
    if infinite.any():
        values[infinite] = np.nan
    return values


_UNKNOWN: Final = {"f": np.nan, "b": False}
_ARITHMETIC: Final[dict[str, Callable[..., Any]]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.mod,
    "abs": np.abs,
    "sqrt": np.sqrt,
    "log": np.log,
}
_COMPARED: Final[dict[str, Callable[..., Any]]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": lambda a, b: np.less(a, b) | np.greater(a, b),  # to numpy NaN is not equal to anything
}
_OPPOSITE: Final = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}
_OPERATIONS: Final[dict[str, Operation]] = {
    "constant": _constant,
    "column": _column,
    "negative": _negative,
    "pips": _pips,
    "min": _extreme,
    "max": _extreme,
    "compare": _compare,
    "and": _and_or,
    "or": _and_or,
    "not": _not,
    "crosses": _crosses,
    "crosses_above": _crossed,
    "crosses_below": _crossed,
    "any": _window,
    "all": _window,
    "bars_since": _bars_since,
    "shift": _shift,
    "join": _join,
    "candle": _candle,
}
