"""Rules as data: the strategy whose parameters are a document of expressions (docs/strategies.md, Write rules)."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import (
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from engine.expressions.document import CONDITIONS, CheckedRules, check_document
from engine.expressions.evaluation import evaluate
from engine.expressions.operations import Source
from engine.expressions.program import Program, program_of
from engine.indicators import ACTIONS, as_floats
from engine.market.timeframes import TIMEFRAMES
from engine.numeric.arrays import Floats
from engine.numeric.rounding import round_price
from engine.specification import MOST_WARM_UP_BARS
from engine.strategy import Instrument, Market, StrategyParams
from engine.warm_up import LEAST

Masks = NDArray[np.bool_]
Expression = str | float

AT_ONCE = "buy and sell at once"
UNKNOWN = "stop, target, trail or volume not known or not above 0"
BELOW_STEP = "volume below one lot step"
_AMONG_ITS_OWN = re.compile(
    r"\b(?:(?:close > |crosses_above\(close, )(highest\((?:high|close), \w+\))"
    r"|(?:close < |crosses_below\(close, )(lowest\((?:low|close), \w+\)))(?!\[)"
)
"""The close against the highest or lowest of bars of which its own is one; as canonical expressions are written."""


class TimeframedIndicator(StrategyParams):
    """An indicator on another timeframe's own bars."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    timeframe: str = Field(json_schema_extra={"enum": list(TIMEFRAMES)})
    """Of the bars."""
    value: Expression
    """All names in it are of that timeframe's bars; known from their close on."""


class Rules:
    """Rules as data: BUY and SELL where conditions are met, stops and targets as distances from the close.

    The parameters are a document of expressions, checked as a whole: see docs/strategies.md.
    """

    class Params(StrategyParams):
        """Rules as data: conditions to buy, sell and close, distances of stops and targets, all expressions."""

        model_config = ConfigDict(
            use_attribute_docstrings=True,
            json_schema_extra={"anyOf": [{"required": ["buy"]}, {"required": ["sell"]}]},
        )

        params: dict[str, float | int] = Field(default_factory=dict)
        """Numbers by name, which expressions name, and a search varies."""
        indicators: dict[str, Expression | TimeframedIndicator] = Field(default_factory=dict, max_length=200)
        """Expressions by name, which others name; numbers or conditions."""
        buy: Expression | None = None
        """Condition; this or sell is required."""
        sell: Expression | None = None
        """Condition."""
        close: Expression | None = None
        """Condition: closes either side, before all else."""
        close_long: Expression | None = None
        """Condition: closes a long and takes away the bar's buy."""
        close_short: Expression | None = None
        """Condition: closes a short and takes away the bar's sell."""
        stop_loss: Expression | None = None
        """Distance from the deciding close, in price."""
        take_profit: Expression | list[Expression] | None = None
        """One such distance, or several, taken in the order of their size."""
        trailing_stop: Expression | None = None
        """Distance in price at which the stop follows."""
        max_bars: Annotated[int, Field(ge=1)] | str | None = None
        """A whole number or a param: bars after which the position leaves."""
        volume: Expression | None = None
        """Lots, rounded down to the lot step."""

        _rules: CheckedRules = PrivateAttr()
        _program: Program | None = PrivateAttr(default=None)

        @model_validator(mode="wrap")
        @classmethod
        def is_checked_as_a_whole(
            cls, document: Any, handler: ModelWrapValidatorHandler["Rules.Params"]
        ) -> "Rules.Params":
            """Raises InvalidParams, past pydantic, with fields and columns of the document."""
            if not isinstance(document, Mapping):
                return handler(document)
            rules = check_document(document)
            params = handler(rules.canonical())
            params._rules = rules  # noqa: SLF001  # its own
            return params

        @model_serializer(mode="wrap")
        def is_shown_without_what_is_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
            return {name: value for name, value in handler(self).items() if value not in (None, {})}

        @property
        def rules(self) -> CheckedRules:
            return self._rules

        @property
        def program(self) -> Program:
            """Made when it is first asked for: whoever only checks a document need not wait for it."""
            if self._program is None:
                self._program = program_of(self._rules)
            return self._program

    @staticmethod
    def context_timeframes(params: Params) -> tuple[str, ...]:
        return params.rules.timeframes

    @staticmethod
    def length_and_bars(params: Params, timeframe: str, run_timeframe: str) -> tuple[int, int]:
        """Return the longest chain of lengths on a timeframe, and how many of its bars to see before the start."""
        own = params.program.lengths.get(timeframe, (0, 0))
        of_run = params.program.lengths[None] if timeframe == run_timeframe else (0, 0)
        return max(own[0], of_run[0]), min(MOST_WARM_UP_BARS, max(LEAST, own[1], of_run[1]))

    def __init__(self, params: Params, instrument: Instrument) -> None:
        self._rules, self._program, self._instrument = params.rules, params.program, instrument

    def decide_all(self, market: Market) -> pl.DataFrame:
        """Return the action and what the document says beside it. Decisions that cannot be taken are left out, and
        counted by the market."""
        found = self._evaluated(market)
        nowhere = np.zeros(market.bars.height, bool)
        buy, sell, close, close_long, close_short = (found.get(name, nowhere) for name in CONDITIONS)
        buys, sells = buy & ~close_long & ~close, sell & ~close_short & ~close
        market.left_out[AT_ONCE] = buys & sells
        market.remarks.extend(self._never_met(found))
        codes = buys.astype(np.int8) - sells.astype(np.int8)
        columns = self._beside(market, codes, found)
        # Of what is opened here only what it leaves behind is closed too: where an opposite position stays otherwise.
        closed_side = np.where(close, 0, close_long.astype(np.int8) - close_short.astype(np.int8))
        closing = (codes == 0) & (close | close_long | close_short)
        if "close_long" in found or "close_short" in found:
            columns.append(_sides(closed_side))
        return pl.DataFrame([_actions(codes, closing), *columns])

    def plot_all(self, market: Market) -> pl.DataFrame:
        """Return the document's indicators by name, a row a bar: numbers with NaN, conditions where they are surely
        true.
        """
        names = list(self._rules.indicators)
        columns = self._columns(market, [self._program.indicators[name] for name in names])
        return pl.DataFrame({name: np.ascontiguousarray(each) for name, each in zip(names, columns, strict=True)})

    def _evaluated(self, market: Market) -> dict[str, Any]:
        """Return every field's column: masks of conditions, numbers with NaN; targets as take_profit.1 and on."""
        program = self._program
        places = {**program.results, **{f"take_profit.{i}": place for i, place in enumerate(program.take_profit, 1)}}
        return dict(zip(places, self._columns(market, list(places.values())), strict=True))

    def _columns(self, market: Market, places: list[int]) -> list[Any]:
        def source_of(timeframe: str | None) -> Source:
            own = market.own_bars(timeframe)
            names = ("open", "high", "low", "close", "volume")
            columns = {name: as_floats(own.frame[name]) for name in names}
            return Source(columns, own.close_time_us, own.spread_pips, None if timeframe is None else own.rows)

        return evaluate(self._program, places, source_of, self._instrument.pip)

    def _never_met(self, found: Mapping[str, Any]) -> Iterator[str]:
        for name in ("buy", "sell"):
            if name in found and not found[name].any():
                own = _AMONG_ITS_OWN.search(self._rules.expressions[name].canonical)
                call = own and (own[1] or own[2])
                hint = f": this bar is among those of {call}, which {call}[1] leaves out" if call else ""
                yield f"{name} was never met{hint}"

    def _beside(self, market: Market, codes: NDArray[np.int8], found: Mapping[str, Any]) -> list[pl.Series]:
        """Return the columns beside the actions; codes of decisions that come to nothing become 0."""
        rows = np.flatnonzero(codes)
        side, close = codes[rows].astype(np.float64), as_floats(market.bars["close"])[rows]
        scale = self._instrument.price_scale
        made: dict[str, Floats] = {}
        if "stop_loss" in found:
            made["stop_loss"] = _level(close, -side, found["stop_loss"][rows], scale)
        targets = [_level(close, side, column[rows], scale) for name, column in found.items() if _is_target(name)]
        if "trailing_stop" in found:
            distance = found["trailing_stop"][rows]
            made["trailing_stop"] = np.where(np.isnan(_level(close, -side, distance, scale)), np.nan, distance)
        if "volume" in found:
            lots = found["volume"][rows]
            # As a risk's lots are: a hair below a whole step is that step.
            steps = np.floor(np.where(lots > 0.0, lots, np.nan) / self._instrument.lot_step * (1.0 + 1e-14))
            made["volume"] = steps * self._instrument.lot_step
        known = np.ones(rows.size, bool)
        for values in (*made.values(), *targets):
            known &= ~np.isnan(values)
        self._leave_out(market, codes, rows[~known], UNKNOWN)
        if "volume" in made:
            too_small = known & (made["volume"] == 0.0)
            self._leave_out(market, codes, rows[too_small], BELOW_STEP)
        for number, level in enumerate(_in_order(targets, side), 1):
            made["take_profit" if number == 1 else f"take_profit_{number}"] = level
        columns = [
            pl.Series(name, _spread(values, rows, codes.size), nan_to_null=True) for name, values in made.items()
        ]
        if self._rules.max_bars is not None:
            columns.append(pl.Series("max_bars", [self._rules.max_bars]).new_from_index(0, codes.size))
        return columns

    def _leave_out(self, market: Market, codes: NDArray[np.int8], rows: NDArray[np.int64], why: str) -> None:
        codes[rows] = 0
        at = np.zeros(codes.size, bool)
        at[rows] = True
        market.left_out[why] = at


