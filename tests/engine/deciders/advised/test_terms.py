"""What strategy_params.llm may say: every field at fault named, what is right in one spelling."""

from typing import Any

import pytest

from engine.advice import DEFAULT_ROLES, DecidedBy
from engine.deciders.advised.terms import LlmParams, checked_llm, merged_llm, split_params
from engine.errors import InvalidParams


def problems_of(given: Any) -> dict[str, str]:
    with pytest.raises(InvalidParams) as error:
        checked_llm(given)
    return {each.field: each.message for each in error.value.problems}


def test_nothing_said_is_all_defaults() -> None:
    assert checked_llm(None) == checked_llm({}) == checked_llm({"every": None}) == LlmParams()
    assert (LlmParams().bars, LlmParams().roles, LlmParams().min_confidence) == (50, DEFAULT_ROLES, 0.0)


def test_what_is_right_is_taken() -> None:
    given = {
        "model": "openai:gpt-5-mini",
        "every": 4.0,
        "bars": 20,
        "indicators": {"b": "rsi( close,14 )", "a": {"timeframe": "H4", "value": "ema(close,5)"}},
        "roles": ["bull", "bear"],
        "blind": True,
        "min_confidence": 1,
    }
    checked = checked_llm(given)
    assert checked == LlmParams(
        "openai:gpt-5-mini", 4, 20, checked.indicators, ("bull", "bear"), blind=True, min_confidence=1.0
    )
    written = {"a": {"timeframe": "H4", "value": "ema(close, 5)"}, "b": "rsi(close, 14)"}
    assert checked.indicators == written
    assert list(checked.indicators or {}) == ["a", "b"]


@pytest.mark.parametrize(
    ("given", "field", "told"),
    [
        ([], "llm", "must be an object"),
        ({"evry": 2}, "llm.evry", "is no setting of it; did you mean 'every'?"),
        ({"model": "gpt"}, "llm.model", "must be provider:name, not 'gpt'"),
        ({"model": "openai:"}, "llm.model", "must be provider:name"),
        ({"model": 3}, "llm.model", "must be provider:name"),
        ({"every": 0}, "llm.every", "a whole number from 1"),
        ({"every": True}, "llm.every", "a whole number from 1"),
        ({"every": 1.5}, "llm.every", "a whole number from 1"),
        ({"bars": 10_001}, "llm.bars", "a whole number from 1 to 10000"),
        ({"indicators": ["ema(close, 3)"]}, "llm.indicators", "must be an object"),
        ({"indicators": {"x": "sma(close, slo)"}}, "llm.indicators.x", "column 12: unknown name 'slo'"),
        ({"indicators": {"x": "close[-1]"}}, "llm.indicators.x", "column 7"),
        ({"indicators": {"x": {"timeframe": "H9", "value": "close"}}}, "llm.indicators.x", "timeframe must be one of"),
        ({"roles": []}, "llm.roles", "a list of 1 to 20 names"),
        ({"roles": ["a", "a"]}, "llm.roles", "must differ"),
        ({"roles": ["a\n"]}, "llm.roles", "at most 50 characters"),
        ({"blind": "yes"}, "llm.blind", "must be true or false"),
        ({"min_confidence": 1.1}, "llm.min_confidence", "from 0 to 1"),
        ({"min_confidence": float("nan")}, "llm.min_confidence", "from 0 to 1"),
        ({"blind": True, "indicators": {"x": "hour > 3"}}, "llm.indicators.x", "names hour, which llm.blind hides"),
        ({"blind": True, "indicators": {"x": "pips(3)"}}, "llm.indicators.x", "names pips, which llm.blind hides"),
    ],
)
def test_what_is_wrong_is_told_with_its_field(given: Any, field: str, told: str) -> None:
    assert told in problems_of(given)[field]


def test_all_that_is_wrong_is_told_at_once() -> None:
    given = {"every": 0, "roles": 3, "indicators": {"x": "1 +"}, "more": 1}
    assert set(problems_of(given)) == {"llm.every", "llm.roles", "llm.indicators.x", "llm.more"}


def test_a_requests_llm_lies_over_the_rows_by_name() -> None:
    assert merged_llm({"every": 3, "bars": 5}, {"every": 2}) == {"every": 2, "bars": 5}
    assert merged_llm({"every": 3}, None) == {"every": 3}
    assert merged_llm(None, {"every": 3}) == {"every": 3}
    assert merged_llm({"every": 3}, [1]) == [1]


def test_llm_is_no_parameter_of_the_strategy() -> None:
    assert split_params({"fast": 3, "llm": {"every": 2}}) == ({"fast": 3}, {"every": 2})
    assert split_params({"fast": 3}) == ({"fast": 3}, None)


def test_the_configured_model_stands_where_none_is_named() -> None:
    further: dict[str, Any] = {
        "max_calls": 3,
        "custom_prompt": None,
        "max_prompt_tokens": 100,
        "max_answer_tokens": 10,
        "temperature": 0.0,
    }
    assert checked_llm({}).advice(DecidedBy.LLM_ONLY, model="openai:a", **further).model == "openai:a"
    named = checked_llm({"model": "openai:b"}).advice(DecidedBy.LLM_ONLY, model="openai:a", **further)
    assert (named.model, named.custom_prompt) == ("openai:b", "")
