"""What a completed run left: trades, curves, candles, indicators, groups; below `/v1/backtest/{run_id}`."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Annotated, Any, Final, Literal

import polars as pl
from fastapi import APIRouter
from fastapi import Query as FromQuery
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError
from starlette.requests import Request
from starlette.responses import Response

from consumer.adapters.http.api.answers import answer_about, json_response
from consumer.adapters.http.api.data_services import DataNow
from consumer.adapters.http.api.documents import answered, listed, problems
from consumer.adapters.http.api.listing import read_cursor, write_cursor
from consumer.adapters.http.api.problems import BETWEEN_NAMES, refused_field
from consumer.adapters.http.api.queries import ListQuery, Moment, PathId, Query, TimeframeAsked, Words
from consumer.adapters.http.api.result_schemas import ANALYTICS, DRAWDOWN, INDICATORS, TRADE, or_as_file, table_answered
from consumer.adapters.http.api.services import ServicesNow
from consumer.adapters.http.api.table_answers import Format, json_of, table_response
from consumer.ports.run_tables import RunTables
from consumer.reports.analytics import GROUPINGS, analytics
from consumer.reports.chart import chart_candles, chart_indicators
from consumer.reports.chart_candles import CandlesAsked
from consumer.reports.completed import CompletedRun, completed
from consumer.reports.curves import drawdown_table, equity_table, ledger_table, monthly_table
from consumer.reports.run_answer import parsed
from consumer.reports.tables import Table
from consumer.reports.thinning import FEWEST_POINTS
from consumer.reports.trade_list import SORTS, TradePlace, TradesAsked, place_of, trade_page, trade_table
from engine.market.timeframes import TIMEFRAMES
from engine.market.zones import UnknownZoneError, Zone, zone_named
from engine.numeric.times import as_us

router = APIRouter(prefix="/v1/backtest/{run_id}", tags=["results"])

_DIRECTIONS = Literal["BUY", "SELL"]
_REASONS = Literal[
    "stop_loss", "take_profit", "trailing_stop", "time", "signal", "reverse", "llm_close", "stop_out", "end_of_data"
]
_OUTCOMES = Literal["win", "loss", "break_even"]
_ONE_OR_TWO: Final = (*GROUPINGS, *(f"{one},{two}" for one in GROUPINGS for two in GROUPINGS if one != two))
_SIGNED: Final = tuple(f"{sign}{column}" for column in SORTS for sign in ("", "-"))
MaxPoints = Annotated[
    int | None, Field(ge=FEWEST_POINTS, le=10_000_000, description="Points at most; peaks and lows stay.")
]
FormatAsked = Annotated[Format, Field(description="csv and parquet are always whole.")]


class CurveQuery(Query):
    max_points: MaxPoints = None
    format: FormatAsked = "json"


class TradesQuery(ListQuery):
    """Which trades, in which order."""

    direction: _DIRECTIONS | None = None
    exit_reason: _REASONS | None = None
    pattern_name: Words | None = None
    outcome: _OUTCOMES | None = None
    sort: Annotated[
        str,
        Field(
            description="A column, falling with a minus sign.", max_length=60, json_schema_extra={"enum": list(_SIGNED)}
        ),
    ] = "trade"
    format: FormatAsked = "json"


class RangeQuery(Query):
    """From <= open < to."""

    from_: Annotated[Moment | None, Field(alias="from", description="First open time.")] = None
    to: Annotated[Moment | None, Field(description="End, exclusive.")] = None
    timeframe: TimeframeAsked = None

    @model_validator(mode="after")
    def _is_a_range(self) -> "RangeQuery":
        if self.from_ is not None and self.to is not None and self.from_ >= self.to:
            raise PydanticCustomError(
                BETWEEN_NAMES, "{name} {message}", {"name": "to", "message": "must be after from"}
            )
        return self


class CandlesQuery(RangeQuery):
    max_points: MaxPoints = None
    format: FormatAsked = "json"


class AnalyticsQuery(Query):
    """One or two groupings."""

    by: Annotated[
        Words, Field(description="One or two, with a comma between.", json_schema_extra={"enum": [*_ONE_OR_TWO]})
    ]
    tz: Annotated[Words, Field(description="Zone of hour, weekday and month: America/New_York.")] = "UTC"


@router.get("/trades", responses={**or_as_file(answered("Trades.", listed(TRADE))), **problems(404, 409)})
async def list_trades(
    services: ServicesNow,
    data: DataNow,
    request: Request,
    run_id: PathId,
    query: Annotated[TradesQuery, FromQuery()],
) -> Response:
    """Trades, one an exit, in the order booked where nothing else is asked for."""
    run = await completed(services.history, run_id)
    if query.sort not in _SIGNED:
        raise refused_field("sort", f"must be one of {', '.join(SORTS)}, with a minus sign to fall")
    bound = query.model_dump(exclude={"limit", "cursor", "format"})
    asked = TradesAsked(
        **{name: value for name, value in bound.items() if name != "sort"},
        sort=query.sort.removeprefix("-"),
        descending=query.sort.startswith("-"),
    )
    kind = f"trades of run {run_id}"
    after = TradePlace(*read_cursor(kind, bound, query.cursor)) if query.cursor is not None else None

    def page() -> list[dict[str, Any]]:
        with data.tables.table(run.run_id, run.epoch, "trades") as trades:
            return trade_page(trades, asked, query.limit + 1, after)

    async def make() -> Response:
        if query.format != "json":

            def whole(opened: ExitStack) -> Table:
                trades = opened.enter_context(data.tables.table(run.run_id, run.epoch, "trades"))
                return trade_table(trades, asked)

            return await table_response(data.turns, whole, query.format, f"run-{run_id}-trades")
        found = await data.turns.take(page)
        items = found[: query.limit]
        last = place_of(items[-1], asked) if len(found) > len(items) else None
        return json_response(
            {
                "items": [{**item, "pattern_metadata": parsed(item["pattern_metadata"])} for item in items],
                "next_cursor": None if last is None else write_cursor(kind, bound, (last.value, last.number)),
            }
        )

    return await answer_about(run.row, request, make)


def _curve(
    path: str, make: Callable[[CompletedRun, RunTables, int | None], Table], schema: dict[int | str, dict[str, Any]]
) -> None:
    """A route of one table of a run."""

    async def answer(
        services: ServicesNow,
        data: DataNow,
        request: Request,
        run_id: PathId,
        query: Annotated[CurveQuery, FromQuery()],
    ) -> Response:
        run = await completed(services.history, run_id)
        points = query.max_points if query.format == "json" else None

        async def respond() -> Response:
            name = f"run-{run_id}-{path.removeprefix('/')}"
            return await table_response(data.turns, lambda _: make(run, data.tables, points), query.format, name)

        return await answer_about(run.row, request, respond)

    answer.__doc__ = (make.__doc__ or "").partition(" Raises ")[0]
    answer.__name__ = f"get_{path.removeprefix('/')}"
    router.get(path, responses={**schema, **problems(404, 409)})(answer)


_curve("/equity", equity_table, table_answered("EquityTable", "time", "balance", "equity", "buy_and_hold"))
_curve(
    "/drawdown",
    drawdown_table,
    table_answered("DrawdownTable", "time", "drawdown", "drawdown_pct", deepest={"type": "array", "items": DRAWDOWN}),
)
_curve("/monthly", monthly_table, table_answered("MonthlyTable", "year", "month", "net", "trades", "return_pct"))
_curve("/ledger", ledger_table, table_answered("LedgerTable", "time", "position_id", "kind", "amount", "balance"))


@router.get(
    "/candles",
    responses={
        **table_answered(
            "CandleTable",
            *("time", "open", "high", "low", "close", "volume", "complete"),
            timeframe={"type": "string"},
            source={"enum": ["stored", "resampled"]},
        ),
        **problems(404, 409),
    },
)
async def get_candles(
    services: ServicesNow,
    data: DataNow,
    request: Request,
    run_id: PathId,
    query: Annotated[CandlesQuery, FromQuery()],
) -> Response:
    """Candles with from <= open < to: the run's bars, or longer ones made of them. Each is whole; one that the begin or
    the end of the run's bars cuts has `complete` false."""
    run = await completed(services.history, run_id)
    registry = await data.instruments()
    asked = _range(query, query.max_points if query.format == "json" else None)

    def make(opened: ExitStack) -> Table:
        return chart_candles(run, opened.enter_context(data.tables.bars(run.bars_place)), registry, asked)

    async def respond() -> Response:
        return await table_response(data.turns, make, query.format, f"run-{run_id}-candles")

    return await answer_about(run.row, request, respond)


