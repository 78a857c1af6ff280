"""`backtest.requested`: a request for one backtest, its ranges, and its content with defaults filled in."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from schemas.field_types import (
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
    WarmUpBars,
    read_instant,
)
from schemas.json_text import printable, shown, shown_key, why_unusable
from schemas.problems import (
    AFTER,
    BEFORE,
    INVALID_REQUEST,
    FieldProblem,
    InvalidRequestError,
    one_a_field,
    problems_of,
)
from schemas.topics import EventType

REQUIRED_WITHOUT_RUN: Final = ("strategy_id", "symbol", "start_date", "end_date")
ROW_DEFAULTS: Final[Mapping[str, Any]] = {
    "initial_balance": 10_000.0,
    "spread_pips": 1.5,
    "execution_mode": "close_price",
    "max_llm_calls": 100,
    "commission_per_lot": 0.0,
    "tp_partial_close_ratio": 0.5,
}
"""The defaults of `backtest_runs` that fill a request without run_id; with run_id the row decides."""
DEFAULT_SPREAD_SOURCE: Final = "fixed"
"""Fills every request: no row holds it."""
OFF: Final[Mapping[str, Any]] = {
    "slippage_pips": 0.0,
    "commission_pct": 0.0,
    "stop_out_pct": 0.0,
    "skip_llm": False,
    "llm_replay": False,
}
"""What is as good as unset, so that a request has the content it had before there were these fields."""


class BacktestRequested(BaseModel):
    """The data of a valid request. None means unset: absent, or an explicit null, which is the same."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    event_type: ClassVar[EventType] = EventType.REQUESTED

    run_id: RowId | None = None
    """An existing pending row, whose columns are the configuration; fields set here must agree with it."""
    request_id: RequestId | None = None
    strategy_id: RowId | None = None
    symbol: Symbol | None = None
    start_date: Instant | None = None
    """Inclusive, UTC."""
    end_date: Instant | None = None
    """Exclusive, UTC, after start_date."""
    timeframe: TimeframeName | None = None
    """Unset: the strategy's."""
    context_tfs: list[TimeframeName] | None = None
    """Unset: the strategy's; empty: none."""
    primary_tf: TimeframeName | None = None
    """Equal to timeframe where both are set; else intake compares it to the one that the strategy or row brings."""
    initial_balance: Balance | None = None
    spread_pips: SpreadPips | None = None
    execution_mode: ExecutionMode | None = None
    max_llm_calls: Count | None = None
    commission_per_lot: CommissionPerLot | None = None
    tp_partial_close_ratio: Share | None = None
    strategy_params: dict[str, Any] | None = None
    """Merged over the strategy's; JSON of finite numbers, 64-bit integers and storable text."""
    volume: PositiveFloat | None = None
    """Lots; whether they are whole steps is the instrument's to say."""
    risk_pct: RiskFraction | None = None
    """Fraction of equity risked a trade, 0.01 = 1 %."""
    on_opposite: OnOpposite | None = None
    stop_to_entry: bool | None = None
    account_currency: Currency | None = None
    spread_source: SpreadSource | None = None
    warm_up_bars: WarmUpBars | None = None
    """Bars before the start that the run sees. Unset: as many as the strategy needs."""
    slippage_pips: SlippagePips | None = None
    """By how much fills at a close or an open, and stops, are worse."""
    commission_pct: CommissionPct | None = None
    """Per cent of the notional on each side, beside commission_per_lot."""
    leverage: Leverage | None = None
    """Unset: no margin is asked."""
    stop_out_pct: StopOutPct | None = None
    """Per cent of the margin at which equity ends the run; only with leverage."""
    skip_llm: bool | None = None
    """The rule decides alone, whatever the strategy leaves to a language model."""
    llm_replay: bool | None = None
    """No call is made: a question without an answer in the ledger fails the run."""

    @field_validator("strategy_params")
    @classmethod
    def _refuse_unusable(cls, params: dict[str, Any] | None) -> dict[str, Any] | None:
        for path, message in why_unusable(params):
            raise PydanticCustomError("unusable", "{message}", {"message": f"{path} {message}".strip()})
        return params

    @model_validator(mode="after")
    def _refuse_disagreement(self) -> "BacktestRequested":
        for problem in _disagreements(self.__dict__, set_fields(self)):
            raise PydanticCustomError("disagreement", "{message}", {"message": f"{problem.field} {problem.message}"})
        return self


def parse_requested(data: dict[str, Any], duplicate_keys: Sequence[str] = ()) -> BacktestRequested:
    """Validate the data of a request, as decoded from JSON.

    duplicate_keys: those of the envelope. Raises InvalidRequestError with every field at fault, and nothing else.
    """
    try:
        if not duplicate_keys:
            return BacktestRequested.model_validate(data)
    except ValidationError:
        pass
    raise InvalidRequestError(one_a_field(_find_problems(data, duplicate_keys)))


