"""`/v1/instruments`: what can be traded here, and what is brought beside it."""

from typing import Annotated, Any, Final

from fastapi import APIRouter
from fastapi import Query as FromQuery
from starlette.requests import Request
from starlette.responses import Response

from consumer.adapters.http.api.answers import json_response
from consumer.adapters.http.api.bodies import object_schema, read_object
from consumer.adapters.http.api.data_services import DataNow
from consumer.adapters.http.api.documents import answered, listed, problems
from consumer.adapters.http.api.listing import read_cursor, write_cursor
from consumer.adapters.http.api.problems import Problem, refused
from consumer.adapters.http.api.queries import NO_QUERY, ListQuery
from consumer.preparation.known_instruments import KnownInstruments, block_of
from engine.market.instruments import BadTable, Instrument, instrument_of, packaged_instruments, symbol_in
from schemas.json_text import shown_key
from schemas.problems import INVALID_REQUEST, FieldProblem

router = APIRouter(prefix="/v1/instruments", tags=["instruments"])

_NUMBER: Final = {"type": ["number", "null"]}
BLOCK: Final[dict[str, Any]] = {
    "title": "InstrumentBlock",
    "type": "object",
    "required": ["symbol", "base", "quote", "pip", "contract", "digits", "session"],
    "properties": {
        "symbol": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._#-]{0,19}$"},
        "base": {"type": "string", "pattern": "^[A-Z0-9]{1,12}$"},
        "quote": {"type": "string", "pattern": "^[A-Z0-9]{2,12}$"},
        "pip": {"type": "number", "exclusiveMinimum": 0},
        "contract": {"type": "number", "exclusiveMinimum": 0},
        "digits": {"type": "integer", "minimum": 0, "maximum": 12},
        "session": {"enum": ["fx", "always", "weekdays"]},
        "lot_step": {"type": ["number", "null"], "exclusiveMinimum": 0},
        "swap_long": _NUMBER,
        "swap_short": _NUMBER,
        "day_start": {"type": ["string", "null"]},
    },
    "additionalProperties": False,
}
INSTRUMENT: Final[dict[str, Any]] = {
    "title": "Instrument",
    "type": "object",
    "required": [*BLOCK["required"], "lot_step", "swap_long", "swap_short", "day_start", "origin"],
    "properties": {
        **BLOCK["properties"],
        "origin": {"enum": ["packaged", "file", "database"]},
    },
}
EXAMPLE: Final = {
    "symbol": "XPTUSD",
    "base": "XPT",
    "quote": "USD",
    "pip": 0.1,
    "contract": 100,
    "digits": 2,
    "session": "fx",
}


@router.get("", responses={**answered("Instruments.", listed(INSTRUMENT)), **problems()})
async def list_instruments(data: DataNow, query: Annotated[ListQuery, FromQuery()]) -> Response:
    """Every instrument that runs can have, by symbol; `origin` says who knows it."""
    known = await data.instruments()
    symbols = sorted(known)
    if query.cursor is not None:
        (last,) = read_cursor("instruments", {}, query.cursor)
        symbols = [symbol for symbol in symbols if symbol > str(last)]
    shown = symbols[: query.limit]
    return json_response(
        {
            "items": [_shown(known[symbol], known) for symbol in shown],
            "next_cursor": write_cursor("instruments", {}, (shown[-1],)) if len(symbols) > len(shown) else None,
        }
    )


@router.post(
    "",
    status_code=201,
    dependencies=[NO_QUERY],
    openapi_extra=object_schema(BLOCK, EXAMPLE),
    responses={
        **answered("It was there already, the same.", INSTRUMENT),
        **answered("Every process of the service knows it now.", INSTRUMENT, status=201),
        **problems(400, 403, 409, 413, 415),
    },
)
async def add_instrument(data: DataNow, request: Request) -> Response:
    """Bring the block of an instruments file, kept in the database beside the file's. A block never changes: what runs
    were computed with stays what it was; an instruments file of the workers goes before it."""
    decoded = await read_object(request)
    instrument = _read(decoded.value, decoded.repeated_keys)
    known = await data.instruments()
    there = symbol_in(known, instrument.symbol)
    if there is None and await data.instrument_rows.add(instrument.symbol, block_of(instrument)):
        known = await data.instruments()
        return json_response(_shown(instrument, known), 201)
    known = await data.instruments()
    there = symbol_in(known, instrument.symbol)
    if there is None or known[there] != instrument:
        message = f"{there or instrument.symbol} is known already, as another instrument"
        raise Problem(409, "name_taken", message, [FieldProblem("symbol", "name_taken", "is taken")])
    return json_response(_shown(instrument, known))


def _read(body: dict[str, Any], repeated: tuple[str, ...]) -> Instrument:
    """Raises Problem (422) with every key at fault."""
    wrong = [FieldProblem(key, INVALID_REQUEST, "stands more than once") for key in repeated]
    symbol = body.get("symbol")
    if not isinstance(symbol, str):
        wrong.append(FieldProblem("symbol", INVALID_REQUEST, "is missing" if symbol is None else "must be text"))
    table = {name: value for name, value in body.items() if name != "symbol" and value is not None}
    instrument: Instrument | None = None
    try:
        instrument = instrument_of(symbol if isinstance(symbol, str) else "X", table)
    except BadTable as error:
        wrong += [FieldProblem(shown_key(key), INVALID_REQUEST, what) for key, what in error.problems]
    if wrong or instrument is None:
        raise refused(wrong)
    return instrument


def _shown(instrument: Instrument, known: KnownInstruments) -> dict[str, Any]:
    symbol = instrument.symbol
    origin = "database" if symbol in known.posted else "file"
    if packaged_instruments().get(symbol) == instrument:
        origin = "packaged"
    return {"symbol": symbol, "day_start": instrument.day_start, **block_of(instrument), "origin": origin}
