"""Rules as data on the command line: files, params, what is refused, and the documents that are shown to users."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from consumer.demo_data import EURUSD_H1
from engine.deciders.advised.terms import FIELDS
from tests.consumer.commands.test_run import Program, backtest

__all__ = ["backtest"]
DOCS = Path(__file__).parents[3] / "docs"
DOCUMENT: dict[str, Any] = {
    "params": {"fast": 10, "slow": 30},
    "indicators": {"f": "sma(close, fast)", "s": "sma(close, slow)"},
    "buy": "crosses_above(f, s)",
    "sell": "crosses_below(f, s)",
    "stop_loss": "pips(50)",
}
TOML = """
# The same, as people write it.
stop_loss = "pips( 50 )"
sell = "crosses_below(f, s)"
buy = '''
  crosses_above(f,
                s)
'''
[params]
slow = 30
fast = 10.0
[indicators]
s = "sma(close, slow)"
f = "sma(close, fast)"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rules.json"
    path.write_text(json.dumps(DOCUMENT))
    return path


def test_json_toml_and_params_give_one_digest_and_the_built_in_strategys_trades(
    backtest: Program, tmp_path: Path, file: Path
) -> None:
    toml = tmp_path / "rules.toml"
    toml.write_text(TOML)
    of_json, of_toml = (backtest.run("--rules", path).figures for path in (file, toml))
    of_params = backtest.run("--strategy", "rules", "--params", json.dumps(DOCUMENT)).figures
    built_in = backtest.run("--params", '{"fast": 10, "slow": 30, "stop_loss_pips": 50}').figures
    assert of_json == of_toml == of_params
    assert of_json["total_trades"] > 100
    for figure in ("total_trades", "net_profit", "max_drawdown_pct"):
        assert of_json[figure] == built_in[figure]


