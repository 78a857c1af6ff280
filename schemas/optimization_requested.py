"""`optimization.requested`: a request for one parameter search, its ranges, and its content with defaults filled in."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from schemas.field_types import (
    MAX_INT32,
    WORDING,
    Balance,
    CommissionPct,
    CommissionPerLot,
    Count,
    Currency,
    ExecutionMode,
    Instant,
    Leverage,
    OnOpposite,
    PositiveFloat,
    RequestId,
    RiskFraction,
    RowId,
    Share,
    SlippagePips,
    SpreadPips,
    SpreadSource,
    StopOutPct,
    Symbol,
    TimeframeName,
    read_instant,
)
from schemas.json_text import shown, shown_key, why_unusable
from schemas.problems import (
    AFTER,
    BEFORE,
    INVALID_REQUEST,
    FieldProblem,
    InvalidRequestError,
    one_a_field,
    problems_of,
)
from schemas.requested import DEFAULT_SPREAD_SOURCE, OFF, ROW_DEFAULTS, fields_at_fault
from schemas.topics import EventType

REQUIRED_WITHOUT_ROW: Final = ("strategy_id", "symbol", "start_date", "end_date", "param_grid")
MAX_TPE_SAMPLES: Final = 10_000
SEARCH_DEFAULTS: Final[Mapping[str, Any]] = {
    **{name: value for name, value in ROW_DEFAULTS.items() if name != "max_llm_calls"},
    "method": "grid",
    "seed": 0,
    "optimize_metric": "sharpe_ratio",
    "min_trades": 30,
}
"""The defaults of `optimization_runs` that fill a request without optimization_id; with one the row decides."""

Method = Literal["grid", "random", "tpe"]
Days = Annotated[int, Field(ge=1, le=36_500)]
_WORDING: Final = {
    **WORDING,
    "method": "must be grid, random or tpe",
    "optimize_metric": "must be the name of a metric",
}


class WalkForward(BaseModel):
    """Folds: each trains on train_days and tests on the test_days after purge_days; 24-hour days."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    train_days: Days = 365
    test_days: Days = 90
    anchored: bool = False
    """Whether every fold trains from the start on."""
    purge_days: Annotated[int, Field(ge=0, le=36_500)] = 0


class OptimizationRequested(BaseModel):
    """The data of a valid request. None means unset: absent, or an explicit null, which is the same."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    event_type: ClassVar[EventType] = EventType.OPTIMIZATION_REQUESTED

    optimization_id: RowId | None = None
    """An existing pending row, whose columns are the configuration; fields set here must agree with it."""
    request_id: RequestId | None = None
    strategy_id: RowId | None = None
    symbol: Symbol | None = None
    start_date: Instant | None = None
    """Inclusive, UTC."""
    end_date: Instant | None = None
    """Exclusive, UTC, after start_date."""
    param_grid: dict[str, Any] | None = None
    """The space: by parameter a list, a range or an interval."""
    timeframe: TimeframeName | None = None
    """Unset: the strategy's."""
    context_tfs: list[TimeframeName] | None = None
    """Unset: the strategy's; empty: none."""
    initial_balance: Balance | None = None
    spread_pips: SpreadPips | None = None
    execution_mode: ExecutionMode | None = None
    commission_per_lot: CommissionPerLot | None = None
    tp_partial_close_ratio: Share | None = None
    volume: PositiveFloat | None = None
    risk_pct: RiskFraction | None = None
    on_opposite: OnOpposite | None = None
    stop_to_entry: bool | None = None
    account_currency: Currency | None = None
    spread_source: SpreadSource | None = None
    slippage_pips: SlippagePips | None = None
    commission_pct: CommissionPct | None = None
    leverage: Leverage | None = None
    stop_out_pct: StopOutPct | None = None
    """Per cent of the margin at which equity ends a simulation; only with leverage."""
    strategy_params: dict[str, Any] | None = None
    """What is not varied, over the strategy's."""
    method: Method | None = None
    samples: Annotated[int, Field(ge=1, le=MAX_INT32)] | None = None
    """Combinations of random and tpe."""
    seed: Count | None = None
    optimize_metric: Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[a-z0-9_]+$")] | None = None
    min_trades: Count | None = None
    max_workers: Annotated[int, Field(ge=1, le=MAX_INT32)] | None = None
    """Slots, of all workers together; unset: any."""
    walk_forward: WalkForward | None = None

    @field_validator("strategy_params", "param_grid")
    @classmethod
    def _refuse_unusable(cls, params: dict[str, Any] | None) -> dict[str, Any] | None:
        for path, message in why_unusable(params):
            raise PydanticCustomError("unusable", "{message}", {"message": f"{path} {message}".strip()})
        return params


def parse_optimization_requested(data: Mapping[str, Any], duplicate_keys: Sequence[str] = ()) -> OptimizationRequested:
    """Validate the data of a request, as decoded from JSON.

    duplicate_keys: those of the envelope. Raises InvalidRequestError with every field at fault, and nothing else.
    """
    if not duplicate_keys:
        try:
            request = OptimizationRequested.model_validate(data)
        except ValidationError:
            pass
        else:
            if not any(_disagreements(request.__dict__, set_search_fields(request))):
                return request
    raise InvalidRequestError(one_a_field(_find_problems(data, duplicate_keys)))


