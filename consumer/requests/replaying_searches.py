"""Old requests for searches as new ones, as `requests.replaying` has it for runs: the same labels, ids and effects."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from consumer.ports import Record
from consumer.ports.history import History
from consumer.ports.requests import Topics
from consumer.ports.search_history import SearchHistory
from consumer.requests.old_requests import REPLAY_SOURCE, Offsets, Range, records_of_topic
from consumer.requests.replaying import Effect, replay_id
from consumer.requests.sending import search_delivery
from consumer.rules.columns import SEARCH_COLUMNS
from schemas.envelope import EnvelopeError, open_envelope
from schemas.identity import hash_of_search_content, request_identity, search_content_text
from schemas.optimization_requested import OptimizationRequested, parse_optimization_requested
from schemas.problems import InvalidRequestError
from schemas.topics import EventType, Topic


@dataclass(frozen=True, slots=True)
class OldSearch:
    """A request as it was found. request is None where it cannot be emitted; problem says why."""

    origin: str
    request_id: str
    request: OptimizationRequested | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class PlannedSearch:
    """One request of a replay."""

    origin: str
    old_id: str
    new_id: str
    effect: Effect
    why: str
    request: OptimizationRequested | None


async def searches_in_topic(
    topics: Topics, searches: SearchHistory, limits: Range, offsets: Offsets | None = None
) -> list[OldSearch]:
    """Every record of the topic in that range, partition by partition in order."""
    records = await records_of_topic(topics, Topic.OPTIMIZATION_REQUESTED, limits, offsets)
    return [await _old_search(record, searches) for record in records]


async def searches_in_table(searches: SearchHistory, limits: Range, state: str | None) -> list[OldSearch]:
    """Every accepted request received in that range, the oldest first. state: of the search now; None: any."""
    rows = await searches.accepted_searches(limits.since, limits.until, state)
    return [
        await _executable(f"search {row['optimization_id']}", row["request_id"], row["data"], searches)
        for row in rows
        if row["source"] != REPLAY_SOURCE
    ]


async def plan_searches(found: Sequence[OldSearch], label: str, history: History) -> list[PlannedSearch]:
    """What each would do if it were emitted again, beside what was ever taken."""
    new_ids = [replay_id(each.request_id, label) for each in found]
    hashes = dict(await history.known_requests(new_ids))
    return [_plan_one(each, new_id, hashes) for each, new_id in zip(found, new_ids, strict=True)]


async def emit_searches(plan: Iterable[PlannedSearch], topics: Topics, *, now: datetime) -> None:
    """Emit what is new of a plan, in order."""
    await topics.send(
        [
            search_delivery(each.request, each.new_id, source=REPLAY_SOURCE, now=now)
            for each in plan
            if each.effect is Effect.NEW and each.request is not None
        ]
    )


def _plan_one(old: OldSearch, new_id: str, hashes: dict[str, bytes]) -> PlannedSearch:
    if old.request is None:
        return PlannedSearch(old.origin, old.request_id, new_id, Effect.SKIPPED, old.problem, None)
    request = old.request.model_copy(update={"request_id": new_id})
    found = hash_of_search_content(search_content_text(request))
    effect, why = Effect.NEW, "no request has this id"
    if new_id in hashes:
        is_same = hashes[new_id] == found
        effect = Effect.DUPLICATE if is_same else Effect.CONFLICT
        why = f"{new_id} was taken before, with {'the same' if is_same else 'other'} content"
    hashes.setdefault(new_id, found)
    return PlannedSearch(old.origin, old.request_id, new_id, effect, why, request)


async def _old_search(record: Record, searches: SearchHistory) -> OldSearch:
    origin = f"{record.topic}/{record.partition}/{record.offset}"
    try:
        envelope = open_envelope(record.value, record.headers, EventType.OPTIMIZATION_REQUESTED)
    except EnvelopeError as error:
        return OldSearch(origin, origin, None, f"{error.reason}: {error.message}")
    place = (record.topic, record.partition, record.offset, record.timestamp_ms)
    identity = request_identity(envelope.data.get("request_id"), envelope.id, *place)
    if envelope.source == REPLAY_SOURCE:
        return OldSearch(origin, identity, None, "is of a replay itself")
    return await _executable(origin, identity, envelope.data, searches, envelope.duplicate_keys)


async def _executable(
    origin: str,
    request_id: str,
    data: Mapping[str, Any],
    searches: SearchHistory,
    repeated: Sequence[str] = (),
) -> OldSearch:
    """The request, detached from its row: that one has been searched, or will be by the request that is there."""
    try:
        request = parse_optimization_requested(data, repeated)
        if request.optimization_id is not None:
            row = await searches.search(request.optimization_id)
            if row is None:
                why = f"search {request.optimization_id}, which held its configuration, is gone"
                return OldSearch(origin, request_id, None, why)
            columns = {name: row[name] for name in SEARCH_COLUMNS if row[name] is not None}
            kept = {name: value for name, value in data.items() if name not in {"optimization_id", "request_id"}}
            request = parse_optimization_requested({**kept, **columns})
    except InvalidRequestError as error:
        return OldSearch(origin, request_id, None, f"invalid_request: {error}")
    return OldSearch(origin, request_id, request)
