"""`backtest.completed`: the run's figures and where its artefacts lie."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from schemas.json_text import why_unusable
from schemas.run_event import AdvisedRunEvent
from schemas.topics import EventType


class Completed(AdvisedRunEvent):
    """The terminal event of a run that was simulated to its end."""

    event_type: ClassVar[EventType] = EventType.COMPLETED

    status: Literal["completed"] = "completed"
    progress_pct: Annotated[int, Field(ge=100, le=100)] = 100
    metrics: dict[str, Any]
    """By the names of `backtest run --json`, in its order: finite numbers, text, null, lists and objects of them."""
    data_file_path: str | None
    """OHLCV CSV of the run, path or URL."""
    artifacts: dict[str, str]
    """Path or URL by name (trades, equity, ledger)."""
    result_digest: str
    """SHA-256, hexadecimal (`engine.results.digest`)."""
    engine_version: str
    duration_seconds: Annotated[float, Field(ge=0)]
    """Wall clock from the claim to the result."""
    warnings: list[str]

    @field_validator("metrics")
    @classmethod
    def _refuse_unusable(cls, metrics: dict[str, Any]) -> dict[str, Any]:
        for path, message in why_unusable(metrics):
            raise PydanticCustomError("unusable", "{message}", {"message": f"{path} {message}".strip()})
        return metrics
