"""Checked rules as steps to compute, each distinct one once, whoever names it; and how far back they look."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from engine.expressions.document import CheckedRules
from engine.expressions.functions import COLUMNS, FUNCTIONS, INDICATORS, PRICES
from engine.expressions.syntax import Expression, Node
from engine.specification import MOST_WARM_UP_BARS
from engine.warm_up import LENGTHS

_SETTLED: Final = 37
"""Lengths after which a double has nothing left of where Wilder's averages began: e^-37. What an index goes back
beyond the rest of the warm-up is seen on top.
"""


class Step(NamedTuple):
    """One column. inputs: places of earlier steps. given: what else the operation takes. timeframe: whose bars it is
    computed on; None for the run's.

    gives: number or condition, or codes, of crossings.
    """

    operation: str
    inputs: tuple[int, ...]
    given: tuple[str | float, ...]
    timeframe: str | None
    gives: Literal["number", "condition", "codes"]


@dataclass(frozen=True, slots=True)
class Program:
    """steps: each after its inputs. results: the step of each field of the document that has one, and of the targets.

    lengths: by timeframe (None: the run's), the longest chain of lengths, and the bars to see before the start for it.
    indicators: the step of each by its name, as the run's bars know it.
    """

    steps: tuple[Step, ...]
    results: Mapping[str, int]
    take_profit: tuple[int, ...]
    lengths: Mapping[str | None, tuple[int, int]]
    indicators: Mapping[str, int]

    def __deepcopy__(self, memo: Any) -> "Program":
        return self  # nobody changes it


def program_of(rules: CheckedRules) -> Program:
    """Return what to compute for checked rules."""
    maker = _Maker(rules)
    maker.every_indicator()
    results = {name: maker.expression(each, None) for name, each in rules.expressions.items()}
    targets = tuple(maker.expression(each, None) for each in rules.take_profit)
    indicators = {name: maker.indicator(name) for name in rules.indicators}
    return Program(tuple(maker.steps), results, targets, maker.lengths, indicators)


class _Maker:
    def __init__(self, rules: CheckedRules) -> None:
        self._rules = rules
        self._place_in_order = {name: place for place, name in enumerate(rules.order)}
        self.steps: list[Step] = []
        self._places: dict[Step, int] = {}
        self._chains: list[tuple[int, int, int]] = []
        """Of each step: bars until it is known, and to see for it, without and with what indices go back."""
        self._is_price: list[bool] = []
        self.lengths: dict[str | None, tuple[int, int]] = {None: (0, 0)}
        self._indicators: dict[tuple[str, str | None], int] = {}

    def expression(self, expression: Expression, timeframe: str | None) -> int:
        """Return the place of the whole expression on these bars. Indicators that it names are made before it."""
        self._make_named(self._named(expression, timeframe))
        return self._made(expression, timeframe)

    def indicator(self, name: str) -> int:
        """Return the place of an indicator as the run's bars know it. All were made before."""
        return self._name(name, None)

    def every_indicator(self) -> None:
        """Make also those that nothing names: what is not asked for is not computed, but seen bars are the same."""
        self._make_named([(name, each.timeframe) for name, each in self._rules.indicators.items()])

    def _made(self, expression: Expression, timeframe: str | None) -> int:
        places: list[int] = []
        for node in expression.nodes:
            places.append(self._node(node, [places[child] for child in node.children], expression.nodes, timeframe))
        return places[-1]

    def _make_named(self, wanted: list[tuple[str, str | None]]) -> None:
        """Make these indicators and all that they are made of, the innermost first."""
        needed, waiting = set(wanted), list(wanted)
        while waiting:
            name, on = waiting.pop()
            for each in self._named(self._rules.indicators[name].expression, on):
                if each not in needed and each not in self._indicators:
                    needed.add(each)
                    waiting.append(each)
        for name, on in sorted(needed - self._indicators.keys(), key=lambda each: self._place_in_order[each[0]]):
            self._indicators[name, on] = self._made(self._rules.indicators[name].expression, on)

    def _named(self, expression: Expression, timeframe: str | None) -> list[tuple[str, str | None]]:
        indicators = self._rules.indicators
        names = {str(node.value) for node in expression.nodes if node.kind == "name"}
        return [(name, indicators[name].timeframe or timeframe) for name in names if name in indicators]

    def _node(self, node: Node, inputs: list[int], nodes: tuple[Node, ...], timeframe: str | None) -> int:
        match node.kind:
            case "number":
                return self._constant(float(node.value), timeframe)
            case "text":
                return self._constant(0.0, timeframe)  # candle's, which takes the node's own value
            case "name":
                return self._name(str(node.value), timeframe)
            case "sign":
                return self._add("negative", inputs, (), timeframe) if node.value == "-" else inputs[0]
            case "binary":
                return self._add(str(node.value), inputs, (), timeframe)
            case "compare":
                pairs = zip(str(node.value).split(), inputs, inputs[1:], strict=False)
                parts = [self._add("compare", [a, b], (sign,), timeframe, "condition") for sign, a, b in pairs]
                return parts[0] if len(parts) == 1 else self._add("and", parts, (), timeframe, "condition")
            case "not" | "and" | "or":
                return self._add(node.kind, inputs, (), timeframe, "condition")
            case "index":
                return self._shifted(inputs[0], self._whole(nodes[node.children[1]]), timeframe)
            case "call":
                return self._call(str(node.value), [nodes[child] for child in node.children], inputs, timeframe)

    def _name(self, name: str, timeframe: str | None) -> int:
        if name in COLUMNS:
            return self._add("column", [], (name,), timeframe, is_price=name in PRICES)
        if name in self._rules.params:
            return self._constant(self._rules.params[name], timeframe)
        own = self._rules.indicators[name].timeframe
        place = self._indicators[name, own or timeframe]
        if own is None or own == timeframe:
            return place
        joined = self.steps[place]
        return self._add("join", [place], (own,), timeframe, joined.gives, is_price=self._is_price[place])

    def _call(self, name: str, nodes: list[Node], inputs: list[int], timeframe: str | None) -> int:
        function = FUNCTIONS[name]
        kinds = [each.kind for each in function.arguments]
        if name in ("crosses_above", "crosses_below"):
            of_prices = all(self._is_price[place] for place in inputs)
            codes = self._add("crosses", inputs, (float(of_prices),), timeframe, "codes")
            return self._add(name, [codes, *inputs], (), timeframe, "condition")
        if name == "rising":
            before = self._shifted(inputs[0], 1, timeframe)
            not_before = self._add("not", [before], (), timeframe, "condition")
            return self._add("and", [inputs[0], not_before], (), timeframe, "condition")
        if name == "candle":
            return self._add("candle", [], (str(nodes[0].value),), timeframe)
        lengths = [self._whole(node) for node, kind in zip(nodes, kinds, strict=False) if kind == "length"]
        wanted = [place for place, node in enumerate(nodes) if kinds[min(place, len(kinds) - 1)] != "length"]
        is_price = function.keeps_price and all(
            self._is_price[inputs[place]] for place in (wanted if function.repeats else wanted[:1])
        )
        operation = f"indicator {name}" if name in INDICATORS else name
        gives: Literal["number", "condition"] = function.gives
        longest = function.longest(lengths) if lengths else 0
        columns = [inputs[place] for place in wanted]
        return self._add(operation, columns, tuple(lengths), timeframe, gives, is_price=is_price, longest=longest)

    def _whole(self, node: Node) -> int:
        return int(self._rules.params[str(node.value)] if node.kind == "name" else float(node.value))

    def _constant(self, value: float, timeframe: str | None) -> int:
        return self._add("constant", [], (value,), timeframe)

    def _shifted(self, place: int, bars: int, timeframe: str | None) -> int:
        if not bars:
            return place
        gives = self.steps[place].gives
        is_price = self._is_price[place]
        return self._add("shift", [place], (bars,), timeframe, gives, is_price=is_price, back=bars)

    def _add(
        self,
        operation: str,
        inputs: list[int],
        given: tuple[str | float, ...],
        timeframe: str | None,
        gives: Literal["number", "condition", "codes"] = "number",
        *,
        is_price: bool = False,
        longest: int = 0,
        back: int = 0,
    ) -> int:
        step = Step(operation, tuple(inputs), given, timeframe, gives)
        place = self._places.get(step)
        if place is not None:
            return place
        place = self._places[step] = len(self.steps)
        self.steps.append(step)
        self._is_price.append(is_price)
        # On these bars: what was joined from others looks back over those.
        before = [self._chains[each] for each in inputs if self.steps[each].timeframe == timeframe]
        own = longest + back, LENGTHS * longest, _SETTLED * longest + back
        chain = [max((each[j] for each in before), default=0) + own[j] for j in range(3)]
        self._chains.append((chain[0], chain[1], chain[2]))
        most = self.lengths.get(timeframe, (0, 0))
        self.lengths[timeframe] = max(most[0], chain[0]), max(most[1], min(max(chain[1:]), MOST_WARM_UP_BARS))
        return place
