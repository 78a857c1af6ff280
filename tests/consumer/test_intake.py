"""Intake: every record ends in one outcome, and no record stops the others."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from consumer.adapters.memory.journal import MemoryJournal
from consumer.adapters.memory.tables import Weather
from consumer.decoding import decode
from consumer.errors import StoreTooSlow
from consumer.intake import REMEMBERED_SECONDS, Intake, Verdicts
from consumer.ports import (
    Admit,
    CancelToRecord,
    IntakeResult,
    OutgoingEvent,
    Record,
    RequestToRecord,
    StrategyCheck,
    Verdict,
)
from consumer.preparation.strategy_verdict import verdict_of
from schemas.problems import FieldProblem
from schemas.topics import Topic
from tests.consumer.memory_worker import MemoryWorker, World, settle, until
from tests.support.messages import STRATEGY, cancel_record, event_writer, raw_record, requested_record


def test_a_request_is_decoded_with_its_identity_source_and_content() -> None:
    decoded = decode(requested_record("event-1", source="signals"), event_writer())

    assert isinstance(decoded, RequestToRecord)
    assert (decoded.request_id, decoded.source, len(decoded.content_hash)) == ("event-1", "signals", 32)
    assert not decoded.problems
    assert json.loads(decoded.data)["spread_pips"] == 1.5, "the content, defaults filled in"


def test_plain_json_is_a_request_named_by_its_place() -> None:
    record = replace(raw_record(b'{"run_id": 5}'), partition=3, offset=42, timestamp_ms=1_700_000_000_123)

    decoded = decode(record, event_writer())

    assert isinstance(decoded, RequestToRecord)
    assert (decoded.request_id, decoded.source) == ("backtest.requested/3/42/1700000000123", "")


async def test_plain_json_on_a_topic_that_was_made_anew_is_not_taken_for_a_duplicate() -> None:
    world = World()
    worker = MemoryWorker(world)
    dates = {"start_date": "2024-01-01T00:00:00Z", "end_date": "2024-02-01T00:00:00Z"}
    content = json.dumps({"strategy_id": 1, "symbol": "EURUSD", **dates}).encode()
    world.produce(raw_record(content))
    await worker.read()
    world.broker.logs.clear()
    world.broker.committed.clear()
    await worker.crash()
    world.clock.advance(3600)

    again = MemoryWorker(world)
    record = world.produce(raw_record(content))
    await again.read()

    assert (record.offset, len(world.tables.runs)) == (0, 2)


def test_a_request_that_breaks_the_schema_keeps_its_problems_and_its_data_as_sent() -> None:
    decoded = decode(requested_record("a", spread_pips=-1, nonsense=True), event_writer())

    assert isinstance(decoded, RequestToRecord)
    assert (decoded.request.symbol, decoded.request.spread_pips) == ("EURUSD", None)
    assert {problem.field for problem in decoded.problems} == {"spread_pips", "nonsense"}
    assert decoded.given["spread_pips"] == -1


def test_a_cancel_is_decoded() -> None:
    decoded = decode(cancel_record(run_id=5, reason="enough"), event_writer())

    assert isinstance(decoded, CancelToRecord)
    assert (decoded.run_id, decoded.request_id, decoded.reason) == (5, None, "enough")


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (raw_record(None), b"undecodable"),
        (raw_record(b""), b"undecodable"),
        (raw_record(b"\x00\xff"), b"undecodable"),
        (raw_record(b"[1]"), b"undecodable"),
        (raw_record(b"[" * 100_000), b"undecodable"),
        (raw_record(b'{"specversion":"1.0","id":"a","source":"s","type":"other","data":{}}'), b"wrong_type"),
        (raw_record(b'{"specversion":"1.0","source":"s","type":"backtest.requested","data":{}}'), b"undecodable"),
        (raw_record(b" " * 1_048_577), b"too_large"),
        (cancel_record(), b"invalid_request"),
        (cancel_record(run_id=1, request_id="a"), b"invalid_request"),
        (raw_record(b"nonsense", topic=Topic.CANCEL_REQUESTED), b"undecodable"),
    ],
)
def test_what_cannot_be_used_becomes_a_dead_letter_with_its_reason(record: Record, reason: bytes) -> None:
    decoded = decode(record, event_writer())

    assert isinstance(decoded, OutgoingEvent)
    assert (decoded.key, decoded.value) == (record.key, record.value)
    headers = dict(decoded.headers)
    assert (headers["dlq-reason"], headers["dlq-topic"]) == (reason, record.topic.encode())


def test_a_defect_of_the_decoder_is_a_dead_letter_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Any:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr("consumer.decoding.parse_requested", fail)

    decoded = decode(requested_record(), event_writer())

    assert isinstance(decoded, OutgoingEvent)
    assert b"ZeroDivisionError" in (dict(decoded.headers)["dlq-message"] or b"")


async def test_poison_never_stops_a_batch() -> None:
    world = World()
    worker = MemoryWorker(world)
    for record in (raw_record(b"?"), requested_record("a"), raw_record(None), cancel_record(), requested_record("b")):
        world.produce(record)

    await worker.read()

    assert sorted(world.tables.requests) == ["a", "b"]
    assert len([row for row in world.tables.outbox.values() if row["event"].kind == "dead_letter"]) == 3
    assert world.broker.committed["group", (str(Topic.REQUESTED), 0)] == 4


class PickyJournal(MemoryJournal):
    """A store that refuses one request, as Postgres refuses a value that decoding let through."""

    __slots__ = ()

    async def record_batch(
        self,
        requests: Sequence[RequestToRecord],
        cancels: Sequence[CancelToRecord],
        dead_letters: Sequence[OutgoingEvent],
        admit: Admit,
    ) -> IntakeResult:
        if any(request.request_id == "refused" for request in requests):
            raise ValueError("value out of range")
        return await MemoryJournal.record_batch(self, requests, cancels, dead_letters, admit)


async def test_a_record_that_the_store_refuses_alone_is_dead_lettered_and_the_others_pass() -> None:
    world = World()
    worker = MemoryWorker(world)
    worker.intake.journal = PickyJournal(world.tables, event_writer(), "worker", 15.0)
    names = ["a", "b", "refused", "c", "d"]
    records = [world.produce(requested_record(name)) for name in names]

    await worker.read()

    assert sorted(world.tables.requests) == ["a", "b", "c", "d"]
    [letter] = [row["event"] for row in world.tables.outbox.values()]
    assert letter.value == records[2].value
    assert b"value out of range" in dict(letter.headers)["dlq-message"]


async def test_a_store_that_is_away_delays_a_batch_and_nothing_is_committed_meanwhile(no_retry_pauses: None) -> None:
    world = World()
    worker = MemoryWorker(world)
    world.produce(requested_record("a"))
    world.tables.weather = [Weather.REFUSED] * 5

    await worker.read()

    assert worker.world.tables.weather == []
    assert sorted(world.tables.requests) == ["a"]


async def test_a_lost_answer_makes_no_second_run(no_retry_pauses: None) -> None:
    world = World()
    worker = MemoryWorker(world)
    world.produce(requested_record("a"))
    world.tables.weather = [Weather.ANSWER_LOST]

    await worker.read()

    assert len(world.tables.runs) == 1


async def test_a_batch_that_meets_a_defect_is_tried_again_and_never_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To go on with the next batch would commit an offset behind records that are nowhere."""
    monkeypatch.setattr("consumer.intake.DEFECT_PAUSE_SECONDS", 0.0)
    world = World()
    worker = MemoryWorker(world)
    failures = ["once", "twice"]
    record_batch = worker.intake.record

    async def fail_twice(_: Intake, records: Sequence[Record], verdicts: Verdicts) -> IntakeResult:
        if failures:
            raise RuntimeError(failures.pop())
        return await record_batch(records, verdicts)

    monkeypatch.setattr(Intake, "record", fail_twice)
    world.produce(requested_record("a"))
    reading = asyncio.create_task(worker.intake.run())
    await settle()
    world.produce(requested_record("b"))
    await settle()
    await worker.source.stop()
    await reading

    assert sorted(world.tables.requests) == ["a", "b"]


