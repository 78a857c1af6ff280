"""What a run asked of language models, what was answered, and what came of it: one entry a call."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from consumer.errors import ArtifactsUnavailable, NoSuchRun
from consumer.ports.advice import KeptMessages
from consumer.ports.history import History, Row
from engine.deciders.advised.answers import Said, UnreadableAnswer, read_answer

NEXT_OPEN: Final = "next_open"


@dataclass(frozen=True, slots=True)
class ModelCall:
    """row: LLM_CALL_COLUMNS. asked: its messages as {author, content}; None where they were not read, or are gone.

    decided: the answer as the engine reads it; problem: why it cannot, or why there is none. positions: those that were
    opened after this bar was decided on, and before the next one was.
    """

    row: Row
    asked: Sequence[Mapping[str, str]] | None
    decided: Said | None
    problem: str
    positions: tuple[int, ...]


async def model_calls(
    history: History, messages: KeptMessages | None, run_id: int, *, limit: int | None = None, after: int = 0
) -> list[ModelCall]:
    """The run's calls by number, those above `after` only. messages: None leaves out what was asked.

    Raises NoSuchRun.
    """
    if await history.run(run_id) is None:
        raise NoSuchRun(run_id)
    calls = await history.llm_calls(run_id, limit=limit, after=after)
    times = sorted({row["bar_time"] for row in await history.llm_calls(run_id)})
    trades = await history.trades(run_id)
    specification = await history.specification_of(run_id) or {}
    is_next_open = specification.get("execution_mode") == NEXT_OPEN
    return [_told(row, messages, tuple(_opened(row, times, trades, is_next_open))) for row in calls]


def _told(row: Row, messages: KeptMessages | None, positions: tuple[int, ...]) -> ModelCall:
    asked = _asked(messages, row["key"]) if messages is not None else None
    match row["state"]:
        case "answered":
            try:
                return ModelCall(row, asked, read_answer(row["answer"]), "", positions)
            except UnreadableAnswer as error:
                return ModelCall(row, asked, None, str(error), ())
        case "failed":
            return ModelCall(row, asked, None, row["error"] or "failed", ())
        case _:
            return ModelCall(row, asked, None, "not answered yet, or the answer was lost", ())


def _asked(messages: KeptMessages, key: str) -> Sequence[Mapping[str, str]] | None:
    try:
        document: Mapping[str, Any] = json.loads(messages.read_messages(key))
    except ArtifactsUnavailable:
        return None
    found: Sequence[Mapping[str, str]] = document["messages"]
    return found


def _opened(row: Row, times: Sequence[Any], trades: Sequence[Row], is_next_open: bool) -> Iterator[int]:
    """Positions between this bar and the next one that a model was asked at: nobody else opens any. Their times are the
    filling bar's open: that of the deciding bar, or of the one after it.
    """
    asked_at = row["bar_time"]
    following = next((time for time in times if time > asked_at), None)
    seen = set()
    for trade in trades:
        number, at = trade["position_id"], trade["entry_time"]
        if is_next_open:
            is_its_own = at > asked_at and (following is None or at <= following)
        else:
            is_its_own = at >= asked_at and (following is None or at < following)
        if is_its_own and number not in seen:
            seen.add(number)
            yield number
