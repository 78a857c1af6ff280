"""What an expression means: every name known, every call by its signature, numbers and conditions kept apart."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from engine.errors import ParameterProblem
from engine.expressions.candles import CANDLES
from engine.expressions.functions import COLUMNS, FUNCTIONS, LONGEST, PRICES, Argument, Function
from engine.expressions.syntax import Expression, Node
from engine.expressions.tokens import shown
from engine.expressions.values import MOST_GUESSES, meant

_MOST_IN_ONE: Final = 5
"""Mistakes of one expression that are told."""


class Meaning(NamedTuple):
    """gives: None where that is not known, after a mistake. is_constant: the same for all bars. is_price: a price or
    an average of prices."""

    gives: Literal["number", "condition", "text"] | None
    is_constant: bool = False
    is_price: bool = False


NOTHING: Final = Meaning(None)
_NUMBER, _CONDITION = Meaning("number"), Meaning("condition")
_AN_INDEX: Final = "an index"
_AGO: Final = "[n] is the value n bars ago, the future cannot be read"
_ARTICLE: Final = {"number": "a number", "condition": "a condition", "text": "a text"}


@dataclass(frozen=True, slots=True)
class ParamUse:
    """A param where only some numbers may stand. place: in words. most: None for any."""

    name: str
    place: str
    least: int
    most: int | None

    def problem(self, value: float) -> ParameterProblem | None:
        if value.is_integer() and value >= self.least and (self.most is None or value <= self.most):
            return None
        what = f"{_whole(self.least, self.most)} as {self.place}, not {value:g}"
        if value < 0.0 and self.place.startswith(_AN_INDEX):
            what = f"{what}: {_AGO}"
        return ParameterProblem(f"params.{self.name}", what)


@dataclass(slots=True)
class Checking:
    """The names there are, and what was found so far.

    params: their values. indicators: meanings of those checked before. elsewhere: names of those that have a timeframe,
    or are made of one that has. uses: of params, in the order they were met.
    """

    params: Mapping[str, float]
    indicators: dict[str, Meaning] = field(default_factory=dict)
    elsewhere: frozenset[str] = frozenset()
    problems: list[ParameterProblem] = field(default_factory=list)
    uses: list[ParamUse] = field(default_factory=list)
    guesses: int = 0

    def check(self, name: str, expression: Expression, text: str, *, on_own_bars: bool = False) -> Meaning:
        """Return what the whole expression gives; what is wrong in it goes to `problems`, under the field's name."""
        one = _One(self, name, text, on_own_bars)
        for node in expression.nodes:
            one.meanings.append(one.meaning(node, expression.nodes))
        return one.meanings[-1]

    def expect(self, name: str, meaning: Meaning, expression: Expression, text: str, gives: str) -> None:
        """Note it where the whole is not what its field asks for."""
        if meaning.gives not in (None, gives):
            root = expression.nodes[-1]
            _One(self, name, text, on_own_bars=False).mismatch(root.column, meaning, gives)


