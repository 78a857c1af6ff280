"""The main job from outside: an event in, a row, events out, on real Kafka and real Postgres."""

import json
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import polars as pl
import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from consumer.devstack import StackKind
from tests.support.front_door import JANUARY, FrontDoor, Message, open_front_door
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
async def door(tmp_path_factory: pytest.TempPathFactory, stack_kind: StackKind) -> AsyncIterator[FrontDoor]:
    async with open_front_door(tmp_path_factory.mktemp("front-door"), stack_kind) as opened:
        yield opened


@pytest.mark.parametrize("mode", ["close_price", "intra_candle", "next_open"])
async def test_a_request_becomes_a_completed_row_its_trades_and_its_events(door: FrontDoor, mode: str) -> None:
    strategy_id = await door.add_strategy(strategy_params='{"fast": 5, "slow": 20}')
    async with door.worker():
        request_id = await door.request(strategy_id, execution_mode=mode)
        terminal = await door.terminal_event(request_id)
        row = await door.row_of(request_id)
    assert row["status"] == "completed"
    assert row["progress_pct"] == 100
    assert row["execution_mode"] == mode
    assert terminal.kind == "completed"
    assert terminal.key == str(row["id"]).encode()
    metrics = terminal.data["metrics"]
    assert {name: row[name] for name in ("total_trades", "win_rate", "sharpe_ratio", "max_drawdown_pct")} == {
        name: metrics[name] for name in ("total_trades", "win_rate", "sharpe_ratio", "max_drawdown_pct")
    }
    trades = await door.database.fetch("SELECT * FROM backtest_trades WHERE run_id = $1 ORDER BY id", row["id"])
    assert len(trades) == row["total_trades"] > 5
    assert sum(trade["profit"] for trade in trades) == pytest.approx(metrics["net_profit"], abs=1e-6)
    bars = pl.read_csv(row["data_file_path"])
    assert bars.columns == ["time", "open", "high", "low", "close", "volume"]
    assert bars["time"][0] >= "2017-01-02"
    assert bars["time"][-1] < "2017-02-01"
    assert terminal.data["data_file_path"] == row["data_file_path"]


async def test_a_run_tells_its_life_in_order_on_progress_and_its_end_with_the_same_bytes_on_both(
    door: FrontDoor, tmp_path: Path
) -> None:
    strategy_id = await door.add_strategy("test_gate", strategy_params=gate(tmp_path))
    async with door.worker(progress_interval_seconds="0.05"):
        request_id = await door.request(strategy_id)
        await door.row_of(request_id, "running")
        (tmp_path / "gate").touch()
        terminal = await door.terminal_event(request_id)

        async def told() -> bool:
            return any(message.kind == "completed" for message in door.events_of(request_id))

        await eventually(told, "the terminal event on backtest.progress")
    life = door.events_of(request_id)
    assert life[0].kind == "started"
    assert life[-1].kind == "completed"
    sequences = [message.data["sequence"] for message in life]
    assert sequences == sorted(set(sequences))
    assert sequences[0] >= 1
    assert life[-1].value == terminal.value


async def test_two_workers_share_fifty_runs_and_run_each_once(door: FrontDoor) -> None:
    strategy_id = await door.add_strategy(strategy_params='{"fast": 5, "slow": 20}')
    async with door.worker() as first, door.worker() as second:
        for worker in (first, second):
            await started(worker.log_text)
        request_ids = [await door.request(strategy_id) for _ in range(50)]
        for request_id in request_ids:
            await door.terminal_event(request_id)
        shares = [len(worker.log_events("run_finished")) for worker in (first, second)]
    assert sum(shares) == 50
    assert min(shares) > 0
    terminal = Counter(m.data["request_id"] for m in door.messages if m.topic == "backtest.completed")
    assert {terminal[request_id] for request_id in request_ids} == {1}
    attempts = await door.database.fetch(
        "SELECT attempts FROM backtest_executions WHERE request_id = ANY($1)", request_ids
    )
    assert [row["attempts"] for row in attempts] == [1] * 50


