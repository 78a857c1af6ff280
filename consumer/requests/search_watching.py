"""Follows searches to their end by their events."""

from collections.abc import Callable
from typing import Final

from consumer.ports import Clock, Record
from consumer.ports.requests import Topics
from consumer.requests.event_feed import SEARCHES, EventFeed, News
from consumer.requests.search_states import SearchEnd, is_end_of_search
from consumer.requests.watching import SILENCE_SECONDS, DeadLettered, dead_letter_of
from schemas.outgoing import SearchEventData
from schemas.topics import Topic

TOPICS: Final = (*SEARCHES.topics, Topic.DEAD_LETTER)


async def follow_searches(
    topics: Topics,
    is_wanted: Callable[[SearchEventData], bool],
    clock: Clock,
    show: Callable[[News[SearchEventData]], None],
    *,
    from_beginning: bool,
    until_end: bool,
    deadline: float,
    on_skipped: Callable[[str], None] = lambda _: None,
    on_ready: Callable[[], None] = lambda: None,
    on_nothing: Callable[[], None] = lambda: None,
    on_silence: Callable[[], None] = lambda: None,
    is_refused: Callable[[Record], DeadLettered | None] = lambda _: None,
) -> SearchEnd | DeadLettered | None:
    """Show wanted events until the monotonic deadline, or the first terminal one, which is returned.

    on_ready: called once reading has begun: whoever sends then misses no answer. on_nothing: called once where all that
    the topics hold is read and nothing of it was wanted. on_silence: called once where nothing came for
    SILENCE_SECONDS. is_refused: asked of records of the dead-letter topic.
    """
    silent_until, is_told_of_nothing, is_told_of_silence = clock.monotonic() + SILENCE_SECONDS, False, False
    async with topics.reading(TOPICS, from_beginning=from_beginning) as reader:
        feed = EventFeed(SEARCHES, reader, clock, on_skipped=on_skipped)
        on_ready()
        while (now := clock.monotonic()) < deadline:
            for news in await feed.read(min(0.5, deadline - now)):
                if not is_wanted(news.event):
                    continue
                is_told_of_nothing = is_told_of_silence = True
                show(news)
                if until_end and is_end_of_search(news.event):
                    return news.event
            refused = next(filter(None, map(is_refused, feed.others)), None)
            if refused is not None:
                return refused
            if feed.has_caught_up and not is_told_of_nothing:
                is_told_of_nothing = True
                on_nothing()
            if not is_told_of_silence and clock.monotonic() >= silent_until:
                is_told_of_silence = True
                on_silence()
    return None


def refusal_of(sent_to: tuple[int, int]) -> Callable[[Record], DeadLettered | None]:
    """Whether a record is what the dead-letter topic says of the request sent to this partition and offset."""
    return lambda record: dead_letter_of(record, sent_to, Topic.OPTIMIZATION_REQUESTED)
