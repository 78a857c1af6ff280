"""Searches from outside: an event in, a row, a best run, events out, on real Kafka and real Postgres."""

import json
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import polars as pl
import psutil
import pytest

from consumer.devstack import StackKind
from tests.support.front_door import JANUARY, FrontDoor, Message, Worker, open_front_door
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

GRID = {"fast": [5, 10, 20], "slow": {"from": 10, "to": 60, "step": 10}}


@pytest.fixture(scope="module")
async def door(tmp_path_factory: pytest.TempPathFactory, stack_kind: StackKind) -> AsyncIterator[FrontDoor]:
    async with open_front_door(tmp_path_factory.mktemp("searches"), stack_kind) as opened:
        yield opened


async def test_a_request_becomes_a_completed_row_with_its_best_run_its_files_and_its_events(door: FrontDoor) -> None:
    strategy_id = await door.add_strategy(strategy_params='{"fast": 5, "slow": 20}')
    async with door.worker(slots="2", progress_interval_seconds="0.05"):
        request_id = await door.search(strategy_id, param_grid=GRID, min_trades=5)
        terminal = await door.end_of_search(request_id)
    told = terminal.data
    assert terminal.kind == "completed", told
    number = told["optimization_id"]
    assert terminal.key == f"opt-{number}".encode()
    row = await door.search_row(number)
    assert (row["status"], row["progress_pct"], row["started_at"] < row["completed_at"]) == ("completed", 100, True)
    assert row["total_combinations"] == row["completed_combinations"] == 15
    assert (row["failed_combinations"], told["statistics"]["left_out"]) == (0, 3)
    for name in ("best_params", "robust_params", "statistics"):
        assert json.loads(row[name]) == told[name]
    results = json.loads(row["results"])
    assert [each["rank"] for each in results] == list(range(1, 16))
    assert (results[0]["params"], results[0]["metrics"]["sharpe_ratio"]) == (told["best_params"], told["best_value"])

    best = await door.database.fetchrow("SELECT * FROM backtest_runs WHERE id = $1", told["best_run_id"])
    assert (best["status"], best["sharpe_ratio"]) == ("completed", told["best_value"])
    trades = await door.database.fetchval("SELECT count(*) FROM backtest_trades WHERE run_id = $1", best["id"])
    assert trades == best["total_trades"] > 5
    assert [message for message in door.messages if message.data.get("run_id") == best["id"]] == []

    table = pl.read_parquet(told["results_file_path"])
    assert table.height == 15
    assert {"fast", "slow", "sharpe_ratio", "calmar_ratio", "fold", "error"} <= set(table.columns)
    assert table.row(0, named=True)["fast"] == 5
    returns = pl.read_parquet(told["statistics"]["returns_file_path"])
    assert returns.columns == ["day", *(f"c{place}" for place in range(15))]

    here = await door.command(
        *("optimize", "--symbol", "EURUSD", "--timeframe", "H1", "--strategy", "sma_cross", "--grid", json.dumps(GRID)),
        *("--start", JANUARY["start_date"], "--end", JANUARY["end_date"], "--min-trades", "5", "--json"),
    )
    assert here.status == 0, here.stderr
    without_servers = json.loads(here.stdout)
    for name in ("result_digest", "best_params", "best_value", "robust_params", "failed_combinations"):
        assert without_servers[name] == told[name], name
    assert without_servers["results"] == results

    life = door.events_of(request_id, "optimization.progress")
    assert (life[0].kind, life[-1].kind) == ("started", "completed")
    assert life[-1].value == terminal.value
    sequences = [message.data["sequence"] for message in life]
    assert sequences == sorted(set(sequences))
    percents = [message.data["progress_pct"] for message in life]
    assert percents == sorted(percents)


RULES = {
    "params": {"fast": 5, "slow": 20, "stop_loss": 3.0},
    "buy": "crosses_above(sma(close, fast), sma(close, slow))",
    "sell": "crosses_below(sma(close, fast), sma(close, slow))",
    "stop_loss": "stop_loss * atr(14)",
}


