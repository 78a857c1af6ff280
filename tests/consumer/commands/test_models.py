"""`backtest run` and `backtest estimate` with a language model: a scripted server, ledger files, and a database."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from consumer.cli import run_program
from consumer.reports.page_report import SLOT
from consumer.wiring import page_report
from tests.consumer.reports.embedded import embedded_in
from tests.engine.run_builders import sample
from tests.support.scripted_model import HOLD, Received, Says, ScriptedModel, says

BARS = 120
ALONE = ("llm_only", "rule_then_llm")
"""Modes that are tried without a rule."""


@dataclass(frozen=True)
class Ended:
    """One finished command."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found


@pytest.fixture
def model() -> Iterator[ScriptedModel]:
    with ScriptedModel(says()) as server:
        yield server


@pytest.fixture(autouse=True)
def settings(model: ScriptedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("BACKTEST_")]:
        monkeypatch.delenv(name)
    for name, value in _settings(model).items():
        monkeypatch.setenv(name, value)


def _settings(model: ScriptedModel) -> dict[str, str]:
    return {
        "BACKTEST_LLM_MODEL": "openai:scripted",
        "BACKTEST_LLM_BASE_URL": model.url,
        "BACKTEST_LLM_INPUT_PRICE": "1",
        "BACKTEST_LLM_OUTPUT_PRICE": "2",
        "BACKTEST_LLM_REQUESTS_PER_MINUTE": "100000",
        "BACKTEST_LLM_API_KEY": "sk-planted-secret",
    }


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bars") / "eurusd.parquet"
    sample("eurusd_h1", BARS).frame.write_parquet(path)
    return path


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "calls.sqlite"


def backtest(capsys: pytest.CaptureFixture[str], *arguments: Any) -> Ended:
    capsys.readouterr()
    status = run_program([str(each) for each in arguments])
    shown = capsys.readouterr()
    return Ended(status, shown.out, shown.err)


def run_options(bars: Path, ledger: Path, mode: str, *further: Any) -> tuple[Any, ...]:
    files = ("--bars", bars, "--symbol", "EURUSD", "--timeframe", "H1", "--llm-ledger", ledger)
    return ("run", *files, "--decided-by", mode, "--json", *further)


def states(ledger: Path) -> list[tuple[int, int, str]]:
    with sqlite3.connect(ledger) as rows:
        return rows.execute("SELECT run_id, number, state FROM backtest_llm_calls ORDER BY run_id, number").fetchall()


def in_turn(received: Received) -> Says:
    action = ("BUY", "SELL", "HOLD", "CLOSE")[received.number % 4]
    return Says({"action": action, "reason": f"number {received.number}"})


def test_a_run_is_paid_once_and_repeats_from_its_ledger(
    capsys: pytest.CaptureFixture[str], model: ScriptedModel, bars: Path, ledger: Path, tmp_path: Path
) -> None:
    model.script = in_turn
    trades = tmp_path / "trades.csv"
    first = backtest(capsys, *run_options(bars, ledger, "llm_only", "--max-llm-calls", 10, "--trades", trades))
    assert first.status == 0, first.err
    figures = first.json
    assert (figures["llm_calls_used"], figures["llm_calls_cached"]) == (10, 0)
    assert (figures["llm_input_tokens"], figures["llm_output_tokens"]) == (1_000, 100)
    assert figures["llm_cost"] == pytest.approx(0.0012)
    assert figures["total_trades"] > 0
    assert "llm_close" in trades.read_text()
    again = backtest(capsys, *run_options(bars, ledger, "llm_only", "--max-llm-calls", 10)).json
    replayed = backtest(capsys, *run_options(bars, ledger, "llm_only", "--max-llm-calls", 10, "--llm-replay")).json
    for figure in (again, replayed):
        assert (figure["llm_calls_used"], figure["llm_calls_cached"], figure["llm_cost"]) == (0, 10, 0)
        assert figure["result_digest"] == figures["result_digest"]
    assert model.calls == 10
    assert states(ledger) == [(1, number, "answered") for number in range(1, 11)]


