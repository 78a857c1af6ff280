"""The report as one HTML file: the built page, the tables of a run, and where the file goes."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from consumer.adapters.files.artifacts import LEDGER, ArtifactFiles
from consumer.adapters.files.run_tables import RunTableFiles
from consumer.adapters.files.store import FileStoreError, LocalFiles
from consumer.errors import ArtifactsUnavailable
from consumer.reports.completed import CompletedRun
from consumer.reports.page_report import NoReportPage, ReportedRun
from consumer.reports.run_answer import answer
from consumer.rules.advice import RULE_ONLY
from consumer.rules.columns import ALL_RUN_COLUMNS, COLUMN_OF_FIELD, EXECUTION_COLUMNS, METRIC_COLUMNS
from engine.errors import InputRefused
from engine.results.result import BacktestResult

SHELL: Final = Path(__file__).parents[1] / "web" / "dist" / "report.html"
_EPOCH: Final = 1
_NUMBER: Final = 0
"""Of a run that no database has."""


def report_shell(place: Path = SHELL) -> str:
    """The page's report with an empty slot for data. Raises NoReportPage where it was not built."""
    try:
        return place.read_text(encoding="utf-8")
    except OSError as error:
        raise NoReportPage(place) from error


def check_html_path(path: Path) -> None:
    """Refuse a path that `write_html` could not write to, before a run is spent on it."""
    if path.suffix.lower() not in {".html", ".htm"}:
        raise InputRefused(f"{path}: a report is written as .html")
    if not path.parent.is_dir():
        raise InputRefused(f"{path}: there is no directory {path.parent}")


def write_html(text: str, path: Path) -> None:
    """Write a file whole or not at all. Raises ArtifactsUnavailable."""
    try:
        LocalFiles(path.parent).write(path.name, text.encode(), durable=False)
    except FileStoreError as error:
        raise ArtifactsUnavailable(str(error)) from error


def tables_at(artifacts_url: str) -> RunTableFiles:
    """What runs left at a place. Raises ArtifactsUnavailable."""
    return RunTableFiles(artifacts_url)


@contextmanager
def reported_here(result: BacktestResult, figures: Mapping[str, Any]) -> Iterator[tuple[ReportedRun, RunTableFiles]]:
    """A run of the command line as one of the service: its tables lie in a directory that goes with the block."""
    with tempfile.TemporaryDirectory(prefix="backtest-report-") as folder:
        files, tables = ArtifactFiles(folder), RunTableFiles(folder)
        left = {"trades": result.recorded_trades, "equity": result.equity, LEDGER: result.booked}
        if result.indicators is not None:
            left["indicators"] = result.indicators
        files.save_run(_NUMBER, _EPOCH, left)
        rows = result.bars.between(*(int(each.timestamp() * 1_000_000) for each in _range(result)))
        row = {**_row(result), "data_file_path": files.save_bars(result.bars.rows(*rows).frame)}
        metrics = {**result.to_json_dict(), **figures}
        alone = metrics.pop("rule_only", None)
        told = answer(
            row,
            tables,
            result={"metrics": metrics, "duration_seconds": None},
            request=None,
            account_currency=result.specification.account_currency,
            decided_by=str(advice.decided_by) if (advice := result.specification.advice) is not None else RULE_ONLY,
            rule_alone=None if alone is None else {"run_id": None, **alone},
        )
        yield ReportedRun(told, CompletedRun(row, {})), tables


def _range(result: BacktestResult) -> tuple[datetime, datetime]:
    return result.specification.start, result.specification.end


def _row(result: BacktestResult) -> dict[str, Any]:
    """What the row of such a run would say."""
    asked = result.specification
    columns = {column: getattr(asked, name) for name, column in COLUMN_OF_FIELD.items()}
    metrics = {name: getattr(result.metrics, name) for name in METRIC_COLUMNS}
    return {
        **dict.fromkeys((*ALL_RUN_COLUMNS, *EXECUTION_COLUMNS)),
        **columns,
        **metrics,
        "id": _NUMBER,
        "epoch": _EPOCH,
        "status": "completed",
        "progress_pct": 100,
        "execution_mode": str(asked.execution_mode),
        "primary_tf": asked.timeframe,
        "context_tfs": None,
        "strategy_name": asked.strategy_key or "signals of a file",
        "strategy_key": asked.strategy_key,
        "created_at": datetime.now(UTC),
        "result_digest": result.result_digest,
        "strategy_version": result.strategy_version,
    }