def usable_part(data: Mapping[str, Any], problems: Sequence[FieldProblem]) -> BacktestRequested:
    """Of data that break the schema, the fields that are right in themselves; the others stay unset.

    problems: those that parse_requested raised. So what the right ones name can be looked up, and all that is wrong be
    told at once. Whether the fields agree is not asked again, nor whether any is missing.
    """
    at_fault = fields_at_fault(problems)
    usable = {name: value for name, value in data.items() if name in BacktestRequested.model_fields}
    return _UsablePart.model_validate({name: value for name, value in usable.items() if name not in at_fault})


def fields_at_fault(problems: Iterable[FieldProblem]) -> frozenset[str]:
    """The top-level fields that problems stand in."""
    return frozenset(problem.field.partition(".")[0] for problem in problems)


class _UsablePart(BacktestRequested):
    @model_validator(mode="after")
    def _refuse_disagreement(self) -> "_UsablePart":
        return self


def set_fields(request: BacktestRequested) -> frozenset[str]:
    """Names of the fields that the request sets, nulls left out: with run_id, those that must agree with the row."""
    values = request.__dict__
    return frozenset(name for name in request.model_fields_set if values[name] is not None)


def content_of(request: BacktestRequested) -> dict[str, Any]:
    """The content that identifies a request, by field: what is set and the defaults that fill it; request_id left out.

    Without run_id the table's defaults fill in, and primary_tf is timeframe where that is set; timeframe and
    context_tfs stay absent when unset, since the strategy brings them. With run_id an unset column stays absent: the
    row decides.
    """
    values = {name: value for name, value in request.__dict__.items() if value is not None and value != OFF.get(name)}
    values.pop("request_id", None)
    filled: dict[str, Any] = {"strategy_params": {}, "spread_source": DEFAULT_SPREAD_SOURCE, **values}
    if request.run_id is not None:
        return filled
    if request.timeframe is not None:
        filled["primary_tf"] = request.timeframe
    return {**ROW_DEFAULTS, **filled}


def _find_problems(data: Mapping[str, Any], duplicate_keys: Sequence[str]) -> Iterator[FieldProblem]:
    """Every problem there is. Slower than validation, and asked only about data that failed it."""
    for key in duplicate_keys:
        yield FieldProblem(key, INVALID_REQUEST, "stands more than once in its object")
    known = {name: value for name, value in data.items() if name in BacktestRequested.model_fields}
    at_fault: set[str] = set()
    try:
        # The check between fields runs here only when no field is at fault; below it is asked in any case.
        BacktestRequested.model_validate({**known, "strategy_params": None})
    except ValidationError as error:
        for problem in problems_of(error, WORDING):
            if problem.field:
                at_fault.add(problem.field.partition(".")[0])
                yield problem
    yield from _problems_of_params(data.get("strategy_params"))
    values = {name: _read_date(value) if name in {"start_date", "end_date"} else value for name, value in known.items()}
    given = frozenset(name for name, value in known.items() if value is not None)
    yield from _disagreements({name: value for name, value in values.items() if name not in at_fault}, given)
    for name in data:
        if name not in known:
            yield FieldProblem(shown_key(name), INVALID_REQUEST, "is not a known field")


def _problems_of_params(params: Any) -> Iterator[FieldProblem]:
    if params is not None and not isinstance(params, dict):
        yield FieldProblem("strategy_params", INVALID_REQUEST, f"must be an object, is {shown(params)}")
        return
    for path, message in why_unusable(params):
        yield FieldProblem(f"strategy_params.{path}" if path else "strategy_params", INVALID_REQUEST, message)


def _disagreements(values: Mapping[str, Any], given: frozenset[str]) -> Iterator[FieldProblem]:
    """What is wrong between fields. values: those valid by themselves; given: all that are set, valid or not."""
    if "run_id" not in given:
        for name in REQUIRED_WITHOUT_RUN:
            if name not in given:
                yield FieldProblem(name, INVALID_REQUEST, "is required without run_id")
    start, end = values.get("start_date"), values.get("end_date")
    if start is not None and end is not None and start >= end:
        yield FieldProblem("start_date", INVALID_REQUEST, f"{BEFORE}end_date")
        yield FieldProblem("end_date", INVALID_REQUEST, f"{AFTER}start_date")
    if values.get("stop_out_pct") and "leverage" not in given:
        yield FieldProblem("stop_out_pct", INVALID_REQUEST, "needs leverage, of whose margin it is")
    timeframe, primary = values.get("timeframe"), values.get("primary_tf")
    if timeframe is not None and primary is not None and timeframe != primary:
        message = f"must equal timeframe {shown(timeframe)}, is {shown(primary)}"
        yield FieldProblem("primary_tf", INVALID_REQUEST, printable(message))


def _read_date(value: Any) -> datetime | None:
    """The instant, or None for what is none: such a value is at fault by itself."""
    try:
        return read_instant(value)
    except PydanticCustomError:
        return None
