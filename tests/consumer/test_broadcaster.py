"""Who follows gets what is new, once and in order, and never a growing buffer."""

import asyncio
import json
from typing import Any

from consumer.adapters.memory.tables import ManualClock
from consumer.broadcaster import KEPT_TICKS, Broadcaster, Event, newest, read_told
from consumer.ports import Record
from schemas.topics import Topic


def record(run_id: int, sequence: int, word: str = "progress", **data: Any) -> Record:
    event = {
        "specversion": "1.0", "id": f"run/{run_id}/{sequence}", "source": "tests", "type": f"backtest.{word}",
        "data": {"run_id": run_id, "sequence": sequence, **data},
    }  # fmt: skip
    return Record(Topic.PROGRESS, 0, sequence, str(run_id).encode(), json.dumps(event).encode())


def broadcaster() -> Broadcaster:
    nobody: Any = None
    return Broadcaster(nobody, nobody, ManualClock())


def words(events: Any) -> list[tuple[int, str]]:
    return [(event.sequence, event.word) for event in events]


def test_a_slow_reader_gets_the_latest_progress_and_all_else() -> None:
    told = broadcaster()
    follower = told.follow((False, 7))
    told._tell(record(7, 1, "started"))
    for sequence in range(2, 5_000):
        told._tell(record(7, sequence))
    assert words(follower.take()) == [(1, "started"), (4999, "progress")]
    told._tell(record(7, 5_000))
    told._tell(record(7, 5_001, "completed"))
    assert words(follower.take()) == [(5001, "completed")]
    assert follower.take() == []


def test_others_runs_and_repeats_are_no_news() -> None:
    told = broadcaster()
    follower = told.follow((False, 7))
    told._tell(record(8, 1, "started"))
    told._tell(record(7, 3))
    told._tell(record(7, 3))
    told._tell(record(7, 2))
    assert words(follower.take()) == [(3, "progress")]
    told.leave(follower)
    assert told.by_key == {}


async def test_those_who_follow_everything_share_what_came_and_one_that_is_too_far_behind_is_told_so() -> None:
    told = broadcaster()
    for number in range(KEPT_TICKS + 5):
        told._tell(record(7, number + 1))
        await told.tick()
    await told.tick()
    assert told.tick_number == KEPT_TICKS + 5
    last, all_kept, nothing = (told.since(number) for number in (told.tick_number - 1, 5, told.tick_number))
    assert last is told.since(told.tick_number - 1)
    assert words(last and last.events) == words(all_kept and all_kept.events) == [(KEPT_TICKS + 5, "progress")]
    assert told.since(4) is None
    assert nothing is not None
    assert nothing.events == []


async def test_a_tick_and_the_end_wake_who_waits() -> None:
    told = broadcaster()
    first = told.ticked
    told._tell(record(7, 1, "started"))
    await told.tick()
    assert first.is_set()
    assert not told.ticked.is_set()
    told.stop()
    await asyncio.wait_for(told.ticked.wait(), 1)


def test_what_is_no_event_of_ours_is_passed_over() -> None:
    for value in (None, b"\xff", b"{}", b'{"specversion":"1.0","id":"1","source":"s","type":"other","data":{}}'):
        assert read_told(Record(Topic.PROGRESS, 0, 0, b"7", value)) is None
    nameless = record(7, 1)
    assert read_told(Record(Topic.OPTIMIZATION_PROGRESS, 0, 0, b"opt-7", nameless.value)) is None


def test_the_newest_of_each_run_keeps_a_runs_order() -> None:
    events = [
        Event((False, run), sequence, word, "{}")
        for run, sequence, word in [(1, 1, "started"), (2, 1, "started"), (1, 2, "progress"), (1, 3, "progress")]
    ]
    assert words(newest(events)) == [(1, "started"), (3, "progress"), (1, "started")]