async def test_a_full_queue_holds_requests_and_lets_cancels_through() -> None:
    world = World()
    worker = MemoryWorker(world)
    worker.intake.max_queued = 2
    for name in ("a", "b"):
        world.produce(requested_record(name))
    await worker.read()
    await worker.intake.watch_queue()
    world.produce(requested_record("c"))
    world.produce(cancel_record(request_id="a"))

    await worker.read()
    assert sorted(world.tables.requests) == ["a", "b"]
    await worker.intake.watch_queue()
    await worker.read()

    assert sorted(world.tables.requests) == ["a", "b", "c"], "the cancel made room"


class SlowJournal(MemoryJournal):
    """Has time for three records at once, as a role with a short statement_timeout does."""

    async def record_batch(
        self,
        requests: Sequence[RequestToRecord],
        cancels: Sequence[CancelToRecord],
        dead_letters: Sequence[OutgoingEvent],
        admit: Admit,
    ) -> IntakeResult:
        if len(requests) + len(cancels) + len(dead_letters) > 3:
            raise StoreTooSlow("canceling statement due to statement timeout")
        return await MemoryJournal.record_batch(self, requests, cancels, dead_letters, admit)


async def test_batches_shrink_until_a_store_with_little_time_takes_them_and_grow_again() -> None:
    world = World()
    worker = MemoryWorker(world)
    worker.intake.journal = SlowJournal(world.tables, event_writer(), "worker", 15.0)
    for number in range(40):
        world.produce(requested_record(f"request-{number}"))

    await worker.read()
    await worker.intake.settle()

    assert len(world.tables.runs) == 40
    assert worker.intake.part_size <= 4
    worker.intake.journal = worker.journal
    for number in range(40, 60):
        world.produce(requested_record(f"request-{number}"))
    await worker.read()
    assert worker.intake.part_size > 4
    assert len(world.tables.runs) == 60


