"""What `strategy_params.llm` may say, checked in one place for rows, requests and the command line."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from engine.advice import DEFAULT_BARS, DEFAULT_ROLES, Advice, DecidedBy
from engine.deciders.advised.answers import sayable
from engine.errors import InvalidParams, ParameterProblem
from engine.expressions.document import CheckedRules, bounded_problems, check_document
from engine.expressions.values import cut, finite, meant, shown_value

KEY: Final = "llm"
FIELDS: Final = ("model", "every", "bars", "indicators", "roles", "blind", "min_confidence")
MOST_BARS, MOST_EVERY, MOST_ROLES = 10_000, 1_000_000_000, 20
_LONGEST_MODEL, _LONGEST_ROLE = 200, 50
_HIDDEN: Final = frozenset({"hour", "minute", "weekday", "spread", "pips"})
"""What of expressions tells dates or the scale of prices."""


LLM_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "description": "How a language model is asked, where the strategy's row leaves a say to one.",
    "additionalProperties": False,
    "properties": {
        "model": {"type": "string", "description": "provider:name, one of BACKTEST_LLM_MODELS."},
        "every": {
            "type": "integer",
            "minimum": 1,
            "maximum": MOST_EVERY,
            "description": "Closes from one ask to the next, where the model decides alone.",
        },
        "bars": {
            "type": "integer",
            "minimum": 1,
            "maximum": MOST_BARS,
            "default": DEFAULT_BARS,
            "description": "Bars of each timeframe that are sent.",
        },
        "indicators": {
            "type": "object",
            "description": "Expressions by name, whose values are sent; also {timeframe, value}.",
        },
        "roles": {
            "type": "array",
            "items": {"type": "string", "minLength": 1, "maxLength": _LONGEST_ROLE},
            "minItems": 1,
            "maxItems": MOST_ROLES,
            "uniqueItems": True,
            "default": list(DEFAULT_ROLES),
            "description": "Who votes, in multi_agent.",
        },
        "blind": {"type": "boolean", "default": False, "description": "Hides symbol, dates and scale."},
        "min_confidence": {
            "type": "number",
            "minimum": 0,
            "maximum": 1,
            "default": 0,
            "description": "A decision, or a vote, below it is none.",
        },
    },
}
"""JSON Schema of `llm`, for an editor; what holds is `checked_llm`."""


@dataclass(frozen=True, slots=True)
class LlmParams:
    """strategy_params.llm, valid. model: None, the configured one."""

    model: str | None = None
    every: int | None = None
    bars: int = DEFAULT_BARS
    indicators: Mapping[str, Any] | None = None
    roles: tuple[str, ...] = DEFAULT_ROLES
    blind: bool = False
    min_confidence: float = 0.0

    def advice(
        self,
        decided_by: DecidedBy,
        *,
        model: str,
        max_calls: int,
        custom_prompt: str | None,
        max_prompt_tokens: int,
        max_answer_tokens: int,
        temperature: float,
    ) -> Advice:
        """Return what a run leaves to a model. model: the configured one, where these params name none."""
        return Advice(
            decided_by=decided_by,
            model=self.model or model,
            max_calls=max_calls,
            custom_prompt=sayable(custom_prompt or ""),
            every=self.every,
            bars=self.bars,
            indicators=self.indicators or {},
            roles=self.roles,
            blind=self.blind,
            min_confidence=self.min_confidence,
            max_prompt_tokens=max_prompt_tokens,
            max_answer_tokens=max_answer_tokens,
            temperature=temperature,
        )


def split_params(params: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
    """Return a strategy's own parameters, and what stands under `llm`, None for nothing."""
    return {name: value for name, value in params.items() if name != KEY}, params.get(KEY)


def merged_llm(below: Any, above: Any) -> Any:
    """Return one `llm` object over another, by name. What is no object stands, to be refused."""
    if above is None:
        return below
    return {**below, **above} if isinstance(below, Mapping) and isinstance(above, Mapping) else above