async def test_a_search_over_rules_varies_their_params_and_leaves_the_rest_of_the_document(door: FrontDoor) -> None:
    strategy_id = await door.add_strategy("rules", strategy_params=json.dumps(RULES))
    # Of the row's params one is given another value, and one is varied; a field of the document has its name too.
    asked: dict[str, Any] = {
        "param_grid": {"fast": [4, 8], "stop_loss": [1.0, 3.0]},
        "strategy_params": {"params": {"slow": 15}},
        "min_trades": 1,
    }
    async with door.worker(slots="2"):
        told = (await door.end_of_search(await door.search(strategy_id, **asked))).data
        assert told["status"] == "completed", told
        best = await door.database.fetchrow("SELECT * FROM backtest_runs WHERE id = $1", told["best_run_id"])
        params = {"params": {"slow": 15, **told["best_params"]}}
        alone = await door.row_of(await door.request(strategy_id, strategy_params=params))
        refused = (await door.end_of_search(await door.search(strategy_id, param_grid={"fast": [4, 0], "m": [1]}))).data
    assert told["best_params"].keys() == {"fast", "stop_loss"}
    for name in ("sharpe_ratio", "total_trades", "total_return_pct", "max_drawdown_pct"):
        assert best[name] == alone[name], name
    results = json.loads((await door.search_row(told["optimization_id"]))["results"])
    assert len({json.dumps(each["metrics"]) for each in results}) == 4, "each stop counts"
    assert {each["field"]: each["code"] for each in refused["error"]["details"]} == {
        "param_grid.fast": "invalid_params",
        "param_grid.m": "invalid_params",
    }


async def test_three_workers_of_which_one_is_killed_find_what_one_finds_in_quiet(door: FrontDoor) -> None:
    strategy_id = await door.add_strategy()
    wide = {"fast": {"from": 2, "to": 30, "step": 1}, "slow": {"from": 31, "to": 80, "step": 1}}
    settings = {"lease_seconds": "1.5", "progress_interval_seconds": "0.05"}
    async with door.worker(**settings):
        quiet = (await door.end_of_search(await door.search(strategy_id, param_grid=wide))).data

    async with door.worker(**settings) as first, door.worker(**settings) as second, door.worker(**settings):
        request_id = await door.search(strategy_id, param_grid=wide)
        await counted(door, request_id, at_least=100)
        await second.stop(signal.SIGKILL)
        loud = (await door.end_of_search(request_id)).data
        assert first.process.returncode is None

    assert loud["result_digest"] == quiet["result_digest"]
    for name in ("best_params", "best_value", "robust_params", "failed_combinations"):
        assert loud[name] == quiet[name], name
    assert pl.read_parquet(loud["results_file_path"]).equals(pl.read_parquet(quiet["results_file_path"]))
    # The second time it is known how often the same was tried before.
    trials = quiet["statistics"]["trials"]
    assert loud["statistics"]["trials_known"] == quiet["statistics"]["trials_known"] + trials
    row = await door.search_row(loud["optimization_id"])
    assert row["completed_combinations"] == row["total_combinations"] == 29 * 50
    kinds = Counter(message.kind for message in door.events_of(request_id, "optimization.progress"))
    assert (kinds["started"], kinds["completed"]) == (1, 1)


async def test_a_run_in_the_middle_of_a_long_search_waits_for_one_shard_at_most(door: FrontDoor) -> None:
    searching, running = await door.add_strategy(), await door.add_strategy(strategy_params='{"fast": 5, "slow": 20}')
    wide = {"fast": {"from": 2, "to": 101, "step": 1}, "slow": {"from": 102, "to": 301, "step": 1}}
    async with door.worker():
        search_id = await door.search(searching, param_grid=wide)
        await counted(door, search_id, at_least=100)
        began = time.monotonic()
        terminal = await door.terminal_event(await door.request(running))
        seconds = time.monotonic() - began
        assert terminal.kind == "completed"
        assert door_has_no_end_of(door, search_id)
        await door.emit("optimization.cancel_requested", "cancel-long", {"request_id": search_id})
        assert (await door.end_of_search(search_id)).kind == "cancelled"
    assert seconds < 3


