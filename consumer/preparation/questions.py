"""From the engine's question to the one that ports carry: the only module that knows both."""

from datetime import UTC, datetime, timedelta
from typing import Final

from consumer.ports import advice
from engine.deciders.advised.advisor import Question

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def in_words_of_ports(question: Question) -> advice.Question:
    messages: advice.Messages = tuple((each.author, each.content) for each in question.messages)
    return advice.Question(_EPOCH + timedelta(microseconds=question.bar_time_us), question.role, messages)
