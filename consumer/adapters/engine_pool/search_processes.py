"""Processes of this machine that simulate the parts of one search, each with its own bars; the parent only hands out.

A process that dies or hangs costs its part, which others begin anew without the combination that it was at; that one
is tried again, and is a result with an error after so many deaths. So each combination is counted once.
"""

import mmap
import os
import selectors
import socket
import struct
import subprocess
import tempfile
import time
import uuid
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any, Final, Self

from consumer.adapters.engine_pool.messages import FrameReader, UnreadableMessage, frame
from consumer.adapters.engine_pool.process_tree import kill_tree
from consumer.adapters.engine_pool.search_messages import OpenSearch, open_message, part_message, shard_of
from consumer.adapters.engine_pool.settings import EngineProcessSettings
from consumer.adapters.engine_pool.spawn import spawn_child
from consumer.errors import SearchProcessLost
from engine.search.parts import Part, Shard, failed_shard

MODULE: Final = "consumer.adapters.engine_pool.search_process"
PART_SECONDS: Final = 0.5
"""What a part should take: sizes follow the measured speed."""
_LARGEST_PART: Final = 5_000
_LOOK_SECONDS: Final = 0.1
_READ_BYTES: Final = 1 << 20
_MOST_FAILED_STARTS: Final = 3
_STDERR_FD: Final = 2

Work = tuple[int | None, Part]