class CountingJournal(MemoryJournal):
    counts = 0

    async def queued_count(self) -> int:
        CountingJournal.counts += 1
        return await MemoryJournal.queued_count(self)


async def test_a_worker_that_reads_no_requests_does_not_count_the_queue_each_second() -> None:
    worker = MemoryWorker(World())
    worker.intake.journal = CountingJournal(worker.world.tables, event_writer(), "worker", 15.0)

    async def counts_of_a_minute() -> int:
        CountingJournal.counts = 0
        for _ in range(60):
            await worker.intake.watch_queue()
        return CountingJournal.counts

    assert worker.source.reads_requests
    assert await counts_of_a_minute() == 60
    worker.source.positions.clear()  # all of them are other members' now
    assert await counts_of_a_minute() == 4, "for its metric"


async def test_new_runs_wake_the_dispatcher_and_repeats_do_not() -> None:
    world = World()
    worker = MemoryWorker(world)
    world.produce(requested_record("a"))
    await worker.read()
    assert worker.intake.work_arrived.is_set()
    worker.intake.work_arrived.clear()

    world.produce(requested_record("a"))
    await worker.read()

    assert not worker.intake.work_arrived.is_set()


async def test_reading_the_request_topic_again_from_the_start_starts_nothing_and_tells_nothing() -> None:
    world = World()
    worker = MemoryWorker(world)
    for record in (requested_record("a"), requested_record("b", symbol="NOSUCH"), cancel_record(request_id="x")):
        world.produce(record)
    await worker.read()
    await worker.finish_everything()
    before = (dict(world.tables.runs), len(world.broker.records(Topic.COMPLETED)))
    world.broker.committed.clear()
    await worker.source.stop()

    again = MemoryWorker(world, "again")
    await again.finish_everything()

    assert (dict(world.tables.runs), len(world.broker.records(Topic.COMPLETED))) == before


# --- requests whose strategy's code is asked first ------------------------------------------------------------------