@dataclass(slots=True)
class _One:
    """The check of one expression. meanings: of its nodes so far."""

    of: Checking
    where: str
    text: str
    on_own_bars: bool
    meanings: list[Meaning] = field(default_factory=list)
    told: int = 0

    def meaning(self, node: Node, nodes: tuple[Node, ...]) -> Meaning:
        operands = [(nodes[place], self.meanings[place]) for place in node.children]
        match node.kind:
            case "number":
                return Meaning("number", is_constant=True)
            case "text":
                return Meaning("text")
            case "name":
                return self._name(node)
            case "sign" | "binary":
                self._expect_all(operands, "number")
                return Meaning("number", is_constant=all(each.is_constant for _, each in operands))
            case "compare":
                self._expect_all(operands, "number")
                return _CONDITION
            case "not" | "and" | "or":
                self._expect_all(operands, "condition")
                return _CONDITION
            case "index":
                return self._index(operands)
            case "call":
                return self._call(node, operands)

    def _name(self, node: Node) -> Meaning:
        name = str(node.value)
        if name in COLUMNS:
            return Meaning("number", is_price=name in PRICES)
        if name in self.of.params:
            return Meaning("number", is_constant=True)
        if name in self.of.indicators:
            if self.on_own_bars and name in self.of.elsewhere:
                self._tell(node.column, f"{shown(name)} has a timeframe: one with a timeframe cannot name it")
            return self.of.indicators[name]
        if name in FUNCTIONS:
            self._tell(node.column, f"{name!r} is a function: write {FUNCTIONS[name].signature}")
        else:
            known = [*COLUMNS, *self.of.params, *self.of.indicators, *FUNCTIONS]
            self._tell(node.column, f"unknown name {shown(name)}{self._meant(name, known)}")
        return NOTHING

    def _index(self, operands: list[tuple[Node, Meaning]]) -> Meaning:
        (base, meaning), (index, _) = operands
        if meaning.gives == "text":
            self.mismatch(base.column, meaning, "number")
            return NOTHING
        if index.kind == "sign" and index.value == "-":
            self._tell(index.column, f"{_AGO}{self._near(index)}")
        else:
            self._whole_number(index, _AN_INDEX, 0, None)
        return meaning._replace(is_constant=False)

    def _call(self, node: Node, operands: list[tuple[Node, Meaning]]) -> Meaning:
        name = str(node.value)
        function = FUNCTIONS.get(name)
        if function is None:
            is_name = name in COLUMNS or name in self.of.params or name in self.of.indicators
            what = f"{shown(name)} is no function" if is_name else f"unknown function {shown(name)}"
            self._tell(node.column, what + ("" if is_name else self._meant(name, FUNCTIONS)))
            return NOTHING
        fewest = len(function.arguments)
        if len(operands) != fewest and not (function.repeats and len(operands) > fewest):
            self._tell(
                node.column, f"{function.signature} is given {len(operands)} argument{'s' * (len(operands) != 1)}"
            )
        else:
            for place, (argument, meaning) in enumerate(operands):
                self._argument(function, function.arguments[min(place, fewest - 1)], argument, meaning)
        numbers = [meaning for _, meaning in operands if meaning.gives == "number"]
        if function.gives == "condition":
            return _CONDITION
        if function.keeps_price:
            of_each_bar = numbers if function.repeats else numbers[:1]
            return Meaning("number", is_price=bool(of_each_bar) and all(each.is_price for each in of_each_bar))
        return _NUMBER

    def _argument(self, function: Function, wanted: Argument, node: Node, meaning: Meaning) -> None:
        match wanted.kind:
            case "number" | "condition":
                self._expect_all([(node, meaning)], wanted.kind)
            case "length":
                self._whole_number(node, f"{wanted.name} of {function.signature}", wanted.least, LONGEST)
            case "multiplier":
                self._expect_all([(node, meaning)], "number")
                if meaning.gives == "number" and not meaning.is_constant:
                    of = f"{wanted.name} of {function.signature}"
                    self._tell(node.column, f"{of} is a number or a param, the same for all bars{self._near(node)}")
            case "pattern":
                if node.kind != "text":
                    self._tell(node.column, f'write {function.name}("engulfing"): a pattern\'s name{self._near(node)}')
                elif node.value not in CANDLES:
                    self._tell(
                        node.column, f"unknown pattern {shown(str(node.value))}{self._meant(node.value, CANDLES)}"
                    )

    def _whole_number(self, node: Node, what: str, least: int, most: int | None) -> None:
        if node.kind == "name" and node.value in self.of.params:
            place = f"{what} ({self.where}, column {node.column})"
            self.of.uses.append(ParamUse(str(node.value), place, least, most))
        elif node.kind == "number":
            value = float(node.value)
            if not (value.is_integer() and value >= least and (most is None or value <= most)):
                self._tell(node.column, f"{what} {_whole(least, most)}, not {value:g}")
        elif node.kind != "name" or node.value in COLUMNS or node.value in self.of.indicators:
            self._tell(node.column, f"{what} {_whole(least, most)}, or a param, nothing computed{self._near(node)}")

    def _expect_all(self, operands: Iterable[tuple[Node, Meaning]], gives: str) -> None:
        for node, meaning in operands:
            if meaning.gives not in (None, gives):
                self.mismatch(node.column, meaning, gives)

    def mismatch(self, column: int, meaning: Meaning, gives: str) -> None:
        """Note a number, condition or text where another of them is asked for."""
        found = _ARTICLE[meaning.gives or "number"]
        where = ": it is candle's argument and nothing else" if meaning.gives == "text" else ""
        self._tell(column, f"{found} is no {gives}{where}, near {shown(self.text[column - 1 :])}")

    def _tell(self, column: int, message: str) -> None:
        self.told += 1
        if self.told <= _MOST_IN_ONE:
            self.of.problems.append(ParameterProblem(self.where, f"column {column}: {message}"))

    def _near(self, node: Node) -> str:
        return f", near {shown(self.text[node.column - 1 :])}"

    def _meant(self, name: object, known: Collection[str]) -> str:
        if self.told >= _MOST_IN_ONE or self.of.guesses >= MOST_GUESSES:
            return ""
        self.of.guesses += 1
        return meant(name, known)


def _whole(least: int, most: int | None) -> str:
    return f"is a whole number from {least}" + ("" if most is None else f" to {most:,}".replace(",", " "))
