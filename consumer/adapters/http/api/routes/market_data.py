"""`/v1/market-data`: the bars that runs can have, and files that bring more."""

from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

from fastapi import APIRouter
from fastapi import Query as FromQuery
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from consumer.adapters.http.api.answers import json_response
from consumer.adapters.http.api.data_services import DataNow, DataServices
from consumer.adapters.http.api.documents import answered, listed, problems
from consumer.adapters.http.api.links import link
from consumer.adapters.http.api.listing import read_cursor, write_cursor
from consumer.adapters.http.api.problems import Problem, not_found, refused, refused_field
from consumer.adapters.http.api.queries import NO_QUERY, ListQuery, Query, Words
from consumer.adapters.http.api.upload_words import in_words_of_the_api
from consumer.adapters.http.api.uploads import sent_file
from consumer.ports.stored_bars import Upload, UploadRefused
from engine.errors import BadInstruments, UnknownSymbol
from engine.market.instruments import refuse_impossible, share
from engine.market.timeframes import TIMEFRAMES
from engine.market.zones import UnknownZoneError, zone_named
from schemas.problems import FieldProblem

router = APIRouter(prefix="/v1/market-data", tags=["market data"])

STORED: Final[dict[str, Any]] = {
    "title": "StoredBars",
    "type": "object",
    "required": ["symbol", "timeframe"],
    "properties": {
        "symbol": {"type": "string"},
        "timeframe": {"type": "string"},
        "first": {"type": "string", "format": "date-time"},
        "last": {"type": "string", "format": "date-time"},
        "bars": {"type": "integer"},
        "zone": {"type": ["string", "null"]},
        "gaps": {"type": ["integer", "null"]},
        "missing_bars": {"type": ["integer", "null"]},
        "passport": {"type": ["object", "null"]},
        "notes": {"type": "array", "items": {"type": "string"}},
        "fault": {"type": "string"},
    },
}
STORED_EXAMPLE: Final[dict[str, Any]] = {
    "symbol": "EURUSD",
    "timeframe": "H1",
    "first": "2015-01-01T22:00:00Z",
    "last": "2017-12-29T21:00:00Z",
    "bars": 18637,
    "zone": "Europe/Athens",
    "gaps": 14,
    "missing_bars": 190,
    "passport": None,
}


class UploadQuery(Query):
    """How the file is to be read, and what is to become of what is stored."""

    timezone: Annotated[Words, Field(description="Of times without an offset: Europe/Athens, America/New_York+7.")] = (
        "UTC"
    )
    format: Annotated[Words | None, Field(description="The only format that it may have.")] = None
    date_order: Annotated[Literal["dmy", "mdy", "ymd"] | None, Field(description="Of dates such as 02/01/2024.")] = None
    replace: Annotated[bool, Field(description="The months that the file touches then hold its bars alone.")] = False
    instrument_class: Annotated[Literal["stock"] | None, Field(description="What an unknown symbol is.")] = None
    quote: Annotated[Words, Field(description="Currency of prices, with instrument_class.")] = "USD"


@router.get("", responses={**answered("What is stored.", listed(STORED)), **problems()})
async def list_stored(data: DataNow, query: Annotated[ListQuery, FromQuery()]) -> Response:
    """What is stored, by symbol, the shortest timeframe first: range, count, gaps, zone, passport."""
    registry = await data.instruments()
    places = await data.stored_bars.places()
    if query.cursor is not None:
        symbol, name = read_cursor("market data", {}, query.cursor)
        behind = (str(symbol), _length(str(name)))
        places = [place for place in places if (place[0], _length(place[1])) > behind]
    shown = places[: query.limit]
    told = [await data.stored_bars.told(*place, registry) for place in shown]
    more = len(places) > len(shown)
    return json_response(
        {
            "items": [each for each in told if each is not None],
            "next_cursor": write_cursor("market data", {}, shown[-1]) if more else None,
        }
    )


@router.get(
    "/{symbol}/{timeframe}",
    dependencies=[NO_QUERY],
    responses={**answered("What is stored.", STORED, STORED_EXAMPLE), **problems(404)},
)
async def get_stored(data: DataNow, symbol: str, timeframe: str) -> Response:
    """Range, count, gaps, passport and zone of the bars of one symbol and timeframe."""
    name = await _stored(data, symbol, timeframe)
    told = await data.stored_bars.told(name, timeframe, await data.instruments())
    if told is None:
        raise _nothing(symbol, timeframe)
    return json_response(told)


