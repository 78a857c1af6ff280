"""The part of the load that is asked for over HTTP: each with an Idempotency-Key, some repeated, contradicted, raced,
or also sent on the topic.
"""

import asyncio
from typing import Any

from tests.faults.field import Field, event
from tests.faults.load import (
    BY_MODEL,
    BY_VOTE,
    CANCEL_REQUESTED,
    ENDLESS,
    ENOUGH,
    MODES,
    REQUESTED,
    SEARCHES,
    SHORT,
    SPREADS,
    TIGHT,
    Kind,
    Load,
    advised,
    configuration,
)
from tests.faults.posts import RUNS
from tests.faults.posts import SEARCHES as SEARCH_PATH

BURST = 5


async def posted_run(load: Load, place: Field) -> None:
    """Now and then once more, when it may wait, run or have ended."""
    body = load.random.choice((load.short(), load.long()))
    key = await _post(load, place, body)
    if load.random.random() < 0.4:
        await place.posts.post(key, body)


async def posted_and_followed(load: Load, place: Field) -> None:
    """To its end, from process to process."""
    number = await place.posts.post(load.next_id(), load.random.choice((load.short(), load.long())))
    if number is not None:
        place.posts.follow(number)


async def posted_burst(load: Load, place: Field) -> None:
    """Several at once, that share a transaction."""
    bodies = [(load.next_id(), load.short()) for _ in range(BURST)]
    await asyncio.gather(*(place.posts.post(key, body) for key, body in bodies))


async def posted_again_at_once(load: Load, place: Field) -> None:
    """The same at several processes at the same time."""
    key, body = load.next_id(), load.short()
    await asyncio.gather(*(place.posts.post(key, body) for _ in range(3)))


async def posted_and_emitted(load: Load, place: Field) -> None:
    """The same on the topic, before, after or at the same time."""
    key, body = load.next_id(), load.short()
    emitted = place.send(event(REQUESTED, key, body))
    posted = place.posts.post(key, body, is_emitted_too=True)
    match load.random.randrange(3):
        case 0:
            await emitted
            await posted
        case 1:
            await posted
            await emitted
        case _:
            await asyncio.gather(emitted, posted)


async def posted_rivals(load: Load, place: Field) -> None:
    """Two contents under one key at the same time: one of them has it."""
    key, body = load.next_id(), load.short()
    bodies = [{**body, "spread_pips": spread} for spread in SPREADS]
    await asyncio.gather(*(place.posts.post(key, each, promised=(202, 409)) for each in bodies))


async def posted_conflict(load: Load, place: Field) -> None:
    """A key that was accepted, with other content."""
    if known := list(place.posts.accepted_runs()):
        body = {**load.short(), "initial_balance": load.random.randint(10_000, 99_999)}
        await place.posts.post(load.random.choice(known), body, promised=(409,))


async def posted_mistake(load: Load, place: Field) -> None:
    """It is refused; now and then the same key is mended, and is a new request."""
    key, body = load.next_id(), load.short()
    fault = load.random.choice(({"symbol": "NOSUCH"}, {"spread_pips": -1}, {"strategy_id": 99}, {"nobody": True}))
    await place.posts.post(key, {**body, **fault}, promised=(422,))
    if load.random.random() < 0.5:
        await place.posts.post(key, body)


async def posted_endless(load: Load, place: Field) -> None:
    """A run that would never end; the next wave cancels it over HTTP."""
    number = await place.posts.post(load.next_id(), configuration(ENDLESS, MODES[0], SPREADS[0]))
    if number is not None:
        load.posted_endless.append(number)


async def posted_cancelled_before(load: Load, place: Field) -> None:
    """Its cancel came by the topic, under the same request_id, and may be kept already."""
    key = load.next_id()
    await place.send(event(CANCEL_REQUESTED, f"cancel {key}", {"request_id": key}))
    await place.posts.post(key, load.short())


async def posted_cancel(load: Load, place: Field) -> None:
    """Of what was accepted before: it may wait, run or have ended."""
    if known := list(place.posts.accepted_runs().values()):
        await place.posts.cancel(load.random.choice(known).number)


async def posted_rerun(load: Load, place: Field) -> None:
    """Of a run that was accepted before, as it was or with another spread."""
    known = [each.number for each in place.posts.accepted_runs().values() if each.body.get("strategy_id") in SHORT]
    if known:
        body: dict[str, Any] = load.random.choice(({}, {"spread_pips": load.random.choice(SPREADS)}))
        key, path = load.next_id(), f"{RUNS}/{load.random.choice(known)}/rerun"
        for _ in range(load.random.choice((1, 2))):
            await place.posts.post(key, body, path=path)


async def posted_search(load: Load, place: Field) -> None:
    """Now and then once more; it is followed."""
    key, body = load.next_id(), load.random.choice(SEARCHES[:3])
    number = await place.posts.post(key, body, path=SEARCH_PATH)
    if load.random.random() < 0.5:
        await place.posts.post(key, body, path=SEARCH_PATH)
    if number is not None:
        place.posts.follow(number, path=SEARCH_PATH)


async def posted_cancelled_search(load: Load, place: Field) -> None:
    """While it waits, or is at work, or has ended."""
    number = await place.posts.post(load.next_id(), SEARCHES[1], path=SEARCH_PATH)
    if number is not None:
        await place.posts.cancel(number, path=SEARCH_PATH)


async def posted_run_of_a_model(load: Load, place: Field) -> None:
    body = advised(load.random.choice((BY_MODEL, BY_VOTE)), load.random.choice((ENOUGH, TIGHT)))
    await place.posts.post(load.next_id(), body)


async def _post(load: Load, place: Field, body: dict[str, Any]) -> str:
    """Once it is accepted the topic may bring it again, or contradict it."""
    key = load.next_id()
    await place.posts.post(key, body)
    load.sent.append(event(REQUESTED, key, body))
    return key


POSTED_KINDS: dict[Kind, int] = {
    posted_run: 6,
    posted_and_followed: 4,
    posted_burst: 3,
    posted_again_at_once: 3,
    posted_and_emitted: 4,
    posted_rivals: 3,
    posted_conflict: 2,
    posted_mistake: 3,
    posted_endless: 2,
    posted_cancelled_before: 2,
    posted_cancel: 2,
    posted_rerun: 3,
    posted_search: 2,
    posted_cancelled_search: 1,
    posted_run_of_a_model: 3,
}