async def test_the_same_request_twice_gives_one_run(door: FrontDoor) -> None:
    strategy_id = await door.add_strategy()
    async with door.worker():
        request_id = await door.request(strategy_id)
        await door.request(strategy_id, request_id=request_id)
        marker = await door.request(strategy_id)
        for emitted in (request_id, marker):
            await door.terminal_event(emitted)
    assert await door.database.fetchval("SELECT count(*) FROM backtest_runs WHERE strategy_id = $1", strategy_id) == 2


async def test_the_same_id_with_other_content_is_dead_lettered_as_a_conflict(door: FrontDoor) -> None:
    strategy_id = await door.add_strategy()
    async with door.worker():
        request_id = await door.request(strategy_id)
        await door.terminal_event(request_id)
        await door.request(strategy_id, request_id=request_id, spread_pips=2.5)
        letter = await door.message(
            lambda message: message.topic.endswith("dlq") and request_id.encode() == message.key, "the conflict"
        )
    assert letter.headers["dlq-reason"] == b"conflict"


async def test_a_poison_record_is_dead_lettered_byte_for_byte_and_its_partition_goes_on(door: FrontDoor) -> None:
    strategy_id = await door.add_strategy()
    poison = b"\xff\x00 not JSON"
    async with door.worker():
        partitions = sorted(await door.producer.partitions_for("backtest.requested"))
        for partition in partitions:
            await door.producer.send_and_wait(
                "backtest.requested", poison, key=b"poison", partition=partition, headers=[("trace", b"\x01\x02")]
            )
        request_ids = [await door.request(strategy_id) for _ in range(9)]
        for request_id in request_ids:
            await door.terminal_event(request_id)
        letter = await door.message(lambda m: m.topic.endswith("dlq") and m.key == b"poison", "the poison record")
    assert letter.value == poison
    assert letter.headers["trace"] == b"\x01\x02"
    assert letter.headers["dlq-reason"] == b"undecodable"
    assert letter.headers["dlq-topic"] == b"backtest.requested"


async def test_a_request_with_mistakes_is_rejected_with_every_field_named_and_makes_no_row(door: FrontDoor) -> None:
    strategy_id = await door.add_strategy()
    async with door.worker():
        request_id = await door.request(strategy_id, symbol="NOSUCH", timeframe="H5", spread_pips=1.0)
        bad_schema = await door.request(strategy_id, spread_pips=-1, execution_mode="sideways")
        rejected, by_schema = await door.terminal_event(request_id), await door.terminal_event(bad_schema)
    assert rejected.kind == by_schema.kind == "rejected"
    assert rejected.data["error"]["code"] == "unknown_symbol"
    assert {(d["field"], d["code"]) for d in rejected.data["error"]["details"]} == {
        ("symbol", "unknown_symbol"),
        ("timeframe", "unknown_timeframe"),
    }
    assert {d["field"] for d in by_schema.data["error"]["details"]} == {"spread_pips", "execution_mode"}
    assert rejected.key == f"request/{request_id}".encode()
    assert await door.database.fetchval("SELECT count(*) FROM backtest_runs WHERE strategy_id = $1", strategy_id) == 0


@pytest.mark.parametrize("how", ["event", "request event", "row", "deletion"])
async def test_a_run_that_is_cancelled_uses_no_cpu_a_second_later(door: FrontDoor, tmp_path: Path, how: str) -> None:
    sign = tmp_path / "sign"
    strategy_id = await door.add_strategy("test_spin", strategy_params=f'{{"sign_file": "{sign}"}}')
    async with door.worker():
        request_id = await door.request(strategy_id)
        child = await spinning_child(sign)
        run_id = await door.run_of(request_id)
        match how:
            case "event":
                await door.cancel(run_id=run_id, reason="changed my mind")
            case "request event":
                await door.cancel(request_id=request_id)
            case "row":
                await door.database.execute("UPDATE backtest_runs SET status = 'cancelled' WHERE id = $1", run_id)
            case _:
                await door.database.execute("DELETE FROM backtest_runs WHERE id = $1", run_id)
        asked = time.monotonic()

        async def is_gone() -> bool:
            return not child.is_running() or child.status() == psutil.STATUS_ZOMBIE

        await eventually(is_gone, "the child's end", seconds=10)
        took = time.monotonic() - asked
        terminal = await door.terminal_event(request_id)
    assert took < 1.0
    reasons = {"event": "changed my mind", "request event": "requested", "row": "row", "deletion": "run_deleted"}
    assert (terminal.kind, terminal.data["reason"]) == ("cancelled", reasons[how])
    row = await door.database.fetchrow("SELECT status, total_trades FROM backtest_runs WHERE id = $1", run_id)
    assert row is None if how == "deletion" else tuple(row) == ("cancelled", None)


