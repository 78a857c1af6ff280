"""What a request about data that cannot be answered is told, beside what `problems` says of all."""

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from consumer.adapters.http.api.problems import Problem, refused_field, respond
from consumer.errors import NotCompleted
from consumer.reports.chart_candles import ChartRefused
from consumer.reports.page_report import NoReportPage


def handle_data_problems(app: FastAPI) -> None:
    async def not_completed(_request: Request, error: NotCompleted) -> Response:
        return respond(Problem(409, "run_not_completed", str(error), more={"run_status": error.status}))

    async def no_such_chart(_request: Request, error: ChartRefused) -> Response:
        return respond(refused_field(error.field, error.message))

    async def no_page(_request: Request, error: NoReportPage) -> Response:
        return respond(Problem(503, "page_not_built", str(error)))

    for kind, handler in {NotCompleted: not_completed, ChartRefused: no_such_chart, NoReportPage: no_page}.items():
        app.add_exception_handler(kind, handler)  # type: ignore[arg-type]  # each takes its own kind