def checked_llm(given: Any) -> LlmParams:
    """Check what stands under `llm`. Raises InvalidParams with every field at fault: llm.every, llm.indicators.x."""
    if given is None:
        return LlmParams()
    if not isinstance(given, Mapping):
        raise InvalidParams(KEY, (ParameterProblem(KEY, f"must be an object, not {shown_value(given)}"),))
    problems = [
        ParameterProblem(f"{KEY}.{cut(name)}", f"is no setting of it{meant(name, FIELDS)}")
        for name in given
        if name not in FIELDS
    ]
    values: dict[str, Any] = {}
    for name, read in _READERS.items():
        value = given.get(name)
        if value is None:
            continue
        try:
            values[name] = read(value)
        except _Wrong as wrong:
            problems.append(ParameterProblem(f"{KEY}.{name}", wrong.args[0]))
        except InvalidParams as error:
            problems += (ParameterProblem(f"{KEY}.{each.field}", each.message) for each in error.problems)
    if values.get("blind"):
        problems += _told_by(values.get("indicators"))
    if problems:
        raise InvalidParams(KEY, bounded_problems(problems))
    if "indicators" in values:
        values["indicators"] = values["indicators"].canonical()["indicators"]
    return LlmParams(**values)


def checked_indicators(indicators: Mapping[str, Any]) -> CheckedRules:
    """Return expressions by name, checked as a document of rules. Raises InvalidParams: fields are indicators.x."""
    by_name = {name: indicators[name] for name in sorted(indicators, key=str)}
    return check_document({"indicators": by_name, "buy": "close > 0"})


class _Wrong(ValueError):
    """The message says what is wrong with a value."""


def _model(value: Any) -> str:
    provider, colon, name = value.partition(":") if isinstance(value, str) else ("", "", "")
    if not (provider and colon and name) or len(value) > _LONGEST_MODEL or not value.isprintable() or " " in value:
        raise _Wrong(f"must be provider:name, not {shown_value(value)}")
    return str(value)


def _whole(most: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        number = finite(value)
        if number is None or not number.is_integer() or not 1 <= number <= most:
            raise _Wrong(f"must be a whole number from 1 to {most}, not {shown_value(value)}")
        return int(number)

    return read


def _indicators(value: Any) -> CheckedRules:
    if not isinstance(value, Mapping):
        raise _Wrong(f"must be an object of expressions by name, not {shown_value(value)}")
    return checked_indicators(value)


def _roles(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= MOST_ROLES:
        raise _Wrong(f"must be a list of 1 to {MOST_ROLES} names, not {shown_value(value)}")
    for role in value:
        if not isinstance(role, str) or not role.strip() or len(role) > _LONGEST_ROLE or not role.isprintable():
            raise _Wrong(f"are names of at most {_LONGEST_ROLE} characters, not {shown_value(role)}")
    if len(set(value)) < len(value):
        raise _Wrong("must differ from each other")
    return tuple(value)


def _blind(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Wrong(f"must be true or false, not {shown_value(value)}")
    return value


def _share(value: Any) -> float:
    number = finite(value)
    if number is None or not 0.0 <= number <= 1.0:
        raise _Wrong(f"must be from 0 to 1, not {shown_value(value)}")
    return number


_READERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "model": _model,
    "every": _whole(MOST_EVERY),
    "bars": _whole(MOST_BARS),
    "indicators": _indicators,
    "roles": _roles,
    "blind": _blind,
    "min_confidence": _share,
}


def _told_by(checked: CheckedRules | None) -> Iterator[ParameterProblem]:
    """Say which indicators would tell what blind mode hides."""
    for name, each in () if checked is None else checked.indicators.items():
        for word in _hidden_words((node.kind, node.value) for node in each.expression.nodes):
            yield ParameterProblem(f"{KEY}.indicators.{name}", f"names {word}, which llm.blind hides")


def _hidden_words(nodes: Iterable[tuple[str, Any]]) -> list[str]:
    return sorted({str(value) for kind, value in nodes if kind in ("name", "call") and value in _HIDDEN})
