"""Documents: what is refused, under which field and column, and what one document is however it is written."""

import time
from pathlib import Path
from typing import Any

import pytest

from engine import indicators
from engine.errors import InvalidParams
from engine.expressions.candles import CANDLES
from engine.expressions.document import check_document
from engine.expressions.functions import FUNCTIONS, INDICATORS
from engine.expressions.reference import functions_table, names_table
from engine.market.timeframes import TIMEFRAMES

WHOLE: dict[str, Any] = {
    "params": {"fast": 10, "slow": 30},
    "indicators": {
        "f": "sma(close, fast)",
        "s": "sma(close, slow)",
        "trend": {"timeframe": "H4", "value": "ema(close, 50)"},
    },
    "buy": "crosses_above(f, s) and close > trend and rsi(close, 14) < 70",
    "sell": "crosses_below(f, s) and close < trend",
    "close": "hour >= 20",
    "stop_loss": "2 * atr(14)",
    "take_profit": ["pips(30)", "4 * atr(14)"],
    "trailing_stop": None,
    "max_bars": 48,
    "volume": None,
}

NO_NAME = "is no name: letters, digits and _, not beginning with a digit, at most 100"
NO_FUTURE = "[n] is the value n bars ago, the future cannot be read"
NO_NUMBER = "a text is no number: it is candle's argument and nothing else"
A_LENGTH = "is a whole number from 1 to 100 000"
A_MULTIPLIER = "is a number or a param, the same for all bars"


def problems(**fields: Any) -> list[str]:
    """Of a document that is WHOLE but for these fields."""
    with pytest.raises(InvalidParams) as refused:
        check_document({**WHOLE, **fields})
    return [f"{each.field}: {each.message}" for each in refused.value.problems]


