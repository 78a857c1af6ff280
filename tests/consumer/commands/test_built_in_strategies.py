"""Every strategy that is packaged runs as a user starts it, and is in the documentation as it is."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from consumer.cli import run_program
from consumer.demo_data import EURUSD_H1
from consumer.installed.registry import GROUP, load_strategy, registered_strategies
from engine.strategies.levels import Levels

ROOT = Path(__file__).parents[3]
DECLARED: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][GROUP]
BY_DATA = {"rules"}
"""Whose parameters are a document."""
KEYS = sorted(DECLARED.keys() - BY_DATA)
BARS = (
    "--bars",
    str(EURUSD_H1),
    "--symbol",
    "EURUSD",
    "--timeframe",
    "H1",
    "--start",
    "2015-06-01",
    "--end",
    "2015-10-01",
)
SMALL = {"nearest_patterns": {"memory": 500}}


def documented() -> dict[str, str]:
    """Key to the parameters of the table, with their defaults."""
    text = (ROOT / "docs" / "strategies.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^\| `(\w+)` \| (`\w+` .*?) \| .+ \|$", text, re.MULTILINE))


def test_the_ten_are_registered() -> None:
    assert len(KEYS) == 10
    assert set(KEYS) <= set(registered_strategies())


@pytest.mark.parametrize("key", KEYS)
def test_the_documentation_has_its_parameters_and_defaults(key: str) -> None:
    params = load_strategy(key).Params()
    own = {name: value for name, value in params.model_dump(mode="json").items() if name not in Levels.model_fields}
    assert documented()[key] == ", ".join(f"`{name}` {shown(value)}" for name, value in own.items())
    assert isinstance(params, Levels) == (key != "nearest_patterns")


def shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else json.dumps(value)


def test_the_documentation_has_no_other() -> None:
    assert sorted(documented()) == KEYS


@pytest.mark.parametrize("key", KEYS)
def test_it_runs_from_the_command_line(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    params = SMALL.get(key, {"stop_loss_atr": 2, "take_profit_pips": 60, "trailing_atr": 4})
    status = run_program(["run", *BARS, "--strategy", key, "--params", json.dumps(params), "--json"])
    out, err = capsys.readouterr()
    assert status == 0, err
    assert json.loads(out)["total_trades"] > 0
    assert "left out" not in out


def test_a_context_of_its_own_is_used_whether_it_is_listed_or_not(capsys: pytest.CaptureFixture[str]) -> None:
    figures = []
    for more in ((), ("--context-timeframes", "H4")):
        assert run_program(["run", *BARS, "--strategy", "trend_pullback", "--json", *more]) == 0
        figures.append(json.loads(capsys.readouterr().out))
    assert figures[0]["total_trades"] > 0
    assert figures[0]["net_profit"] == figures[1]["net_profit"]


def test_a_context_shorter_than_the_run_that_is_not_stored_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    params = json.dumps({"context": "M15"})
    assert run_program(["run", *BARS, "--strategy", "trend_pullback", "--params", params]) == 2
    assert "context M15: there are no such bars of EURUSD" in capsys.readouterr().err