def usable_search_part(data: Mapping[str, Any], problems: Sequence[FieldProblem]) -> OptimizationRequested:
    """Of data that break the schema, the fields that are right in themselves; the others stay unset."""
    at_fault = fields_at_fault(problems)
    usable = {
        name: value
        for name, value in data.items()
        if name in OptimizationRequested.model_fields and name not in at_fault
    }
    return OptimizationRequested.model_validate(usable)


def set_search_fields(request: OptimizationRequested) -> frozenset[str]:
    """Names of the fields that the request sets, nulls left out."""
    values = request.__dict__
    return frozenset(name for name in request.model_fields_set if values[name] is not None)


def search_content_of(request: OptimizationRequested) -> dict[str, Any]:
    """The content that identifies a request, by field: what is set and the defaults that fill it; request_id left out.

    With optimization_id an unset column stays absent: the row decides.
    """
    values = {name: value for name, value in request.__dict__.items() if value is not None and value != OFF.get(name)}
    values.pop("request_id", None)
    if request.walk_forward is not None:
        values["walk_forward"] = request.walk_forward.model_dump()
    filled: dict[str, Any] = {"strategy_params": {}, "spread_source": DEFAULT_SPREAD_SOURCE, **values}
    return filled if request.optimization_id is not None else {**SEARCH_DEFAULTS, **filled}


def _find_problems(data: Mapping[str, Any], duplicate_keys: Sequence[str]) -> Iterator[FieldProblem]:
    """Every problem there is. Slower than validation, and asked only about data that failed it."""
    for key in duplicate_keys:
        yield FieldProblem(key, INVALID_REQUEST, "stands more than once in its object")
    known = {name: value for name, value in data.items() if name in OptimizationRequested.model_fields}
    at_fault: set[str] = set()
    try:
        OptimizationRequested.model_validate({**known, "strategy_params": None, "param_grid": None})
    except ValidationError as error:
        for problem in problems_of(error, _WORDING):
            if problem.field:
                at_fault.add(problem.field.partition(".")[0])
                yield problem
    for name in ("param_grid", "strategy_params"):
        for problem in _problems_of_object(name, data.get(name)):
            at_fault.add(name)
            yield problem
    values = {name: _read(name, value) for name, value in known.items() if name not in at_fault}
    yield from _disagreements(values, frozenset(name for name, value in known.items() if value is not None))
    for name in data:
        if name not in known:
            yield FieldProblem(shown_key(name), INVALID_REQUEST, "is not a known field")


def _problems_of_object(name: str, value: Any) -> Iterator[FieldProblem]:
    if value is not None and not isinstance(value, dict):
        yield FieldProblem(name, INVALID_REQUEST, f"must be an object, is {shown(value)}")
        return
    for path, message in why_unusable(value):
        yield FieldProblem(f"{name}.{path}" if path else name, INVALID_REQUEST, message)


def _disagreements(values: Mapping[str, Any], given: frozenset[str]) -> Iterator[FieldProblem]:
    """What is wrong between fields. values: those valid by themselves; given: all that are set, valid or not."""
    has_row = "optimization_id" in given
    if not has_row:
        for name in REQUIRED_WITHOUT_ROW:
            if name not in given:
                yield FieldProblem(name, INVALID_REQUEST, "is required without optimization_id")
    start, end = values.get("start_date"), values.get("end_date")
    if start is not None and end is not None and start >= end:
        yield FieldProblem("start_date", INVALID_REQUEST, f"{BEFORE}end_date")
        yield FieldProblem("end_date", INVALID_REQUEST, f"{AFTER}start_date")
    if values.get("stop_out_pct") and "leverage" not in given:
        yield FieldProblem("stop_out_pct", INVALID_REQUEST, "needs leverage, of whose margin it is")
    yield from _problems_of_samples(values, given, has_row=has_row)
    fixed, varied = values.get("strategy_params") or {}, values.get("param_grid") or {}
    for name in fixed:
        if name in varied:
            yield FieldProblem(
                f"strategy_params.{shown_key(name)}", INVALID_REQUEST, "must not stand in param_grid too"
            )


def _problems_of_samples(values: Mapping[str, Any], given: frozenset[str], *, has_row: bool) -> Iterator[FieldProblem]:
    """Whether there are as many as the method draws."""
    method = values.get("method") or (None if has_row else "grid")
    if method in {"random", "tpe"} and "samples" not in given and not has_row:
        yield FieldProblem("samples", INVALID_REQUEST, f"is required with method {method}")
    samples = values.get("samples")
    if method == "grid" and samples is not None:
        yield FieldProblem("samples", INVALID_REQUEST, "must not be given with method grid, which takes all")
    if method == "tpe" and samples is not None and samples > MAX_TPE_SAMPLES:
        yield FieldProblem(
            "samples", INVALID_REQUEST, f"must be at most {MAX_TPE_SAMPLES} with method tpe, is {samples}"
        )


def _read(name: str, value: Any) -> Any:
    if name not in {"start_date", "end_date"} or value is None:
        return value
    try:
        return read_instant(value)
    except PydanticCustomError:
        return None
