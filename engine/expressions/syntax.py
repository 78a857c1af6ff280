"""From text to a tree: the part of Python's expression syntax that rules are written in, and nothing else of it.

A parser of its own, where Python's would do for the syntax, because that one recurses: a chain of a few thousand terms,
which is allowed, ends it, at a number that depends on the version. Here nothing that a text can deepen is a recursion.
That both agree is tested (tests/engine/expressions/test_against_python.py).
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Literal

from engine.expressions.tokens import ExpressionError, Token, number_of, shown, tokens

MAX_DEPTH: Final = 50
"""Levels: brackets, calls, indices, `not`, signs; a chain of one operator is one."""

Kind = Literal["number", "name", "text", "sign", "not", "and", "or", "compare", "binary", "call", "index"]


@dataclass(slots=True)
class Node:
    """One part of an expression.

    column: of its first character, from 1. children: places in Expression.nodes, all of them smaller than its own.
    value: of a number the float, of a name, a text or a call what stands there, else the operator; of a comparison the
    operators in order, separated by spaces. depth: levels in it. grouped: it stands in brackets.
    """

    kind: Kind
    column: int
    children: tuple[int, ...] = ()
    value: float | str = ""
    depth: int = 0
    grouped: bool = False


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed text. nodes: children before their parents, the last is the whole. canonical: its one spelling."""

    nodes: tuple[Node, ...]
    canonical: str


def parse(text: str) -> Expression:
    """Read an expression. Its nodes are shared: nobody changes them. Raises ExpressionError for the first mistake."""
    return _kept(text) if len(text) <= _LONGEST_KEPT else _parse(text)


def _parse(text: str) -> Expression:
    parser = _Parser()
    for token in tokens(text):
        parser.take(token)
    return Expression(tuple(parser.nodes), "".join(parser.written).strip())


_kept = lru_cache(maxsize=512)(_parse)
"""A search reads the same few texts for each of its combinations."""
_LONGEST_KEPT: Final = 1_000
"""Characters."""


_OR, _AND, _NOT, _COMPARE, _SUM, _PRODUCT, _SIGN = range(1, 8)
_BRACKET: Final = 0
_BINARY: Final[dict[str, tuple[Kind, int]]] = {
    "or": ("or", _OR),
    "and": ("and", _AND),
    **dict.fromkeys(("<", "<=", ">", ">=", "==", "!="), ("compare", _COMPARE)),
    **dict.fromkeys("+-", ("binary", _SUM)),
    **dict.fromkeys("*/%", ("binary", _PRODUCT)),
}


_LEVELS: Final = frozenset({"(", "call", "index", "sign", "not"})


@dataclass(slots=True)
class _Pending:
    """An operator or a bracket whose operands are not all there yet. operands: how many there will be, so far."""

    kind: Kind | Literal["("]
    precedence: int
    column: int
    operators: list[str] = field(default_factory=list)
    operands: int = 1


