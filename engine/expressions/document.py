"""Rules as data: a document of expressions, checked as a whole, with every mistake in it named by field and column.

Nothing of it is ever run as code, and nothing here is a recursion that its text could deepen.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, repeat
from typing import Any, Final

from engine.errors import InvalidParams, ParameterProblem
from engine.expressions.checking import NOTHING, Checking, ParamUse
from engine.expressions.ordering import Indicator, in_order, made_elsewhere
from engine.expressions.syntax import Expression, parse
from engine.expressions.tokens import ExpressionError, shown
from engine.expressions.values import (
    LONGEST_NAME,
    MOST_GUESSES,
    cut,
    finite,
    meant,
    name_problem,
    plain,
    shown_value,
    size_of,
)
from engine.market.timeframes import TIMEFRAMES

KEY: Final = "rules"
MAX_BYTES: Final = 64 * 1024
"""Of the document as JSON."""
MAX_INDICATORS: Final = 200
MAX_TARGETS: Final = 100
MOST_BARS: Final = 1_000_000_000
"""That a position may be held; more than any data have."""
_MOST_PROBLEMS: Final = 100

CONDITIONS: Final[tuple[str, ...]] = ("buy", "sell", "close", "close_long", "close_short")
SINGLE: Final[tuple[str, ...]] = (*CONDITIONS, "stop_loss", "trailing_stop", "volume")
"""Fields of one expression."""
FIELDS: Final = ("params", "indicators", *CONDITIONS, "stop_loss", "take_profit", "trailing_stop", "max_bars", "volume")


@dataclass(frozen=True, slots=True)
class CheckedRules:
    """A document without a mistake. Each dict in the document's order; expressions by field, those that are there.

    order: the indicators, each after those that it names. uses: where params stand as whole numbers.
    """

    params: dict[str, float]
    indicators: dict[str, Indicator]
    order: tuple[str, ...]
    expressions: dict[str, Expression]
    take_profit: tuple[Expression, ...]
    max_bars: int | None
    max_bars_param: str | None
    uses: tuple[ParamUse, ...] = field(repr=False)

    def __deepcopy__(self, memo: Any) -> "CheckedRules":
        return self  # nobody changes it, and a chain of thousands of terms takes its time

    @property
    def timeframes(self) -> tuple[str, ...]:
        """Those of the indicators, shortest first."""
        named = {each.timeframe for each in self.indicators.values() if each.timeframe is not None}
        return tuple(sorted(named, key=lambda name: TIMEFRAMES[name].duration_us))

    def canonical(self) -> dict[str, Any]:
        """The document in its one spelling: what does not change what it says, layout above all, changes nothing here.

        Targets are sorted, since they are taken by their distance.
        """
        document: dict[str, Any] = {
            "params": {name: plain(value) for name, value in self.params.items()},
            "indicators": {
                name: each.expression.canonical
                if each.timeframe is None
                else {"timeframe": each.timeframe, "value": each.expression.canonical}
                for name, each in self.indicators.items()
            },
            **{name: expression.canonical for name, expression in self.expressions.items()},
            "take_profit": sorted({each.canonical for each in self.take_profit}) or None,
            "max_bars": self.max_bars_param or self.max_bars,
        }
        return document


def check_document(document: Mapping[str, Any]) -> CheckedRules:
    """Check a document as JSON or TOML gives it. Raises InvalidParams with everything at fault, as far as it is told
    apart: `buy: column 24: unknown name 'slo'; did you mean 'slow'?`.

    One that differs from an earlier one in the values of its params alone is only asked about those: a search has many.
    """
    text = _text_without_values(document)
    known = _known.get(text) if text is not None else None
    reader = _Reader()
    checked = reader.read(document) if known is None else reader.read_values(known, document["params"])
    if reader.problems or checked is None:
        raise InvalidParams(KEY, bounded_problems(sorted(reader.problems, key=_place)))
    if text is not None and known is None:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        _known[text] = checked
    return checked


_known: Final[dict[str, CheckedRules]] = {}
_MOST_KNOWN, _LONGEST_KNOWN = 32, 4_096
"""Documents, and characters of one."""


def _text_without_values(document: Mapping[str, Any]) -> str | None:
    """Return what of a document decides what it means, its params' names included; None where that is not kept."""
    params = document.get("params")
    if not isinstance(params, Mapping):
        return None
    try:
        text = json.dumps([{**document, "params": None}, list(params)])
    except (TypeError, ValueError, RecursionError):
        return None  # as TOML has dates, which no field takes
    return text if len(text) <= _LONGEST_KNOWN else None