def _is_target(name: str) -> bool:
    return name.startswith("take_profit.")


def _level(close: Floats, side: Floats, distance: Floats, scale: float) -> Floats:
    """Return close + side * distance, rounded as prices are; NaN where that is not on its side of the close."""
    level = round_price(close + side * distance, scale)
    return np.where((level - close) * side > 0.0, level, np.nan)


def _in_order(targets: list[Floats], side: Floats) -> list[Floats]:
    """Return the targets nearest first, equal ones once; NaN where a row has no further one."""
    if not targets:
        return []
    levels = np.sort(np.stack(targets) * side, axis=0)
    levels[1:][levels[1:] == levels[:-1]] = np.nan
    levels = np.sort(levels, axis=0) * side
    return [level for level in levels if not np.isnan(level).all()] or [levels[0]]


def _spread(values: Floats, rows: NDArray[np.int64], height: int) -> Floats:
    column = np.full(height, np.nan)
    column[rows] = values
    return column


def _sides(closed: NDArray[np.int8]) -> pl.Series:
    """Return which side a decision closes; null for either, or none."""
    code = pl.Series(closed)
    long, short, neither = (pl.Series("closes", [side], dtype=pl.String) for side in ("long", "short", None))
    return long.zip_with(code > 0, short.zip_with(code < 0, neither))


def _actions(codes: NDArray[np.int8], closing: Masks) -> pl.Series:
    code = pl.Series(codes)
    nothing = pl.Series("action", [None], ACTIONS)
    named = {name: pl.Series("action", [name], ACTIONS) for name in ("BUY", "SELL", "CLOSE")}
    opens = named["BUY"].zip_with(code > 0, named["SELL"].zip_with(code < 0, nothing))
    return named["CLOSE"].zip_with(pl.Series(closing), opens) if closing.any() else opens