@router.get("/indicators", responses={**answered("What is drawn beside the bars.", INDICATORS), **problems(404, 409)})
async def get_indicators(
    services: ServicesNow,
    data: DataNow,
    request: Request,
    run_id: PathId,
    query: Annotated[RangeQuery, FromQuery()],
) -> Response:
    """The indicators that rules name, and the columns `plot_...` of a strategy; pane 0 is that of the prices."""
    run = await completed(services.history, run_id)
    registry = await data.instruments()
    asked = _range(query, None)

    async def respond() -> Response:
        content = await json_of(data.turns, lambda _: chart_indicators(run, data.tables, registry, asked))
        return Response(content, media_type="application/json")

    return await answer_about(run.row, request, respond)


@router.get("/analytics", responses={**answered("Groups of positions.", ANALYTICS), **problems(404, 409)})
async def get_analytics(
    services: ServicesNow,
    data: DataNow,
    request: Request,
    run_id: PathId,
    query: Annotated[AnalyticsQuery, FromQuery()],
) -> Response:
    """What the positions of each group earned; `few` says that they are under 30."""
    run = await completed(services.history, run_id)
    by = _groupings(query.by)
    zone = _zone(query.tz)

    def make() -> dict[str, Any]:
        with data.tables.table(run.run_id, run.epoch, "trades") as trades:
            return analytics(trades, by, zone)

    async def respond() -> Response:
        return json_response(await data.turns.take(make))

    return await answer_about(run.row, request, respond)


def _range(query: RangeQuery, max_points: int | None) -> CandlesAsked:
    return CandlesAsked(
        None if query.from_ is None else as_us(query.from_),
        None if query.to is None else as_us(query.to),
        None if query.timeframe is None else TIMEFRAMES[query.timeframe],
        max_points,
    )


def _groupings(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not 1 <= len(names) <= 2 or len(set(names)) < len(names) or not set(names) <= set(GROUPINGS):
        raise refused_field("by", f"must be one or two of {', '.join(GROUPINGS)}, with a comma between")
    return names


def _zone(name: str) -> Zone:
    try:
        zone = zone_named(name)
        pl.Series([0]).cast(pl.Datetime("us", "UTC")).dt.convert_time_zone(zone.iana)
    except (UnknownZoneError, pl.exceptions.ComputeError) as error:
        raise refused_field("tz", "must be a time zone, such as America/New_York") from error
    return zone