def test_a_whole_document_is_taken() -> None:
    rules = check_document(WHOLE)
    assert rules.timeframes == ("H4",)
    assert rules.max_bars == 48
    assert [each.canonical for each in rules.take_profit] == ["pips(30)", "4 * atr(14)"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"buy": "crosses_above(f, s) or slo > 1"}, "buy: column 24: unknown name 'slo'; did you mean 'slow'?"),
        ({"buy": "smaa(close, 3) > 1"}, "buy: column 1: unknown function 'smaa'; did you mean 'sma'?"),
        ({"buy": "close(3) > 1"}, "buy: column 1: 'close' is no function"),
        ({"buy": "sma > 1"}, "buy: column 1: 'sma' is a function: write sma(x, n)"),
        ({"buy": "sma(close) > 1"}, "buy: column 1: sma(x, n) is given 1 argument"),
        ({"buy": "obv(1) > 1"}, "buy: column 1: obv() is given 1 argument"),
        ({"buy": "min(close) > 1"}, "buy: column 1: min(x, x, ...) is given 1 argument"),
        ({"buy": "rsi(close, 14)"}, "buy: column 1: a number is no condition, near 'rsi(close, 14)'"),
        ({"buy": 1}, "buy: column 1: a number is no condition, near '1'"),
        ({"stop_loss": "close > 1"}, "stop_loss: column 1: a condition is no number, near 'close > 1'"),
        ({"take_profit": ["1", "close > 1"]}, "take_profit.2: column 1: a condition is no number, near 'close > 1'"),
        ({"buy": "(close > 1) + 1 > 0"}, "buy: column 2: a condition is no number, near 'close > 1) + 1 > 0'"),
        ({"buy": "f and s > 1"}, "buy: column 1: a number is no condition, near 'f and s > 1'"),
        ({"buy": "not f"}, "buy: column 5: a number is no condition, near 'f'"),
        ({"buy": "rising(close)"}, "buy: column 8: a number is no condition, near 'close)'"),
        ({"buy": "any(close, 3)"}, "buy: column 5: a number is no condition, near 'close, 3)'"),
        (
            {"buy": "'x' == 'x'"},
            f"buy: column 1: {NO_NUMBER}, near \"'x' == 'x'\"",
        ),
        ({"buy": "candle(engulfing) > 0"}, "buy: column 8: unknown name 'engulfing'"),
        ({"buy": "candle('doij') > 0"}, "buy: column 8: unknown pattern 'doij'; did you mean 'doji'?"),
        ({"buy": "candle(1) > 0"}, "buy: column 8: write candle(\"engulfing\"): a pattern's name, near '1) > 0'"),
        (
            {"buy": "close > close[-1]"},
            f"buy: column 15: {NO_FUTURE}, near '-1]'",
        ),
        (
            {"params": {"ahead": -1}, "buy": "close > close[ahead]"},
            f"params.ahead: is a whole number from 0 as an index (buy, column 15), not -1: {NO_FUTURE}",
        ),
        (
            {"buy": "close > close[1 + 1]"},
            "buy: column 15: an index is a whole number from 0, or a param, nothing computed, near '1 + 1]'",
        ),
        ({"buy": "close > close[1.5]"}, "buy: column 15: an index is a whole number from 0, not 1.5"),
        (
            {"buy": "close > close[hour]"},
            "buy: column 15: an index is a whole number from 0, or a param, nothing computed, near 'hour]'",
        ),
        (
            {"buy": "sma(close, 2 * fast) > 1"},
            f"buy: column 12: n of sma(x, n) {A_LENGTH}, or a param, nothing computed, near '2 * fast) > 1'",
        ),
        ({"buy": "sma(close, 0) > 1"}, "buy: column 12: n of sma(x, n) is a whole number from 1 to 100 000, not 0"),
        ({"buy": "rsi(close, 1) > 1"}, "buy: column 12: n of rsi(x, n) is a whole number from 2 to 100 000, not 1"),
        ({"buy": "adx(1) > 1"}, "buy: column 5: n of adx(n) is a whole number from 2 to 100 000, not 1"),
        (
            {"buy": "any(f > s, 100001)"},
            "buy: column 12: n of any(c, n) is a whole number from 1 to 100 000, not 100001",
        ),
        (
            {"buy": "bollinger_upper(close, 20, atr(14)) > 1"},
            f"buy: column 28: m of bollinger_upper(x, n, m) {A_MULTIPLIER}, near 'atr(14)) > 1'",
        ),
        (
            {"params": {"fast": 2.5, "slow": 30}},
            "params.fast: is a whole number from 1 to 100 000 as n of sma(x, n) (indicators.f, column 12), not 2.5",
        ),
        (
            {"params": {"fast": 10, "slow": -1}},
            "params.slow: is a whole number from 1 to 100 000 as n of sma(x, n) (indicators.s, column 12), not -1",
        ),
        ({"params": {"fast": True, "slow": 30}}, "params.fast: must be a finite number, not true"),
        ({"params": {"fast": "10", "slow": 30}}, "params.fast: must be a finite number, not '10'"),
        ({"params": {"fast": 10, "slow": 30, "close": 1}}, "params.close: is what the bars have under that name"),
        ({"params": {"fast": 10, "slow": 30, "if": 1}}, "params.if: is a word of the language"),
        ({"params": [1]}, "params: must be an object of numbers by name, not a list"),
        ({"max_bars": 0}, "max_bars: must be a whole number from 1 to 1000000000, or a param, not 0"),
        ({"max_bars": 1.5}, "max_bars: must be a whole number from 1 to 1000000000, or a param, not 1.5"),
        ({"max_bars": True}, "max_bars: must be a whole number from 1 to 1000000000, or a param, not true"),
        (
            {"max_bars": "fats"},
            "max_bars: column 1: must be a whole number or a param, not 'fats'; did you mean 'fast'?",
        ),
        ({"byu": "f > s"}, "byu: unknown field; did you mean 'buy'?"),
        ({"llm": {"model": "openai:gpt"}}, "llm: is of modes that ask a language model, and rules alone ask none"),
        ({"buy": ["f > s"]}, "buy: must be an expression or a number, not a list"),
        ({"stop_loss": True}, "stop_loss: must be an expression or a number, not true"),
        ({"take_profit": [None]}, "take_profit.1: must be an expression or a number, not null"),
        ({"stop_loss": 1e400}, "stop_loss: must be a finite number"),
        ({"stop_loss": 10**400}, "stop_loss: must be a finite number"),
    ],
)
def test_a_mistake_is_named_with_field_and_column(fields: dict[str, Any], expected: str) -> None:
    assert expected in problems(**fields)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"a": "a"}, ["indicators.a: column 1: names itself"]),
        (
            {"a": "1 + b", "b": "c", "c": "sma(b, 3)", "d": "a"},
            [
                "indicators.b: column 1: names 'c', which is made of this one",
                "indicators.c: column 5: names 'b', which is made of this one",
            ],
        ),
        ({"fast": "close"}, ["indicators.fast: is a param's name too"]),
        ({"a b": "close"}, [f"indicators.a b: {NO_NAME}"]),
        (
            {"a": {"timeframe": "H5", "value": "close"}},
            [
                f"indicators.a: timeframe must be one of {', '.join(TIMEFRAMES)}, not 'H5'"
            ],
        ),
        (
            {"a": {"timeframe": "D1", "value": "close > trend"}},
            ["indicators.a: column 9: 'trend' has a timeframe: one with a timeframe cannot name it"],
        ),
        (
            {"a": {"timeframe": "D1", "value": "b"}, "b": "trend + 1"},
            ["indicators.a: column 1: 'b' has a timeframe: one with a timeframe cannot name it"],
        ),
        ({"a": {"timeframe": "D1", "value": "c", "x": 1}, "c": "1"}, ["indicators.a: unknown key 'x'"]),
        ({"a": "'doji'"}, [f"indicators.a: column 1: {NO_NUMBER}, near \"'doji'\""]),
        ({"a": None}, ["indicators.a: must be an expression or a number, not null"]),
    ],
)  # fmt: skip
def test_indicators_at_fault_are_named(changes: dict[str, Any], expected: list[str]) -> None:
    assert problems(indicators={**WHOLE["indicators"], **changes}) == expected


