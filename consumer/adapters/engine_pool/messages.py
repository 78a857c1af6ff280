"""What a worker and its engine children say to each other: length-prefixed frames of one JSON object and raw bytes.

Apart because both sides read it. Nothing is ever unpickled: a strategy lives in the child and could write anything
into the socket, so the worker treats each frame as hostile (`UnreadableMessage`) and builds only plain values of it.

    worker -> child   settings (once) · run · step · stop · advice
    child -> worker   ready (once) · progress · ask · completed (body: trades_csv) · step_done · failed · stopped ·
                      outdated
"""

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from consumer.ports import EngineProgress, EngineTask
from consumer.ports.advice import Advice, AdviceFailed, Author, Messages, Question
from consumer.ports.outcomes import Completed, EngineOutcome, Failed, Stopped
from consumer.ports.searches import StepDone
from schemas.json_text import storable, strict_json
from schemas.problems import FieldProblem, bounded, first_code

HEADER: Final = struct.Struct("<II")
"""Length of the JSON text, length of the body."""
MAX_JSON_BYTES: Final = 64 * 2**20
MAX_BODY_BYTES: Final = 2**30
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_MESSAGE: Final = 4000
_MOST_QUESTIONS: Final = 100
_LONGEST_QUESTION: Final = 4 * 2**20
"""Characters of all that is said in it."""
_AUTHORS: Final[Mapping[str, Author]] = {"system": "system", "user": "user", "assistant": "assistant"}


class UnreadableMessage(Exception):
    """The other side broke the protocol; its process cannot be used any more."""


@dataclass(frozen=True, slots=True)
class Outdated:
    """A task was not begun: its strategy's code is not what this process imported, so a fresh one must take it."""


def frame(message: Mapping[str, Any], body_length: int = 0) -> bytes:
    """Header and JSON of one message; the caller sends the body (`body_length` bytes) right behind it.

    Raises ValueError for NaN, infinities and anything that JSON cannot say, or beyond the limits.
    """
    text = json.dumps(message, allow_nan=False, separators=(",", ":")).encode()
    if len(text) > MAX_JSON_BYTES or body_length > MAX_BODY_BYTES:
        raise ValueError(f"a message of {len(text)} + {body_length} bytes is too large")
    return HEADER.pack(len(text), body_length) + text


class FrameReader:
    """Cuts a byte stream back into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._wanted = HEADER.size

    def feed(self, data: bytes) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Yield each (message, body) that is whole with these bytes. Raises UnreadableMessage."""
        self._buffer += data
        while len(self._buffer) >= self._wanted:
            text_length, body_length = HEADER.unpack_from(self._buffer)
            if text_length > MAX_JSON_BYTES or body_length > MAX_BODY_BYTES:
                raise UnreadableMessage("the length of a message is out of range")
            text_end = HEADER.size + text_length
            end = text_end + body_length
            if len(self._buffer) < end:
                # Remembered, so that a body of many reads is looked at once, when it is whole.
                self._wanted = end
                return
            with memoryview(self._buffer) as view:
                text, body = bytes(view[HEADER.size : text_end]), bytes(view[text_end:end])
            del self._buffer[:end]
            self._wanted = HEADER.size
            yield _parsed(text), body


def run_message(task: EngineTask, number: int) -> dict[str, Any]:
    """What `task.execute_task` carries out."""
    return {
        "type": "run",
        "task": number,
        "run_id": task.run_id,
        "epoch": task.epoch,
        "specification": task.specification,
        "optimization_id": task.optimization_id,
    }


def progress_message(
    task_number: int, bars_done: int, bars_total: int, simulated_time_us: int, equity: float, trades: int
) -> dict[str, Any]:
    """What `progress_from_message` reads back. simulated_time_us: microseconds since 1970, UTC."""
    return {
        "type": "progress",
        "task": task_number,
        "bars_done": bars_done,
        "bars_total": bars_total,
        "time_us": simulated_time_us,
        "equity": equity,
        "trades": trades,
    }


