"""The online commands as a person types them: processes of their own, against real servers and a real worker."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.support.aged_files import age_files
from tests.support.front_door import FrontDoor, open_front_door
from tests.support.waiting import eventually

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

YEAR = ("--symbol", "EURUSD", "--start", "2016-01-01", "--end", "2017-01-01")


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command left."""

    status: int
    output: str
    errors: str

    @property
    def json(self) -> Any:
        return json.loads(self.output)


@pytest.fixture(scope="module")
async def door(tmp_path_factory: pytest.TempPathFactory, stack_kind: Any) -> AsyncIterator[FrontDoor]:
    """Servers and one worker for this module."""
    async with open_front_door(tmp_path_factory.mktemp("cli"), stack_kind) as door, door.worker(slots="2"):
        yield door


async def test_submit_waits_and_exits_by_the_outcome(door: FrontDoor) -> None:
    strategy = await door.add_strategy()
    done = await backtest(door, "submit", "--strategy-id", str(strategy), *YEAR, "--wait", "--wait-timeout", "90")
    assert done.status == 0, done.errors
    row = await door.row_of(done.output.strip(), "completed")
    assert f"completed: {row['total_trades']} trades" in done.errors
    rejected = await backtest(door, "submit", "--strategy-id", "999999", *YEAR, "--wait", "--json")
    assert (rejected.status, rejected.json["error"]["code"]) == (1, "unknown_strategy")


async def test_a_strategy_is_added_by_command_and_its_id_runs(door: FrontDoor) -> None:
    params = '{"fast": 5, "slow": 20}'
    added = await backtest(
        door, "strategy", "add", "by hand", "--key", "sma_cross", "--params", params, "--primary-tf", "H1"
    )
    assert added.status == 0, added.errors
    row_id = added.output.strip()
    done = await backtest(door, "submit", "--strategy-id", row_id, *YEAR, "--wait", "--wait-timeout", "90")
    assert done.status == 0, done.errors
    rules = Path(__file__).parents[2] / "docs" / "rules" / "ma_cross.toml"
    of_file = await backtest(door, "strategy", "add", "of a file", "--rules", str(rules), "--primary-tf", "H1")
    row = await door.database.fetchrow("SELECT * FROM strategies WHERE id = $1", int(of_file.output))
    assert (row["strategy_key"], "params" in json.loads(row["strategy_params"])) == ("rules", True)
    both = await backtest(door, "strategy", "add", "both", "--rules", str(rules), "--key", "sma_cross")
    assert (both.status, "stands for --key and --params" in both.errors) == (2, True)
    twice = await backtest(door, "strategy", "add", "by hand", "--key", "sma_cross")
    assert (twice.status, "named 'by hand' already" in twice.errors) == (2, True)
    wrong = await backtest(door, "strategy", "add", "wrong", "--key", "sma_cross", "--params", '{"fats": 3}')
    assert (wrong.status, wrong.errors.count("\n"), "strategy_params.fats" in wrong.errors) == (2, 1, True)
    edited = await backtest(door, "strategy", "edit", row_id, "--inactive", "--lot-size", "0.3")
    assert edited.status == 0
    assert edited.errors == f'strategy {row_id} is changed; its parameters are now {{"fast": 5, "slow": 20}}\n'
    rows = await backtest(door, "strategy", "rows", "--json")
    [row] = [row for row in rows.json if row["id"] == int(row_id)]
    assert (row["name"], row["strategy_params"], row["lot_size"], row["is_active"]) == (
        "by hand", {"fast": 5, "slow": 20}, 0.3, False,
    )  # fmt: skip
    assert (await backtest(door, "strategy", "edit", "999999", "--active")).status == 2


async def test_a_request_id_used_before_with_other_content_is_told_to_be_a_conflict(door: FrontDoor) -> None:
    strategy = str(await door.add_strategy())
    arguments = ("submit", "--strategy-id", strategy, *YEAR, "--request-id", "used-twice", "--wait", "--json")
    first = await backtest(door, *arguments)
    again = await backtest(door, *arguments)
    other = await backtest(door, *arguments, "--volume", "0.7")
    assert (first.status, first.json["status"]) == (0, "completed")
    assert (again.status, again.json["run_id"]) == (0, first.json["run_id"])
    assert (other.status, other.json["status"], other.json["reason"]) == (1, "dead_lettered", "conflict")


async def test_a_wait_that_is_over_says_so_and_leaves_the_run_alone(door: FrontDoor) -> None:
    strategy = await door.add_strategy("nearest_patterns", strategy_params='{"memory": 20000}')
    waited = await backtest(door, "submit", "--strategy-id", str(strategy), *YEAR, "--wait-timeout", "0.5")
    assert waited.status == 1
    assert "it goes on" in waited.errors
    request_id = waited.output.strip()
    await door.row_of(request_id, "running")
    run_id = await door.run_of(request_id)
    assert (await backtest(door, "cancel", str(run_id), "--reason", "too slow")).status == 0
    followed = await backtest(door, "follow", str(run_id), "--json")
    events = [json.loads(line) for line in followed.output.splitlines()]
    assert followed.status == 1
    assert [events[0]["type"], events[-1]["type"]] == ["backtest.started", "backtest.cancelled"]
    assert events[-1]["data"]["reason"] == "too slow"
    sequences = [event["data"]["sequence"] for event in events]
    assert sequences == sorted(set(sequences))