def test_everything_at_fault_is_listed_in_the_order_of_the_fields() -> None:
    found = problems(
        sell="nothing > 1", buy="close >", take_profit=["x", "y"], stop="1", params={"fast": 0.5, "slow": None}
    )
    assert [each.split(":")[0] for each in found] == [
        "params.slow", "params.fast", "indicators.s", "buy", "sell", "take_profit.1", "take_profit.2", "stop",
    ]  # fmt: skip


def test_a_document_without_buy_and_sell_is_refused() -> None:
    assert problems(buy=None, sell=None) == ["buy: is missing, and so is sell: one of them is required"]
    check_document({"sell": "close > 1"})


def test_limits_hold_for_the_whole_document() -> None:
    def chain(terms: int) -> str:
        return "+".join(["1"] * terms) + " > 0"

    check_document({"buy": chain(30_000)})
    assert problems(buy=chain(33_000))[0].endswith("bytes; rules have 64 KiB at most")
    check_document({"buy": "a0 > 1", "indicators": {f"a{i}": "close" for i in range(200)}})
    assert problems(indicators={f"a{i}": "close" for i in range(201)}, buy="a0 > 1", sell=None) == [
        "indicators: are 201; rules have 200 at most"
    ]
    assert "buy: column 51: is more than 50 levels deep" in problems(buy="(" * 51 + "close" + ")" * 51 + " > 0")[0]


def test_two_hundred_indicators_made_of_each_other_are_no_depth() -> None:
    inner = {f"a{i}": f"a{i + 1} + a{i + 1}" for i in range(199)} | {"a199": "close"}
    assert len(check_document({"buy": "a0 > 1", "indicators": inner}).order) == 200


