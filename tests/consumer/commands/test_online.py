"""What the online commands do before any server is asked: arguments, requests, settings, and their one-line errors."""

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import pytest

from consumer.adapters.memory.broker import MemoryBroker
from consumer.adapters.memory.history import MemoryHistory
from consumer.adapters.memory.tables import MemoryTables
from consumer.adapters.memory.topics import MemoryTopics
from consumer.cli import COMMANDS, run_program
from consumer.clock import SystemClock
from consumer.commands.cancel import expectation
from consumer.commands.display.live_runs import event_line, run_bars, warning_lines
from consumer.commands.display.live_searches import search_bar
from consumer.commands.follow import follow_topics
from consumer.commands.report import instrument_of, report_sections, sparkline
from consumer.commands.runs import runs_table
from consumer.commands.submit import read_request
from consumer.ports import Delivery
from consumer.reports.figures import RunReport
from consumer.requests.search_watching import follow_searches
from consumer.requests.watching import deadline_after
from consumer.rules.columns import METRIC_COLUMNS
from engine.errors import InputRefused
from schemas.cancel_requested import parse_cancel_requested
from schemas.optimization_events import OptimizationCompleted, OptimizationProgress
from schemas.outgoing import CONTENT_TYPE_HEADER, render
from schemas.topics import Topic
from tests.support.builders import NOON, cloud_event, completed, progress, request_data


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "KAFKA_BOOTSTRAP_SERVERS"):
        monkeypatch.delenv(f"BACKTEST_{name}", raising=False)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_program([command, "--help"]) == 0
    assert "Usage: backtest " in capsys.readouterr().out


