"""The ledger of calls to language models in a file of one's own (SQLite): what the database has, for runs without one.

What was asked is kept in it too. One program at a time may use a file. A call is on the disk before it is sent.
"""

import fcntl
import os
import sqlite3
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from consumer.errors import AlreadyAtWork, LedgerUnusable
from consumer.ports.advice import AdviceFigures, Call, CallFailed, CallRefused, CallsMade, KnownAnswer, Reply
from consumer.rules.columns import LLM_CALL_COLUMNS
from schemas.json_text import storable

_VERSION: Final = 1
_APPLICATION: Final = 0x6274_6C6C
"""Tells the file from another program's."""


class LocalRun(NamedTuple):
    """A run of the file, and which attempt of it this is."""

    run_id: int
    epoch: int


@dataclass(slots=True)
class LedgerFile:
    """Implements `CallLedger` and `MessageStore`; see open_ledger_file. Its methods may be called from any thread."""

    path: Path
    connection: sqlite3.Connection
    lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def begin_run(self, specification: str) -> LocalRun:
        """Begin a run of a specification (its hash), or go on with one that was broken off before its end."""
        with self._transaction() as rows:
            found = rows.execute(
                "SELECT run_id, epoch FROM runs WHERE specification = ? AND state = 'running'", (specification,)
            ).fetchone()
            if found is not None:
                rows.execute("UPDATE runs SET epoch = epoch + 1 WHERE run_id = ?", (found[0],))
                return LocalRun(found[0], found[1] + 1)
            added = rows.execute(
                "INSERT INTO runs (specification, epoch, state, begun_at) VALUES (?, 1, 'running', ?)",
                (specification, _now()),
            )
            return LocalRun(int(added.lastrowid or 0), 1)

    def end_run(self, run_id: int) -> None:
        """Say that a run came to an end: the next one of its specification is another one, with a budget of its own."""
        with self._transaction() as rows:
            rows.execute("UPDATE runs SET state = 'ended' WHERE run_id = ?", (run_id,))

    async def made(self, run_id: int) -> CallsMade:
        with self._transaction() as rows:
            last, calls, unanswered, unpriced, cost, read, written = rows.execute(_MADE, (run_id,)).fetchone()
        figures = AdviceFigures(
            llm_calls_used=calls,
            llm_cost=cost if unpriced == 0 else None,
            llm_input_tokens=read,
            llm_output_tokens=written,
        )
        return CallsMade(last, unanswered, figures)

    async def answers(self, keys: Collection[str], run_id: int | None) -> Mapping[str, KnownAnswer]:
        with self._transaction() as rows:
            return {key: found for key in keys if (found := _answer(rows, key, run_id)) is not None}

    async def begin(self, call: Call) -> bool:
        asked = call.question
        with self._transaction() as rows:
            owner = rows.execute("SELECT epoch, state FROM runs WHERE run_id = ?", (call.run_id,)).fetchone()
            if owner != (call.epoch, "running"):
                return False
            rows.execute(
                "INSERT INTO backtest_llm_calls (run_id, number, epoch, bar_time, role, key, model, state, asked_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, 'asked', ?) ON CONFLICT DO NOTHING",
                (
                    call.run_id,
                    call.number,
                    call.epoch,
                    _iso(asked.bar_time),
                    storable(asked.role),
                    call.key,
                    storable(call.model),
                    _now(),
                ),
            )
            is_ours = "SELECT epoch, key, state FROM backtest_llm_calls WHERE run_id = ? AND number = ?"
            row = rows.execute(is_ours, (call.run_id, call.number)).fetchone()
            return bool(row == (call.epoch, call.key, "asked"))

    async def settle(
        self, call: Call, outcome: Reply | CallFailed | CallRefused, latency_ms: int, *, shared: bool
    ) -> KnownAnswer | None:
        told: dict[str, Any] = {"latency_ms": latency_ms, "settled_at": _now()}
        if isinstance(outcome, Reply):
            told |= {"state": "answered", "answer": storable(outcome.text), "cost": outcome.cost}
            told |= {"input_tokens": outcome.input_tokens, "output_tokens": outcome.output_tokens}
        else:
            told |= {"state": "failed", "error": storable(outcome.message)}
        columns = ", ".join(f"{name} = :{name}" for name in told)
        place = {"run_id": call.run_id, "number": call.number, "epoch": call.epoch}
        with self._transaction() as rows:
            rows.execute(
                f"UPDATE backtest_llm_calls SET {columns}, settled = (SELECT coalesce(max(settled), 0) + 1"
                " FROM backtest_llm_calls) WHERE run_id = :run_id AND number = :number AND epoch = :epoch"
                " AND state = 'asked'",
                {**told, **place},
            )
            return _answer(rows, call.key, None if shared else call.run_id)

    async def note_limit(self, specification: str, key: str) -> None:
        with self._transaction() as rows:
            rows.execute("INSERT INTO limits VALUES (?, ?) ON CONFLICT DO NOTHING", (specification, key))

    async def is_limit(self, specification: str, key: str) -> bool:
        with self._transaction() as rows:
            found = rows.execute("SELECT 1 FROM limits WHERE specification = ? AND key = ?", (specification, key))
            return found.fetchone() is not None

    async def calls_of(self, run_id: int) -> Sequence[Mapping[str, Any]]:
        with self._transaction() as rows:
            found = rows.execute(_CALLS_OF, (run_id,)).fetchall()
        times = ("bar_time", "asked_at", "settled_at")
        calls = [dict(zip(LLM_CALL_COLUMNS, row, strict=True)) for row in found]
        return [{**call, **{name: _moment(call[name]) for name in times}} for call in calls]

    def save_messages(self, key: str, document: bytes) -> str:
        with self._transaction() as rows:
            rows.execute("INSERT INTO questions VALUES (?, ?) ON CONFLICT DO NOTHING", (key, document.decode()))
        return f"{self.path}#{key}"

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit what is done within: it is on the disk then. Raises LedgerUnusable."""
        with self.lock, _translated(self.path), self.connection:
            self.connection.execute("BEGIN IMMEDIATE")
            yield self.connection


@contextmanager
def open_ledger_file(path: Path) -> Iterator[LedgerFile]:
    """Open the file, which is made where there is none, for this program alone.

    Raises AlreadyAtWork where another one uses it, LedgerUnusable for what is no ledger or cannot be written.
    """
    with _owned(path), _translated(path):
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            _prepare(connection, path)
            yield LedgerFile(path, connection)
        finally:
            connection.close()


@contextmanager
def _owned(path: Path) -> Iterator[None]:
    """Hold the file. The lock goes with the process, however it ends, and is none of SQLite's: others may read."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LedgerUnusable(str(path), error.strerror or str(error)) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise AlreadyAtWork(f"the ledger {path} is in use by another run") from error
        yield
    finally:
        os.close(descriptor)


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    # Durable before a call is sent, also when the machine goes down; readers see whole transactions.
    connection.execute("PRAGMA synchronous = FULL")
    application, version = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in _MARKS)
    is_new = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if is_new and (application, version) == (0, 0):
        connection.executescript(_SCHEMA)
    elif (application, version) != (_APPLICATION, _VERSION):
        raise LedgerUnusable(str(path), "it is no ledger of this version")


