"""`backtest.rejected`: the answer to a request that made no run."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from schemas.failed import ErrorBody
from schemas.json_text import why_unusable_text
from schemas.problems import FieldProblem, first_code, summarise
from schemas.topics import EventType


class Rejected(BaseModel):
    """Only request_id is sure: the other names are as the request gave them, null where it gave no usable one."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    event_type: ClassVar[EventType] = EventType.REJECTED

    run_id: int | None
    request_id: str
    strategy_id: int | None
    symbol: str | None
    timeframe: str | None
    status: Literal["rejected"] = "rejected"
    progress_pct: Literal[0] = 0
    sequence: Literal[1] = 1
    attempt: Literal[0] = 0
    error: ErrorBody


def rejection(request_id: str, data: Mapping[str, Any], problems: Sequence[FieldProblem]) -> Rejected:
    """The event for a request with problems, at least one; `error.code` is the first in the order of REJECTION_CODES.

    data: as sent. request_id: the request's identity, which need not stand in data.
    """
    return Rejected(
        run_id=integer_as_given(data.get("run_id")),
        request_id=request_id,
        strategy_id=integer_as_given(data.get("strategy_id")),
        symbol=text_as_given(data.get("symbol")),
        timeframe=text_as_given(data.get("timeframe")),
        error=ErrorBody(code=first_code(problems), message=summarise(problems), details=list(problems)),
    )


def integer_as_given(value: Any) -> int | None:
    """A 64-bit integer as given, also one that no column holds; None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63 else None


def text_as_given(value: Any) -> str | None:
    """A storable text of at most 255 characters; None for anything else."""
    return value if isinstance(value, str) and len(value) <= 255 and why_unusable_text(value) is None else None