async def test_a_cancel_that_comes_before_its_request_wins(door: FrontDoor) -> None:
    strategy_id = await door.add_strategy()
    async with door.worker():
        await door.cancel(request_id="cancelled before", reason="too late")

        async def is_kept() -> bool:
            return bool(
                await door.database.fetchval("SELECT 1 FROM backtest_cancels WHERE request_id = 'cancelled before'")
            )

        await eventually(is_kept, "the cancel in its table")
        await door.request(strategy_id, request_id="cancelled before")
        terminal = await door.terminal_event("cancelled before")
        row = await door.row_of("cancelled before")
    assert (terminal.kind, terminal.data["reason"], terminal.data["attempt"]) == ("cancelled", "too late", 0)
    assert row["status"] == "cancelled"


async def test_a_run_whose_worker_is_killed_is_finished_by_another_one_once(door: FrontDoor, tmp_path: Path) -> None:
    strategy_id = await door.add_strategy("test_gate", strategy_params=gate(tmp_path))
    async with door.worker(lease_seconds="1") as victim:
        request_id = await door.request(strategy_id)
        child = await spinning_child(tmp_path / "sign")
        victim.process.send_signal(signal.SIGKILL)

        async def is_gone() -> bool:
            return not child.is_running() or child.status() == psutil.STATUS_ZOMBIE

        await eventually(is_gone, "the killed worker's child gone within 2 s", seconds=2.5)
        async with door.worker(lease_seconds="1"):
            (tmp_path / "gate").touch()
            terminal = await door.terminal_event(request_id)
            row = await door.row_of(request_id)
    assert terminal.kind == row["status"] == "completed"
    assert terminal.data["attempt"] == 2
    assert len(door.events_of(request_id, "backtest.completed")) == 1
    trades = await door.database.fetchval("SELECT count(*) FROM backtest_trades WHERE run_id = $1", row["id"])
    assert trades == row["total_trades"] == 1


async def test_sigterm_gives_the_run_back_at_once_and_exits_0(door: FrontDoor, tmp_path: Path) -> None:
    strategy_id = await door.add_strategy("test_gate", strategy_params=gate(tmp_path))
    async with door.worker(lease_seconds="60") as first:
        request_id = await door.request(strategy_id)
        await spinning_child(tmp_path / "sign")
        assert await first.stop() == 0
    assert (await door.row_of(request_id, "pending", seconds=1))["status"] == "pending"
    async with door.worker(lease_seconds="60"):
        (tmp_path / "gate").touch()
        terminal = await door.terminal_event(request_id)
    assert (terminal.kind, terminal.data["attempt"]) == ("completed", 2)
    deaths = await door.database.fetchval("SELECT deaths FROM backtest_executions WHERE request_id = $1", request_id)
    assert deaths == 0


async def test_a_row_made_by_another_service_is_run_by_its_own_columns(door: FrontDoor) -> None:
    strategy_id = await door.add_strategy()
    run_id = await door.add_run(strategy_id, execution_mode="next_open", spread_pips=0.5)
    async with door.worker():
        request_id = await door.request(run_id=run_id, spread_pips=0.5)
        terminal = await door.terminal_event(request_id)
        row = await door.row_of(request_id)
    assert (row["id"], row["status"], row["primary_tf"], row["avg_spread"]) == (run_id, "completed", "H1", 0.5)
    assert terminal.data["run_id"] == run_id


