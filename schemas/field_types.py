"""Types of single fields, with the ranges that the tables' columns and the events' schemas share."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, PlainValidator
from pydantic_core import PydanticCustomError

from schemas.json_text import parse_instant, shown

MAX_INT32: Final = 2_147_483_647
"""The largest value of an Integer column."""

RowId = Annotated[int, Field(ge=1, le=MAX_INT32)]
Count = Annotated[int, Field(ge=0, le=MAX_INT32)]
ExecutionMode = Literal["close_price", "intra_candle", "next_open"]
OnOpposite = Literal["reverse", "close", "ignore"]
SpreadSource = Literal["fixed", "bars"]


def _without_negative_zero(number: float) -> float:
    return number + 0.0


# -0.0 and 0.0 are one content and one specification, but not the same bytes.
PlainZero = AfterValidator(_without_negative_zero)
PositiveFloat = Annotated[float, Field(gt=0)]
Balance = Annotated[float, Field(ge=0.01, le=1e15)]
SpreadPips = Annotated[float, Field(ge=0, le=1e6), PlainZero]
CommissionPerLot = Annotated[float, Field(ge=0, le=1e9), PlainZero]
SlippagePips = Annotated[float, Field(ge=0, le=1e6), PlainZero]
CommissionPct = Annotated[float, Field(ge=0, le=100), PlainZero]
Leverage = Annotated[float, Field(ge=1e-6, le=1e6)]
StopOutPct = Annotated[float, Field(ge=0, le=1e6), PlainZero]
"""What a simulation can be true to; engine.specification has the same."""
WarmUpBars = Annotated[int, Field(ge=0, le=1_000_000)]
Share = Annotated[float, Field(ge=0, le=1), PlainZero]
"""0 and 1 included."""
RiskFraction = Annotated[float, Field(gt=0, le=1)]

Symbol = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._#-]{0,19}$")]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
# The patterns keep NUL out; having one at all makes pydantic refuse lone surrogates.
TimeframeName = Annotated[str, Field(min_length=1, max_length=10, pattern=r"^[^\x00]*$")]
"""Text that fits the column; whether such a timeframe exists is not known here."""
RequestId = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00]*$")]


def read_instant(value: Any) -> datetime:
    """ISO 8601 text or an aware datetime as UTC. Raises PydanticCustomError."""
    if isinstance(value, str):
        try:
            return parse_instant(value)
        except ValueError as error:
            raise PydanticCustomError("instant", "{message}", {"message": f"{error}, is {shown(value)}"}) from error
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    message = f"must be ISO 8601 text with an offset, is {shown(str(value) if isinstance(value, datetime) else value)}"
    raise PydanticCustomError("instant", "{message}", {"message": message})


Instant = Annotated[datetime, PlainValidator(read_instant, json_schema_input_type=str)]
"""ISO 8601 text with an offset, or an aware datetime; always in UTC afterwards."""

WORDING: Final = {
    "symbol": "must be 1 to 20 letters, digits or ._-#, the first a letter or digit",
    "account_currency": "must be three capital letters",
    "timeframe": "must not contain NUL",
    "primary_tf": "must not contain NUL",
    "context_tfs": "must not contain NUL",
    "request_id": "must not contain NUL",
    "reason": "must not contain NUL",
    "execution_mode": "must be close_price, intra_candle or next_open",
    "on_opposite": "must be reverse, close or ignore",
    "spread_source": "must be fixed or bars",
}
"""What is said of a value that breaks its field's pattern or is none of its choices."""
