"""`/v1/backtest/{run_id}/report`: the run as one HTML file, shut off from everything by its policy."""

import re
from base64 import b64encode
from hashlib import sha256
from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from consumer.adapters.http.api.answers import answer_about
from consumer.adapters.http.api.data_services import DataNow
from consumer.adapters.http.api.documents import problems
from consumer.adapters.http.api.queries import NO_QUERY, PathId
from consumer.adapters.http.api.services import ServicesNow
from consumer.reports.completed import completed
from consumer.reports.page_report import ReportedRun, page_report
from consumer.reports.run_answer import answer, of_history

router = APIRouter(prefix="/v1/backtest/{run_id}", tags=["results"])

_SCRIPT: Final = re.compile(r"<script>(.*?)</script>", re.DOTALL)


@router.get(
    "/report",
    dependencies=[NO_QUERY],
    response_class=HTMLResponse,
    responses={
        200: {"description": "One file that opens without a network.", "content": {"text/html": {}}},
        **problems(404, 409),
    },
)
async def get_report(services: ServicesNow, data: DataNow, request: Request, run_id: PathId) -> Response:
    """The run's page with all of its data inside, to keep or to send."""
    run = await completed(services.history, run_id)
    registry = await data.instruments()
    told = await of_history(services.history, run.row)

    def make() -> str:
        shell = data.report_shell()
        reported = ReportedRun(answer(run.row, data.tables, **told), run)
        # The moment of its end, not this one: what has a tag must not change.
        written_at = run.row["finished_at"] or run.row["created_at"]
        return page_report(shell, [reported], data.tables, registry, written_at)

    async def respond() -> Response:
        text = await data.turns.take(make)
        headers = {
            "Content-Security-Policy": policy_of(text),
            "Content-Disposition": f'inline; filename="run-{run_id}.html"',
        }
        return HTMLResponse(text, headers=headers)

    return await answer_about(run.row, request, respond, "report", told["rule_alone"])


def policy_of(page: str) -> str:
    """The page's own scripts and styles may work, and nothing may be loaded or sent."""
    digests = (b64encode(sha256(script.encode()).digest()).decode() for script in _SCRIPT.findall(page))
    scripts = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"sandbox allow-scripts; default-src 'none'; script-src {scripts}; style-src 'unsafe-inline';"
        " img-src data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