@pytest.mark.parametrize("how", ["event", "number", "row", "deletion", "strategy"])
async def test_a_cancelled_search_stops_within_a_second_and_leaves_no_results(door: FrontDoor, how: str) -> None:
    strategy_id = await door.add_strategy(
        "test_spin", strategy_params=json.dumps({"sign_file": str(door.directory / how)})
    )
    async with door.worker(slots="2") as worker:
        request_id = await door.search(
            strategy_id, param_grid={"sign_file": [str(door.directory / f"{how}-{number}") for number in range(4)]}
        )
        number = await at_work(door, worker, request_id)
        match how:
            case "event":
                data = {"request_id": request_id, "reason": "enough"}
                await door.emit("optimization.cancel_requested", "cancel", data)
            case "number":
                # The number that events told: the worker gave it, and no request named it.
                await door.emit("optimization.cancel_requested", "cancel-number", {"optimization_id": number})
            case "row":
                await door.database.execute("UPDATE optimization_runs SET status = 'cancelled' WHERE id = $1", number)
            case "deletion":
                await door.database.execute("DELETE FROM optimization_runs WHERE id = $1", number)
            case _:
                await door.database.execute("DELETE FROM strategies WHERE id = $1", strategy_id)
        began = time.monotonic()

        async def idle() -> bool:
            return not titles(worker, f"opt={number}")

        await eventually(idle, "no child is at the search")
        seconds = time.monotonic() - began
        terminal = await door.end_of_search(request_id)
    assert terminal.kind == "cancelled"
    reasons = {"event": "enough", "number": "requested", "row": "row"}
    assert terminal.data["reason"] == reasons.get(how, "run_deleted")
    assert seconds < 1.3  # the second that is promised, and the eyes of this test
    if how in reasons:
        row = await door.search_row(number)
        assert (row["status"], row["best_params"], row["statistics"]) == ("cancelled", None, None)


async def test_a_combination_that_ends_its_process_is_a_result_and_the_others_go_on(door: FrontDoor) -> None:
    strategy_id = await door.add_strategy("test_crash", strategy_params=json.dumps({"sign_file": "unused"}))
    places = [str(door.directory / f"die-{number}") for number in range(3)]
    async with door.worker(max_attempts="2"):
        terminal = await door.end_of_search(await door.search(strategy_id, param_grid={"sign_file": places}))
    assert terminal.kind == "failed"
    assert terminal.data["error"]["code"] == "crash_loop"
    row = await door.search_row(terminal.data["optimization_id"])
    assert (row["completed_combinations"], row["failed_combinations"]) == (3, 3)
    assert row["error_message"].startswith("crash_loop: ")
    assert "gave up after 2 deaths" in row["error_message"]


async def test_commands_ask_follow_show_and_repeat(door: FrontDoor) -> None:
    strategy_id = await door.add_strategy()
    asked = ("--strategy-id", str(strategy_id), "--symbol", "EURUSD", "--start", "2017-01-02", "--end", "2017-02-01")
    async with door.worker():
        submitted = await door.command(
            *("submit-optimization", *asked, "--grid", json.dumps(GRID), "--min-trades", "5", "--wait", "--json"),
        )
    assert submitted.status == 0, submitted.stderr
    ended = json.loads(submitted.stdout)
    number = str(ended["optimization_id"])

    followed = await door.command("follow", "--optimization-id", number, "--timeout", "30")
    assert followed.status == 0, followed.stderr
    lines = followed.stdout.splitlines()
    assert lines[0].endswith("started")
    assert f"run {ended['best_run_id']}" in lines[-1]
    verdict = next(place for place, line in enumerate(lines) if "verdict: " in line)
    assert verdict < len(lines) - 1

    report = await door.command("report", "--optimization-id", number)
    assert report.stdout.startswith(f"verdict: {ended['statistics']['verdict']}")
    assert ended["result_digest"] in report.stdout
    listed = json.loads((await door.command("runs", "--searches", "--json")).stdout)
    assert (listed[0]["id"], listed[0]["status"]) == (ended["optimization_id"], "completed")
    assert (await door.command("report", str(ended["best_run_id"]), "--json")).status == 0

    again = await door.command("replay", "--searches", "--label", "twice", "--dry-run", "--json")
    planned = {each["old_request_id"]: each["effect"] for each in json.loads(again.stdout)}
    assert planned[ended["request_id"]] == "new"
    cancelled = await door.command("cancel", "--optimization-id", number)
    assert (cancelled.status, "is sent" in cancelled.stderr) == (0, True)
    refused = await door.command("submit-optimization", *asked, "--grid", "{}", "--random", "3", "--tpe", "3")
    assert refused.status == 2


