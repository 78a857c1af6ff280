"""A row of `strategies` as people and programs give it: JSON columns are JSON, and what is left out has its default."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.field_types import OnOpposite, PositiveFloat, RiskFraction, Symbol, TimeframeName
from schemas.json_text import shown, shown_key, why_unusable
from schemas.problems import INVALID_REQUEST, FieldProblem, InvalidRequestError, one_a_field, problems_of

DecidedBy = Literal["rule_only", "llm_only", "rule_then_llm", "hybrid_validator", "multi_agent"]
# The patterns keep NUL out; having one at all makes pydantic refuse lone surrogates.
_Name = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00]*$")]
_Key = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00]*$")]
_Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]
_Zone = Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[^\x00]*$")]
_Hours = list[Annotated[int, Field(ge=0, le=23)]]
_Weekdays = list[Annotated[int, Field(ge=0, le=6)]]

_WORDING: Final = {
    "name": "must not contain NUL",
    "description": "must not contain NUL",
    "strategy_key": "must not contain NUL",
    "primary_tf": "must not contain NUL",
    "context_tfs": "must not contain NUL",
    "custom_prompt": "must not contain NUL",
    "skip_hours_timezone": "must not contain NUL",
    "symbols": "must be 1 to 20 letters, digits or ._-#, the first a letter or digit",
    "execution_mode": "must be rule_only, llm_only, rule_then_llm, hybrid_validator or multi_agent",
    "on_opposite": "must be reverse, close or ignore",
}


class StrategyRowGiven(BaseModel):
    """All columns that are given; what the row's code, timeframes and symbols are, is for rules to look at."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    name: _Name
    description: _Text | None = None
    execution_mode: DecidedBy = "rule_only"
    """Who decides."""
    strategy_key: _Key | None = None
    strategy_params: dict[str, Any] = Field(default_factory=dict)
    """JSON of finite numbers, 64-bit integers and storable text."""
    primary_tf: TimeframeName = "M15"
    context_tfs: list[TimeframeName] = Field(default_factory=list)
    symbols: list[Symbol] = Field(default_factory=list)
    """Empty: any."""
    lot_size: PositiveFloat | None = None
    risk_pct: RiskFraction | None = None
    sl_pips: PositiveFloat | None = None
    tp_pips: PositiveFloat | None = None
    on_opposite: OnOpposite = "reverse"
    stop_to_entry: bool = True
    custom_prompt: _Text | None = None
    skip_hours: _Hours | None = None
    """Of the decision's close."""
    skip_weekdays: _Weekdays | None = None
    """0 = Monday."""
    skip_hours_timezone: _Zone | None = None
    is_active: bool = True


def parse_strategy_row(data: Mapping[str, Any]) -> StrategyRowGiven:
    """Validate a whole row. Raises InvalidRequestError with every field at fault."""
    problems = one_a_field(_find_problems(data))
    if problems:
        raise InvalidRequestError(problems)
    return StrategyRowGiven.model_validate(dict(data))


def _find_problems(data: Mapping[str, Any]) -> Iterator[FieldProblem]:
    known = {name: value for name, value in data.items() if name in StrategyRowGiven.model_fields}
    params = known.pop("strategy_params", {})
    if "name" not in known:
        yield FieldProblem("name", INVALID_REQUEST, "is required")
    try:
        StrategyRowGiven.model_validate({"name": "-", **known})
    except ValidationError as error:
        yield from problems_of(error, _WORDING)
    if not isinstance(params, dict):
        yield FieldProblem("strategy_params", INVALID_REQUEST, f"must be an object, is {shown(params)}")
    else:
        for path, message in why_unusable(params):
            yield FieldProblem(f"strategy_params.{path}" if path else "strategy_params", INVALID_REQUEST, message)
    for name in data:
        if name not in StrategyRowGiven.model_fields:
            yield FieldProblem(shown_key(name), INVALID_REQUEST, "is not a known column")
