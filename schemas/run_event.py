"""What every outgoing event says of its run."""

from typing import Annotated, Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from schemas.topics import EventType


class RunEvent(BaseModel):
    """The part that a subscriber reads of any event: which run, how far, and in which order.

    A base class since each event is one: subscribers drop `sequence <= last seen` of a run without looking at the type.
    Unknown fields are ignored, so that a subscriber outlives a worker that says more.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False)

    event_type: ClassVar[EventType]

    run_id: int
    request_id: str
    strategy_id: int
    symbol: str
    timeframe: str
    progress_pct: Annotated[int, Field(ge=0, le=100)]
    """Never falls within an attempt."""
    sequence: Annotated[int, Field(ge=1)]
    """Strictly rising per run; gaps are normal."""
    attempt: Annotated[int, Field(ge=0)]
    """From 1; 0 for a run that ended before it was ever started."""


class AdvisedRunEvent(RunEvent):
    """Says of calls to language models too, over all attempts of the run; nothing of it where no model decides."""

    llm_calls_used: Annotated[int, Field(ge=0)] = 0
    """Ever sent for the run, failed and lost ones too; at most its max_llm_calls."""
    llm_calls_cached: Annotated[int, Field(ge=0)] = 0
    """Answers that it has from calls of other runs."""
    llm_cost: Annotated[float, Field(ge=0)] | None = 0.0
    """Account currency; null where a price is not known."""
    llm_input_tokens: Annotated[int, Field(ge=0)] = 0
    llm_output_tokens: Annotated[int, Field(ge=0)] = 0

    @model_serializer(mode="wrap")
    def _leave_out_what_is_not_set(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = serialise(self)
        return {name: value for name, value in written.items() if name not in _OF_MODELS - self.model_fields_set}


_OF_MODELS: Final = frozenset(AdvisedRunEvent.model_fields) - frozenset(RunEvent.model_fields)