REFUSALS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "no space": ({"param_grid": None}, {"param_grid": "invalid_request"}),
    "unknown field": ({"primary_tf": "H1"}, {"primary_tf": "invalid_request"}),
    "too many": (
        {"param_grid": {"fast": {"from": 1, "to": 2000, "step": 1}, "slow": {"from": 1, "to": 2000, "step": 1}}},
        {"param_grid": "invalid_request"},
    ),
    "interval in a grid": ({"param_grid": {"fast": {"low": 1, "high": 2}}}, {"param_grid.fast": "invalid_request"}),
    "form, each named": (
        {"param_grid": {"fast": [], "slow": {"from": 3, "to": 1, "step": 1}, "x": [1, 1]}},
        {f"param_grid.{name}": "invalid_request" for name in ("fast", "slow", "x")},
    ),
    "unknown names and refused values": (
        {"param_grid": {"fast": [5, -1], "speed": [1], "slow": [20]}},
        {"param_grid.fast": "invalid_params", "param_grid.speed": "invalid_params"},
    ),
    "ends of an interval": (
        {"param_grid": {"fast": {"low": -5, "high": 10, "int": True}}, "method": "random", "samples": 3},
        {"param_grid.fast": "invalid_params"},
    ),
    "nothing stands": ({"param_grid": {"fast": [50, 60], "slow": [10, 20]}}, {"param_grid.fast": "invalid_params"}),
    "fixed and varied": ({"strategy_params": {"fast": 3}}, {"strategy_params.fast": "invalid_request"}),
    "fixed and unknown": ({"strategy_params": {"speed": 3}}, {"strategy_params.speed": "invalid_params"}),
    "samples": ({"method": "random"}, {"samples": "invalid_request"}),
    "metric": ({"optimize_metric": "luck"}, {"optimize_metric": "invalid_request"}),
    "no fold": ({"walk_forward": {"train_days": 300, "test_days": 10}}, {"walk_forward": "invalid_request"}),
    "several": (
        {"symbol": "NOSUCH", "timeframe": "H5", "max_workers": 0},
        {"symbol": "unknown_symbol", "timeframe": "unknown_timeframe", "max_workers": "invalid_request"},
    ),
    "strategy": ({"strategy_id": 999_999}, {"strategy_id": "unknown_strategy"}),
    "row": ({"optimization_id": 999_999}, {"optimization_id": "run_not_found"}),
}


async def test_every_refusal_names_its_fields_and_makes_no_row(door: FrontDoor) -> None:
    strategy_id = await door.add_strategy()
    rows = await door.database.fetchval("SELECT count(*) FROM optimization_runs")
    async with door.worker():
        requests = {
            name: await door.search(**{"strategy_id": strategy_id, "param_grid": GRID, **changes})
            for name, (changes, _) in REFUSALS.items()
        }
        for name, (_, expected) in REFUSALS.items():
            terminal = await door.end_of_search(requests[name])
            assert terminal.kind == "rejected", name
            found = {each["field"]: each["code"] for each in terminal.data["error"]["details"]}
            assert found == expected, name
            assert terminal.key == f"request/{requests[name]}".encode()
    assert await door.database.fetchval("SELECT count(*) FROM optimization_runs") == rows


