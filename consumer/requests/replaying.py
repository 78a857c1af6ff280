"""Old requests as new ones: what each of them would do if it were emitted again, and emitting what is new.

A replay has a label. A request's new id is made of its old id and the label, so that the same replay again is a
duplicate, request by request, and runs nothing twice.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from consumer.ports.history import History
from consumer.ports.requests import Topics
from consumer.requests.sending import request_delivery
from schemas.identity import content_hash
from schemas.requested import BacktestRequested

MAX_ID_CHARACTERS = 255


class Effect(StrEnum):
    """What emitting a request again would do."""

    NEW = "new"
    """It makes a run, or is rejected: admission looks at rows as they are then."""
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    SKIPPED = "skipped"
    """It is not emitted."""


@dataclass(frozen=True, slots=True)
class OldRequest:
    """A request as it was found. request is None where it cannot be emitted; problem says why."""

    origin: str
    """Where it was found, for people."""
    request_id: str
    request: BacktestRequested | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Planned:
    """One request of a replay."""

    origin: str
    old_id: str
    new_id: str
    effect: Effect
    why: str
    request: BacktestRequested | None


async def plan_with_history(found: Sequence[OldRequest], label: str, history: History) -> list[Planned]:
    """`plan_replay`, beside what was ever taken."""
    return plan_replay(found, label, await history.known_requests(new_ids(found, label)))


async def emit_new(plan: Sequence[Planned], topics: Topics, *, source: str, now: datetime) -> None:
    """Emit what is new of a plan, in order."""
    await topics.send(
        [
            request_delivery(each.request, each.new_id, source=source, now=now)
            for each in plan
            if each.effect is Effect.NEW and each.request is not None
        ]
    )


def new_ids(found: Iterable[OldRequest], label: str) -> list[str]:
    """The ids under which a replay emits what was found, in the same order."""
    return [replay_id(each.request_id, label) for each in found]


def replay_id(request_id: str, label: str) -> str:
    """The id of a request in a replay; a long one stands in it as its SHA-256."""
    readable = f"{request_id}/replay/{label}"
    if len(readable) <= MAX_ID_CHARACTERS:
        return readable
    return f"sha256:{hashlib.sha256(request_id.encode()).hexdigest()}/replay/{label}"


def plan_replay(found: Iterable[OldRequest], label: str, known: Mapping[str, bytes]) -> list[Planned]:
    """What each request would do, in order. known: content hashes by request id, of those that were taken before."""
    hashes = dict(known)
    return [_plan_one(each, replay_id(each.request_id, label), hashes) for each in found]


def _plan_one(old: OldRequest, new_id: str, hashes: dict[str, bytes]) -> Planned:
    """Also remembers the request: the next one with its id meets it."""
    if old.request is None:
        return Planned(old.origin, old.request_id, new_id, Effect.SKIPPED, old.problem, None)
    request = old.request.model_copy(update={"request_id": new_id})
    hash_ = content_hash(request)
    effect, why = Effect.NEW, "no request has this id"
    if new_id in hashes:
        is_same = hashes[new_id] == hash_
        effect = Effect.DUPLICATE if is_same else Effect.CONFLICT
        why = f"{new_id} was taken before, with {'the same' if is_same else 'other'} content"
    hashes.setdefault(new_id, hash_)
    return Planned(old.origin, old.request_id, new_id, effect, why, request)
