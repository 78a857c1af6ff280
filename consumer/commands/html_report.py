"""`--html`: a run, or several to compare, as one file that opens without a network."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from consumer.errors import NoSuchRun, NotCompleted
from consumer.reports.completed import CompletedRun
from consumer.reports.page_report import ReportedRun, page_report
from consumer.reports.run_answer import answer, of_history
from consumer.settings import DatabaseSettings, StoreSettings, load_settings
from consumer.wiring.files import instruments_of
from consumer.wiring.page_report import check_html_path, report_shell, reported_here, tables_at, write_html
from engine.results.result import BacktestResult

__all__ = ["check_html_path", "write_report_of_result", "write_report_of_runs"]


def write_report_of_runs(settings: DatabaseSettings, run_ids: Sequence[int], path: Path) -> None:
    """Write the report of the first run, beside the others. Raises NoSuchRun, NotCompleted, NoReportPage, FilesGone."""
    from consumer.wiring.database import open_history  # late: a run of files needs no database

    shell, stores = report_shell(), load_settings(StoreSettings)
    tables = tables_at(stores.artifacts_url)

    async def reported() -> list[ReportedRun]:
        found = []
        async with open_history(settings) as history:
            for run_id in dict.fromkeys(run_ids):
                row = await history.run(run_id)
                if row is None:
                    raise NoSuchRun(run_id)
                if row["status"] != "completed":
                    raise NotCompleted(run_id, row["status"])
                told = answer(row, tables, **await of_history(history, row))
                found.append(ReportedRun(told, CompletedRun(row, {})))
        return found

    registry = instruments_of(stores.instruments_file)
    write_html(page_report(shell, asyncio.run(reported()), tables, registry, datetime.now(UTC)), path)


def write_report_of_result(result: BacktestResult, path: Path, figures: Mapping[str, Any]) -> None:
    """Write the report of a run that was simulated here. figures: beyond the result's own. Raises NoReportPage."""
    shell = report_shell()
    with reported_here(result, figures) as (reported, tables):
        registry = {result.instrument.symbol: result.instrument}
        write_html(page_report(shell, [reported], tables, registry, datetime.now(UTC)), path)