def test_what_the_rule_alone_earns_stands_beside_and_skip_llm_is_that(
    capsys: pytest.CaptureFixture[str],
    model: ScriptedModel,
    bars: Path,
    ledger: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = run_options(bars, ledger, "rule_then_llm", "--strategy", "sma_cross")
    with_model = backtest(capsys, *options).json
    assert with_model["total_trades"] == 0
    assert with_model["llm_calls_used"] == model.calls > 0
    skipped = backtest(capsys, *options, "--skip-llm")
    alone = backtest(
        capsys, "run", "--bars", bars, "--symbol", "EURUSD", "--timeframe", "H1", "--strategy", "sma_cross", "--json"
    )
    assert skipped.json == alone.json
    beside = with_model["rule_only"]
    assert beside == {name: alone.json[name] for name in ("net_profit", "total_trades", "result_digest")}
    shell, report = tmp_path / "shell.html", tmp_path / "report.html"
    shell.write_text(SLOT)
    monkeypatch.setattr(page_report.report_shell, "__defaults__", (shell,))
    table = backtest(capsys, *(each for each in options if each != "--json"), "--html", report)
    run = embedded_in(report.read_text())["run"]
    assert (run["decided_by"], run["rule_alone"]) == ("rule_then_llm", {"run_id": None, **beside})
    assert "the rule alone" in table.err
    assert "rule_then_llm of openai:scripted with 100 calls at most on EURUSD H1" in table.err
    assert "answers from earlier ones" in table.err


def test_a_spent_budget_is_spent_in_a_repetition_too(
    capsys: pytest.CaptureFixture[str], model: ScriptedModel, bars: Path, ledger: Path
) -> None:
    model.script = in_turn
    options = run_options(bars, ledger, "llm_only", "--max-llm-calls", 4, "--llm", '{"every": 10}')
    first, again = backtest(capsys, *options).json, backtest(capsys, *options).json
    assert (model.calls, first["llm_calls_used"], again["llm_calls_used"]) == (4, 4, 0)
    assert first["result_digest"] == again["result_digest"]
    assert any("max_llm_calls 4" in each for each in first["warnings"])
    more = backtest(capsys, *run_options(bars, ledger, "llm_only", "--max-llm-calls", 5, "--llm", '{"every": 10}'))
    assert (more.json["llm_calls_cached"], more.json["llm_calls_used"], model.calls) == (4, 5, 9)


def test_a_replay_without_an_answer_fails_and_names_the_bar(
    capsys: pytest.CaptureFixture[str], model: ScriptedModel, bars: Path, ledger: Path
) -> None:
    ended = backtest(capsys, *run_options(bars, ledger, "llm_only", "--llm-replay"))
    assert (ended.status, model.calls) == (1, 0)
    assert "at 2015-01-01T22:00:00Z: the ledger has no answer" in ended.err
    assert ended.err.count("\n") == 1


def test_a_refusal_ends_the_run_and_shows_no_key(
    capsys: pytest.CaptureFixture[str], model: ScriptedModel, bars: Path, ledger: Path
) -> None:
    model.script = lambda _: Says("no such key: sk-planted-secret", status=401)
    ended = backtest(capsys, *run_options(bars, ledger, "llm_only"))
    assert (ended.status, model.calls) == (1, 1)
    assert "401" in ended.err
    assert "planted" not in ended.err + ended.out
    assert b"planted" not in ledger.read_bytes()


def test_a_run_whose_calls_failed_says_so_without_a_secret(
    capsys: pytest.CaptureFixture[str], model: ScriptedModel, bars: Path, ledger: Path
) -> None:
    model.script = lambda _: Says("oh, sk-planted-secret", status=500)
    options = run_options(bars, ledger, "llm_only", "--max-llm-calls", 1)
    failed = backtest(capsys, *options).json
    [told] = [each for each in failed["warnings"] if "failed" in each]
    assert told.startswith("1 of the run's 1 call to the model failed, the first at the bar at ")
    assert told.endswith(": status 500: oh, [secret]")

    model.script = in_turn
    again = backtest(capsys, *options).json
    assert not any("failed" in each for each in again["warnings"])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_broken_off_goes_on_within_its_budget(
    model: ScriptedModel, bars: Path, ledger: Path, number: signal.Signals
) -> None:
    held, arrived = threading.Event(), threading.Event()

    def script(received: Received) -> Says:
        if received.number == 4:
            arrived.set()
            return Says(after=held)
        return in_turn(received)

    model.script = script
    options = [str(each) for each in run_options(bars, ledger, "llm_only", "--max-llm-calls", 6)]
    command = [sys.executable, "-m", "consumer", *options]
    environment = {**os.environ, **_settings(model)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert arrived.wait(60)
        process.send_signal(number)
        process.wait(30)  # while the call is out
    held.set()
    assert [state for _, _, state in states(ledger)] == ["answered"] * 3 + ["asked"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    figures = json.loads(done.stdout)
    # The lost call counts: of six closes five are answered, and the sixth finds the budget spent.
    assert (model.calls, figures["llm_calls_used"]) == (6, 6)
    assert any("budget was spent" in each for each in figures["warnings"])
    assert [state for _, _, state in states(ledger)] == [*["answered"] * 3, "asked", "answered", "answered"]


def test_a_ledger_is_one_programs_and_no_other_file(
    capsys: pytest.CaptureFixture[str], model: ScriptedModel, bars: Path, ledger: Path
) -> None:
    from consumer.adapters.language_models.ledger_file import open_ledger_file

    with open_ledger_file(ledger):
        busy = backtest(capsys, *run_options(bars, ledger, "llm_only"))
    assert (busy.status, "is in use by another run" in busy.err) == (1, True)
    no_ledger = backtest(capsys, *run_options(bars, bars, "llm_only"))
    assert (no_ledger.status, no_ledger.err.count("\n")) == (2, 1)
    assert model.calls == 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--decided-by", "llm"), "is one of rule_only, llm_only"),
        (("--llm", "{}"), "needs --decided-by MODE"),
        (("--decided-by", "llm_only", "--llm", '{"every": 0}'), "llm.every: must be a whole number"),
        (("--decided-by", "llm_only", "--llm", '{"model": "openai:other"}'), "is not one of BACKTEST_LLM_MODELS"),
        (("--decided-by", "rule_only", "--params", '{"llm": {"every": 2}}'), "llm"),
        (("--decided-by", "llm_only"), "--llm-ledger"),
        (("--decided-by", "llm_only", "--strategy", "sma_cross"), "has no use for a rule"),
        (("--decided-by", "rule_then_llm"), "give either --strategy KEY"),
    ],
)
def test_what_is_wrong_is_one_line(
    options: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str], bars: Path
) -> None:
    further = () if "--strategy" in options or options[1] in ALONE else ("--strategy", "sma_cross")
    ended = backtest(capsys, "run", "--bars", bars, "--symbol", "EURUSD", "--timeframe", "H1", *options, *further)
    assert (ended.status, told in ended.err) == (2, True), ended.err