@router.delete(
    "/{symbol}/{timeframe}",
    dependencies=[NO_QUERY],
    status_code=204,
    responses={204: {"description": "They are gone."}, **problems(403, 404)},
)
async def delete_stored(data: DataNow, symbol: str, timeframe: str) -> Response:
    """Remove all bars of one symbol and timeframe."""
    name = await _stored(data, symbol, timeframe)
    if not await data.stored_bars.remove(name, timeframe):
        raise _nothing(symbol, timeframe)
    return Response(status_code=204)


@router.post(
    "/{symbol}/{timeframe}",
    status_code=201,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["file"],
                        "properties": {"file": {"type": "string", "format": "binary"}},
                    }
                },
            },
        }
    },
    responses={**answered("Stored.", STORED, STORED_EXAMPLE, 201), **problems(400, 403, 409, 413)},
)
async def upload(
    data: DataNow, request: Request, symbol: str, timeframe: str, query: Annotated[UploadQuery, FromQuery()]
) -> Response:
    """Bring a file of bars, as it is or as the part `file` of a form, in any format that `backtest data import` takes.
    It is checked as a whole before anything is stored, one at a time a symbol."""
    _refuse_wrong(data, symbol, timeframe, query)
    registry = await data.instruments()
    async with sent_file(request, data.max_body_bytes, f"{symbol}_{timeframe}") as (path, name):
        asked = Upload(symbol=symbol, timeframe=timeframe, path=path, name=name, **_asked(query))
        try:
            told = await data.stored_bars.put(asked, registry)
        except UploadRefused as error:
            raise _refusal(error, asked) from error
    location = link(request, f"/v1/market-data/{quote(told['symbol'])}/{timeframe}")
    told = {**told, "notes": [in_words_of_the_api(note) for note in told["notes"]]}
    return json_response(told, 201, {"Location": location})


def _asked(query: UploadQuery) -> dict[str, Any]:
    format_name = None if query.format is None else query.format.lower()
    return {**query.model_dump(), "format": format_name, "quote": query.quote.upper()}


def _refuse_wrong(data: DataServices, symbol: str, timeframe: str, query: UploadQuery) -> None:
    """Every name at fault, before the file is read."""
    found = []
    try:
        refuse_impossible(symbol)
        if query.instrument_class is not None:
            share(symbol, query.quote.upper())
    except UnknownSymbol as error:
        found.append(FieldProblem("symbol", error.code, str(error)))
    except BadInstruments as error:
        found.append(FieldProblem("quote", "invalid_request", str(error).removeprefix("quote: ")))
    if timeframe not in TIMEFRAMES:
        message = f"must be one of {', '.join(TIMEFRAMES)}"
        found.append(FieldProblem("timeframe", "unknown_timeframe", message))
    try:
        zone_named(query.timezone)
    except UnknownZoneError as error:
        found.append(FieldProblem("timezone", "invalid_request", str(error)))
    if query.format is not None and query.format.lower() not in data.stored_bars.formats:
        message = f"must be one of {', '.join(data.stored_bars.formats)}"
        found.append(FieldProblem("format", "invalid_request", message))
    if found:
        raise refused(found)


def _refusal(error: UploadRefused, asked: Upload) -> Problem:
    message = in_words_of_the_api(error.message)
    if error.code == "too_large":
        return Problem(413, error.code, message)
    if error.code == "differs":
        return Problem(409, error.code, message, more={"file": asked.name, **error.sides})
    if error.code != "bad_bars":
        return refused_field("symbol", message, error.code)
    detail = FieldProblem("file", error.code, message)
    return Problem(422, error.code, message, [detail], more={"file": asked.name, "row": error.row})


async def _stored(data: DataServices, symbol: str, timeframe: str) -> str:
    """The symbol as the store has it. Raises Problem (404)."""
    name = await data.stored_bars.spelled(symbol, await data.instruments()) if timeframe in TIMEFRAMES else None
    if name is None:
        raise _nothing(symbol, timeframe)
    return name


def _nothing(symbol: str, timeframe: str) -> Problem:
    return not_found(f"{timeframe[:20]} of {symbol[:40]} in the market data")


def _length(timeframe: str) -> int:
    return TIMEFRAMES[timeframe].duration_us if timeframe in TIMEFRAMES else 0
