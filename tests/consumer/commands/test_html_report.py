"""`--html`: one file of a run of the command line, and what is told where there can be none."""

from pathlib import Path
from typing import Any

import pytest
import typer

from consumer.cli import run_program
from consumer.commands.report import beside_each_other, run_ids_in
from consumer.demo_data import EURUSD_H1
from consumer.reports.page_report import SLOT
from consumer.rules.columns import METRIC_COLUMNS
from consumer.wiring import page_report
from tests.consumer.reports.embedded import embedded_in, unpacked

RUN = (
    *("run", "--bars", str(EURUSD_H1), "--symbol", "EURUSD", "--timeframe", "H1", "--strategy", "sma_cross"),
    *("--start", "2016-01-04", "--end", "2016-06-01", "--html"),
)


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page with a slot, in place of the one that `make setup` builds."""
    place = tmp_path / "dist" / "report.html"
    place.parent.mkdir()
    monkeypatch.setattr(page_report.report_shell, "__defaults__", (place,))
    place.write_text(f"<html>{SLOT}</html>")
    return place


def test_a_run_without_a_server_leaves_its_report(shell: Path, tmp_path: Path) -> None:
    assert shell.is_file()
    assert run_program([*RUN, str(tmp_path / "run.html")]) == 0
    data = embedded_in((tmp_path / "run.html").read_text())
    run = data["run"]
    assert (run["symbol"], run["timeframe"], run["strategy_key"], run["status"]) == (
        *("EURUSD", "H1", "sma_cross"),
        "completed",
    )
    assert run["metrics"]["total_trades"] == run["all"]["total_trades"] == len(unpacked(data["trades"]["profit"]))
    assert run["start_date"] == "2016-01-04T00:00:00Z"
    assert min(unpacked(data["candles"]["time"])) >= 1_451_865_600


def test_where_the_page_was_not_built_the_run_says_how_to(
    shell: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.unlink()
    assert run_program([*RUN, str(tmp_path / "run.html")]) == 1
    assert "make setup" in capsys.readouterr().err
    assert not (tmp_path / "run.html").exists()


@pytest.mark.parametrize("name", ["run.pdf", "nowhere/run.html"])
def test_a_place_that_takes_no_report_is_refused_before_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert run_program([*RUN, str(tmp_path / name)]) == 2
    assert "bars" not in capsys.readouterr().out


def test_runs_to_compare_are_numbers_with_commas() -> None:
    assert run_ids_in("1, 2,3") == [1, 2, 3]
    with pytest.raises(typer.BadParameter):
        run_ids_in("1;2")


def test_figures_of_runs_stand_side_by_side() -> None:
    told = {"strategy_name": "a", "symbol": "EURUSD", "timeframe": "H1", "status": "completed"}
    rows: list[dict[str, Any]] = [{"id": number, **told, **dict.fromkeys(METRIC_COLUMNS, 1.5)} for number in (3, 4)]
    rows[1]["sharpe_ratio"] = None
    lines = list(beside_each_other(rows))
    assert lines[0] == ("run", "3", "4")
    assert ("sharpe ratio", "1.5", "-") in lines