def test_help_is_broken_by_the_terminal_and_not_where_a_docstring_is(capsys: pytest.CaptureFixture[str]) -> None:
    run_program(["worker", "--help"])
    assert "its servers did not answer in time" in capsys.readouterr().out
    run_program(["runs", "prune", "--help"])
    assert "to stop and call again" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("arguments", "variable"),
    [
        (["worker"], "BACKTEST_DATABASE_URL"),
        (["migrate"], "BACKTEST_DATABASE_URL"),
        (["runs"], "BACKTEST_DATABASE_URL"),
        (["report", "1"], "BACKTEST_DATABASE_URL"),
        (["rerun", "1"], "BACKTEST_DATABASE_URL"),
        (["follow"], "BACKTEST_KAFKA_BOOTSTRAP_SERVERS"),
        (["cancel", "1"], "BACKTEST_KAFKA_BOOTSTRAP_SERVERS"),
        (
            ["submit", "--strategy-id", "1", "--symbol", "EURUSD", "--start", "2015-01-01", "--end", "2016-01-01"],
            "BACKTEST_KAFKA_BOOTSTRAP_SERVERS",
        ),
    ],
)
def test_a_missing_setting_is_one_line_and_status_2(
    arguments: list[str], variable: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_program(arguments) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.count("\n") == 1
    assert f"{variable}: is not set" in written.err


@pytest.mark.parametrize("arguments", [["migrate"], ["runs"], ["worker"], ["report", "1"], ["strategy", "rows"]])
def test_a_parameter_of_the_url_that_is_not_known_is_one_line_and_status_2(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BACKTEST_DATABASE_URL", "postgresql://me:open-sesame@db.example/backtest?ssl=disable")
    monkeypatch.setenv("BACKTEST_KAFKA_BOOTSTRAP_SERVERS", "kafka:9092")
    assert run_program(arguments) == 2
    written = capsys.readouterr()
    told = "BACKTEST_DATABASE_URL: its parameter 'ssl' is not known here: write sslmode=disable\n"
    assert (written.out, written.err) == ("", f"backtest: {told}")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["submit"], "give a request by flags"),
        (["submit", "--symbol", "EURUSD"], "strategy_id is required without run_id"),
        (["submit", "--run-id", "3", "--params", "[]"], "--params"),
        (["submit", "--run-id", "3", "--start", "soon"], "--start"),
        (["submit", "--file", "/there/is/no/such.json"], "/there/is/no/such.json: No such file"),
        (["cancel"], "one of run_id and request_id"),
        (["cancel", "3", "--request-id", "r"], "together with the other target"),
        (["follow", "3", "--request-id", "r"], "not both"),
        (["runs", "--status", "lost"], "--status"),
        (["replay", "--from-offset", "3"], "--partition"),
        (["replay", "--from", "table", "--partition", "3"], "only with --from topic"),
    ],
)
def test_a_wrong_argument_is_one_line_and_status_2(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_program(arguments) == 2
    written = capsys.readouterr().err
    assert told in written
    assert written.count("\n") == 1


@pytest.mark.parametrize("origin", ["topic", "table"])
def test_a_bare_replay_does_not_emit_every_request_at_once(origin: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_program(["replay", "--from", origin]) == 2
    assert "--all" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["--all"], ["--since", "2024-01-01"], ["--partition", "0"], ["--label", "again"], ["--dry-run"]]
)
def test_a_replay_that_says_what_it_is_about_goes_on_to_the_servers(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_program(["replay", *arguments]) == 2
    assert "BACKTEST_DATABASE_URL: is not set" in capsys.readouterr().err


def test_the_help_of_edit_says_that_params_replace_all_of_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    run_program(["strategy", "edit", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "one that is named is replaced whole: --params too" in told
    assert "takes the place of the one before" in told


def test_the_two_dates_of_a_reversed_range_are_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--strategy-id", "1", "--symbol", "EURUSD", "--start", "2016-01-01", "--end", "2015-01-01"]
    assert run_program(["submit", *given]) == 2
    assert capsys.readouterr().err.strip().endswith("not sent: start_date must be before end_date")


def test_one_trade_is_no_trades() -> None:
    assert event_line(progress(trades=1)).endswith(", 1 trade")
    assert "completed: 1 trade," in event_line(completed(metrics={"total_trades": 1, "net_profit": 2.0}))
    assert "completed: 2 trades," in event_line(completed(metrics={"total_trades": 2, "net_profit": 2.0}))


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "request.json"
    file.write_text(json.dumps(request_data(symbol="EURUSD", volume=0.5)))
    asked = read_request(file, {"volume": 0.2})
    assert (asked.request.symbol, asked.request.volume, asked.identity) == ("EURUSD", 0.2, None)


def test_the_file_may_be_a_cloud_event_whose_id_is_the_request_id(tmp_path: Path) -> None:
    file = tmp_path / "event.json"
    file.write_text(json.dumps(cloud_event()))
    assert read_request(file, {}).identity == "request-1"
    assert read_request(file, {"request_id": "mine"}).identity == "mine"


def test_submitting_a_cloud_event_keeps_its_source(tmp_path: Path) -> None:
    event, plain = tmp_path / "event.json", tmp_path / "plain.json"
    event.write_text(json.dumps(cloud_event(source="desk-7")))
    plain.write_text(json.dumps(request_data()))
    assert read_request(event, {"volume": 0.2}).source == "desk-7"
    assert read_request(plain, {}).source == "backtest-cli"
    assert read_request(None, request_data()).source == "backtest-cli"


def test_the_file_may_be_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(json.dumps(request_data()).encode()))
    monkeypatch.setattr("sys.stdin", stdin)
    assert read_request(Path("-"), {}).request.symbol == "EURUSD"


@pytest.mark.parametrize("text", ["[]", "{", '{"strategy_id": 1, "strategy_id": 2}', '{"leverage": 3}'])
def test_a_file_that_is_no_request_is_refused_before_anything_is_sent(tmp_path: Path, text: str) -> None:
    file = tmp_path / "request.json"
    file.write_text(text)
    with pytest.raises(InputRefused):
        read_request(file, {})


@pytest.mark.parametrize(
    ("cancel", "told"),
    [
        ({"run_id": 999}, "there is no such run"),
        ({"run_id": 1}, "it is completed already, and stays so"),
        ({"run_id": 2}, "no request for it has come yet"),
        ({"request_id": "never-seen"}, "no such request has come yet"),
    ],
)
async def test_a_cancel_says_what_will_come_of_it(cancel: dict[str, Any], told: str) -> None:
    tables = MemoryTables()
    strategy_id = tables.add_strategy()
    for status in ("completed", "pending"):
        row = run_row(strategy_id=strategy_id)
        columns = {name: value for name, value in row.items() if name not in {"id", "warnings"}}
        tables.add_run(**columns, status=status)
    assert told in await expectation(MemoryHistory(tables), parse_cancel_requested(cancel))


def test_a_cancel_without_a_database_says_where_to_look(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    topics = MemoryTopics(MemoryBroker())
    monkeypatch.setattr("consumer.commands.cancel.kafka_settings", lambda: None)
    monkeypatch.setattr("consumer.commands.cancel.open_topics", lambda _: topics)
    assert run_program(["cancel", "999", "--reason", "enough"]) == 0
    written = capsys.readouterr()
    assert written.out == ""
    assert "the cancel of run 999 is sent; what became of it: `backtest follow 999`" in written.err
    assert len(topics.broker.records("backtest.cancel_requested")) == 1


@pytest.mark.parametrize(
    ("symbol", "spread"),
    [
        ("BTCUSD", "spread 15 pips (15), a pip is 1, commission"),
        ("BTCUSDT", "spread 15 pips (1.5), a pip is 0.1, commission"),
        ("EURUSD", "spread 15 pips (0.0015), commission"),
        ("GONE", "spread 15 pips, commission"),
    ],
)
def test_a_report_says_what_its_pips_come_to(symbol: str, spread: str) -> None:
    """A pip of BTCUSD is ten times one of BTCUSDT."""
    row = run_row(strategy_name="mine", status="running", progress_pct=0, error_message=None, data_file_path=None)
    row |= {"symbol": symbol, "spread_pips": 15.0}
    heading = next(iter(report_sections(RunReport(row, {}, "USD", [], None, ()), instrument_of(symbol))))
    assert spread in heading


def test_a_list_of_failed_runs_says_why_they_failed() -> None:
    figures = {"strategy_name": "mine", "progress_pct": 0, **dict.fromkeys(METRIC_COLUMNS)}
    ended = run_row(**figures, status="completed", error_message=None)
    failed = run_row(**figures, status="failed", error_message="no_data: there\nare no bars " + "x" * 300)
    heading, first, second = runs_table([ended, failed])
    assert heading[-1] == "why"
    assert (first[-1], second[-1][:24]) == ("", "no_data: there are no ba")
    assert len(second[-1]) < 210
    assert "why" not in runs_table([ended])[0]


def test_a_list_of_runs_says_which_have_warnings_and_what_they_began_with() -> None:
    figures = {"strategy_name": "mine", "progress_pct": 100, "error_message": None, **dict.fromkeys(METRIC_COLUMNS)}
    doubted = run_row(**figures, status="completed", warnings=["the data end early", "risk_pct 1"])
    fine = run_row(**figures, status="completed", initial_balance=100_000.0)
    heading, first, second = runs_table([doubted, fine])
    assert (heading[-1], first[-1], second[-1]) == ("warnings", "2", "")
    deposit = heading.index("deposit")
    assert (first[deposit], second[deposit]) == ("10,000.00", "100,000.00")
    assert "warnings" not in runs_table([fine])[0]


def test_a_run_shows_its_warnings_under_its_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    with run_bars() as show:
        show(completed(warnings=["the data end early", "two gaps"]))
    last, *warnings = capsys.readouterr().err.splitlines()
    assert ": completed: " in last
    assert warnings == ["  warning: the data end early", "  warning: two gaps"]
    assert warning_lines(progress()) == []


SEARCH: dict[str, Any] = {
    "optimization_id": 3,
    "request_id": "s",
    "strategy_id": 1,
    "symbol": "EURUSD",
    "timeframe": "H1",
}


def searching(percent: int) -> OptimizationProgress:
    return OptimizationProgress(
        **SEARCH,
        progress_pct=percent,
        sequence=percent + 2,
        combinations_done=percent,
        combinations_total=100,
        combinations_per_second=2.5,
        eta_seconds=40.0,
        best_params={"fast": 5},
        best_value=0.5,
    )


def searched() -> OptimizationCompleted:
    return OptimizationCompleted(
        **SEARCH,
        sequence=200,
        best_params={"fast": 5},
        best_value=0.5,
        best_run_id=9,
        robust_params=None,
        statistics={"verdict": "most likely luck"},
        results_file_path="/r.parquet",
        result_digest="ab" * 32,
        failed_combinations=0,
        duration_seconds=40.0,
        warnings=["the data end early"],
    )


def test_a_search_tells_each_tenth_in_a_log_and_its_verdict_before_its_best(capsys: pytest.CaptureFixture[str]) -> None:
    with search_bar() as show:
        for percent in (1, 2, 10, 11, 12):
            show(searching(percent))
        show(searched())
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" combinations")[0].rpartition(", ")[2] for line in lines[:2]] == ["1 of 100", "10 of 100"]
    assert lines[0].endswith("2.5 a second, 40 s left, best so far 0.5")
    assert lines[2:4] == ["search 3 EURUSD H1: verdict: most likely luck", "  warning: the data end early"]
    assert lines[4].startswith("search 3 EURUSD H1: completed: best 0.5 with fast 5, run 9")


def test_a_search_has_one_bar_on_a_terminal_and_its_end_stays(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "140")
    with search_bar() as show:
        show(searching(40))
        show(searched())
    told = capsys.readouterr().err
    assert told.index("verdict: most likely luck") < told.index("completed: best 0.5")


async def test_who_follows_a_search_that_nobody_knows_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    clock, told = SystemClock(), asyncio.Event()
    following = asyncio.create_task(
        follow_searches(
            MemoryTopics(MemoryBroker()),
            lambda _: True,
            clock,
            lambda _: None,
            from_beginning=True,
            until_end=True,
            deadline=deadline_after(20, clock),
            on_nothing=told.set,
        )
    )
    await asyncio.wait_for(told.wait(), 10)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


async def test_a_followed_run_shows_its_warnings_under_its_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    topics, event = MemoryTopics(MemoryBroker()), completed(warnings=["the data end early"])
    value = render(event, event_id="1", source="worker", time=NOON)
    await topics.send([Delivery(Topic.COMPLETED, b"17", value, (CONTENT_TYPE_HEADER,))])
    clock = SystemClock()
    await follow_topics(
        topics,
        lambda _: True,
        clock,
        from_beginning=True,
        until_end=True,
        deadline=deadline_after(20, clock),
        as_json=False,
    )
    assert capsys.readouterr().out.splitlines()[-1] == "  warning: the data end early"


def test_a_sparkline_shows_low_and_high() -> None:
    assert sparkline([1.0, 2.0, 1.5]) == "▁█▅"
    assert sparkline([5.0, 5.0]) == "▁▁"
    assert len(sparkline([float(value) for value in range(1000)])) == 60


def run_row(**changes: Any) -> dict[str, Any]:
    row = {
        "id": 9,
        "strategy_id": 7,
        "symbol": "EURUSD",
        "timeframe": "H1",
        "context_tfs": '["H4"]',
        "start_date": NOON.replace(year=2023),
        "end_date": NOON,
        "initial_balance": 10_000.0,
        "spread_pips": 1.5,
        "execution_mode": "next_open",
        "max_llm_calls": 100,
        "commission_per_lot": 0.0,
        "tp_partial_close_ratio": 0.5,
        "warnings": [],
    }
    return {**row, **changes}
