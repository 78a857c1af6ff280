"""Frames between worker and engine children: cut anywhere, broken anyhow, or never read."""

import json
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.adapters.engine_pool.child import Channel
from consumer.adapters.engine_pool.messages import (
    HEADER,
    MAX_JSON_BYTES,
    FrameReader,
    UnreadableMessage,
    frame,
    outcome_from_message,
    outcome_message,
    progress_from_message,
    progress_message,
    storable_text,
)
from consumer.adapters.engine_pool.task import StopRequested, _Control
from consumer.ports import EngineTask
from consumer.ports.outcomes import Completed, Failed, Stopped
from schemas.problems import FieldProblem
from tests.consumer.adapters.engine_pool import behaviours as engine_behaviours

COMPLETED = engine_behaviours.completed(EngineTask(1, 1, {"trade_bytes": 5000}))
FAILED = Failed("invalid_params", "no", (FieldProblem("strategy_params.fast", "invalid_params", "too large"),))


def written(outcome: Completed | Failed | Stopped) -> tuple[bytes, bytes]:
    body = outcome.trades_csv if isinstance(outcome, Completed) else b""
    return frame(outcome_message(outcome, 1, ""), len(body)), body


@given(cuts=st.lists(st.integers(1, 700), min_size=1, max_size=30))
def test_messages_cut_anywhere_read_back_whole(cuts: list[int]) -> None:
    outcomes: list[Completed | Failed | Stopped] = [COMPLETED, FAILED, Stopped(), COMPLETED]
    stream = b"".join(b"".join(written(each)) for each in outcomes)
    reader, read = FrameReader(), []
    place = 0
    while place < len(stream):
        step = cuts[place % len(cuts)]
        read += [outcome_from_message(*each) for each in reader.feed(stream[place : place + step])]
        place += step

    assert read == outcomes


@given(st.binary(max_size=200))
def test_bytes_that_no_child_says_are_refused_or_waited_out(data: bytes) -> None:
    try:
        for message, body in FrameReader().feed(data):
            outcome_from_message(message, body)
    except UnreadableMessage:
        pass


BROKEN_CHANGES: list[dict[str, Any]] = [
    {"columns": {"win_rate": "1"}},
    {"columns": {"win_rate": float("nan")}},
    {"columns": 1},
    {"warnings": [1]},
    {"trade_count": True},
    {"metrics": []},
    {"duration_seconds": None},
]
BROKEN_TEXTS = [
    *(b"[1]", b"{", b"\xff", b"{}", b'{"type":"x"}', b'{"type":"completed"}', b'{"type":"failed","code":1}'),
    *(json.dumps({**outcome_message(COMPLETED, 1, ""), **change}).encode() for change in BROKEN_CHANGES),
]


@pytest.mark.parametrize("text", BROKEN_TEXTS)
def test_an_answer_that_is_none_is_refused(text: bytes) -> None:
    with pytest.raises(UnreadableMessage):
        read_all(HEADER.pack(len(text), 0) + text)


def read_all(stream: bytes) -> list[Any]:
    return [outcome_from_message(message, body) for message, body in FrameReader().feed(stream)]


def test_a_length_out_of_range_is_refused_before_it_is_waited_for() -> None:
    with pytest.raises(UnreadableMessage):
        list(FrameReader().feed(HEADER.pack(MAX_JSON_BYTES + 1, 0)))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_figure_that_json_cannot_say_is_sent(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        frame({"figure": value})


def test_progress_survives_to_the_microsecond() -> None:
    message = progress_message(1, 3, 9, engine_behaviours.SIMULATED_TIME_US, 10_000.25, 7)

    assert progress_from_message(message) == engine_behaviours.progress(3, 9)
    with pytest.raises(UnreadableMessage):
        progress_from_message({**message, "time_us": 10**30})


@given(st.text())
def test_text_of_a_strategy_can_be_stored(text: str) -> None:
    clean = storable_text(text)

    assert "\0" not in clean
    clean.encode()
    assert len(clean) < 4100


# --- the child's end ----------------------------------------------------------------------------------------------


@pytest.fixture
def ends() -> Any:
    """The worker's and the child's end."""
    worker, child = socket.socketpair()
    child.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with worker, child:
        yield worker, child


@pytest.mark.timeout(30)
def test_progress_that_nobody_reads_does_not_hold_up_the_run(ends: tuple[socket.socket, socket.socket]) -> None:
    worker, child = ends
    control = _Control(Channel(child), 1)
    for bars in range(1, 2000):
        control._next_report = 0.0
        control.report(bars, 10_000, 0, 1.0, 0)

    worker.setblocking(False)
    told = [progress_from_message(message).bars_done for message, _ in FrameReader().feed(worker.recv(1_000_000))]
    assert told
    assert told == list(range(1, len(told) + 1))
    assert told[-1] < 1999


def test_progress_is_told_at_intervals_and_at_the_end(ends: tuple[socket.socket, socket.socket]) -> None:
    worker, child = ends
    control = _Control(Channel(child), 1)
    for bars in range(1000):
        control.report(bars, 1000, 0, 1.0, 0)
    control.report(1000, 1000, 0, 1.0, 0)
    control.report(1000, 1000, 0, 1.0, 0)

    told = [progress_from_message(message).bars_done for message, _ in FrameReader().feed(worker.recv(1_000_000))]
    assert (told[0], told[-1]) == (1, 1000)
    assert len(told) < 100


def test_a_run_that_is_over_at_once_tells_no_progress_beside_its_answer(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    worker, child = ends
    worker.setblocking(False)
    control = _Control(Channel(child), 1)
    control.report(0, 10, 0, 1.0, 0)
    control.report(10, 10, 0, 1.0, 0)
    with pytest.raises(BlockingIOError):
        worker.recv(1)
    control._last_is_told_from = 0.0
    control.report(10, 10, 0, 1.0, 0)
    assert worker.recv(1_000)


def test_a_stop_of_another_task_is_not_this_ones(ends: tuple[socket.socket, socket.socket]) -> None:
    worker, child = ends
    control = _Control(Channel(child), 2)
    worker.sendall(frame({"type": "stop", "task": 1}))
    control.pause(0)

    worker.sendall(frame({"type": "stop", "task": 2}))
    with pytest.raises(StopRequested):
        control.pause(0)
