"""The ledger in a file: durable before a call is sent, one program's at a time, and told from any other file.

What it shares with the database's ledger is tested with commands (tests/consumer/commands/test_models.py).
"""

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from consumer.adapters.language_models.ledger_file import LedgerFile, LocalRun, open_ledger_file
from consumer.errors import AlreadyAtWork, LedgerUnusable
from consumer.ports.advice import AdviceFigures, Call, CallFailed, CallsMade, KnownAnswer, Question, Reply

KEY, OTHER = "ab" * 32, "cd" * 32
QUESTION = Question(datetime(2024, 1, 2, tzinfo=UTC), "", (("user", "What now?"),))
HOLD = Reply('{"action": "HOLD"}', 120, 12, 0.25)


def call_of(run: LocalRun, number: int = 1, key: str = KEY) -> Call:
    return Call(run.run_id, run.epoch, number, QUESTION, key, "openai:test")


async def test_a_call_is_on_the_disk_before_it_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "calls"
    with open_ledger_file(path) as ledger:
        run = ledger.begin_run("spec")
        assert await ledger.begin(call_of(run))
        with sqlite3.connect(path) as other:
            assert other.execute("SELECT state, bar_time FROM backtest_llm_calls").fetchall() == [
                ("asked", "2024-01-02T00:00:00.000000Z")
            ]
        told = await ledger.settle(call_of(run), HOLD, 15, shared=True)
        assert told == KnownAnswer(HOLD.text, run.run_id)
        [row] = await ledger.calls_of(run.run_id)
        assert (row["state"], row["bar_time"], row["cost"]) == ("answered", QUESTION.bar_time, 0.25)


async def test_what_was_broken_off_goes_on_and_what_came_to_its_end_does_not(tmp_path: Path) -> None:
    path = tmp_path / "calls"
    with open_ledger_file(path) as ledger:
        first = ledger.begin_run("spec")
        await ledger.begin(call_of(first))
    with open_ledger_file(path) as ledger:
        again = ledger.begin_run("spec")
        assert again == LocalRun(first.run_id, 2)
        assert ledger.begin_run("other").run_id != first.run_id
        assert not await ledger.begin(call_of(first, 2))
        assert await ledger.begin(call_of(again, 2, OTHER))
        await ledger.settle(call_of(again, 2, OTHER), CallFailed("429"), 5, shared=True)
        assert await ledger.made(first.run_id) == CallsMade(2, 2, AdviceFigures(2, 0, 0.0, 0, 0))
        ledger.end_run(again.run_id)
        assert ledger.begin_run("spec").run_id > again.run_id
        assert not await ledger.begin(call_of(again, 3))


async def test_the_first_answer_to_a_question_counts(tmp_path: Path) -> None:
    with open_ledger_file(tmp_path / "calls") as ledger:
        first, second = ledger.begin_run("a"), ledger.begin_run("b")
        for run in (first, second):
            await ledger.begin(call_of(run))
        await ledger.settle(call_of(second), Reply("second"), 1, shared=True)
        told = await ledger.settle(call_of(first), Reply("first"), 1, shared=True)
        assert told == KnownAnswer("second", second.run_id)
        assert await ledger.answers([KEY, OTHER], None) == {KEY: told}
        assert await ledger.answers([KEY], first.run_id) == {KEY: KnownAnswer("first", first.run_id)}


async def test_limits_and_questions_are_kept_once(tmp_path: Path) -> None:
    path = tmp_path / "calls"
    for _ in range(2):
        with open_ledger_file(path) as ledger:
            await ledger.note_limit("spec", KEY)
            ledger.save_messages(KEY, b'{"messages": []}')
            assert await ledger.is_limit("spec", KEY)
            assert not await ledger.is_limit("spec", OTHER)
    with sqlite3.connect(path) as rows:
        assert rows.execute("SELECT key, document FROM questions").fetchall() == [(KEY, '{"messages": []}')]


def _in_use(path: Path) -> LedgerFile | None:
    with open_ledger_file(path) as ledger:
        return ledger


def test_one_program_at_a_time_uses_a_file(tmp_path: Path) -> None:
    path = tmp_path / "calls"
    with open_ledger_file(path), pytest.raises(AlreadyAtWork, match="in use by another run"):
        _in_use(path)
    assert _in_use(path) is not None


@pytest.mark.parametrize("content", [b"time,open,high\n" * 100, b"SQLite format 3\0" + b"\0" * 4080])
def test_another_file_is_no_ledger_and_stays_as_it_was(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bars.csv"
    path.write_bytes(content)
    with pytest.raises(LedgerUnusable, match=r"the ledger .*bars\.csv"):
        _in_use(path)
    assert path.read_bytes() == content


def test_a_database_of_another_program_is_no_ledger(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE things (a)")
    with pytest.raises(LedgerUnusable, match="no ledger of this version"):
        _in_use(path)


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnusable, match="No such file or directory"):
        _in_use(tmp_path / "nowhere" / "calls")
