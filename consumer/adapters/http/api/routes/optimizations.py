"""`/v1/optimization`: searches, as the tables tell of them, and what they found."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from io import BytesIO
from typing import Annotated, Any, Literal

import polars as pl
from fastapi import APIRouter
from fastapi import Query as FromQuery
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from consumer.adapters.http.api.answers import answer_about, json_response
from consumer.adapters.http.api.documents import answered, listed, problems
from consumer.adapters.http.api.listing import read_cursor, write_cursor
from consumer.adapters.http.api.problems import Problem, not_found, refused_field
from consumer.adapters.http.api.queries import (
    NO_QUERY,
    ListQuery,
    Moment,
    PathId,
    Query,
    RowNumber,
    TimeframeAsked,
    Words,
)
from consumer.adapters.http.api.result_schemas import or_as_file
from consumer.adapters.http.api.routes.backtests import Status
from consumer.adapters.http.api.search_rows import FOLD, HEAT_MAP, RESULT, SEARCH, shown_search
from consumer.adapters.http.api.services import Services, ServicesNow
from consumer.errors import ArtifactsUnavailable
from consumer.optimization.heat_map import NoHeatMap, heat_map
from consumer.ports.search_history import Row, SearchFilter, SearchPlace

router = APIRouter(prefix="/v1/optimization", tags=["optimization"])


class SearchesQuery(ListQuery):
    """Which searches."""

    q: Annotated[Words, Field(description="Words, each in strategy name or symbol, or a search's id.")] = ""
    strategy_id: Annotated[RowNumber | None, Field(description="Of this row of strategies.")] = None
    symbol: Annotated[Words | None, Field(description="In any case.")] = None
    timeframe: TimeframeAsked = None
    status: Status | None = None
    created_after: Annotated[Moment | None, Field(description="This moment included.")] = None
    created_before: Annotated[Moment | None, Field(description="This moment not included.")] = None
    sort: Literal["created_at", "-created_at"] = "-created_at"


class ResultsQuery(ListQuery):
    """JSON: the best 100, in order of rank. csv, parquet: every combination, whole."""

    format: Literal["json", "csv", "parquet"] = "json"


class HeatMapQuery(Query):
    """Two parameters; others stand at their value in the best combination, or where `fix` holds them."""

    x: Annotated[Words, Field(description="Across.")]
    y: Annotated[Words, Field(description="Down.")]
    fix: Annotated[
        list[Words], Field(default_factory=list, max_length=50, description="name:value, of another parameter.")
    ]


@router.get("", responses={**answered("Searches.", listed(SEARCH)), **problems()})
async def list_searches(services: ServicesNow, query: Annotated[SearchesQuery, FromQuery()]) -> Response:
    """Searches, the newest first where nothing else is asked for."""
    bound = query.model_dump(exclude={"limit", "cursor"})
    after = SearchPlace(*read_cursor("searches", bound, query.cursor)) if query.cursor is not None else None
    wanted = SearchFilter(words=query.q, **{name: bound[name] for name in bound if name not in {"q", "sort"}})
    found = await services.searches.searches(
        wanted, limit=query.limit + 1, after=after, descending=query.sort.startswith("-")
    )
    rows = found[: query.limit]
    is_more = len(found) > len(rows)
    cursor = write_cursor("searches", bound, (rows[-1]["created_at"], rows[-1]["id"])) if is_more else None
    return json_response({"items": [shown_search(row) for row in rows], "next_cursor": cursor})


@router.get("/{optimization_id}", dependencies=[NO_QUERY], responses={**answered("It.", SEARCH), **problems(404)})
async def get_search(services: ServicesNow, request: Request, optimization_id: PathId) -> Response:
    """One search: its row with what it found, statistics included."""
    search = await search_of(services, optimization_id)

    async def make() -> Response:
        return json_response(shown_search(search))

    return await answer_about(search, request, make, search["strategy_name"])


@router.get(
    "/{optimization_id}/results",
    responses={**or_as_file(answered("Combinations.", listed(RESULT))), **problems(404, 409)},
)
async def results(
    services: ServicesNow, request: Request, optimization_id: PathId, query: Annotated[ResultsQuery, FromQuery()]
) -> Response:
    """The best combinations, or as a file every one."""
    search = await completed_search_of(services, optimization_id)

    async def make() -> Response:
        if query.format != "json":
            return await _whole(services, search, query.format)
        bound = {"optimization_id": optimization_id}
        (first,) = read_cursor("results", bound, query.cursor) if query.cursor is not None else (0,)
        found: Sequence[Any] = search["results"] or []
        shown = found[first : first + query.limit]
        following = first + len(shown)
        cursor = write_cursor("results", bound, (following,)) if following < len(found) else None
        return json_response({"items": shown, "next_cursor": cursor})

    return await answer_about(search, request, make)


@router.get("/{optimization_id}/heatmap", responses={**answered("Cells.", HEAT_MAP), **problems(404, 409)})
async def heatmap(
    services: ServicesNow, request: Request, optimization_id: PathId, query: Annotated[HeatMapQuery, FromQuery()]
) -> Response:
    """The metric over two parameters."""
    search = await completed_search_of(services, optimization_id)
    if search["walk_forward"] is not None:
        raise Problem(409, "walk_forward", "a walk-forward has a search for each fold, and no one heat map")
    pairs = [_fixed(each) for each in query.fix]
    fixed = dict(pairs)
    if len(fixed) < len(pairs):
        raise refused_field("fix", "holds a parameter twice")

    async def make() -> Response:
        content = await _results_of(services, search)
        names = sorted(search["param_grid"])
        arguments = (search["optimize_metric"], names, query.x, query.y, fixed, search["best_params"])
        try:
            found = await asyncio.to_thread(heat_map, content, *arguments)
        except NoHeatMap as error:
            raise refused_field(error.field, str(error)) from error
        return json_response(asdict(found))

    return await answer_about(search, request, make)


@router.get(
    "/{optimization_id}/folds",
    dependencies=[NO_QUERY],
    responses={**answered("Folds.", listed(FOLD)), **problems(404, 409)},
)
async def folds(services: ServicesNow, request: Request, optimization_id: PathId) -> Response:
    """The folds of a walk-forward, in order of time; none where the search was one over its whole range."""
    search = await completed_search_of(services, optimization_id)

    async def make() -> Response:
        return json_response({"items": (search["statistics"] or {}).get("folds") or [], "next_cursor": None})

    return await answer_about(search, request, make)


async def search_of(services: Services, optimization_id: int) -> Row:
    """The search that a path names. Raises Problem (404)."""
    search = await services.searches.search(optimization_id)
    if search is None:
        raise not_found(f"optimization {optimization_id}")
    return search


async def completed_search_of(services: Services, optimization_id: int) -> Row:
    """The same, with results. Raises Problem (404, 409)."""
    search = await search_of(services, optimization_id)
    if search["status"] != "completed":
        status = search["status"]
        detail = f"optimization {optimization_id} has no results: it is {status}"
        raise Problem(409, "run_not_completed", detail, more={"run_status": status})
    return search


async def _results_of(services: Services, search: Row) -> bytes:
    try:
        return await asyncio.to_thread(
            services.search_results.read_results, search["id"], search["results_file_path"] or ""
        )
    except ArtifactsUnavailable as error:
        raise Problem(404, "artifacts_gone", str(error)) from error


async def _whole(services: Services, search: Row, kind: str) -> Response:
    content = await _results_of(services, search)
    name = f"optimization-{search['id']}.{kind}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    if kind == "parquet":
        return Response(content, headers=headers, media_type="application/vnd.apache.parquet")
    text = await asyncio.to_thread(lambda: pl.read_parquet(BytesIO(content)).write_csv())
    return Response(text.encode(), headers=headers, media_type="text/csv; charset=utf-8")


def _fixed(text: str) -> tuple[str, str]:
    name, separator, value = text.partition(":")
    if not separator:
        raise refused_field("fix", "must be name:value")
    return name, value
