"""The border to whoever asks language models: what a run asks, and what it is told.

The engine makes the messages and reads the answers. Providers, keys, the budget, retries, the ledger and time are the
advisor's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """One of a question's messages. content holds no NUL and no lone surrogate."""

    author: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Question:
    """One call to a model.

    bar_time_us: the deciding bar's open, microseconds since 1970, UTC. role: of `llm.roles` in multi_agent,
    else "". messages: the same inputs give the same bytes, in any process; nothing that was not known at the bar's
    close. The second asking of a question whose answer could not be read has two more: that answer, and what was wrong.
    """

    bar_time_us: int
    role: str
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said, as it said it; bounded in size by the advisor, judged by the engine."""

    text: str


class Advisor(Protocol):
    """Asks a model for one run. Keeps no more than max_llm_calls, over all attempts of the run."""

    def ask(self, questions: Sequence[Question]) -> Sequence[Answer | None]:
        """Return an answer to each question, in their order; blocks until all are there.

        All are begun, at the same time, or none is: where those of them that have no answer yet are more calls than
        the budget has left, every answer is None. A single None beside answers: a retry of that call would have been
        one call too many. Of two questions with the same key one call is sent.

        Raises engine.errors.AdviceFailed where the run has to end: the provider stays down, refuses, or a replay has
        no answer. What stops a run (a cancel, a deadline) is raised from here as from a progress report.
        """
        ...
