"""Queries, read strictly: a name that is not known is refused, and one that stands twice; times carry an offset."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import Depends, Path
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError
from starlette.requests import Request

from consumer.adapters.http.api.problems import refused
from engine.market.timeframes import TIMEFRAMES
from schemas.field_types import read_instant
from schemas.json_text import shown_key, why_unusable_text
from schemas.problems import INVALID_REQUEST, FieldProblem

GREATEST_ID: Final = 2**31 - 1
REPEATABLE: Final = frozenset({"fix"})
"""Names that may stand more than once."""


class Query(BaseModel):
    """Base of every route's query."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ListQuery(Query):
    """Of every list."""

    limit: Annotated[int, Field(ge=1, le=500, description="Items of one answer.")] = 50
    cursor: Annotated[
        str | None, Field(max_length=2000, description="`next_cursor` of the answer before, with the same query.")
    ] = None


def _whole_number(value: Any) -> Any:
    """Digits alone: no sign, blank or point, so that one thing has one address."""
    if isinstance(value, str) and not (value.isascii() and value.isdigit() and not value.startswith("0")):
        raise ValueError("must be a number from 1")
    return value


def _moment(value: Any) -> Any:
    """A plus sign that was sent as it stands comes as a blank."""
    text = value.replace(" ", "+") if isinstance(value, str) and "T" in value else value
    try:
        return read_instant(text)
    except PydanticCustomError as error:
        raise ValueError(error.message()) from error


def _text(value: str) -> str:
    problem = why_unusable_text(value)
    if problem is not None:
        raise ValueError(problem)
    return value


PathId = Annotated[int, Path(ge=1, le=GREATEST_ID), BeforeValidator(_whole_number)]
RowNumber = Annotated[int, Field(ge=1, le=GREATEST_ID), BeforeValidator(_whole_number)]
Moment = Annotated[datetime, BeforeValidator(_moment)]
"""RFC 3339 with an offset; UTC."""
Words = Annotated[str, Field(max_length=200, json_schema_extra={"pattern": r"^[^\x00]*$"}), AfterValidator(_text)]


def _known_timeframe(name: str | None) -> str | None:
    if name is not None and name not in TIMEFRAMES:
        raise ValueError(f"must be one of {', '.join(TIMEFRAMES)}")
    return name


TimeframeAsked = Annotated[
    str | None, AfterValidator(_known_timeframe), Field(max_length=200, json_schema_extra={"enum": list(TIMEFRAMES)})
]


# Coroutines, though they wait for nothing: FastAPI sends every other dependency through a pool of threads.


async def refuse_repeated_names(request: Request) -> None:
    """For every route: of two values one would be taken and the other lost."""
    if not request.url.query:
        return
    names = [name for name, _ in request.query_params.multi_items()]
    _refuse((name for name in dict.fromkeys(names) if names.count(name) > 1 and name not in REPEATABLE), "stands twice")


async def refuse_any_name(request: Request) -> None:
    """For routes without a query."""
    _refuse(request.query_params.keys(), "is not a known name of this query")


NO_QUERY: Final = Depends(refuse_any_name)


def _refuse(names: Iterable[str], message: str) -> None:
    problems = [FieldProblem(shown_key(name), INVALID_REQUEST, message) for name in names]
    if problems:
        raise refused(problems)