_MARKS: Final = ("application_id", "user_version")


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise LedgerUnusable(str(path), str(error)) from error


def _answer(rows: sqlite3.Connection, key: str, run_id: int | None) -> KnownAnswer | None:
    found = rows.execute(_ANSWER, (key, run_id, run_id)).fetchone()
    return None if found is None else KnownAnswer(*found)


def _now() -> str:
    return _iso(datetime.now(UTC))


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _moment(text: str | None) -> datetime | None:
    with suppress(ValueError):
        return None if text is None else datetime.fromisoformat(text)
    return None


_SCHEMA: Final = f"""
BEGIN;
CREATE TABLE runs (
    run_id INTEGER PRIMARY KEY AUTOINCREMENT, specification TEXT NOT NULL, epoch INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'ended')), begun_at TEXT NOT NULL
);
CREATE TABLE backtest_llm_calls (
    run_id INTEGER NOT NULL REFERENCES runs, number INTEGER NOT NULL CHECK (number >= 1), epoch INTEGER NOT NULL,
    bar_time TEXT NOT NULL, role TEXT NOT NULL, key TEXT NOT NULL, model TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('asked', 'answered', 'failed')), answer TEXT, error TEXT,
    input_tokens INTEGER, output_tokens INTEGER, cost REAL, latency_ms INTEGER,
    asked_at TEXT NOT NULL, settled_at TEXT, settled INTEGER,
    PRIMARY KEY (run_id, number), CHECK ((state = 'answered') = (answer IS NOT NULL))
);
CREATE INDEX answered ON backtest_llm_calls (key) WHERE state = 'answered';
CREATE INDEX settled ON backtest_llm_calls (settled);
CREATE TABLE questions (key TEXT PRIMARY KEY, document TEXT NOT NULL);
CREATE TABLE limits (specification TEXT NOT NULL, key TEXT NOT NULL, PRIMARY KEY (specification, key));
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_VERSION};
COMMIT;
"""
_MADE: Final = """
SELECT coalesce(max(number), 0), count(*), coalesce(sum(state <> 'answered'), 0),
       coalesce(sum(state = 'answered' AND cost IS NULL), 0), coalesce(sum(cost), 0.0),
       coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0)
FROM backtest_llm_calls WHERE run_id = ?
"""
_ANSWER: Final = """
SELECT answer, run_id FROM backtest_llm_calls WHERE key = ? AND state = 'answered' AND (? IS NULL OR run_id = ?)
ORDER BY settled LIMIT 1
"""
_CALLS_OF: Final = f"SELECT {', '.join(LLM_CALL_COLUMNS)} FROM backtest_llm_calls WHERE run_id = ? ORDER BY number"
