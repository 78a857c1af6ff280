"""What a search's parent and its processes say to each other, in the frames of `messages`; apart because both read it.

    parent -> process   settings (once) · open (once) · part
    process -> parent   ready (once) · opened (once) · refused · shard (body: its arrays)

Nothing that a process says is unpickled: a strategy lives there.
"""

import base64
import pickle  # of what a parent says to its child  # nosec B403
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from consumer.adapters.engine_pool.messages import UnreadableMessage
from engine.search.figures import FIGURES
from engine.search.parts import Part, Shard
from engine.warm_up import WarmUp

OnBegin = Callable[[int], None]
SimulatePart = Callable[[int | None, Part, OnBegin], Shard]
"""Simulates a part of a fold (None: of the whole range), calling on_begin with each number."""
OpenSearch = Callable[[], SimulatePart]
"""Loads what a search needs, in its process; must be picklable."""


def open_message(open_search: OpenSearch, counter_fd: int) -> dict[str, Any]:
    """counter_fd: a file of eight bytes in which the process notes the number it is at."""
    return {"type": "open", "search": base64.b64encode(pickle.dumps(open_search)).decode(), "counter_fd": counter_fd}


def search_of(message: dict[str, Any]) -> OpenSearch:
    """Read what open_message wrote; in a process, of what its parent says."""
    return cast("OpenSearch", pickle.loads(base64.b64decode(message["search"])))  # from the parent, over its pipe  # nosec B301


def part_message(fold: int | None, part: Part) -> dict[str, Any]:
    return {"type": "part", "fold": fold, "first": part.first, "rows": part.rows.tolist()}


def part_of(message: dict[str, Any]) -> Part:
    rows = message["rows"]
    is_drawn = bool(rows) and isinstance(rows[0], list)
    return Part(message["first"], np.array(rows, np.float64 if is_drawn else np.int64))


def shard_message(shard: Shard) -> tuple[dict[str, Any], bytes]:
    """Return what shard_of reads back, and its body."""
    warm_up = shard.warm_up
    message = {
        "type": "shard",
        "first": shard.part.first,
        "kept": shard.kept.tolist(),
        "days": shard.returns.shape[1],
        "errors": [[number, code, text] for number, (code, text) in shard.errors.items()],
        "warm_up": None if warm_up is None else [dict(warm_up.bars), dict(warm_up.wanted)],
    }
    arrays = (shard.figures, shard.ratios, shard.returns)
    return message, b"".join(np.ascontiguousarray(each, "<f8").tobytes() for each in arrays)


def shard_of(message: dict[str, Any], body: bytes, part: Part) -> Shard:
    """Read a shard of the part. Raises UnreadableMessage for what is none."""
    try:
        count, kept, days = len(part), np.array(message["kept"], np.int64), int(message["days"])
        floats = np.frombuffer(body, "<f8")
        sizes = (count * len(FIGURES), count, kept.size * days)
        if message["first"] != part.first or floats.size != sum(sizes):
            raise UnreadableMessage("a shard of another part")
        figures, ratios, returns = np.split(floats, np.cumsum(sizes)[:-1])
        errors = {int(number): (str(code), str(text)) for number, code, text in message["errors"]}
        warm_up = None if message["warm_up"] is None else WarmUp(*message["warm_up"])
        return Shard(part, figures.reshape(count, -1), ratios, errors, kept, returns.reshape(kept.size, days), warm_up)
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableMessage(f"a shard that cannot be read: {type(error).__name__}") from error
