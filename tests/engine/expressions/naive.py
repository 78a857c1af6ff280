"""Rules evaluated once more, bar by bar, as the documentation says it and in no way as the engine does it.

None is what is unknown. Expressions are read by Python's own parser; indicators are those with a plain formula.
"""

import ast
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Value = float | bool | None


@dataclass(frozen=True)
class NaiveBars:
    """columns: by name. closes_us: rising."""

    columns: Mapping[str, Sequence[float]]
    closes_us: Sequence[int]


@dataclass
class Naive:
    """A document on its bars. bars: by timeframe, None for the run's."""

    document: Mapping[str, Any]
    bars: Mapping[str | None, NaiveBars]
    pip: float
    known: dict[tuple[str, str | None], list[Value]] = field(default_factory=dict)

    def column(self, text: str, timeframe: str | None = None) -> list[Value]:
        """The value of an expression at each bar of a timeframe."""
        return self._column(ast.parse(f"({text})", mode="eval").body, timeframe)

    def _column(self, node: ast.expr, timeframe: str | None) -> list[Value]:
        key = (ast.dump(node), timeframe)
        if key not in self.known:
            size = len(self.bars[timeframe].closes_us)
            self.known[key] = self._made(node, timeframe, size)
        return self.known[key]

    def _made(self, node: ast.expr, timeframe: str | None, size: int) -> list[Value]:  # noqa: C901  # one kind a case
        def of(*nodes: ast.expr) -> list[tuple[Any, ...]]:
            return list(zip(*(self._column(each, timeframe) for each in nodes), strict=True))

        match node:
            case ast.Constant():
                return [float(node.value)] * size  # type: ignore[arg-type]
            case ast.Name():
                return self._named(node.id, timeframe, size)
            case ast.UnaryOp(op=ast.Not()):
                return [None if c is None else not c for (c,) in of(node.operand)]
            case ast.UnaryOp():
                sign = -1 if isinstance(node.op, ast.USub) else 1
                return [None if x is None else sign * x for (x,) in of(node.operand)]
            case ast.BinOp():
                return [_arithmetic(node.op, a, b) for a, b in of(node.left, node.right)]
            case ast.Compare():
                operands = of(node.left, *node.comparators)
                return [_and(_compared(op, *pair) for op, pair in _pairs(node.ops, row)) for row in operands]
            case ast.BoolOp():
                joined = _and if isinstance(node.op, ast.And) else _or
                return [joined(row) for row in of(*node.values)]
            case ast.Subscript():
                back = self._whole(node.slice)
                column = self._column(node.value, timeframe)
                return [column[i - back] if i >= back else None for i in range(size)]
            case ast.Call(func=ast.Name() as called):
                return self._called(called.id, node.args, timeframe, size)
        raise AssertionError(ast.dump(node))

    def _named(self, name: str, timeframe: str | None, size: int) -> list[Value]:
        bars = self.bars[timeframe]
        if name in bars.columns:
            return list(bars.columns[name])
        minutes = [closed // 60_000_000 for closed in bars.closes_us]
        if name in ("hour", "minute", "weekday"):
            of_close = {
                "hour": [minute // 60 % 24 for minute in minutes],
                "minute": [minute % 60 for minute in minutes],
                "weekday": [(minute // 1440 + 3) % 7 for minute in minutes],
            }
            return [float(each) for each in of_close[name]]
        if name in self.document["params"]:
            return [float(self.document["params"][name])] * size
        indicator = self.document["indicators"][name]
        if isinstance(indicator, str):
            return self.column(indicator, timeframe)
        own = self.column(indicator["value"], indicator["timeframe"])
        closes = self.bars[indicator["timeframe"]].closes_us
        joined: list[Value] = []
        for now in bars.closes_us:
            closed = [row for row, moment in enumerate(closes) if moment <= now]
            joined.append(own[closed[-1]] if closed else None)
        return joined

    def _whole(self, node: ast.expr) -> int:
        return int(self.document["params"][node.id] if isinstance(node, ast.Name) else node.value)  # type: ignore[attr-defined]

    def _called(self, name: str, arguments: list[ast.expr], timeframe: str | None, size: int) -> list[Value]:
        if name in ("crosses_above", "crosses_below"):
            return self._crossed(name, arguments, timeframe)
        if name == "atr":
            return _wilder(self._ranges(timeframe), self._whole(arguments[0]))
        if name in ("pips", "abs", "sqrt", "log", "min", "max"):
            rows = zip(*(self._column(each, timeframe) for each in arguments), strict=True)
            return [None if None in row else self._plain(name, row) for row in rows]
        column = self._column(arguments[0], timeframe)
        if name == "rising":
            return [_and([column[i], _not(column[i - 1]) if i else None]) for i in range(size)]
        if name == "bars_since":
            return [next((float(i - j) for j in range(i, -1, -1) if column[j] is True), None) for i in range(size)]
        length = self._whole(arguments[1])
        if name in ("any", "all"):
            joined = _or if name == "any" else _and
            return [joined([column[j] if j >= 0 else None for j in range(i - length + 1, i + 1)]) for i in range(size)]
        return _STRETCHED[name](column, length)

    def _plain(self, name: str, row: tuple[Any, ...]) -> float | None:
        if name in ("min", "max"):
            return float(min(row) if name == "min" else max(row))
        x = row[0]
        if name == "pips":
            return _finite(x * self.pip)
        if name == "abs":
            return float(abs(x))
        if name == "sqrt":
            return math.sqrt(x) if x >= 0 else None
        return math.log(x) if x > 0 else None

    def _crossed(self, name: str, arguments: list[ast.expr], timeframe: str | None) -> list[Value]:
        above = 1 if name == "crosses_above" else -1
        of_prices = all(self._is_price(each) for each in arguments)
        a, b = (self._column(each, timeframe) for each in arguments)
        closes = self.bars[timeframe].columns["close"]
        crossed: list[Value] = []
        sides: list[int] = []
        for x, y, close in zip(a, b, closes, strict=True):
            if x is None or y is None:
                crossed.append(None)
                continue
            tolerance = 1e-9 * (close if of_prices else max(abs(x), abs(y)))
            side = 1 if x - y > tolerance else -1 if x - y < -tolerance else 0
            crossed.append(side == above and bool(sides) and sides[-1] == -above)
            sides += [side] if side else []
        return crossed

    def _is_price(self, node: ast.expr) -> bool:
        match node:
            case ast.Name():
                if node.id in self.document["indicators"]:
                    indicator = self.document["indicators"][node.id]
                    text = indicator if isinstance(indicator, str) else indicator["value"]
                    return self._is_price(ast.parse(f"({text})", mode="eval").body)
                return node.id in ("open", "high", "low", "close")
            case ast.Subscript():
                return self._is_price(node.value)
            case ast.UnaryOp(op=ast.UAdd()):
                return self._is_price(node.operand)
            case ast.Call(func=ast.Name() as called):
                if called.id in ("sma", "ema", "highest", "lowest"):
                    return self._is_price(node.args[0])
                return called.id in ("min", "max") and all(self._is_price(each) for each in node.args)
        return False

    def _ranges(self, timeframe: str | None) -> list[Value]:
        high, low, close = (self.bars[timeframe].columns[name] for name in ("high", "low", "close"))
        later = [max(high[i], close[i - 1]) - min(low[i], close[i - 1]) for i in range(1, len(close))]
        return [None, *later] if close else []


def _finite(x: float) -> float | None:
    return x if math.isfinite(x) else None


def _arithmetic(op: ast.operator, a: Any, b: Any) -> float | None:
    if a is None or b is None or (isinstance(op, ast.Div | ast.Mod) and b == 0):
        return None
    match op:
        case ast.Add():
            return _finite(a + b)
        case ast.Sub():
            return _finite(a - b)
        case ast.Mult():
            return _finite(a * b)
        case ast.Div():
            return _finite(a / b)
        case _:
            return _finite(a % b)


def _pairs(ops: list[ast.cmpop], row: tuple[Any, ...]) -> list[tuple[ast.cmpop, tuple[Any, Any]]]:
    return [(op, (row[i], row[i + 1])) for i, op in enumerate(ops)]


def _compared(op: ast.cmpop, a: Any, b: Any) -> bool | None:
    if a is None or b is None:
        return None
    answers: dict[type[ast.cmpop], Callable[[], bool]] = {
        ast.Lt: lambda: a < b,
        ast.LtE: lambda: a <= b,
        ast.Gt: lambda: a > b,
        ast.GtE: lambda: a >= b,
        ast.Eq: lambda: a == b,
        ast.NotEq: lambda: a != b,
    }
    return answers[type(op)]()


def _not(c: Any) -> bool | None:
    return None if c is None else not c


def _and(row: Any) -> bool | None:
    known = list(row)
    return False if False in known else None if None in known else True


def _or(row: Any) -> bool | None:
    known = list(row)
    return True if True in known else None if None in known else False


def _by_stretch(
    function: Callable[[list[float], int], list[float | None]],
) -> Callable[[list[Value], int], list[Value]]:
    """An indicator on each stretch of known values."""

    def whole(column: list[Value], length: int) -> list[Value]:
        found: list[Value] = []
        stretch: list[float] = []
        for x in [*column, None]:
            if x is not None:
                stretch.append(float(x))
                continue
            found += [*function(stretch, length), None]
            stretch = []
        return found[:-1]

    return whole


def _windowed(function: Callable[[list[float]], float]) -> Callable[[list[Value], int], list[Value]]:
    def stretch(values: list[float], length: int) -> list[float | None]:
        return [function(values[i + 1 - length : i + 1]) if i + 1 >= length else None for i in range(len(values))]

    return _by_stretch(stretch)


def _ema(values: list[float], length: int) -> list[float | None]:
    found: list[float | None] = [None] * min(length - 1, len(values))
    if len(values) < length:
        return found
    average = 0.0
    for x in values[:length]:
        average += x
    average /= length
    found.append(average)
    for x in values[length:]:
        average = (x - average) * (2.0 / (length + 1)) + average
        found.append(average)
    return values[:] if length == 1 else found  # type: ignore[return-value]


def _roc(values: list[float], length: int) -> list[float | None]:
    return [
        (None if values[i - length] == 0 else (values[i] / values[i - length] - 1.0) * 100.0) if i >= length else None
        for i in range(len(values))
    ]


def _wilder(ranges: list[Value], length: int) -> list[Value]:
    found: list[Value] = [None] * min(len(ranges), length)
    known = [float(each) for each in ranges[1:] if each is not None]
    if len(known) < length:
        return found
    average = 0.0
    for x in known[:length]:
        average += x
    average /= length
    found.append(average)
    for x in known[length:]:
        average = (average * (length - 1) + x) / length
        found.append(average)
    return found


_STRETCHED: dict[str, Callable[[list[Value], int], list[Value]]] = {
    "sma": _windowed(lambda window: math.fsum(window) / len(window)),
    "highest": _windowed(max),
    "lowest": _windowed(min),
    "ema": _by_stretch(_ema),
    "roc": _by_stretch(_roc),
}