async def test_a_run_is_repeated_reported_and_listed(door: FrontDoor) -> None:
    strategy = await door.add_strategy(strategy_params='{"fast": 5, "slow": 20}')
    request_id = await door.request(strategy, strategy_params={"fast": 7}, execution_mode="next_open")
    row = await door.row_of(request_id, "completed")
    repeated = await backtest(door, "rerun", str(row["id"]), "--wait", "--json")
    assert repeated.status == 0, repeated.errors
    first = await door.terminal_event(request_id)
    assert repeated.json["result_digest"] == first.data["result_digest"]
    assert repeated.json["run_id"] != row["id"]
    report = await backtest(door, "report", str(row["id"]), "--json")
    assert report.json["run"]["total_trades"] == row["total_trades"]
    assert report.json["metrics"] == first.data["metrics"]
    shown = (await backtest(door, "report", str(row["id"]))).output
    assert shown.index("warning: ") < shown.index("net profit")
    assert sum(group["trades"] for group in report.json["groups"]) == 2 * row["total_trades"]
    assert report.json["drawdowns"][0]["percent"] == pytest.approx(row["max_drawdown_pct"])
    listed = await backtest(door, "runs", "--json", "--limit", "500")
    assert {run["id"] for run in listed.json} >= {row["id"], repeated.json["run_id"]}
    assert (await backtest(door, "report", "999999")).status == 2
    file = door.directory / "ledger.csv"
    assert (await backtest(door, "report", str(row["id"]), "--ledger", str(file))).status == 0
    booked = pl.read_csv(file)
    assert booked.columns == ["time", "position_id", "kind", "amount", "balance"]
    assert booked["amount"].sum() == pytest.approx(first.data["metrics"]["net_profit"])


async def test_a_replay_tells_what_it_would_do_and_does_it_once(door: FrontDoor) -> None:
    strategy = await door.add_strategy()
    since = ("--since", datetime.now(UTC).isoformat())
    old = await door.request(strategy, request_id="to-be-replayed", volume=0.3)
    row = await door.row_of(old, "completed")
    own_row = await door.add_run(strategy, execution_mode="next_open")
    await door.request(request_id="with-a-row", run_id=own_row)
    await door.row_of("with-a-row", "completed")
    await door.send_raw("backtest.requested", b"no request at all")
    dry = await replayed(door, *since, "--label", "again", "--dry-run")
    assert (dry["to-be-replayed"]["effect"], dry["with-a-row"]["effect"]) == ("new", "new")
    assert any(each["effect"] == "skipped" and "not JSON" in each["why"] for each in dry.values())
    await door.request(strategy, request_id="to-be-replayed", volume=0.4)
    both = await backtest(door, "replay", "--json", *since, "--label", "again", "--dry-run")
    effects = {each["effect"]: each["why"] for each in both.json if each["old_request_id"] == "to-be-replayed"}
    assert set(effects) == {"new", "conflict"}
    assert "with other content" in effects["conflict"]
    assert await door.run_of("to-be-replayed/replay/again") is None
    await replayed(door, *since, "--label", "again")
    repeated = await door.row_of("to-be-replayed/replay/again", "completed")
    assert (repeated["id"] != row["id"], repeated["total_trades"]) == (True, row["total_trades"])
    detached = await door.row_of("with-a-row/replay/again", "completed")
    assert (detached["id"] != own_row, detached["execution_mode"]) == (True, "next_open")
    twice = await replayed(door, *since, "--label", "again")
    assert {each["effect"] for each in twice.values()} <= {"duplicate", "conflict", "skipped"}
    assert twice["with-a-row"]["effect"] == "duplicate"
    from_table = await replayed(
        door, *since, "--from", "table", "--status", "completed", "--label", "again", "--dry-run"
    )
    assert (from_table["to-be-replayed"]["effect"], from_table["with-a-row"]["effect"]) == ("duplicate", "duplicate")
    assert not any(old_id.endswith("/replay/again") for old_id in from_table)