class _Parser:
    """Takes tokens one by one; operators wait on a stack until one that binds less comes (Dijkstra's shunting yard)."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.written: list[str] = []
        self._operands: list[tuple[int, int]] = []
        """Place and column of each; brackets around it count to its column."""
        self._pending: list[_Pending] = []
        self._levels = 0
        """Among what is pending: so deep the text is at this place."""
        self._wants_value = True
        self._before: Token | None = None

    def take(self, token: Token) -> None:
        if self._wants_value:
            self._take_value(token)
        else:
            self._take_operator(token)
        self._before = token

    def _take_value(self, token: Token) -> None:
        text = token.text
        if token.kind in ("number", "name", "text"):
            self._leaf(token)
        elif text == "(":
            self._open("(", token)
        elif text in ("+", "-"):
            self._wait("sign", _SIGN, token)
            self.written.append(text)
        elif text == "not" and (not self._pending or self._pending[-1].precedence <= _NOT):
            self._wait("not", _NOT, token)
            self.written.append("not ")
        elif text == ")" and self._may_close_call():
            self._close(token)
        else:
            raise self._unexpected(token)

    def _take_operator(self, token: Token) -> None:
        text = token.text
        if token.kind == "operator" and text in _BINARY:
            self._binary(token, *_BINARY[text])
        elif text == "(" and self.nodes[-1].kind == "name" and not self.nodes[-1].grouped and self._follows_a_name():
            self._call(token)
        elif text == "[":
            self._open("index", token)
        elif text == ",":
            self._comma(token)
        elif token.kind == "operator" and text in ")]":
            self._close(token)
        elif token.kind == "end":
            self._reduce(_OR)
            if self._pending:
                raise ExpressionError(self._pending[-1].column, "a bracket is not closed")
        else:
            raise self._unexpected(token)

    def _leaf(self, token: Token) -> None:
        kind: Kind = "number" if token.kind == "number" else "name" if token.kind == "name" else "text"
        value: float | str = token.text
        written = token.text
        if kind == "number":
            value = number_of(token)
            written = f"{value:.0f}" if value.is_integer() and value < 1e15 else repr(value)
        elif kind == "text":
            value = token.text[1:-1]
            written = f'"{value}"'
        self.written.append(written)
        self._add(Node(kind, token.column, value=value), token.column)

    def _add(self, node: Node, column: int) -> None:
        if node.depth > MAX_DEPTH:
            raise _too_deep(node.column)
        self.nodes.append(node)
        self._operands.append((len(self.nodes) - 1, column))
        self._wants_value = False

    def _wait(self, kind: Kind | Literal["("], precedence: int, token: Token) -> None:
        self._levels += kind in _LEVELS
        if self._levels > MAX_DEPTH:
            raise _too_deep(token.column)
        self._pending.append(_Pending(kind, precedence, token.column, [token.text]))
        self._wants_value = True

    def _open(self, kind: Kind | Literal["("], token: Token) -> None:
        self._wait(kind, _BRACKET, token)
        self.written.append(token.text)

    def _follows_a_name(self) -> bool:
        return self._before is not None and self._before.kind == "name"

    def _call(self, token: Token) -> None:
        """The name before is no operand but what is called."""
        self._open("call", token)
        place, _ = self._operands.pop()
        name = self.nodes.pop(place)
        call = self._pending[-1]
        call.column, call.operators, call.operands = name.column, [str(name.value)], 0

    def _may_close_call(self) -> bool:
        """Where a value may be wanting: after a call's bracket, and after a comma in it."""
        if not self._pending or self._pending[-1].kind != "call" or self._before is None:
            return False
        return self._before.text == "," or (self._before.text == "(" and not self._pending[-1].operands)

    def _binary(self, token: Token, kind: Kind, precedence: int) -> None:
        is_chain = kind != "binary"
        self._reduce(precedence + 1 if is_chain else precedence)
        top = self._pending[-1] if self._pending else None
        if is_chain and top is not None and top.kind == kind:
            top.operators.append(token.text)
            top.operands += 1
            self._wants_value = True
        else:
            self._wait(kind, precedence, token)
            self._pending[-1].operands = 2
        self.written.append(f" {token.text} ")

    def _comma(self, token: Token) -> None:
        self._reduce(_OR)
        if not self._pending or self._pending[-1].kind != "call":
            raise self._unexpected(token)
        self._pending[-1].operands += 1
        self._wants_value = True
        self.written.append(", ")

    def _close(self, token: Token) -> None:
        self._reduce(_OR)
        opened = self._pending[-1] if self._pending else None
        if opened is None or (opened.kind == "index") != (token.text == "]"):
            raise self._unexpected(token)
        if self.written[-1] == ", ":
            self.written.pop()
        self.written.append(token.text)
        self._pending.pop()
        self._levels -= 1
        if opened.kind == "(":
            self._group(opened.column)
        elif opened.kind == "call":
            count = opened.operands + (0 if self._before is not None and self._before.text in ",(" else 1)
            operands = self._popped(count)
            self._add(self._parent("call", opened.column, operands, opened.operators[0]), opened.column)
        else:
            operands = self._popped(2)
            self._add(self._parent("index", operands[0][1], operands, ""), operands[0][1])

    def _group(self, column: int) -> None:
        place, _ = self._operands[-1]
        node = self.nodes[place]
        node.depth += 1
        node.grouped = True
        self._operands[-1] = (place, column)
        if node.depth > MAX_DEPTH:
            raise _too_deep(column)

    def _reduce(self, precedence: int) -> None:
        """Make nodes of what waits and binds at least so much."""
        while self._pending and self._pending[-1].precedence >= precedence:
            waiting = self._pending.pop()
            kind = waiting.kind
            self._levels -= kind in _LEVELS
            assert kind != "("
            operands = self._popped(waiting.operands)
            column = waiting.column if waiting.operands == 1 else operands[0][1]
            self._add(self._parent(kind, column, operands, " ".join(waiting.operators)), column)

    def _popped(self, count: int) -> list[tuple[int, int]]:
        if not count:
            return []
        operands = self._operands[-count:]
        del self._operands[-count:]
        return operands

    def _parent(self, kind: Kind, column: int, operands: list[tuple[int, int]], value: str) -> Node:
        children = tuple(place for place, _ in operands)
        depths = [self.nodes[place].depth + 1 for place in children]
        if kind == "binary":
            left = self.nodes[children[0]]
            depths[0] -= left.kind == "binary" and left.value == value and not left.grouped
        return Node(kind, column, children, value, max(depths, default=1))

    def _unexpected(self, token: Token) -> ExpressionError:
        after = f" after {shown(self._before.text)}" if self._before is not None else ""
        if token.kind == "end":
            return ExpressionError(token.column, f"a value is missing{after}" if after else "is empty")
        return ExpressionError(token.column, f"unexpected {shown(token.text)}{after}")


def _too_deep(column: int) -> ExpressionError:
    return ExpressionError(column, f"is more than {MAX_DEPTH} levels deep")
