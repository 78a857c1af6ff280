"""A run whose asks are counted and not made: the rule decides as if every answer let it pass."""

from typing import Final

from engine.advice import Advice
from engine.deciders.advised.consulting import HOLD, Word
from engine.deciders.advised.questions import Account, Asker, Proposal
from engine.deciders.advised.tokens import estimated_tokens
from engine.prepared import PreparedRun

_PASS: Final = Word("HOLD", passes=True)


class Counting:
    """Implements engine.deciders.advised.consulting.Consults. A model that decides alone holds all through.

    asks: how often it would be asked. prompt_tokens: of the longest of some of its questions, None before any.
    """

    def __init__(self, run: PreparedRun, advice: Advice) -> None:
        self._asker, self._advice = Asker(run, advice), advice
        self.asks = 0
        self.prompt_tokens: int | None = None

    @property
    def calls_an_ask(self) -> int:
        return len(self._asker.roles)

    def consult(self, bar: int, account: Account, proposal: Proposal | None) -> Word:
        if self._advice.max_calls < self.calls_an_ask:
            return HOLD
        self.asks += 1
        if self.asks.bit_count() == 1:  # the first, second, fourth, ...: questions grow with the bars there are
            questions, _ = self._asker.questions(bar, account, proposal)
            tokens = max(estimated_tokens(question.messages) for question in questions)
            self.prompt_tokens = max(tokens, self.prompt_tokens or 0)
        if proposal is None:
            return HOLD
        return _PASS

    def warnings(self) -> tuple[str, ...]:
        return ()