async def test_files_of_runs_that_ended_long_ago_are_removed_and_a_replay_still_starts_nothing(door: FrontDoor) -> None:
    strategy = await door.add_strategy()
    old = await door.request(strategy, request_id="of-long-ago")
    row = await door.row_of(old, "completed")
    folder = door.directory / "artifacts" / "runs" / str(row["id"])
    assert await asyncio.to_thread(folder.is_dir)
    await door.database.execute(
        "UPDATE backtest_executions SET finished_at = now() - interval '100 days' WHERE run_id = $1", row["id"]
    )
    await asyncio.to_thread(age_files, folder, 100 * 86_400)
    dry = await backtest(door, "runs", "prune", "--older-than", "90d", "--dry-run", "--json")
    assert (dry.json["dry_run"], dry.json["runs"], dry.json["rows"]) == (True, 1, 1)
    assert await asyncio.to_thread(folder.is_dir)
    done = await backtest(door, "runs", "prune", "--older-than", "90d")
    assert done.output.startswith("removed the artefacts of 1 runs and 0 searches that ended before ")
    assert not await asyncio.to_thread(folder.exists)
    assert (await door.row_of(old, "completed"))["data_file_path"] is None
    again = await backtest(
        door, "submit", "--strategy-id", str(strategy), *YEAR, "--request-id", old, "--wait", "--json"
    )
    assert (again.status, again.json["status"], again.json["reason"]) == (1, "dead_lettered", "conflict")
    assert (await backtest(door, "report", str(row["id"]))).status == 0


async def test_rejected_requests_are_listed_with_their_reason(door: FrontDoor) -> None:
    request_id = await door.request(999_999, request_id="no-such-strategy")
    await door.terminal_event(request_id)
    listed = await backtest(door, "runs", "--status", "rejected")
    line = next(line for line in listed.output.splitlines() if line.startswith("no-such-strategy"))
    assert "unknown_strategy" in line


READERS = "workers that read requests in group"


async def test_the_doctor_finds_a_working_system_well_and_names_what_is_broken(door: FrontDoor, tmp_path: Path) -> None:
    well = await backtest(door, "doctor")
    assert well.status == 0, well.output
    assert "PROBLEM" not in well.output

    async def is_counted() -> bool:
        return f"{READERS} backtest-consumer: 1\n" in (await backtest(door, "doctor")).output

    await eventually(is_counted, "the worker has joined its group, and the doctor counts it", seconds=60)
    alone = await backtest(door, "doctor", kafka_group_id="nobody-is-here")
    assert alone.status == 0
    assert f"{READERS} nobody-is-here: 0 -> requests wait" in alone.output
    ill = await backtest(
        door,
        "doctor",
        "--json",
        kafka_bootstrap_servers="127.0.0.1:1",
        market_data_url=str(tmp_path / "nothing"),
        slotz="3",
    )
    problems = {finding["what"] for finding in ill.json if not finding["is_fine"]}
    assert (ill.status, problems) == (1, {"kafka", "market data"})
    assert any("did you mean BACKTEST_SLOTS?" in finding["advice"] for finding in ill.json)


@pytest.mark.parametrize(
    "arguments", [("submit", "--strategy-id", "1", *YEAR), ("follow", "--timeout", "1"), ("cancel", "1")]
)
async def test_kafka_that_is_away_is_one_line_and_status_1(door: FrontDoor, arguments: tuple[str, ...]) -> None:
    ended = await backtest(door, *arguments, kafka_bootstrap_servers="127.0.0.1:1")
    assert (ended.status, ended.output, ended.errors.count("\n")) == (1, "", 1)
    assert ended.errors.startswith("backtest: Kafka at 127.0.0.1:1")


@pytest.mark.parametrize("arguments", [("runs",), ("migrate",), ("report", "1")])
async def test_postgres_that_is_away_is_one_line_without_the_password(
    door: FrontDoor, arguments: tuple[str, ...]
) -> None:
    url = "postgresql://me:open-sesame@127.0.0.1:1/db"
    ended = await backtest(door, *arguments, database_url=url)
    assert (ended.status, ended.output, ended.errors.count("\n")) == (1, "", 1)
    assert "sesame" not in ended.errors


async def test_reading_before_migrate_says_what_to_do(door: FrontDoor) -> None:
    url = await door.stack.postgres.new_database()
    ended = await backtest(door, "runs", database_url=url)
    assert (ended.status, "run `backtest migrate`" in ended.errors) == (1, True)
    assert (await backtest(door, "migrate", database_url=url)).status == 0
    assert (await backtest(door, "runs", database_url=url)).status == 0
    assert "nothing to do" in (await backtest(door, "migrate", database_url=url)).errors
    await door.stack.postgres.drop_database(url)


async def replayed(door: FrontDoor, *arguments: str) -> dict[str, dict[str, Any]]:
    """What a replay said, by old request id."""
    ended = await backtest(door, "replay", "--json", *arguments)
    assert ended.status == 0, ended.errors
    return {each["old_request_id"]: each for each in ended.json}


async def backtest(door: FrontDoor, *arguments: str, **settings: str) -> Ended:
    """Run one command to its end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "consumer", *arguments),
        env=door.environment(**settings),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(120):
        output, errors = await process.communicate()
    return Ended(process.returncode or 0, output.decode(), errors.decode())