async def test_a_pending_row_is_searched_and_one_that_disagrees_is_not(door: FrontDoor) -> None:
    strategy_id = await door.add_strategy()
    number = await add_row(door, strategy_id, min_trades=3)
    other = await add_row(door, strategy_id)
    async with door.worker():
        wrong = await door.search(optimization_id=other, seed=5, param_grid={"fast": [1]})
        rejected = (await door.end_of_search(wrong)).data
        terminal = await door.end_of_search(await door.search(optimization_id=number, symbol="EURUSD"))
        again = (await door.end_of_search(await door.search(optimization_id=number))).data
    assert {each["field"]: each["code"] for each in rejected["error"]["details"]} == {
        "seed": "run_disagrees",
        "param_grid": "run_disagrees",
    }
    assert """param_grid is {"fast": [1]}, but the search's row says {"fast": [""" in rejected["error"]["message"]
    assert (await door.search_row(other))["status"] == "pending"
    assert (terminal.kind, terminal.data["optimization_id"]) == ("completed", number)
    assert [each["code"] for each in again["error"]["details"]] == ["run_not_pending"]


async def test_the_same_again_does_nothing_and_ids_are_one_namespace_with_runs(door: FrontDoor) -> None:
    strategy_id = await door.add_strategy(strategy_params='{"fast": 5, "slow": 20}')
    async with door.worker():
        run_id = await door.request(strategy_id)
        await door.terminal_event(run_id)
        search_id = await door.search(strategy_id, param_grid=GRID)
        first = await door.end_of_search(search_id)
        rows = await door.database.fetchval("SELECT count(*) FROM optimization_runs")
        await door.search(strategy_id, param_grid=GRID, request_id=search_id)
        await door.search(strategy_id, param_grid=GRID, request_id=run_id)
        await door.request(strategy_id, request_id=search_id)

        def is_letter(message: Message) -> bool:
            return message.topic == "backtest.requested.dlq" and message.headers["dlq-reason"] == b"conflict"

        for topic in (b"optimization.requested", b"backtest.requested"):
            await door.message(lambda each, topic=topic: is_letter(each) and each.headers["dlq-topic"] == topic)  # type: ignore[misc]  # a default binds it
    ends = [
        each
        for each in door.messages
        if each.topic == "optimization.completed" and each.data["request_id"] == search_id
    ]
    assert [each.value for each in ends] == [first.value]
    assert await door.database.fetchval("SELECT count(*) FROM optimization_runs") == rows


# --- what the tests share -------------------------------------------------------------------------------------------


async def counted(door: FrontDoor, request_id: str, *, at_least: int) -> None:
    """Wait until so many combinations are done."""

    async def probe() -> bool:
        done = await door.database.fetchval("SELECT done FROM backtest_searches WHERE request_id = $1", request_id)
        return done is not None and done >= at_least

    await eventually(probe, f"{at_least} combinations of {request_id}", seconds=90)


async def at_work(door: FrontDoor, worker: Worker, request_id: str) -> int:
    """Wait until children are at the search's combinations; its number."""

    async def probe() -> int | None:
        number: int | None = await door.database.fetchval(
            "SELECT optimization_id FROM backtest_search_shards JOIN backtest_searches USING (optimization_id)"
            " WHERE request_id = $1 AND kind = 'range' AND backtest_search_shards.state = 'running'",
            request_id,
        )
        return number if number is not None and titles(worker, f"opt={number}") else None

    return await eventually(probe, f"a child at {request_id}")


def titles(worker: Worker, ending: str) -> list[str]:
    """Process titles of the worker's children that end so."""
    found = []
    for child in psutil.Process(worker.process.pid).children():
        try:
            title = " ".join(child.cmdline()).strip()
        except psutil.Error:
            continue
        if title.endswith(ending):
            found.append(title)
    return found


def door_has_no_end_of(door: FrontDoor, request_id: str) -> bool:
    return not door.events_of(request_id, "optimization.completed")


async def add_row(door: FrontDoor, strategy_id: int, **columns: Any) -> int:
    """Insert a pending search, as another service would."""
    row = {
        "strategy_id": strategy_id,
        "symbol": "EURUSD",
        "timeframe": "H1",
        "start_date": datetime(2017, 1, 2, tzinfo=UTC),
        "end_date": datetime(2017, 2, 1, tzinfo=UTC),
        "param_grid": json.dumps(GRID),
        **columns,
    }
    names, places = ", ".join(row), ", ".join(f"${place}" for place in range(1, len(row) + 1))
    statement = f"INSERT INTO optimization_runs ({names}) VALUES ({places}) RETURNING id"
    return int(await door.database.fetchval(statement, *row.values()))
