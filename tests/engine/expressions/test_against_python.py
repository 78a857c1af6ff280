"""The parser against Python's own: what it takes, Python reads as the same tree."""

import ast

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.expressions.syntax import Expression, parse
from engine.expressions.tokens import ExpressionError

_WORDS = """
    close high f rsi 1 14 0.5 1e3 1_000 0x1f .5 5. 007 00 + - * / % < <= > >= == != and or not ( ) [ ] , 'x' "y"
    if else lambda in is None True . = := ** // @ & | ^ ~ { } : ; # ! $ ? \\ ' é 1j 5if
"""
WORDS = st.sampled_from(_WORDS.split())


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Mostly expressions of the language, and otherwise anything made of its words."""
    if draw(st.booleans()):
        return draw(numbers_or_conditions())
    return " ".join(draw(st.lists(WORDS, max_size=12)))


def numbers_or_conditions() -> st.SearchStrategy[str]:
    spaces = st.sampled_from(["", " ", "  "])

    def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        binary = st.sampled_from(["+", "-", "*", "/", "%", "<", "<=", ">", ">=", "==", "!=", " and ", " or "])
        return st.one_of(
            st.tuples(inner, spaces, binary, spaces, inner).map("".join),
            st.tuples(st.sampled_from(["-", "+", "not "]), inner).map("".join),
            inner.map(lambda text: f"({text})"),
            st.tuples(st.sampled_from(["close", "f(x)", "(a)"]), inner).map(lambda pair: f"{pair[0]}[{pair[1]}]"),
            st.lists(inner, max_size=3).map(lambda parts: f"f({', '.join(parts)})"),
        )

    leaves = st.sampled_from(["close", "x", "1", "14", "0.5", "1e3", "1_000", "0x1f", "f()", "'text'"])
    return st.recursive(leaves, larger, max_leaves=12)


@given(texts())
@settings(max_examples=200)
def test_what_is_taken_is_the_tree_that_python_reads(text: str) -> None:
    try:
        ours = parse(text)
    except ExpressionError:
        return
    assert _ours(ours) == _theirs(_python(text)), text


@given(numbers_or_conditions())
@settings(max_examples=200)
def test_what_python_reads_in_the_language_is_taken(text: str) -> None:
    try:
        expected = _theirs(_python(text))
    except SyntaxError:
        return
    assert _ours(parse(text)) == expected


@given(numbers_or_conditions())
def test_the_canonical_spelling_reads_as_the_text_and_stays_as_it_is(text: str) -> None:
    try:
        parsed = parse(text)
    except ExpressionError:
        return
    again = parse(parsed.canonical)
    assert _ours(again) == _ours(parsed)
    assert again.canonical == parsed.canonical


def _python(text: str) -> ast.expr:
    # Lines outside of brackets end a Python expression; in ours they are spaces.
    return ast.parse(f"({text}\n)", mode="eval").body


def _ours(expression: Expression) -> object:
    trees: list[object] = []
    for node in expression.nodes:
        inner = [trees[place] for place in node.children]
        if node.kind == "compare":
            trees.append(("compare", str(node.value).split(), inner))
        elif node.kind in ("and", "or"):
            trees.append((node.kind, inner))
        else:
            trees.append((node.kind, node.value, inner))
    return trees[-1]


def _theirs(node: ast.expr) -> object:
    match node:
        case ast.Constant(value=str()):
            return ("text", node.value, [])
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return ("number", float(number), [])
        case ast.Name():
            return ("name", node.id, [])
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.UAdd()):
            kind, sign = {ast.Not: ("not", "not"), ast.USub: ("sign", "-"), ast.UAdd: ("sign", "+")}[type(node.op)]
            return (kind, sign, [_theirs(node.operand)])
        case ast.BoolOp():
            return ("and" if isinstance(node.op, ast.And) else "or", [_theirs(each) for each in node.values])
        case ast.BinOp():
            return ("binary", _SIGNS.get(type(node.op), "?"), [_theirs(node.left), _theirs(node.right)])
        case ast.Compare():
            operands = [_theirs(each) for each in (node.left, *node.comparators)]
            return ("compare", [_SIGNS.get(type(each), "?") for each in node.ops], operands)
        case ast.Call(func=ast.Name() as called, keywords=[]):
            return ("call", called.id, [_theirs(each) for each in node.args])
        case ast.Subscript():
            return ("index", "", [_theirs(node.value), _theirs(node.slice)])
        case _:
            return ("foreign", ast.dump(node), [])


_SIGNS: dict[type[ast.AST], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.Mod: "%",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}
