"""Whether a request's run may ask a language model, and within which bounds: `admission`'s part of `engine.advice`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from consumer.ports import StrategyRow
from engine.advice import Advice, DecidedBy
from engine.deciders.advised.terms import checked_llm
from engine.errors import InvalidParams
from schemas.json_text import printable, shown_key

RULE_ONLY: Final = "rule_only"
MODES: Final = (RULE_ONLY, *DecidedBy)
"""Values of strategies.execution_mode."""
NEEDS_RULE: Final = frozenset({RULE_ONLY, DecidedBy.RULE_THEN_LLM, DecidedBy.HYBRID_VALIDATOR})

AddProblem = Callable[[str, str, str], None]
"""Field, code, message."""


@dataclass(frozen=True, slots=True)
class ModelTerms:
    """Which models are configured, the default first, and what a question and an answer may have of tokens."""

    models: tuple[str, ...]
    max_prompt_tokens: int = 16_000
    max_answer_tokens: int = 1_000
    temperature: float = 0.0


@dataclass(frozen=True, slots=True)
class DecidedOn:
    """Who decides in a run. asks: a model has a say. has_rule: a strategy decides, or proposes."""

    asks: bool
    has_rule: bool


def who_decides(
    strategy: StrategyRow, terms: ModelTerms | None, add: AddProblem, *, skip_llm: bool, is_search: bool
) -> DecidedOn | None:
    """By the row's mode and the request's skip_llm; None where nobody can, which is added as a problem."""
    mode = strategy.execution_mode
    if mode not in MODES:
        message = f"names a strategy of mode {mode!r}; modes are {', '.join(MODES)}"
        add("strategy_id", "mode_unavailable", printable(message))
        return None
    has_rule = mode in NEEDS_RULE or (mode == DecidedBy.MULTI_AGENT and strategy.strategy_key is not None)
    if mode == RULE_ONLY or (skip_llm and has_rule):
        return DecidedOn(asks=False, has_rule=True)
    if skip_llm:
        add("skip_llm", "invalid_request", f"leaves nobody to decide: the strategy of mode {mode} has no rule")
        return None
    if is_search:
        add("strategy_id", "mode_unavailable", f"names a strategy of mode {mode!r}; a search asks no language model")
        return None
    if terms is None or not terms.models:
        lacking = "no language model is configured in this process: BACKTEST_LLM_MODEL is not set"
        message = f"names a strategy of mode {mode!r}; {lacking}"
        add("strategy_id", "mode_unavailable", message)
        return None
    return DecidedOn(asks=True, has_rule=has_rule)


def advice_of(strategy: StrategyRow, llm: Any, max_calls: int, terms: ModelTerms, add: AddProblem) -> Advice | None:
    """What the run leaves to a model; None where strategy_params.llm is wrong, which is added as problems."""
    try:
        params = checked_llm(llm)
    except InvalidParams as error:
        for problem in error.problems:
            add(f"strategy_params.{shown_key(problem.field)}", "invalid_params", printable(problem.message))
        return None
    if params.model is not None and params.model not in terms.models:
        message = f"names {params.model!r}; what may be named here is {', '.join(terms.models)} (BACKTEST_LLM_MODELS)"
        add("strategy_params.llm.model", "mode_unavailable", printable(message))
        return None
    return params.advice(
        DecidedBy(strategy.execution_mode),
        model=terms.models[0],
        max_calls=max_calls,
        custom_prompt=strategy.custom_prompt,
        max_prompt_tokens=terms.max_prompt_tokens,
        max_answer_tokens=terms.max_answer_tokens,
        temperature=terms.temperature,
    )


def strangers_of(params: Mapping[str, Any], add: AddProblem) -> None:
    """Refuse parameters that nobody takes: no rule decides."""
    for name in params:
        add(f"strategy_params.{shown_key(name)}", "invalid_params", "is taken by nobody: no strategy_key decides")
