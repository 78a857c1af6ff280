"""Which calls to a language model a run may make: never more than max_llm_calls, whatever crashes.

Pure. A call counts from when its row is there, before it is sent; over all attempts; whether it is answered or not.
Answers that were there already count nothing.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

from consumer.ports.advice import CallSettings, Messages


@dataclass(slots=True)
class Budget:
    """Of one run, in the hands of the one worker that may make its calls.

    last_number: calls begun, by the ledger when the attempt began. unanswered: of those, failed or lost ones.
    """

    max_calls: int
    last_number: int
    unanswered: int = 0
    reserved: int = 0
    """Of an ask under way, calls that are still to be begun."""
    is_spent: bool = False
    """An ask did not fit: from then on the run asks no more, so that its attempts and repetitions are alike."""

    def reserve(self, calls: int) -> bool:
        """Set aside the calls of an ask, all or none. False: they do not fit, and the budget is spent."""
        if self.is_spent or self.last_number + self.reserved + calls > self.max_calls:
            self.is_spent = True
            return False
        self.reserved += calls
        return True

    def release(self) -> None:
        """Give back a call that was set aside, and is not needed."""
        self.reserved -= 1

    def take(self) -> int:
        """The number of a call that was set aside, to be begun now."""
        self.reserved -= 1
        self.last_number += 1
        return self.last_number


def question_key(model: str, settings: CallSettings, messages: Messages) -> str:
    """SHA-256, hexadecimal, over all that shapes an answer: the same in any process."""
    return hashlib.sha256(question_document(model, settings, messages)).hexdigest()


def question_document(model: str, settings: CallSettings, messages: Messages) -> bytes:
    """What the key is the hash of, as it is kept: a JSON object."""
    document = {
        "model": model,
        "settings": asdict(settings),
        "messages": [{"author": author, "content": content} for author, content in messages],
    }
    return json.dumps(document, sort_keys=True, ensure_ascii=False, indent=1, allow_nan=False).encode()


def specification_hash(specification: Mapping[str, Any]) -> str:
    """SHA-256, hexadecimal, of what a run executes: of runs with the same one, the later are repetitions."""
    return hashlib.sha256(json.dumps(specification, sort_keys=True).encode()).hexdigest()


def failure_warnings(calls: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """What whoever believes a run's result should know of calls that came to nothing. calls: rows of the ledger."""
    failed = [call for call in calls if call["state"] == "failed"]
    if not failed:
        return ()
    first, last = (choose(failed, key=lambda call: call["number"]) for choose in (min, max))
    of = f"{len(failed)} of the run's {len(calls)} call{'s' if len(calls) > 1 else ''} to the model failed"
    return (f"{of}, the first at the bar at {first['bar_time']:%Y-%m-%dT%H:%M:%SZ}; the last: {last['error']}",)


def cutoff_warnings(start: datetime, cutoff: date | None) -> tuple[str, ...]:
    """What whoever believes the result of a run should know of when its model was trained. start: UTC."""
    if cutoff is None or start.date() >= cutoff:
        return ()
    told = f"the run begins on {start:%Y-%m-%d}, before the model's training ended on {cutoff:%Y-%m-%d}"
    return (f"{told}: it may remember what happened then",)


def waited_too_long(limit_seconds: float) -> str:
    """Why a run failed (`timeout`) that waited for its model for longer, in all."""
    return f"the run waited for its model longer than LLM_RUN_TIMEOUT_SECONDS, {limit_seconds:g} s"
