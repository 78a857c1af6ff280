"""What a model answered: read, held against what a decision may be, and told what is wrong with it."""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

Side = Literal["BUY", "SELL", "CLOSE"]
Verdict = Literal[Side, "HOLD"]
VERDICTS: Final = ("BUY", "SELL", "CLOSE", "HOLD")
LONGEST_REASON: Final = 500
"""Characters kept."""
_LONGEST_ANSWER: Final = 64 * 1024
_MOST_TARGETS: Final = 100
_LONGEST_QUOTED: Final = 40

ANSWER_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["action", "stop_loss", "take_profits", "confidence", "reason"],
    "properties": {
        "action": {"type": "string", "enum": list(VERDICTS)},
        "stop_loss": {"type": ["number", "null"]},
        "take_profits": {"type": "array", "items": {"type": "number"}},
        "confidence": {"type": "number", "minimum": 0, "maximum": 1},
        "reason": {"type": "string"},
    },
}
"""JSON Schema of an answer, for models that have structured output. An action alone can be read, too."""


@dataclass(frozen=True, slots=True)
class Said:
    """An answer that can be read. Levels as the model wrote them, targets in its order. confidence: None, not given.

    reason: at most LONGEST_REASON characters, without NUL.
    """

    action: Verdict
    stop_loss: float | None = None
    take_profits: tuple[float, ...] = ()
    confidence: float | None = None
    reason: str = ""


class UnreadableAnswer(ValueError):
    """The message says what is wrong, in words for the model."""


def read_answer(text: str) -> Said:
    """Read a JSON object, also inside of a fence. Raises UnreadableAnswer."""
    if len(text) > _LONGEST_ANSWER:
        raise UnreadableAnswer(f"it is longer than {_LONGEST_ANSWER} characters")
    fenced = _FENCE.fullmatch(text.strip())
    try:
        found = json.loads(fenced[1] if fenced else text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise UnreadableAnswer("it is not one JSON object") from error
    if not isinstance(found, dict):
        raise UnreadableAnswer("it is not one JSON object")
    action = found.get("action")
    if action not in VERDICTS:
        raise UnreadableAnswer(f"action must be one of {', '.join(VERDICTS)}, not {_quoted(action)}")
    stop = found.get("stop_loss")
    return Said(
        action,
        None if stop is None else _number("stop_loss", stop),
        _targets(found.get("take_profits")),
        _confidence(found.get("confidence")),
        _reason(found.get("reason")),
    )


_FENCE: Final = re.compile(r"```(?:json)?\s*\n(.*)\n\s*```", re.DOTALL)


def _no_number(name: str) -> None:
    raise ValueError(name)


def _quoted(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _LONGEST_QUOTED else f"{text[:_LONGEST_QUOTED]}..."


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnreadableAnswer(f"{name} must be a number, not {_quoted(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise UnreadableAnswer(f"{name} must be a finite number")
    return number


def _targets(value: Any) -> tuple[float, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise UnreadableAnswer(f"take_profits must be a list of numbers, not {_quoted(value)}")
    if len(value) > _MOST_TARGETS:
        raise UnreadableAnswer(f"take_profits are {_MOST_TARGETS} at most")
    return tuple(_number("each of take_profits", each) for each in value)


def _confidence(value: Any) -> float | None:
    confidence = None if value is None else _number("confidence", value)
    if confidence is not None and not 0.0 <= confidence <= 1.0:
        raise UnreadableAnswer(f"confidence must be from 0 to 1, not {confidence:g}")
    return confidence


def _reason(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise UnreadableAnswer("reason must be text")
    return sayable(value)[:LONGEST_REASON]


def sayable(text: str) -> str:
    """Return the text without NUL and lone surrogates, which neither a table nor a request takes."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def level_problem(
    said: Said, side: int, middle: float, price_of: Callable[[float], float], middle_name: str = "the newest close"
) -> str | None:
    """Say which level of a decision to open is no price or on the wrong side, None where all are right.

    side: +1 for BUY. middle: what lies between its stop and its targets, as the model was shown it. price_of: what a
    level of the model's comes to, and the middle too.
    """
    action, (verb, beyond) = said.action, ("below", "above") if side > 0 else ("above", "below")
    nearer, nearer_name = middle, middle_name
    stop = said.stop_loss
    for level in (*said.take_profits, *(() if stop is None else (stop,))):
        if not price_of(level) > 0.0:
            return f"{action} needs levels above 0, not {level:.10g}"
    if stop is not None and not (price_of(nearer) - price_of(stop)) * side > 0.0:
        return f"{action} needs its stop_loss {verb} {middle_name}: {stop:.10g} against {middle:.10g}"
    for number, target in enumerate(said.take_profits, 1):
        if not (price_of(target) - price_of(nearer)) * side > 0.0:
            return f"{action} needs take_profit {number} {beyond} {nearer_name}: {target:.10g} against {nearer:.10g}"
        nearer, nearer_name = target, f"take_profit {number}"
    return None


def nearest_stop(middle: float, stops: Sequence[float]) -> float | None:
    """Return the stop nearest to the price, None without any."""
    return min(stops, key=lambda stop: abs(stop - middle), default=None)