def progress_from_message(message: Mapping[str, Any]) -> EngineProgress:
    """Raises UnreadableMessage."""
    try:
        return EngineProgress(
            bars_done=_integer(message["bars_done"]),
            bars_total=_integer(message["bars_total"]),
            simulated_time=_EPOCH + timedelta(microseconds=_integer(message["time_us"])),
            equity=_number(message["equity"]),
            trades=_integer(message["trades"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UnreadableMessage(f"progress: {error!r}") from error


def ask_message(task_number: int, ask: int, questions: Sequence[Question]) -> dict[str, Any]:
    """What `questions_from_message` reads back. ask: told again with the answers."""
    asked = [
        {"time_us": (each.bar_time - _EPOCH) // timedelta(microseconds=1), "role": each.role, "messages": each.messages}
        for each in questions
    ]
    return {"type": "ask", "task": task_number, "ask": ask, "questions": asked}


def questions_from_message(message: Mapping[str, Any]) -> tuple[int, tuple[Question, ...]]:
    """The number of the ask, and its questions. Raises UnreadableMessage."""
    try:
        questions = tuple(_question(each) for each in message["questions"])
        number = _integer(message["ask"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UnreadableMessage(f"ask: {error!r}") from error
    if not 1 <= len(questions) <= _MOST_QUESTIONS:
        raise UnreadableMessage(f"ask: {len(questions)} questions")
    return number, questions


def _question(given: Mapping[str, Any]) -> Question:
    messages: Messages = tuple((_AUTHORS[author], storable(content)) for author, content in given["messages"])
    if not messages or sum(len(content) for _, content in messages) > _LONGEST_QUESTION:
        raise ValueError("a question of no length or too much")
    return Question(_EPOCH + timedelta(microseconds=_integer(given["time_us"])), _text(given["role"]), messages)


def advice_message(task_number: int, ask: int, advice: Advice) -> dict[str, Any]:
    """What `advice_from_message` reads back."""
    common = {"type": "advice", "task": task_number, "ask": ask}
    if isinstance(advice, AdviceFailed):
        return {**common, "code": advice.code, "message": advice.message}
    return {**common, "answers": advice}


def advice_from_message(message: Mapping[str, Any]) -> Advice:
    """Read by the child, which trusts its worker."""
    if "code" in message:
        return AdviceFailed(message["code"], message["message"])
    return tuple(message["answers"])


def outcome_message(
    outcome: Completed | StepDone | Failed | Stopped | Outdated, task_number: int, retire: str
) -> dict[str, Any]:
    """What `outcome_from_message` reads back, `trades_csv` aside (the body). retire: why the child wants replacing."""
    common = {"task": task_number, "retire": retire}
    match outcome:
        case Completed():
            return {
                **common,
                "type": "completed",
                "columns": outcome.columns,
                "metrics": outcome.metrics,
                "trade_count": outcome.trade_count,
                "data_file_path": outcome.data_file_path,
                "artifacts": outcome.artifacts,
                "result_digest": outcome.result_digest,
                "engine_version": outcome.engine_version,
                "strategy_version": outcome.strategy_version,
                "warnings": outcome.warnings,
                "duration_seconds": outcome.duration_seconds,
            }
        case StepDone(answer):
            return {**common, "type": "step_done", "answer": dict(answer)}
        case Failed():
            return {
                **common,
                "type": "failed",
                "code": outcome.code,
                "message": outcome.message,
                "details": [asdict(each) for each in outcome.details],
            }
        case Stopped():
            return {**common, "type": "stopped"}
        case Outdated():
            return {**common, "type": "outdated"}


def outcome_from_message(message: Mapping[str, Any], body: bytes) -> EngineOutcome | StepDone | Outdated:
    """Read an answer back, every text fit for a table. Raises UnreadableMessage."""
    try:
        match message["type"]:
            case "completed":
                return _completed(message, body)
            case "step_done":
                return StepDone(dict(message["answer"]))
            case "failed":
                return Failed(_text(message["code"]), _text(message["message"]), _problems(message["details"]))
            case "stopped":
                return Stopped()
            case "outdated":
                return Outdated()
            case other:
                raise UnreadableMessage(f"there is no message {other!r}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnreadableMessage(f"{message.get('type')}: {error!r}") from error


def _problems(details: list[dict[str, Any]]) -> tuple[FieldProblem, ...]:
    return tuple(FieldProblem(_text(each["field"]), _text(each["code"]), _text(each["message"])) for each in details)


def problems_from_message(message: Mapping[str, Any]) -> tuple[FieldProblem, ...]:
    """Read a verdict back: problems that a rejection may carry. Raises UnreadableMessage."""
    try:
        problems = _problems(message["problems"])
        if problems:
            first_code(problems)
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableMessage(f"verdict: {error!r}") from error
    return bounded(problems)


def storable_text(text: str) -> str:
    """The text as Postgres and Kafka take it: no NUL, no lone surrogate, bounded length."""
    clean = storable(text)
    return clean if len(clean) <= _LONGEST_MESSAGE else clean[:_LONGEST_MESSAGE] + " ..."


def _completed(message: Mapping[str, Any], body: bytes) -> Completed:
    columns: dict[str, float | int | None] = {}
    for name, value in dict(message["columns"]).items():
        columns[_text(name)] = None if value is None else _either_number(value)
    if not isinstance(message["metrics"], dict):
        raise TypeError("metrics is no object")
    return Completed(
        columns=columns,
        metrics=message["metrics"],
        trades_csv=body,
        trade_count=_integer(message["trade_count"]),
        data_file_path=_text(message["data_file_path"]),
        artifacts={_text(name): _text(place) for name, place in dict(message["artifacts"]).items()},
        result_digest=_text(message["result_digest"]),
        engine_version=_text(message["engine_version"]),
        strategy_version=None if message["strategy_version"] is None else _text(message["strategy_version"])[:64],
        warnings=tuple(_text(each) for each in message["warnings"]),
        duration_seconds=_number(message["duration_seconds"]),
    )


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        message = strict_json(text.decode())
    except ValueError as error:
        raise UnreadableMessage(f"no JSON: {error}") from error
    if not isinstance(message, dict):
        raise UnreadableMessage("a message is no object")
    return message


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return storable_text(value)


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is no integer")
    return value


def _number(value: object) -> float:
    return float(_either_number(value))


def _either_number(value: object) -> float | int:
    if isinstance(value, float):
        return value
    return _integer(value)