def test_an_expression_may_be_a_number_and_an_indicator_a_condition() -> None:
    rules = check_document({
        "indicators": {"up": "close > open", "two": 2},
        "buy": "up and rising(up) and not up[2] and bars_since(up) < two",
        "stop_loss": 0.003,
        "take_profit": 1,
        "volume": "two / 10",
    })  # fmt: skip
    assert rules.expressions["stop_loss"].canonical == "0.003"


def test_names_of_functions_may_be_indicators_and_names_are_of_any_alphabet() -> None:
    check_document({"params": {"längte": 3}, "indicators": {"rsi": "rsi(close, längte)"}, "buy": "rsi > 70"})
    found = problems(params={"längte": 3, "fast": 1, "slow": 2}, buy="längte > slo")
    assert found == ["buy: column 10: unknown name 'slo'; did you mean 'slow'?"]


def test_a_homoglyph_is_another_name() -> None:
    assert problems(buy="ｃｌｏｓｅ > 1") == ["buy: column 1: unknown name 'ｃｌｏｓｅ'"]


def test_order_and_layout_change_nothing() -> None:
    other = {name: WHOLE[name] for name in reversed(WHOLE)}
    other["indicators"] = {name: WHOLE["indicators"][name] for name in ("trend", "s", "f")}
    other["buy"] = "crosses_above( f,s )\n  and close>trend and rsi(close,14,)<7_0.0"
    other["take_profit"] = ["4.0*atr(0x0e)", "pips(30)"]
    other["params"] = {"slow": 30.0, "fast": 10}
    del other["volume"]
    assert check_document(other).canonical() == check_document(WHOLE).canonical()
    assert list(check_document(WHOLE).canonical()["take_profit"]) == ["4 * atr(14)", "pips(30)"]


def test_params_are_held_to_the_rules_of_their_places_whenever_they_change() -> None:
    document = {**WHOLE, "max_bars": "slow", "indicators": {**WHOLE["indicators"], "back": "close[fast]"}}

    def told(**params: Any) -> list[str]:
        try:
            rules = check_document({**document, "params": {"fast": 5, "slow": 60, **params}})
        except InvalidParams as refused:
            return [each.field for each in refused.problems]
        assert rules.params == {"fast": 5, "slow": 60, **params}
        assert rules.max_bars == rules.params["slow"]
        return []

    for _ in range(2):
        assert told(fast=7, slow=70.0) == []
        assert told(fast=5.5) == ["params.fast", "params.fast"]
        assert told(slow=0) == ["params.slow", "params.slow"]
        assert told(slow=200_000) == ["params.slow"]
        assert told(fast="5") == ["params.fast"]
        assert told(slow=float("nan")) == ["params.slow"]
        assert told(fast=True) == ["params.fast"]


def test_patterns_and_functions_are_those_of_the_indicators() -> None:
    assert set(indicators.CANDLES) == CANDLES
    assert all(callable(getattr(indicators, name)) for name in INDICATORS)
    assert len(FUNCTIONS) == 35


def test_many_mistakes_are_told_in_bounded_words_and_time() -> None:
    found = problems(buy=" and ".join(f"{'x' * 50}{i} > 1" for i in range(900)), indicators={}, sell=None)
    assert len(found) == 5
    many = {"x" * 500 + str(i): "close" for i in range(100)}
    assert sum(map(len, problems(indicators=many, params={"y" * 900: 1}))) < 40_000


def test_the_documentations_tables_are_the_grammars() -> None:
    page = (Path(__file__).parents[3] / "docs" / "strategies.md").read_text()
    assert f"<!-- names -->\n{names_table()}\n<!-- end -->" in page
    assert f"<!-- functions -->\n{functions_table()}\n<!-- end -->" in page


def test_looking_for_what_was_meant_ends_with_the_first_mistakes() -> None:
    names = {f"p{number}": 1 for number in range(4_000)}
    indicators = {f"i{number}": "xq + xr + xs" for number in range(200)}
    begun = time.process_time()
    assert len(problems(params=names, indicators=indicators)) == 101
    assert len(problems(**{f"stranger{number}": 1 for number in range(20_000)})) == 101
    assert time.process_time() - begun < 10
