"""`/v1/backtest`: runs, as the tables tell of them."""

from typing import Annotated, Final, Literal

from fastapi import APIRouter
from fastapi import Query as FromQuery
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from consumer.adapters.http.api.answers import answer_about, json_response
from consumer.adapters.http.api.documents import answered, listed, problems
from consumer.adapters.http.api.listing import read_cursor, write_cursor
from consumer.adapters.http.api.problems import not_found, refused_field
from consumer.adapters.http.api.queries import NO_QUERY, ListQuery, Moment, PathId, RowNumber, TimeframeAsked, Words
from consumer.adapters.http.api.run_rows import RUN, RUN_EXAMPLE
from consumer.adapters.http.api.services import Services, ServicesNow
from consumer.ports.history import Row, RunFilter, RunOrder, RunPlace
from consumer.reports.run_answer import answer, of_history, shown_run
from consumer.rules.columns import SORT_COLUMNS

router = APIRouter(prefix="/v1/backtest", tags=["backtest"])

Status = Literal["pending", "running", "completed", "failed", "cancelled"]
SORTS: Final = tuple(f"{sign}{column}" for column in SORT_COLUMNS for sign in ("", "-"))


class RunsQuery(ListQuery):
    """Which runs, and in which order."""

    q: Annotated[Words, Field(description="Words, each in strategy name or symbol, or a run id.")] = ""
    strategy_id: Annotated[RowNumber | None, Field(description="Of this row of strategies.")] = None
    symbol: Annotated[Words | None, Field(description="In any case.")] = None
    timeframe: TimeframeAsked = None
    status: Status | None = None
    created_after: Annotated[Moment | None, Field(description="This moment included.")] = None
    created_before: Annotated[Moment | None, Field(description="This moment not included.")] = None
    min_trades: Annotated[int | None, Field(ge=0, le=2**31 - 1, description="So many, or more.")] = None
    sort: Annotated[
        str, Field(description="A column, falling with a minus sign.", json_schema_extra={"enum": list(SORTS)})
    ] = "-created_at"


@router.get("", responses={**answered("Runs.", listed(RUN)), **problems()})
async def list_runs(services: ServicesNow, query: Annotated[RunsQuery, FromQuery()]) -> Response:
    """Runs, the newest first where nothing else is asked for."""
    if query.sort not in SORTS:
        raise refused_field("sort", f"must be one of {', '.join(SORT_COLUMNS)}, with a minus sign to fall")
    order = RunOrder(query.sort.removeprefix("-"), query.sort.startswith("-"))
    bound = query.model_dump(exclude={"limit", "cursor"})
    after = RunPlace(*read_cursor("runs", bound, query.cursor)) if query.cursor is not None else None
    wanted = RunFilter(
        words=query.q,
        **{name: bound[name] for name in bound if name not in {"q", "sort"}},
    )
    found = await services.history.runs(wanted, order, limit=query.limit + 1, after=after)
    rows = found[: query.limit]
    last = order.place_of(rows[-1]) if len(found) > len(rows) else None
    return json_response(
        {
            "items": [shown_run(row) for row in rows],
            "next_cursor": write_cursor("runs", bound, (last.value, last.run_id)) if last is not None else None,
        }
    )


@router.get("/{run_id}", dependencies=[NO_QUERY], responses={**answered("The run.", RUN, RUN_EXAMPLE), **problems(404)})
async def get_run(services: ServicesNow, request: Request, run_id: PathId) -> Response:
    """One run: its row, its figures once it has completed, and the request behind it."""
    run = await run_of(services, run_id)

    told = await of_history(services.history, run)

    async def make() -> Response:
        data = services.data
        return json_response(await data.turns.take(lambda: answer(run, data.tables, **told)))

    return await answer_about(run, request, make, run["strategy_name"], run["strategy_key"], told["rule_alone"])


async def run_of(services: Services, run_id: int) -> Row:
    """The run that a path names. Raises Problem (404)."""
    run = await services.history.run(run_id)
    if run is None:
        raise not_found(f"run {run_id}")
    return run
