"""`--strategy path/to/file.py:Class`: a file of one's own runs here, and nowhere else."""

import json
from pathlib import Path
from typing import Any

import pytest

from consumer.cli import run_program
from consumer.demo_data import EURUSD_H1
from consumer.installed.registry import is_registered
from consumer.ports.strategies import StrategyCheck
from consumer.preparation.strategy_verdict import verdict_of

BARS = ("--bars", str(EURUSD_H1), "--symbol", "EURUSD", "--timeframe", "H1", "--end", "2015-06-01")
TEXT = '''
from __future__ import annotations

import polars as pl
from pydantic import Field

from engine.indicators import sma
from engine.strategy import Instrument, Market, StrategyParams
{imports}

class Mine:
    """Buys above an average."""

    class Params(StrategyParams):
        length: int = Field(20, ge=2)

    def __init__(self, params: Params, instrument: Instrument) -> None:
        self._length = params.length

    def decide_all(self, market: Market) -> pl.DataFrame:
        frame = market.bars.with_columns(average=sma(market.bars["close"], self._length))
        above = pl.col("close") > pl.col("average")
        return frame.select(action=pl.when(above).then(pl.lit("BUY")).otherwise(pl.lit("SELL")))


class Unfinished:
    pass
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "some folder" / "mine.py"
    path.parent.mkdir()
    path.write_text(TEXT.format(imports=""))
    return path


def figures(capsys: pytest.CaptureFixture[str], strategy: str, *more: str) -> dict[str, Any]:
    status = run_program(["run", *BARS, "--strategy", strategy, "--json", *more])
    out, err = capsys.readouterr()
    assert status == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


def refusal(capsys: pytest.CaptureFixture[str], strategy: str, *more: str) -> str:
    status = run_program(["run", *BARS, "--strategy", strategy, *more])
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    return err


def test_a_file_runs_and_is_audited_and_shown(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = figures(capsys, f"{file}:Mine", "--params", '{"length": 50}')
    assert found["total_trades"] > 10
    assert len(found["strategy_version"]) == 64
    assert run_program(["audit", *BARS, "--strategy", f"{file}:Mine", "--moments", "4"]) == 0
    assert f"{file}:Mine: no look-ahead found" in capsys.readouterr().out
    assert run_program(["strategy", "show", f"{file}:Mine"]) == 0
    assert "Buys above an average." in capsys.readouterr().out
    assert run_program(["strategy", "schema", f"{file}:Mine"]) == 0
    assert json.loads(capsys.readouterr().out)["properties"]["length"]["minimum"] == 2


def test_the_table_tells_its_parameters_with_their_defaults(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_program(["run", *BARS, "--strategy", f"{file}:Mine"]) == 0
    assert 'Mine {"length": 20} on EURUSD H1' in capsys.readouterr().err


def test_the_digest_knows_the_text_and_not_where_it_lies(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = figures(capsys, f"{file}:Mine")["result_digest"]
    moved = file.rename(tmp_path / "other.py")
    assert figures(capsys, f"{moved}:Mine")["result_digest"] == first
    moved.write_text(moved.read_text() + "# edited\n")
    assert figures(capsys, f"{moved}:Mine")["result_digest"] != first


def test_an_edit_within_the_same_second_is_what_runs(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = figures(capsys, f"{file}:Mine")
    file.write_text(file.read_text().replace("> pl.col", "< pl.col"))
    assert figures(capsys, f"{file}:Mine")["net_profit"] != before["net_profit"]


def test_what_it_imports_from_beside_it_is_part_of_its_version(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(file.parent)
    beside = file.with_name("its_helper_of_one_test.py")
    beside.write_text("LENGTH = 20\n")
    file.write_text(TEXT.format(imports="from its_helper_of_one_test import LENGTH"))
    first = figures(capsys, f"{file}:Mine")["strategy_version"]
    beside.write_text("LENGTH = 20  # the same\n")
    assert figures(capsys, f"{file}:Mine")["strategy_version"] != first


@pytest.mark.parametrize(
    ("strategy", "says"),
    [
        ("{file}", "name its class after a colon; there are Mine"),
        ("{file}:Mne", "has no class 'Mne'; there are Mine"),
        ("{file}:Unfinished", "Unfinished has no method decide_all or decide"),
        ("{file}:pl", "has no class 'pl'; there are Mine"),
        ("{file}x.py:Mine", "No such file or directory"),
    ],
)
def test_what_is_wrong_with_a_name_is_said_in_one_line(
    file: Path, capsys: pytest.CaptureFixture[str], strategy: str, says: str
) -> None:
    message = refusal(capsys, strategy.format(file=file))
    assert says in message
    assert message.count("\n") == 1


def test_a_file_that_cannot_be_run_says_why_and_where(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("import polars\n\nraise LookupError('no luck')\n")
    assert "cannot be loaded: LookupError: no luck (mine.py, line 3)" in refusal(capsys, f"{file}:Mine")
    file.write_text("def broken(:\n")
    assert "cannot be loaded: SyntaxError: invalid syntax" in refusal(capsys, f"{file}:Mine")


def test_wrong_parameters_are_refused_by_name(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "lenght: " in refusal(capsys, f"{file}:Mine", "--params", '{"lenght": 3}')


def test_what_a_file_prints_is_no_part_of_the_result(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(TEXT.format(imports="print('hello')"))
    assert "net_profit" in figures(capsys, f"{file}:Mine")


def test_no_request_ever_runs_a_file(file: Path) -> None:
    file.write_text("raise SystemExit('ran')\n")
    key = f"{file}:Mine"
    assert not is_registered(key)
    (problem,) = verdict_of(StrategyCheck(key, "{}"))
    assert problem.code == "unknown_strategy"
