"""The parser by itself: what it refuses, where, and in bounded time however deep a text goes."""

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import engine.expressions
from engine.expressions.syntax import MAX_DEPTH, parse
from engine.expressions.tokens import ExpressionError

TEXT = "a text ends where it began, on its line and without a backslash"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "column 1: is empty"),
        ("  ", "column 3: is empty"),
        ("close.shift(-1)", "column 6: an attribute is not part of an expression, near '.shift(-1)'"),
        ("().__class__", "column 2: unexpected ')' after '('"),
        ("close > 1 if open else 2", "column 11: 'if' is not part of an expression"),
        ("lambda: 1", "column 1: 'lambda' is not part of an expression"),
        ("(x := 1)", "column 4: ':=' is not part of an expression"),
        ("f'{close}'", "column 2: unexpected \"'{close}'\" after 'f'"),
        ("[x for x in close]", "column 1: unexpected '['"),
        ("sma(*close)", "column 5: unexpected '*' after '('"),
        ("sma(**close)", "column 5: '**' is not part of an expression"),
        (
            "sma(close, n=3)",
            "column 13: '=' is not part of an expression: compare with '==', and name no arguments, near '=3)'",
        ),
        ("close ** 2", "column 7: '**' is not part of an expression"),
        ("close // 2", "column 7: '//' is not part of an expression"),
        ("close & 1", "column 7: '&' is not part of an expression"),
        ("~close", "column 1: '~' is not part of an expression"),
        ("close is None", "column 7: 'is' is not part of an expression"),
        ("True", "column 1: 'True' is not part of an expression"),
        (
            "__import__('os').system('ls')",
            "column 17: an attribute is not part of an expression, near \".system('ls')\"",
        ),
        ("1e400", "column 1: '1e400' is too large"),
        ("9" * 400, "column 1: '9999999999999999999999999999999999999...' is too large"),
        ("9" * 5000, "column 1: '9999999999999999999999999999999999999...' is too large"),
        ("1j", "column 1: a number ends before 'j'"),
        ("007", "column 1: '007' is no number"),
        ("1..real", "column 1: a number ends before '.real'"),
        ("'a\\x41'", f"column 1: {TEXT}, near \"'a\\\\x41'\""),
        ("close > 'a", f'column 9: {TEXT}, near "\'a"'),
        ("close # > 1", "column 7: '#' is not part of an expression"),
        ("close\\\n> 1", "column 6: '\\\\' is not part of an expression"),
        ("(close", "column 1: a bracket is not closed"),
        ("sma(close, 3", "column 1: a bracket is not closed"),
        ("close)", "column 6: unexpected ')' after 'close'"),
        ("(close]", "column 7: unexpected ']' after 'close'"),
        ("close > 1 and", "column 14: a value is missing after 'and'"),
        ("close not 1", "column 7: unexpected 'not' after 'close'"),
        ("close > not open", "column 9: unexpected 'not' after '>'"),
        ("sma(close,, 3)", "column 11: unexpected ',' after ','"),
        ("close, open", "column 6: unexpected ',' after 'close'"),
        ("close[1, 2]", "column 8: unexpected ',' after '1'"),
        ("close[1:2]", "column 8: ':' is not part of an expression"),
        ("sma(close, 3)(1)", "column 14: unexpected '(' after ')'"),
        ("(sma)(close, 3)", "column 6: unexpected '(' after ')'"),
        ("größe.x", "column 6: an attribute is not part of an expression, near '.x'"),
        ("close\x00", "column 6: '\\x00' is not part of an expression"),
        ("close > 1 \ud800", "column 11: '\\ud800' is not part of an expression"),
    ],
)
def test_what_is_no_expression_is_refused_with_its_column(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as refused:
        parse(text)
    assert str(refused.value) == message


def test_a_name_is_what_stands_there_and_not_what_python_would_make_of_it() -> None:
    assert parse("ｃｌｏｓｅ").nodes[-1].value == "ｃｌｏｓｅ"


@pytest.mark.parametrize(
    ("levels", "wrap"),
    [
        (1, lambda text: f"({text})"),
        (1, lambda text: f"-{text}"),
        (1, lambda text: f"abs({text})"),
        (1, lambda text: f"{text}[1]"),
        (2, lambda text: f"-({text})"),
    ],
)
def test_each_bracket_call_index_and_sign_is_a_level(levels: int, wrap: Callable[[str], str]) -> None:
    text = "close"
    for _ in range(MAX_DEPTH // levels):
        text = wrap(text)
    assert parse(text).nodes[-1].depth == MAX_DEPTH
    with pytest.raises(ExpressionError, match="is more than 50 levels deep"):
        parse(wrap(text))


def test_each_not_is_a_level_and_a_chain_of_one_operator_is_one() -> None:
    assert parse("not " * 49 + "a > b").nodes[-1].depth == MAX_DEPTH
    with pytest.raises(ExpressionError, match="more than 50 levels"):
        parse("not " * 50 + "a > b")
    for sign in ("+", "*", "-", "/", "%", "and", "or", "<"):
        assert parse(f" {sign} ".join(["a"] * 5000)).nodes[-1].depth == 1, sign
    assert parse("a + b * c").nodes[-1].depth == 2
    assert parse("a and b or c and not d").nodes[-1].depth == 3


@pytest.mark.parametrize(
    "unit", ["(", "-", "not ", "f(", "a[", "[", "1+", "1<", "a and ", "((", "-(", "\n", "a", "9", "é"]
)
def test_64_kib_of_anything_end_in_an_answer(unit: str) -> None:
    text = unit * (65_536 // len(unit))
    for whole in (text, text + "1", text + "1" + ")" * text.count("(") + "]" * text.count("[")):
        assert re.match(r"taken|column \d+: .{1,200}$", _answer(whole))


def _answer(text: str) -> str:
    try:
        parse(text)
    except ExpressionError as refused:
        return str(refused)
    return "taken"


def test_nothing_of_the_language_is_ever_run_as_code() -> None:
    forbidden = {"eval", "exec", "compile", "__import__", "literal_eval", "import_module"}
    for file in Path(engine.expressions.__path__[0]).glob("*.py"):
        called = {
            node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute)
        }
        called -= {"compile"} if "re.compile(" in file.read_text() else set()
        assert not called & forbidden, file.name
