"""What can go wrong of API processes: they die, stand still or lose Kafka, with posts in their hands."""

import asyncio
import signal
from contextlib import suppress

from tests.faults.api import Api
from tests.faults.faults import Fault, Trouble
from tests.faults.field import LEASE_SECONDS, lasting
from tests.faults.load import FEBRUARY
from tests.support.waiting import eventually

POSTS_AT_ONCE = 4
FIRST_ANSWER_SECONDS = 5
EXIT_SECONDS = 15
"""The promise is 10 s; a machine that does other things as well is given more."""
BODY = {"strategy_id": 1, **FEBRUARY, "execution_mode": "close_price", "spread_pips": 0.5}


async def api_killed_at_a_post(trouble: Trouble) -> None:
    """SIGKILL while it answers several; whoever was not answered asks another by the same keys."""
    if api := await _pick(trouble):
        children = api.process.children()
        posts = _posts(trouble, api)
        await _at_work_on(trouble, posts)
        api.process.send(signal.SIGKILL)
        await api.process.ended()
        await trouble.place.start_api()
        await asyncio.gather(*posts)
        await trouble.look_for_orphans(children)


async def api_stopped_past_its_lease(trouble: Trouble) -> None:
    """SIGSTOP with posts in its hands; others send what it has written, and it wakes up as a zombie."""
    if api := await _pick(trouble):
        posts = _posts(trouble, api)
        await _at_work_on(trouble, posts)
        api.process.send(signal.SIGSTOP)
        await lasting(LEASE_SECONDS * trouble.random.uniform(1.1, 4))
        api.process.send(signal.SIGCONT)
        await asyncio.gather(*posts)


async def api_terminated(trouble: Trouble) -> None:
    """SIGTERM while it answers, and a new one."""
    if api := await _pick(trouble):
        posts = asyncio.gather(*_posts(trouble, api))
        api.process.send(signal.SIGTERM)
        await trouble.exits_well(api.process, seconds=EXIT_SECONDS)
        await trouble.place.start_api()
        await posts


async def one_api_without_kafka(trouble: Trouble) -> None:
    """For longer than a lease: it takes what is posted all the same, and it goes out."""
    if api := await _pick(trouble):
        api.process.proxy.cut()
        await asyncio.gather(*_posts(trouble, api))
        await lasting(LEASE_SECONDS * trouble.random.uniform(0.5, 5))
        api.process.proxy.is_cut = False


API_FAULTS: dict[Fault, int] = {
    api_killed_at_a_post: 6,
    api_stopped_past_its_lease: 3,
    api_terminated: 2,
    one_api_without_kafka: 3,
}
"""With the weight of each."""


def _posts(trouble: Trouble, api: Api) -> "list[asyncio.Task[int | None]]":
    """Runs that are asked for at this process first."""
    first = trouble.sent
    trouble.sent += POSTS_AT_ONCE
    return [
        asyncio.create_task(trouble.place.posts.post(f"posted-{number}", BODY, first=api))
        for number in range(first, trouble.sent)
    ]


async def _at_work_on(trouble: Trouble, posts: "list[asyncio.Task[int | None]]") -> None:
    """Until just after one is answered, or soon: a process that has not asked the strategy's code yet takes a while."""
    if trouble.random.random() < 0.7:
        await asyncio.wait(posts, timeout=FIRST_ANSWER_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    await lasting(trouble.random.choice((0.0, 0.005, 0.02, 0.1)))


async def _pick(trouble: Trouble) -> Api | None:
    """One that answers, if one does soon."""

    async def probe() -> list[Api]:
        return [api for api in trouble.place.posts.alive if await api.answers()]

    with suppress(AssertionError):
        return trouble.random.choice(await eventually(probe, "an API that answers", seconds=15))
    return None