def test_waiting_for_the_model_ends_at_its_own_limit(
    capsys: pytest.CaptureFixture[str],
    model: ScriptedModel,
    bars: Path,
    ledger: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    never = threading.Event()
    model.script = lambda received: Says(HOLD, after=never if received.number == 2 else None)
    monkeypatch.setenv("BACKTEST_LLM_RUN_TIMEOUT_SECONDS", "1.5")
    ended = backtest(capsys, *run_options(bars, ledger, "llm_only"))
    assert (ended.status, model.calls) == (1, 2)
    assert "waited for its model longer than LLM_RUN_TIMEOUT_SECONDS, 1.5 s" in ended.err
    model.script = says()
    monkeypatch.delenv("BACKTEST_LLM_RUN_TIMEOUT_SECONDS")
    assert backtest(capsys, *run_options(bars, ledger, "llm_only")).json["llm_calls_cached"] == 1


def test_without_a_model_the_mode_is_not_available(
    capsys: pytest.CaptureFixture[str], bars: Path, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LLM_MODEL", "LLM_BASE_URL"):
        monkeypatch.delenv(f"BACKTEST_{name}")
    ended = backtest(capsys, *run_options(bars, ledger, "llm_only"))
    assert (ended.status, "set BACKTEST_LLM_MODEL" in ended.err) == (2, True)
    assert not ledger.exists()


def test_rules_ask_with_their_own_llm(
    capsys: pytest.CaptureFixture[str], model: ScriptedModel, bars: Path, ledger: Path, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps({"buy": "crosses_above(close, sma(close, 5))", "llm": {"bars": 3, "blind": True}}))
    prompt = tmp_path / "prompt.txt"
    prompt.write_text("Only on Fridays.")
    options = run_options(bars, ledger, "hybrid_validator", "--rules", rules, "--custom-prompt-file", prompt)
    ended = backtest(capsys, *options)
    assert ended.status == 0, ended.err
    assert "Only on Fridays." in model.received[0].prompt
    known = json.loads(model.received[0].body["messages"][1]["content"])
    assert len(known["bars"]["H1"]["rows"]) == 3
    assert "EURUSD" not in model.received[0].prompt


# --- rows of a database ----------------------------------------------------------------------------------------------


@pytest.fixture
def database(database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setenv("BACKTEST_DATABASE_URL", database_url)
    assert run_program(["migrate"]) == 0
    return database_url


def _added(capsys: pytest.CaptureFixture[str], name: str, *options: Any) -> str:
    ended = backtest(capsys, "strategy", "add", name, "--primary-tf", "H1", *options)
    assert ended.status == 0, ended.err
    return ended.out.strip()


@pytest.mark.integration
def test_a_row_runs_as_it_stands_with_its_ledger_in_the_database(
    capsys: pytest.CaptureFixture[str], model: ScriptedModel, bars: Path, ledger: Path, database: str
) -> None:
    model.script = in_turn
    row = _added(
        capsys, "asks", "--decided-by", "llm_only", "--custom-prompt", "Be bold.", "--sl-pips", 40, "--lot-size", 0.3,
        "--params", '{"llm": {"bars": 5}}',
    )  # fmt: skip
    options = ("run", "--bars", bars, "--symbol", "EURUSD", "--strategy-id", row, "--max-llm-calls", 6, "--json")
    first = backtest(capsys, *options)
    assert first.status == 0, first.err
    assert (first.json["llm_calls_used"], model.calls) == (6, 6)
    assert "Be bold." in model.received[0].prompt
    again = backtest(capsys, *options).json
    assert (again["llm_calls_used"], again["llm_calls_cached"], model.calls) == (0, 6, 6)
    assert again["result_digest"] == first.json["result_digest"]
    in_file = backtest(capsys, *options, "--llm-ledger", ledger).json
    assert (in_file["llm_calls_used"], model.calls) == (6, 12)


@pytest.mark.integration
def test_options_that_are_given_win_over_a_rows_columns(
    capsys: pytest.CaptureFixture[str], bars: Path, database: str
) -> None:
    row = _added(
        capsys, "rules", "--key", "sma_cross", "--params", '{"fast": 5}', "--sl-pips", 40, "--on-opposite", "ignore"
    )
    files = ("--bars", bars, "--symbol", "EURUSD", "--timeframe", "H1", "--json")
    of_row = backtest(capsys, "run", *files, "--strategy-id", row).json
    spelled = ("--strategy", "sma_cross", "--params", '{"fast": 5}', "--sl-pips", 40, "--on-opposite", "ignore")
    assert of_row["result_digest"] == backtest(capsys, "run", *files, *spelled).json["result_digest"]
    over = ("--on-opposite", "reverse", "--params", '{"fast": 7}')
    changed = backtest(capsys, "run", *files, "--strategy-id", row, *over)
    respelled = ("--strategy", "sma_cross", "--params", '{"fast": 7}', "--sl-pips", 40)
    assert changed.json["result_digest"] == backtest(capsys, "run", *files, *respelled).json["result_digest"]
    missing = backtest(capsys, "run", *files, "--strategy-id", 999)
    assert (missing.status, missing.err) == (2, "backtest: there is no strategy 999\n")


@pytest.mark.integration
def test_an_estimate_counts_what_a_run_asks(
    capsys: pytest.CaptureFixture[str],
    model: ScriptedModel,
    bars: Path,
    database: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BACKTEST_MARKET_DATA_URL", str(tmp_path / "market"))
    imported = backtest(capsys, "data", "import", bars, "--symbol", "EURUSD", "--timeframe", "H1")
    assert imported.status == 0, imported.err
    asked = ("--symbol", "EURUSD", "--start", "2015-01-01", "--end", "2015-02-01")
    alone = _added(capsys, "alone", "--decided-by", "multi_agent")
    found = backtest(capsys, "estimate", "--strategy-id", alone, *asked, "--max-llm-calls", 30, "--json")
    assert found.status == 0, found.err
    figures: Mapping[str, Any] = found.json
    assert set(figures) == {"bars", "asks", "calls_at_most", "input_tokens_per_call", "cost_at_most"}
    assert (figures["bars"], figures["asks"], figures["calls_at_most"]) == (BARS, 10, 30)
    tokens = figures["input_tokens_per_call"]
    assert 1_000 < tokens < 5_000
    assert figures["cost_at_most"] == pytest.approx(30 * (tokens + 2 * 1000) / 1e6)
    params = '{"fast": 3, "slow": 8}'
    over = _added(capsys, "over", "--decided-by", "hybrid_validator", "--key", "sma_cross", "--params", params)
    counted = backtest(capsys, "estimate", "--strategy-id", over, *asked, "--json").json["asks"]
    assert model.calls == 0
    model.script = lambda received: Says(
        {"action": json.loads(received.body["messages"][1]["content"])["rule"]["action"]}
    )
    ended = backtest(capsys, "run", "--market-data", tmp_path / "market", *asked, "--strategy-id", over, "--json")
    assert (ended.json["llm_calls_used"], model.calls) == (counted, counted)
    assert counted > 3
    in_words = backtest(capsys, "estimate", "--strategy-id", over, *asked)
    assert f"{counted} asks, at most {2 * counted} calls" in in_words.out


@pytest.mark.integration
def test_an_audit_of_a_row_is_that_of_its_rule(capsys: pytest.CaptureFixture[str], bars: Path, database: str) -> None:
    over = _added(capsys, "over", "--decided-by", "rule_then_llm", "--key", "sma_cross")
    alone = _added(capsys, "alone", "--decided-by", "llm_only")
    files = ("audit", "--bars", bars, "--symbol", "EURUSD", "--moments", 2)
    clean = backtest(capsys, *files, "--strategy-id", over)
    assert (clean.status, "sma_cross: no look-ahead found" in clean.out) == (0, True), clean.err
    refused = backtest(capsys, *files, "--strategy-id", alone)
    assert (refused.status, "leaves nobody to decide" in refused.err) == (2, True)