class SlowCode:
    """Strategies' code of which one takes until it is told to answer; which checks were asked for."""

    def __init__(self, slow_key: str = "slow") -> None:
        self.slow_key = slow_key
        self.may_answer = asyncio.Event()
        self.asked: list[str] = []
        self.verdict: Verdict = (FieldProblem("strategy_id", "unknown_strategy", "took too long"),)

    async def ask(self, check: StrategyCheck) -> Verdict:
        self.asked.append(check.key)
        if check.key != self.slow_key:
            return verdict_of(check)
        await self.may_answer.wait()
        return self.verdict


def slow_world(code: SlowCode | None = None) -> tuple[World, SlowCode, MemoryWorker]:
    """A world whose strategy 2 has slow code."""
    world, code = World(), code or SlowCode()
    world.tables.add_strategy(**{**STRATEGY, "strategy_key": "slow", "name": "slow"})
    return world, code, MemoryWorker(world, ask=code.ask)


async def test_a_request_whose_strategy_takes_long_to_answer_delays_no_other_and_no_later_batch() -> None:
    world, code, worker = slow_world()
    reading = asyncio.create_task(worker.intake.run())
    world.produce(requested_record("before"))
    world.produce(requested_record("slow", strategy_id=2))
    world.produce(requested_record("beside"))
    await until(lambda: len(world.tables.requests) == 2)
    world.produce(requested_record("after"))
    await until(lambda: len(world.tables.requests) == 3)

    assert sorted(world.tables.requests) == ["after", "before", "beside"]
    code.may_answer.set()
    await until(lambda: "slow" in world.tables.requests)
    assert world.tables.requests["slow"]["outcome"] == "rejected"
    await worker.source.stop()
    await reading


class FirstIsLastJournal(MemoryJournal):
    """Takes longer for a request without spread_pips than for others."""

    __slots__ = ()

    async def record_batch(
        self,
        requests: Sequence[RequestToRecord],
        cancels: Sequence[CancelToRecord],
        dead_letters: Sequence[OutgoingEvent],
        admit: Admit,
    ) -> IntakeResult:
        if any("spread_pips" not in request.given for request in requests):
            for _ in range(50):
                await asyncio.sleep(0)  # lets others go first
        return await MemoryJournal.record_batch(self, requests, cancels, dead_letters, admit)


async def the_dead_letter(world: World) -> OutgoingEvent:
    """The one there is, once it is there."""

    def letters() -> list[OutgoingEvent]:
        return [row["event"] for row in world.tables.outbox.values() if row["event"].kind == "dead_letter"]

    await until(lambda: bool(letters()))
    [letter] = letters()
    return letter


async def both_wait_and_the_first_wins(world: World, code: SlowCode, worker: MemoryWorker) -> None:
    """Two requests with one id and other content wait for their verdicts, each in a batch of its own."""
    reading = asyncio.create_task(worker.intake.run())
    world.produce(requested_record("same", strategy_id=2))
    await until(lambda: len(code.asked) == 1)
    second = world.produce(requested_record("same", strategy_id=2, spread_pips=2.5))
    await until(lambda: len(code.asked) == 2)
    code.may_answer.set()
    letter = await the_dead_letter(world)
    assert letter.value == second.value
    await worker.source.stop()
    await reading


async def test_of_two_requests_with_one_id_that_wait_for_one_verdict_the_first_emitted_wins() -> None:
    world, code, worker = slow_world()
    code.verdict = ()
    worker.intake.journal = FirstIsLastJournal(world.tables, event_writer(), "worker", 15.0)
    await both_wait_and_the_first_wins(world, code, worker)


class LastIsAnsweredFirst(SlowCode):
    """Each who asks about slow code is answered after all who asked later."""

    async def ask(self, check: StrategyCheck) -> Verdict:
        place = self.asked.count("slow")
        verdict = await super().ask(check)
        if check.key == "slow":
            for _ in range(100 if place == 0 else 0):
                await asyncio.sleep(0)
        return verdict


async def test_of_two_requests_with_one_id_the_first_emitted_wins_whose_verdict_comes_last() -> None:
    world, code, worker = slow_world(LastIsAnsweredFirst())
    code.verdict = ()
    await both_wait_and_the_first_wins(world, code, worker)