def test_params_change_what_the_file_says(backtest: Program, file: Path) -> None:
    changed = backtest.run("--rules", file, "--params", '{"fast": 5}').figures
    document = {**DOCUMENT, "params": {"fast": 5, "slow": 30}}
    assert changed == backtest.run("--strategy", "rules", "--params", json.dumps(document)).figures


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--params", '{"fats": 5}'), "strategy 'rules': params.fats: unknown param; did you mean 'fast'?"),
        (("--params", '{"buy": "close > 1"}'), "strategy 'rules': params.buy: unknown param"),
        (("--params", '{"fast": 0}'), "strategy 'rules': params.fast: is a whole number from 1 to 100 000"),
        (("--strategy", "sma_cross"), "give either --strategy KEY, --rules FILE or --signals FILE"),
    ],
)
def test_options_that_do_not_fit_a_file_of_rules_are_refused(
    backtest: Program, file: Path, options: tuple[str, ...], message: str
) -> None:
    ended = backtest("run", "--bars", EURUSD_H1, "--symbol", "EURUSD", "--timeframe", "H1", "--rules", file, *options)
    assert ended.status == 2
    assert message in ended.err
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", '{"buy": "close > 1", "buy": "close > 2"}', "is not JSON: key 'buy' is there twice"),
        ("a.toml", 'buy = "close > 1"\nbuy = "close > 2"', "is not TOML: Cannot overwrite a value"),
        ("a.toml", "[params]\nn = 1\n[params]\n", "is not TOML: Cannot declare"),
        ("a.rules", '{"buy": NaN}', "is not JSON: NaN is not a JSON number"),
        ("a.rules", "buy = close", "is not TOML: Invalid value (at line 1, column 7)"),
        ("a.json", "[]", "must be a document of rules, an object"),
        ("a.json", "\xff", "is not UTF-8 text"),
        ("a.toml", "a = " + "[" * 50_000, "is nested too deeply"),
        ("a.json", "[" * 50_000, "is not JSON: nested deeper than 100 levels"),
        ("a.json", " " * 1_100_000, "is larger than 1024 KiB, which no rules are"),
        ("a.toml", "buy = 1979-05-27", "strategy 'rules': buy: must be an expression or a number, not date"),
        ("a.toml", "sell = 'close > 1'\nparams.x = inf", "strategy 'rules': params.x: must be a finite number, not"),
        ("a.toml", "buy = 'close >'", "strategy 'rules': buy: column 8: a value is missing after '>'"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_document_is_refused_in_one_line(
    backtest: Program, tmp_path: Path, name: str, content: str, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode("latin-1"))
    ended = backtest.run("--rules", path)
    assert (ended.status, ended.out) == (2, "")
    assert message in ended.err
    assert ended.err.count("\n") == 1


def test_a_missing_file_is_told(backtest: Program, tmp_path: Path) -> None:
    ended = backtest.run("--rules", tmp_path / "none.toml")
    assert (ended.status, ended.err) == (2, f"backtest: {tmp_path / 'none.toml'}: there is no such file\n")


def test_a_shorter_context_that_is_not_stored_is_refused_before_the_run(backtest: Program, tmp_path: Path) -> None:
    document = {"buy": "a > 1", "indicators": {"a": {"timeframe": "M15", "value": "close"}}}
    path = tmp_path / "rules.json"
    path.write_text(json.dumps(document))
    ended = backtest.run("--rules", path)
    assert ended.status == 2
    assert "context M15: there are no such bars of EURUSD" in ended.err


def test_an_audit_takes_a_file_of_rules(backtest: Program, file: Path) -> None:
    bars = ("--bars", EURUSD_H1, "--symbol", "EURUSD", "--timeframe", "H1", "--end", "2015-03-01")
    ended = backtest("audit", *bars, "--rules", file, "--moments", "6", "--json")
    assert json.loads(ended.out)["clean"] is True
    assert json.loads(ended.out)["strategy"] == "rules"


def test_new_rules_run_as_they_are_written_and_overwrite_nothing(backtest: Program, tmp_path: Path) -> None:
    made = backtest("strategy", "new", "first_try", "--rules", "--directory", tmp_path)
    assert made.status == 0
    assert [path.name for path in tmp_path.iterdir()] == ["first_try.toml"]
    assert backtest.run("--rules", tmp_path / "first_try.toml").figures["total_trades"] > 50
    again = backtest("strategy", "new", "first_try", "--rules", "--directory", tmp_path)
    assert again.status == 2
    assert "is there already; nothing was written" in again.err


def test_the_schema_of_rules_has_every_field(backtest: Program) -> None:
    schema = json.loads(backtest("strategy", "schema", "rules").out)
    assert schema["additionalProperties"] is False
    assert schema["anyOf"] == [{"required": ["buy"]}, {"required": ["sell"]}]
    fields = (
        "params indicators buy sell close close_long close_short stop_loss take_profit trailing_stop max_bars volume"
        " llm"
    )
    assert list(schema["properties"]) == fields.split()
    assert all("description" in field for field in schema["properties"].values())
    assert "H4" in schema["$defs"]["TimeframedIndicator"]["properties"]["timeframe"]["enum"]
    assert tuple(schema["properties"]["llm"]["properties"]) == FIELDS


RESULTS = [
    line.strip("| \n").split(" | ")
    for line in (DOCS / "strategies.md").read_text().splitlines()
    if line.startswith("| [") and "rules/" in line
]


@pytest.mark.parametrize("row", RESULTS, ids=[row[0] for row in RESULTS])
def test_documents_of_the_documentation_come_to_what_it_says(backtest: Program, row: list[str], tmp_path: Path) -> None:
    name, _, trades, net_profit, drawdown = row
    file = DOCS / "rules" / name.partition("rules/")[2].rstrip(")")
    found = backtest.run("--rules", shutil.copy(file, tmp_path)).figures
    shown = [f"{found['total_trades']}", f"{found['net_profit']:,.2f}", f"{found['max_drawdown_pct']:.1f} %"]
    assert shown == [trades, net_profit, drawdown]


def test_each_document_of_the_documentation_is_in_its_table() -> None:
    assert len(RESULTS) == len(list((DOCS / "rules").glob("*.toml"))) >= 6