def unknown_params(names: Sequence[str], known: Mapping[str, Any]) -> tuple[ParameterProblem, ...]:
    """Return what to say of params that the document does not have."""
    near = [meant(name, known) for name in names[:MOST_GUESSES]]
    told = zip(names, (*near, *repeat("", len(names) - len(near))), strict=True)
    return bounded_problems([ParameterProblem(f"params.{cut(name)}", f"unknown param{each}") for name, each in told])


def bounded_problems(problems: list[ParameterProblem]) -> tuple[ParameterProblem, ...]:
    """Return so many problems as somebody might read, and how many more there are."""
    if len(problems) <= _MOST_PROBLEMS:
        return tuple(problems)
    more = ParameterProblem("...", f"and {len(problems) - _MOST_PROBLEMS} more")
    return (*problems[:_MOST_PROBLEMS], more)


def _place(problem: ParameterProblem) -> int:
    """In the order of the fields; what is no field comes last."""
    first = problem.field.partition(".")[0]
    return FIELDS.index(first) if first in FIELDS else len(FIELDS)


class _Reader:
    """Reads a document; what is wrong with it is in `problems`."""

    def __init__(self) -> None:
        self.problems: list[ParameterProblem] = []

    def read(self, document: Mapping[str, Any]) -> CheckedRules | None:
        given = {name: value for name, value in document.items() if value is not None}
        for name in given:
            if name not in FIELDS:
                self._unknown_field(name)
        if "buy" not in given and "sell" not in given:
            self._tell("buy", "is missing, and so is sell: one of them is required")
        size = size_of(given)
        if size > MAX_BYTES:
            self._tell("document", f"has {size:,} bytes; rules have {MAX_BYTES // 1024} KiB at most")
            return None
        params: dict[str, float] = {}
        self.params(given.get("params", {}), params)
        texts = dict(self._texts(given))
        parsed = {name: expression for name, text in texts.items() if (expression := self._parsed(name, text))}
        indicators = self._indicators(given.get("indicators", {}), params, parsed)
        expressions = {name: parsed[name] for name in SINGLE if name in parsed}
        targets = {name: parsed[name] for name in texts if name.startswith("take_profit") and name in parsed}
        checking = Checking(params)
        order, circles = in_order(indicators)
        self.problems += circles
        checking.indicators.update(dict.fromkeys(self._named(given.get("indicators", {})), NOTHING))
        checking.elsewhere = made_elsewhere(indicators, order)
        for name in order:
            own, text = indicators[name], texts[f"indicators.{name}"]
            on_own_bars = own.timeframe is not None
            meaning = checking.check(f"indicators.{name}", own.expression, text, on_own_bars=on_own_bars)
            if meaning.gives == "text":
                checking.expect(f"indicators.{name}", meaning, own.expression, text, "number")
                meaning = NOTHING
            # Of other bars it is a column in any case.
            checking.indicators[name] = meaning._replace(is_constant=meaning.is_constant and not on_own_bars)
        for name, expression in (*expressions.items(), *targets.items()):
            meaning = checking.check(name, expression, texts[name])
            checking.expect(name, meaning, expression, texts[name], "condition" if name in CONDITIONS else "number")
        max_bars, of_param = self._max_bars(given.get("max_bars"), params, checking.uses)
        self.problems += [*checking.problems, *_broken(checking.uses, params)]
        return CheckedRules(
            params,
            indicators,
            tuple(order),
            expressions,
            tuple(targets.values()),
            max_bars,
            of_param,
            tuple(checking.uses),
        )

    def read_values(self, known: CheckedRules, params: Mapping[str, Any]) -> CheckedRules:
        """Return the rules with other values of the same params."""
        values: dict[str, float] = {}
        self.params(params, values)
        self.problems += _broken(known.uses, values)
        most = values.get(known.max_bars_param) if known.max_bars_param is not None else known.max_bars
        return replace(known, params=values, max_bars=None if most is None else int(most))

    def params(self, given: Any, params: dict[str, float]) -> None:
        """Take what are numbers under names that may be."""
        if not isinstance(given, Mapping):
            self._tell("params", f"must be an object of numbers by name, not {shown_value(given)}")
            return
        for name, value in given.items():
            where = f"params.{cut(name)}"
            problem = name_problem(name)
            number = finite(value)
            if problem is not None:
                self._tell(where, problem)
            elif number is None:
                self._tell(where, f"must be a finite number, not {shown_value(value)}")
            else:
                params[name] = number

    def _texts(self, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Every expression by its field. Targets count from 1 where they are a list."""
        yield from self._texts_of_indicators(given.get("indicators", {}))
        for name in SINGLE:
            if name in given:
                yield from self._text(name, given[name])
        targets = given.get("take_profit")
        if isinstance(targets, list | tuple):
            if len(targets) > MAX_TARGETS:
                self._tell("take_profit", f"has {len(targets)} targets; rules have {MAX_TARGETS} at most")
            for number, target in enumerate(targets[:MAX_TARGETS], 1):
                yield from self._text(f"take_profit.{number}", target)
        elif targets is not None:
            yield from self._text("take_profit", targets)

    def _texts_of_indicators(self, indicators: Any) -> Iterator[tuple[str, str]]:
        if not isinstance(indicators, Mapping):
            self._tell("indicators", f"must be an object of expressions by name, not {shown_value(indicators)}")
            return
        if len(indicators) > MAX_INDICATORS:
            self._tell("indicators", f"are {len(indicators)}; rules have {MAX_INDICATORS} at most")
        for name, value in islice(indicators.items(), MAX_INDICATORS):
            if name_problem(name) is None:
                inner = value.get("value") if isinstance(value, Mapping) else value
                yield from self._text(f"indicators.{name}", inner)

    def _text(self, name: str, value: Any) -> Iterator[tuple[str, str]]:
        if isinstance(value, str):
            yield name, value
        elif isinstance(value, int | float) and not isinstance(value, bool):
            if finite(value) is None:
                self._tell(name, "must be a finite number")
            else:
                yield name, str(value)
        else:
            self._tell(name, f"must be an expression or a number, not {shown_value(value)}")

    def _parsed(self, name: str, text: str) -> Expression | None:
        try:
            return parse(text)
        except ExpressionError as error:
            self._tell(name, str(error))
            return None

    def _indicators(
        self, given: Any, params: Mapping[str, float], parsed: Mapping[str, Expression]
    ) -> dict[str, Indicator]:
        found = {}
        for name, value in islice(given.items(), MAX_INDICATORS) if isinstance(given, Mapping) else ():
            where = f"indicators.{cut(name)}"
            problem = name_problem(name)
            if problem is None and name in params:
                problem = "is a param's name too"
            if problem is not None:
                self._tell(where, problem)
                continue
            timeframe = None
            if isinstance(value, Mapping):
                timeframe = self._timeframe(where, value)
            if where in parsed:
                found[name] = Indicator(timeframe, parsed[where])
        return found

    def _timeframe(self, where: str, value: Mapping[str, Any]) -> str | None:
        for key in value:
            if key not in ("timeframe", "value"):
                self._tell(where, f"unknown key {shown(str(key))}{meant(key, ('timeframe', 'value'))}")
        name = value.get("timeframe")
        if not isinstance(name, str) or name not in TIMEFRAMES:
            self._tell(where, f"timeframe must be one of {', '.join(TIMEFRAMES)}, not {shown_value(name)}")
            return None
        return name

    def _named(self, given: Any) -> list[str]:
        """Every name that an indicator has, also one at fault: naming it elsewhere is no second mistake."""
        return [name for name in given if name_problem(name) is None] if isinstance(given, Mapping) else []

    def _max_bars(self, value: Any, params: Mapping[str, float], uses: list[ParamUse]) -> tuple[int | None, str | None]:
        if value is None:
            return None, None
        if isinstance(value, str):
            name = value.strip()
            if name in params:
                uses.append(ParamUse(name, "max_bars", 1, MOST_BARS))
                return int(params[name]) if params[name].is_integer() else None, name
            if not (name.isascii() and name.isdigit() and len(name) < LONGEST_NAME):
                what = f"column 1: must be a whole number or a param, not {shown_value(value)}"
                self._tell("max_bars", what + meant(name, params))
                return None, None
            value = int(name)
        number = finite(value)
        if number is None or not number.is_integer() or not 1 <= number <= MOST_BARS:
            self._tell(
                "max_bars", f"must be a whole number from 1 to {MOST_BARS}, or a param, not {shown_value(value)}"
            )
            return None, None
        return int(number), None

    def _unknown_field(self, name: Any) -> None:
        if name == "llm":
            self._tell("llm", "is of modes that ask a language model, and rules alone ask none")
        else:
            near = meant(name, FIELDS) if len(self.problems) < MOST_GUESSES else ""
            self._tell(cut(name), f"unknown field{near}")

    def _tell(self, where: str, message: str) -> None:
        self.problems.append(ParameterProblem(where, message))


def _broken(uses: Any, values: Mapping[str, float]) -> list[ParameterProblem]:
    found = (use.problem(values[use.name]) for use in uses if use.name in values)
    return [problem for problem in found if problem is not None]