@pytest.mark.parametrize(
    ("key", "code"), [("test_crash", "crash_loop"), ("test_raise", "strategy_error"), ("test_hog", "out_of_memory")]
)
async def test_a_strategy_that_goes_wrong_fails_alone_with_its_code(
    door: FrontDoor, tmp_path: Path, key: str, code: str
) -> None:
    params = "{}" if key == "test_raise" else f'{{"sign_file": "{tmp_path / "sign"}"}}'
    bad, good = await door.add_strategy(key, strategy_params=params), await door.add_strategy()
    async with door.worker(engine_memory_mb="700"):
        failing, fine = await door.request(bad), await door.request(good)
        failed, completed = await door.terminal_event(failing), await door.terminal_event(fine)
        row = await door.row_of(failing)
    assert (failed.kind, failed.data["error"]["code"]) == ("failed", code)
    assert completed.kind == "completed"
    assert row["error_message"].startswith(code)
    assert row["total_trades"] is None
    if key == "test_crash":
        assert failed.data["attempt"] == 3
        assert len((tmp_path / "sign").read_text().split()) == 3


async def test_a_replay_from_offset_0_starts_no_run_and_emits_no_event(door: FrontDoor) -> None:
    strategy_id = await door.add_strategy()
    async with door.worker(lease_seconds="1"):
        await door.terminal_event(await door.request(strategy_id))
        await everything_relayed(door)  # also what workers of earlier tests left, who were killed
    before = await state(door)
    async with door.worker(kafka_group_id="a-second-look"):
        marker = await door.request(strategy_id)
        await door.terminal_event(marker)
        await everything_committed(door, "a-second-look")
    runs, events = await state(door)
    assert runs == before[0] + 1
    told = {
        (message.topic, message.event["id"]) for message in door.messages[: before[1]] if not is_dead_letter(message)
    }
    new = [message for message in door.messages[before[1] :] if not is_dead_letter(message)]
    # Delivery is at least once: what was told before may come again.
    assert {each.data["request_id"] for each in new if (each.topic, each.event["id"]) not in told} == {marker}
    assert events > before[1]


async def test_a_specification_that_somebody_spoiled_fails_its_run_alone(door: FrontDoor, tmp_path: Path) -> None:
    strategy_id = await door.add_strategy(strategy_params='{"fast": 5, "slow": 20}')
    gated = await door.add_strategy("test_gate", strategy_params=gate(tmp_path))
    other_types = '{"strategy_id": 1, "engine": {"symbol": 5, "timeframe": "H1"}}'
    spoilings = [None, "", "{", "[]", '{"strategy_id": 1}', other_types]
    async with door.worker():
        first = await door.request(gated)
        await door.row_of(first, "running")
        spoiled = [await door.request(strategy_id) for _ in spoilings]
        cancelled, sound = await door.request(strategy_id), await door.request(strategy_id)
        await door.row_of(sound, "pending")
        for request_id, text in zip([*spoiled, cancelled], [*spoilings, "{"], strict=True):
            await door.database.execute(
                "UPDATE backtest_requests SET specification = $2 WHERE request_id = $1", request_id, text
            )
        await door.cancel(request_id=cancelled)
        await door.row_of(cancelled, "cancelled")
        (tmp_path / "gate").touch()

        assert (await door.row_of(sound))["status"] == "completed"
        for request_id in spoiled:
            row, terminal = await door.row_of(request_id), await door.terminal_event(request_id)
            assert (row["status"], terminal.kind) == ("failed", "failed")
            assert "specification of the run" in row["error_message"]
            assert (terminal.data["strategy_id"], terminal.data["symbol"]) == (strategy_id, "EURUSD")
        assert (await door.terminal_event(cancelled)).data["symbol"] == "EURUSD"