async def test_a_request_stands_behind_one_with_its_id_that_still_waits_for_a_verdict() -> None:
    """Though its own strategy needs none: the first emitted wins."""
    world, code, worker = slow_world()
    code.verdict = ()
    reading = asyncio.create_task(worker.intake.run())
    world.produce(requested_record("same", strategy_id=2))
    await until(lambda: len(code.asked) == 1)
    second = world.produce(requested_record("same"))
    world.produce(requested_record("another"))
    await until(lambda: "another" in world.tables.requests)
    assert "same" not in world.tables.requests
    code.may_answer.set()
    letter = await the_dead_letter(world)
    assert letter.value == second.value
    await until(lambda: not worker.intake.ids_waiting)
    await worker.source.stop()
    await reading


async def test_no_offset_is_committed_behind_a_request_that_is_not_durable_yet() -> None:
    world, code, worker = slow_world()
    reading = asyncio.create_task(worker.intake.run())
    partition = ("group", (str(Topic.REQUESTED), 0))
    world.produce(requested_record("slow", strategy_id=2))
    await until(lambda: code.asked == ["slow"])
    world.produce(requested_record("after"))
    await until(lambda: "after" in world.tables.requests)
    await settle()
    assert partition not in world.broker.committed

    code.may_answer.set()
    await until(lambda: world.broker.committed.get(partition) == 2)
    assert sorted(world.tables.requests) == ["after", "slow"]
    await worker.source.stop()
    await reading


async def test_a_worker_that_dies_while_a_strategy_is_asked_loses_no_request() -> None:
    world, code, worker = slow_world()
    reading = asyncio.create_task(worker.intake.run())
    world.produce(requested_record("slow", strategy_id=2))
    world.produce(requested_record("fine"))
    await until(lambda: "fine" in world.tables.requests)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await worker.crash()

    code.may_answer.set()
    await MemoryWorker(world, "again", ask=code.ask).read()

    assert {name: row["outcome"] for name, row in world.tables.requests.items()} == {
        "fine": "accepted",
        "slow": "rejected",
    }
    assert len(world.tables.runs) == 1


async def test_a_row_that_changes_while_its_strategy_is_asked_is_asked_about_again() -> None:
    world, code, worker = slow_world()
    code.verdict = ()
    reading = asyncio.create_task(worker.intake.run())
    world.produce(requested_record("changed", strategy_id=2))
    await until(lambda: code.asked == ["slow"])
    changes = {"strategy_key": "sma_cross", "strategy_params": '{"fast": -1}'}
    world.tables.strategies[2] = {**world.tables.strategies[2], **changes}
    code.may_answer.set()

    await until(lambda: "changed" in world.tables.requests)

    assert code.asked == ["slow", "sma_cross"]
    assert world.tables.requests["changed"]["outcome"] == "rejected", "by what its row says now"
    await worker.source.stop()
    await reading


async def test_a_defect_of_the_checker_delays_a_request_and_loses_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.intake.DEFECT_PAUSE_SECONDS", 0.0)
    failures = ["once", "twice"]

    async def ask(check: StrategyCheck) -> Verdict:
        if failures:
            raise RuntimeError(failures.pop())
        return verdict_of(check)

    world = World()
    worker = MemoryWorker(world, ask=ask)
    world.produce(requested_record("a"))

    await worker.read()

    assert world.tables.requests["a"]["outcome"] == "accepted"


async def test_what_a_strategy_took_just_now_is_not_asked_again_and_what_it_refused_is() -> None:
    world, code, worker = slow_world()
    world.produce(requested_record("a"))
    world.produce(requested_record("b", strategy_params={"fast": -1}))
    await worker.read()
    world.produce(requested_record("c"))
    world.produce(requested_record("d", strategy_params={"fast": -1}))
    await worker.read()
    assert code.asked == ["sma_cross"] * 3

    world.clock.advance(REMEMBERED_SECONDS + 1)
    world.produce(requested_record("e"))
    await worker.read()

    assert code.asked == ["sma_cross"] * 4
    assert [row["outcome"] for row in world.tables.requests.values()].count("accepted") == 3
