"""What a request needs for a language model to decide in its run, and what of it is executed."""

import json
from dataclasses import replace
from typing import Any

import pytest

from consumer.ports import Admitted, Refused, StrategyRow, Unchecked
from consumer.preparation.snapshot import specification_from_json
from consumer.rules.advice import ModelTerms
from engine.advice import Advice, DecidedBy
from tests.consumer.rules.test_admission import admitted, refusals, row, strategy
from tests.support.messages import ADMISSION, AskedInPlace, requested

TERMS = ModelTerms(("openai:a", "openai:b"), max_prompt_tokens=5000, max_answer_tokens=200, temperature=0.5)


def decide(by: StrategyRow, terms: ModelTerms | None = TERMS, run: Any = None, **asked: Any) -> Admitted | Refused:
    request = requested(**asked)
    admission = replace(ADMISSION, models=terms)
    decision = admission(request.request, by, run, request.problems, AskedInPlace())
    assert not isinstance(decision, Unchecked)
    return decision


def row_of(mode: str, llm: Any = None, **columns: Any) -> StrategyRow:
    key = None if mode in {"llm_only", "multi_agent"} else "sma_cross"
    params = {**({"fast": 5} if key else {}), **({"llm": llm} if llm is not None else {})}
    return strategy(**{"execution_mode": mode, "strategy_key": key, "strategy_params": json.dumps(params), **columns})


def advice_of(decision: Admitted | Refused) -> Advice:
    advice = specification_from_json(dict(admitted(decision).specification)).advice
    assert advice is not None
    return advice


@pytest.mark.parametrize("mode", list(DecidedBy))
def test_every_mode_is_accepted_with_a_model_and_refused_without(mode: DecidedBy) -> None:
    assert advice_of(decide(row_of(mode))).decided_by is mode
    for terms in (None, ModelTerms(())):
        assert refusals(decide(row_of(mode), terms)) == [("strategy_id", "mode_unavailable")]


def test_all_that_shapes_an_answer_is_part_of_what_is_executed() -> None:
    llm = {"every": 3, "bars": 7, "blind": True, "min_confidence": 0.4, "roles": ["a", "b"]}
    advice = advice_of(decide(row_of("multi_agent", llm, custom_prompt="Be careful."), max_llm_calls=9))

    assert (advice.model, advice.max_calls, advice.custom_prompt) == ("openai:a", 9, "Be careful.")
    assert (advice.every, advice.bars, advice.blind, advice.min_confidence, advice.roles) == (
        3,
        7,
        True,
        0.4,
        ("a", "b"),
    )
    assert (advice.max_prompt_tokens, advice.max_answer_tokens, advice.temperature) == (5000, 200, 0.5)


def test_of_a_request_llm_is_merged_by_name() -> None:
    by = row_of("rule_then_llm", {"every": 3, "bars": 7})
    decision = decide(by, strategy_params={"slow": 50, "llm": {"bars": 9, "model": "openai:b"}})

    advice = advice_of(decision)
    assert (advice.every, advice.bars, advice.model) == (3, 9, "openai:b")
    assert admitted(decision).specification["strategy_params"] == {"fast": 5, "slow": 50}


def test_of_a_document_of_rules_llm_is_merged_by_name_too() -> None:
    document = {"buy": "close > 0", "llm": {"bars": 7}}
    by = row_of("rule_then_llm", strategy_key="rules", strategy_params=json.dumps(document))
    decision = decide(by, strategy_params={"llm": {"every": 2}})

    assert (advice_of(decision).bars, advice_of(decision).every) == (7, 2)
    assert admitted(decision).specification["strategy_params"] == {"buy": "close > 0"}


def test_the_budget_is_the_rows_where_the_request_names_a_row() -> None:
    assert advice_of(decide(row_of("llm_only"), run=row(max_llm_calls=4), run_id=7)).max_calls == 4


@pytest.mark.parametrize(
    ("by", "asked", "expected"),
    [
        (row_of("llm_only", {"model": "openai:c"}), {}, ("strategy_params.llm.model", "mode_unavailable")),
        (row_of("llm_only", {"evry": 1}), {}, ("strategy_params.llm.evry", "invalid_params")),
        (row_of("llm_only", []), {}, ("strategy_params.llm", "invalid_params")),
        (row_of("llm_only"), {"strategy_params": {"fast": 5}}, ("strategy_params.fast", "invalid_params")),
        (row_of("llm_only"), {"skip_llm": True}, ("skip_llm", "invalid_request")),
        (row_of("hybrid_validator", strategy_key=None), {}, ("strategy_id", "unknown_strategy")),
        (row_of("rule_then_llm", strategy_params='{"fast": 0}'), {}, ("strategy_params.fast", "invalid_params")),
        (strategy(execution_mode="by_coin"), {}, ("strategy_id", "mode_unavailable")),
        (strategy(strategy_params='{"llm": {}}'), {}, ("strategy_params.llm", "invalid_params")),
    ],
)
def test_what_nobody_can_decide_by_is_refused_by_its_field(
    by: StrategyRow, asked: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert expected in refusals(decide(by, **asked))


@pytest.mark.parametrize("mode", ["rule_then_llm", "hybrid_validator"])
def test_skip_llm_leaves_the_rule_alone_also_without_a_model(mode: str) -> None:
    alone = admitted(decide(row_of(mode, {"every": 3}), None, skip_llm=True))
    assert alone.specification == admitted(decide(row_of("rule_only"), None)).specification


def test_a_model_that_decides_alone_has_no_use_for_a_rule() -> None:
    decision = admitted(decide(row_of("llm_only", strategy_key="sma_cross", strategy_params='{"fast": 5}')))
    assert (decision.specification["strategy_key"], decision.specification["strategy_params"]) == (None, {})


def test_llm_replay_is_kept_beside_what_is_executed() -> None:
    replayed, asked = decide(row_of("llm_only"), llm_replay=True), decide(row_of("llm_only"))
    assert isinstance(replayed, Admitted)
    assert isinstance(asked, Admitted)
    assert (replayed.llm_replay, asked.llm_replay) == (True, False)
    assert replayed.specification == asked.specification