def gate(directory: Path) -> str:
    return f'{{"sign_file": "{directory / "sign"}", "gate_file": "{directory / "gate"}"}}'


async def spinning_child(sign: Path) -> psutil.Process:
    """The engine child that runs the strategy, once the strategy was asked."""

    async def probe() -> int | None:
        return signed_by(sign)

    return psutil.Process(await eventually(probe, "the strategy at work", seconds=60))


def signed_by(sign: Path) -> int | None:
    """The process that signed last."""
    signatures = sign.read_text().split() if sign.exists() else []
    return int(signatures[-1]) if signatures else None


async def started(log_text: Callable[[], str]) -> None:
    async def probe() -> bool:
        return "partitions_assigned" in log_text()

    await eventually(probe, "the worker in its group")


async def state(door: FrontDoor) -> tuple[int, int]:
    return int(await door.database.fetchval("SELECT count(*) FROM backtest_runs")), len(door.messages)


def is_dead_letter(message: Message) -> bool:
    return message.topic.endswith("dlq")


async def everything_relayed(door: FrontDoor) -> None:
    """Wait until every event is published and forgotten."""

    async def probe() -> bool:
        return not await door.database.fetchval("SELECT count(*) FROM backtest_outbox")

    await eventually(probe, "an empty outbox")


async def everything_committed(door: FrontDoor, group_id: str) -> None:
    """Wait until the group has committed the end of every input partition: all records were read and are durable."""
    servers = door.stack.kafka_bootstrap_servers
    consumer, admin = AIOKafkaConsumer(bootstrap_servers=servers), AIOKafkaAdminClient(bootstrap_servers=servers)
    async with consumer:
        await admin.start()
        try:

            async def probe() -> bool:
                partitions = [TopicPartition("backtest.requested", p) for p in range(3)]
                ends = await consumer.end_offsets(partitions)
                committed = await admin.list_consumer_group_offsets(group_id)
                return all(end == 0 or (committed.get(tp) and committed[tp].offset == end) for tp, end in ends.items())

            await eventually(probe, "all offsets committed within 5 s", seconds=20)
        finally:
            await admin.close()


async def test_a_completed_run_verifies_and_a_figure_that_was_changed_is_named(door: FrontDoor) -> None:
    strategy_id = await door.add_strategy()
    async with door.worker():
        request_id = await door.request(strategy_id)
        await door.terminal_event(request_id)
        run_id = (await door.row_of(request_id))["id"]
    same = await door.command("replay", "--verify", str(run_id))
    await door.database.execute("UPDATE backtest_runs SET win_rate = win_rate + 1e-9 WHERE id = $1", run_id)
    changed = await door.command("replay", "--verify", str(run_id))
    assert (same.status, changed.status) == (0, 1)
    assert "the same" in same.stderr
    assert "win_rate is stored as" in changed.stderr
    assert len(changed.stderr.splitlines()) == 1


async def test_a_request_in_an_aborted_transaction_is_never_run(door: FrontDoor) -> None:
    strategy_id = await door.add_strategy()
    event: dict[str, object] = {
        "specversion": "1.0",
        "id": "aborted",
        "source": "tests",
        "type": "backtest.requested",
    }
    event["data"] = {"strategy_id": strategy_id, "symbol": "EURUSD", **JANUARY}
    upstream = AIOKafkaProducer(
        bootstrap_servers=door.stack.kafka_bootstrap_servers, transactional_id=f"upstream-{strategy_id}"
    )
    async with upstream, door.worker():
        await upstream.begin_transaction()
        await upstream.send_and_wait("backtest.requested", json.dumps(event).encode(), partition=0)
        await upstream.abort_transaction()
        for partition in range(3):  # behind it in every partition, so that it has been passed
            marker = {**event, "id": f"marker-{strategy_id}-{partition}"}
            await door.producer.send_and_wait("backtest.requested", json.dumps(marker).encode(), partition=partition)
        for partition in range(3):
            await door.terminal_event(f"marker-{strategy_id}-{partition}")
    assert await door.run_of("aborted") is None
