"""What of a run is left to a language model, and within which bounds: all that decides an answer but the answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

DEFAULT_ROLES = ("trend", "risk", "contrarian")
DEFAULT_BARS = 50
DEFAULT_PROMPT_TOKENS = 16_000


class DecidedBy(StrEnum):
    """Who decides, where it is not the rule alone: the values of strategies.execution_mode but `rule_only`."""

    LLM_ONLY = "llm_only"
    RULE_THEN_LLM = "rule_then_llm"
    HYBRID_VALIDATOR = "hybrid_validator"
    MULTI_AGENT = "multi_agent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """Who is asked what, resolved and valid (see deciders.advised.terms). All of it is in the digest."""

    decided_by: DecidedBy
    model: str
    """provider:name."""
    max_calls: int
    """max_llm_calls: calls that may be sent for the run, over all its attempts."""
    custom_prompt: str = ""
    every: int | None = None
    """Closes from one ask to the next, where the model decides alone; None: as many as max_calls makes room for."""
    bars: int = DEFAULT_BARS
    """Sent of each timeframe, at most."""
    indicators: Mapping[str, Any] = field(default_factory=dict)
    """By name: an expression, or {"timeframe", "value"}; as canonical expressions are written."""
    roles: tuple[str, ...] = DEFAULT_ROLES
    blind: bool = False
    min_confidence: float = 0.0
    max_prompt_tokens: int = DEFAULT_PROMPT_TOKENS
    """Of one question, estimated; older bars are left out before it has more."""
    max_answer_tokens: int = 1_000
    temperature: float = 0.0