class SearchProcesses:
    """Some processes, started at once and warm by the time they are asked. Use as a context; it ends them."""

    def __init__(self, workers: int, memory_mb: int, timeout_seconds: float, max_attempts: int) -> None:
        """timeout_seconds: of one combination. max_attempts: deaths of a combination's process."""
        threads = max(1, (os.cpu_count() or 1) // workers)
        self._settings = EngineProcessSettings(
            slots=workers, market_data_url="", artifacts_url="", memory_mb=memory_mb, threads=threads
        )
        self._timeout_seconds, self._max_attempts = timeout_seconds, max_attempts
        self._open_search: OpenSearch | None = None
        self._deaths: dict[tuple[int | None, int], int] = defaultdict(int)
        self._failed_starts = 0
        self._selector = selectors.DefaultSelector()
        self._processes: list[_Process] = []
        self._per_second = 0.0
        for _ in range(workers):
            self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for process in list(self._processes):
            self._end(process)
        self._selector.close()

    def open(self, open_search: OpenSearch) -> None:
        """Have every process load what the search needs; it takes parts once it has."""
        self._open_search = open_search
        for process in self._processes:
            process.send(open_message(open_search, process.counter_fd))

    def simulate(self, works: Sequence[Work]) -> Iterator[tuple[int | None, Shard]]:
        """Simulate the parts, in pieces, and yield their shards as they come. Raises SearchProcessLost."""
        waiting: deque[Work] = deque(works)
        left = sum(len(part) for _, part in works)
        while left:
            for process in self._processes:
                if process.is_free and waiting:
                    process.take(self._piece(waiting))
            for shard in self._look(waiting):
                left -= len(shard[1].part)
                yield shard

    def _piece(self, waiting: deque[Work]) -> Work:
        """Cut what takes about half a second off the work; little enough at the end that all have some."""
        fold, part = waiting.popleft()
        if not self._per_second:
            size = 16
        else:
            left = len(part) + sum(len(each) for _, each in waiting)
            size = min(int(self._per_second * PART_SECONDS), left // (2 * len(self._processes)), _LARGEST_PART)
        size = max(1, size)
        if len(part) > size:
            waiting.appendleft((fold, Part(part.first + size, part.rows[size:])))
        return fold, Part(part.first, part.rows[:size])

    def _look(self, waiting: deque[Work]) -> Iterator[tuple[int | None, Shard]]:
        """Take what processes say, and look after those that say nothing."""
        for key, _ in self._selector.select(_LOOK_SECONDS):
            process: _Process = key.data
            try:
                for message, body in process.read():
                    yield from self._answered(process, message, body)
            except (_EndedError, UnreadableMessage):
                yield from self._lost(process, waiting, "crash_loop")
        now = time.monotonic()
        for process in list(self._processes):
            if process.hangs(now, self._timeout_seconds):
                yield from self._lost(process, waiting, "timeout")

    def _answered(
        self, process: "_Process", message: dict[str, Any], body: bytes
    ) -> Iterator[tuple[int | None, Shard]]:
        match message.get("type"):
            case "opened":
                process.is_open = True
                self._failed_starts = 0
            case "refused":
                raise SearchProcessLost(f"{message.get('code')}: {message.get('message')}")
            case "shard" if process.work is not None:
                fold, part = process.work
                shard = shard_of(message, body, part)
                seconds = max(time.monotonic() - process.since, 1e-4)
                speed = len(part) / seconds
                self._per_second = speed if not self._per_second else 0.5 * (self._per_second + speed)
                process.work = None
                yield fold, shard

    def _lost(self, process: "_Process", waiting: deque[Work], code: str) -> Iterator[tuple[int | None, Shard]]:
        """Go on without a process: its part is begun anew, the combination it was at counted as guilty."""
        number, work = process.number, process.work
        status = self._end(process)
        if work is None:
            self._failed_starts += 1
            if self._failed_starts >= _MOST_FAILED_STARTS:
                raise SearchProcessLost(f"a process of the search ended before it began, status {status}")
        else:
            fold, part = work
            at = min(max(number - part.first, 0), len(part) - 1)
            before, after = Part(part.first, part.rows[:at]), Part(part.first + at + 1, part.rows[at + 1 :])
            guilty = part.first + at
            self._deaths[fold, guilty] += 1
            deaths = self._deaths[fold, guilty]
            waiting.extendleft((fold, each) for each in (after, before) if len(each))
            if code == "timeout":
                message = f"took more than {self._timeout_seconds:g} s"
                yield fold, failed_shard(guilty, part.rows[at : at + 1], process.days, code, message)
            elif deaths >= self._max_attempts:
                message = f"its process ended {deaths} times, the last with status {status}"
                yield fold, failed_shard(guilty, part.rows[at : at + 1], process.days, code, message)
            else:
                waiting.append((fold, Part(guilty, part.rows[at : at + 1])))
        self._start()

    def _start(self) -> None:
        process = _Process(self._settings)
        self._processes.append(process)
        self._selector.register(process.connection, selectors.EVENT_READ, process)
        if self._open_search is not None:
            process.send(open_message(self._open_search, process.counter_fd))

    def _end(self, process: "_Process") -> int:
        self._processes.remove(process)
        self._selector.unregister(process.connection)
        return process.end()


class _EndedError(Exception):
    """The process said nothing more and is gone."""


@dataclass(eq=False)
class _Process:
    """One process, its connection, and the part it works on."""

    settings: EngineProcessSettings
    is_open: bool = False
    work: Work | None = None
    since: float = 0.0
    """When its part was given out."""
    days: int = 0
    _seen: tuple[int, float] = (-1, 0.0)
    """The number it was last seen at, and since when."""
    _reader: FrameReader = field(default_factory=FrameReader)

    def __post_init__(self) -> None:
        self._marker = uuid.uuid4().hex
        self._counter_file = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `end`
        self._counter_file.truncate(8)
        self.counter_fd = self._counter_file.fileno()
        self._counter = mmap.mmap(self.counter_fd, 8)
        self.connection, other = socket.socketpair()
        with other:
            self._process: subprocess.Popen[bytes] = spawn_child(
                MODULE, self.settings, other.fileno(), _STDERR_FD, self._marker, (self.counter_fd,)
            )
        self.send({"type": "settings", "settings": asdict(self.settings)})

    @property
    def is_free(self) -> bool:
        return self.is_open and self.work is None

    @property
    def number(self) -> int:
        """The combination it began last."""
        return int(struct.unpack("<q", self._counter[:8])[0])

    def take(self, work: Work) -> None:
        self.work, self.since = work, time.monotonic()
        self._seen = (-1, self.since)
        self._counter[:8] = struct.pack("<q", work[1].first)
        self.send(part_message(*work))

    def send(self, message: dict[str, Any]) -> None:
        # That it is gone is seen where it is read.
        with suppress(BrokenPipeError, ConnectionResetError):
            self.connection.sendall(frame(message))

    def read(self) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Yield what it said. Raises _EndedError, UnreadableMessage."""
        try:
            data = self.connection.recv(_READ_BYTES)
        except ConnectionResetError:
            data = b""
        if not data:
            raise _EndedError
        yield from self._reader.feed(data)

    def hangs(self, now: float, timeout_seconds: float) -> bool:
        """Whether it has been at the same combination for too long."""
        if self.work is None:
            return False
        number = self.number
        if number != self._seen[0]:
            self._seen = (number, now)
        return now - self._seen[1] > timeout_seconds

    def end(self) -> int:
        """Kill it with all it started, and return its status."""
        if self._process.poll() is None:
            kill_tree(self._process.pid, self._marker)
        status = self._process.wait()
        self.connection.close()
        self._counter.close()
        self._counter_file.close()
        return status
