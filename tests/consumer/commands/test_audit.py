"""`backtest audit` as a person or a program calls it: one line, the exit status, and what a mistake says."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from consumer.cli import run_program
from consumer.demo_data import EURUSD_H1
from consumer.installed import registry as strategies
from tests.engine.audit import look_ahead_strategies

BARS = ("--bars", str(EURUSD_H1), "--symbol", "EURUSD", "--timeframe", "H1", "--end", "2015-06-01", "--moments", "8")
POINTS = {
    "shifted": "audited_strategies:NegativeShift",
    "early_context": "audited_strategies:ContextBeforeItsClose",
    "in_time": "audited_strategies:ContextInTime",
    "bar_cross": "audited_strategies:BarCross",
    "dice": "audited_strategies:Dice",
    "cautious": "audited_strategies:NeedsManyBars",
}


@pytest.fixture(autouse=True)
def _registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a package of its own: in this one all modules of the tests would be its code, read for each audit."""
    folder = tmp_path / "site" / "audited-1.0.dist-info"
    folder.mkdir(parents=True)
    shutil.copy(look_ahead_strategies.__file__, folder.parent / "audited_strategies.py")
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: audited\nVersion: 1.0\n")
    lines = [f"{key} = {target}" for key, target in POINTS.items()]
    (folder / "entry_points.txt").write_text("\n".join([f"[{strategies.GROUP}]", *lines]))
    monkeypatch.syspath_prepend(folder.parent)
    sys.modules.pop("audited_strategies", None)


def audit(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = run_program(["audit", *BARS, *arguments])
    out, err = capsys.readouterr()
    return status, out, err


def test_a_clean_strategy_gives_one_line_and_status_0(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = audit(capsys, "--strategy", "sma_cross", "--params", '{"fast": 5}')
    assert (status, err) == (0, "")
    assert out.count("\n") == 1
    assert out.startswith("sma_cross: no look-ahead found: 48 other futures at 8 moments changed none of ")


def test_look_ahead_gives_time_and_column_in_one_line_and_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = audit(capsys, "--strategy", "shifted")
    assert (status, err) == (1, "")
    assert out.count("\n") == 1
    assert out.startswith("shifted: look-ahead: the decision at 2015-")
    assert ", column action, changes from " in out


def test_a_context_bar_used_before_its_close_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert audit(capsys, "--strategy", "early_context")[0] == 1


def test_context_used_in_time_is_clean(capsys: pytest.CaptureFixture[str]) -> None:
    assert audit(capsys, "--strategy", "in_time", "--context-timeframes", "H4")[0] == 0


def test_a_bar_strategy_is_audited_with_the_fills_of_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--strategy", "bar_cross", "--execution-mode", "next_open", "--risk-pct", "0.01")
    status, out, _ = audit(capsys, *arguments, "--start", "2015-04-01")
    assert status == 0, out


def test_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = audit(capsys, "--strategy", "shifted", "--json")
    found = json.loads(out)
    assert (status, err) == (1, "")
    assert found["clean"] is False
    assert found["finding"]["defect"] == "look_ahead"
    assert found["finding"]["column"] == "action"
    assert found["finding"]["time"] < found["finding"]["moment"]
    assert found["finding"]["time"].endswith("Z")
    assert found["changed"] > 0
    assert json.loads(audit(capsys, "--strategy", "sma_cross", "--json")[1])["clean"] is True


def test_decisions_by_chance_end_with_status_1_and_their_own_words(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = audit(capsys, "--strategy", "dice")
    assert status == 1
    assert out.startswith("dice: not repeatable: ")


def test_futures_that_could_not_be_tried_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = audit(capsys, "--strategy", "cautious")
    assert status == 0
    assert "could not be tried, first: decide_all raised ValueError: at least 400 bars" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give the --strategy KEY or the --rules FILE to audit"),
        (("--strategy", "nobody"), "unknown strategy 'nobody'"),
        (("--strategy", "sma_cross", "--params", '{"fast": 0}'), "fast"),
        (("--strategy", "sma_cross", "--moments", "0"), "--moments"),
        (("--strategy", "sma_cross", "--timeframe", "H5"), "H5"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    status, out, err = audit(capsys, *arguments)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert said in err
