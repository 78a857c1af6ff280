"""One ask: its answers read, asked for once again where they cannot be taken, and what is decided by them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple, Protocol

import numpy as np

from engine.advice import Advice, DecidedBy
from engine.deciders.advised.advisor import Advisor, Question
from engine.deciders.advised.answers import (
    LONGEST_REASON,
    Said,
    Side,
    UnreadableAnswer,
    Verdict,
    level_problem,
    nearest_stop,
    read_answer,
)
from engine.deciders.advised.messages import asked_again
from engine.deciders.advised.questions import Account, Asker, Proposal
from engine.deciders.rules import CODES
from engine.kernel.layout import MARKET
from engine.numeric.rounding import round_price
from engine.numeric.times import iso_time
from engine.prepared import PreparedRun


@dataclass(frozen=True, slots=True)
class Word:
    """What came of an ask: an action with levels in prices. metadata: for the trade it opens.

    HOLD without metadata: nothing was said, or nothing that counts.
    """

    action: Verdict
    stop_loss: float | None = None
    take_profits: tuple[float, ...] = ()
    metadata: Mapping[str, Any] | None = None
    passes: bool = False
    """A rule's proposal is taken as it stands, and nothing else of this is looked at."""


HOLD: Final = Word("HOLD")
SIDES: Final[tuple[Side, ...]] = ("BUY", "SELL", "CLOSE")


class Consults(Protocol):
    """Decides what a model has a say in."""

    def consult(self, bar: int, account: Account, proposal: Proposal | None) -> Word:
        """Return what is decided at the close of a bar; a proposal's own levels are not repeated."""
        ...

    def warnings(self) -> tuple[str, ...]:
        """What whoever believes the run should know of the asking, once it is through."""
        ...


class Consulting:
    """Asks the advisor of a run. From the first question for which the budget has no room on it asks no more."""

    def __init__(self, run: PreparedRun, advice: Advice, advisor: Advisor) -> None:
        self._run, self._advice, self._advisor = run, advice, advisor
        self._asker = Asker(run, advice)
        self._spent_at: int | None = None
        self._missed = 0
        self._untaken: list[int] = []

    def consult(self, bar: int, account: Account, proposal: Proposal | None) -> Word:
        if self._spent_at is None and self._advice.max_calls < len(self._asker.roles):
            self._spent_at = int(self._run.time_us[bar])
            return HOLD
        if self._spent_at is not None:
            self._missed += 1
            return HOLD
        questions, unit = self._asker.questions(bar, account, proposal)
        middle, middle_name = float(self._run.bars.close[self._run.first + bar]), "the newest close"
        if proposal is not None and proposal.decision[3] is not None and proposal.decision[3][0] != MARKET:
            middle, middle_name = proposal.decision[3][5], "the order's price"
        prices = _Prices(unit, self._run.instrument.price_scale, self._advice.blind)
        said = self._said(questions, _Judge(middle, middle_name, prices, self._advice.min_confidence))
        votes = [None if each is None else self._counted(each, prices) for each in said]
        word = self._joined(votes, middle) if self._advice.decided_by is DecidedBy.MULTI_AGENT else votes[0] or HOLD
        if proposal is None:
            return word
        return _held_against(proposal, word, middle, changes_stop_only=self._validates)

    @property
    def _validates(self) -> bool:
        return self._advice.decided_by is DecidedBy.HYBRID_VALIDATOR

    def warnings(self) -> tuple[str, ...]:
        found = []
        if self._spent_at is not None:
            at, missed = iso_time(self._spent_at), self._missed + 1
            asks = "ask was" if missed == 1 else "asks were"
            alone = self._advice.decided_by is DecidedBy.LLM_ONLY
            left = ": what was open was left to its stops, targets and the end of data" if alone else ""
            found.append(
                f"max_llm_calls {self._advice.max_calls}: the budget was spent; the first bar whose ask did not fit is"
                f" at {at}, from which on no position was opened, and none closed, on a model's word{left};"
                f" {missed} {asks} not made or not finished"
            )
        if self._untaken:
            count, first = len(self._untaken), iso_time(self._untaken[0])
            what = f"{count} answer{'s' if count > 1 else ''} of the model could not be taken and count"
            found.append(f"{what}{'s' if count == 1 else ''} as HOLD, the first at {first}")
        return tuple(found)

    def _said(self, questions: Sequence[Question], judge: "_Judge") -> list[Said | None]:
        """Return what each question came to, None for an answer that cannot be taken or is not there."""
        answers = self._advisor.ask(questions)
        said: list[Said | None] = [None] * len(questions)
        again: list[tuple[int, Question]] = []
        for number, (question, answer) in enumerate(zip(questions, answers, strict=True)):
            if answer is None:
                self._spent_at = question.bar_time_us
                continue
            found = judge.read(answer.text)
            if isinstance(found, Said):
                said[number] = found
            else:
                added = asked_again(answer.text, found)
                again.append((number, replace(question, messages=(*question.messages, *added))))
        if again and self._spent_at is None:
            for (number, question), answer in zip(again, self._advisor.ask([each for _, each in again]), strict=True):
                if answer is None:
                    self._spent_at = question.bar_time_us
                second = None if answer is None else judge.read(answer.text)
                said[number] = second if isinstance(second, Said) else None
        self._untaken += [question.bar_time_us for number, question in again if said[number] is None]
        return said

    def _counted(self, said: Said, prices: "_Prices") -> Word:
        """Return a vote with its levels in prices; HOLD where it is not sure enough."""
        if said.action == "HOLD" or (said.confidence or 0.0) < self._advice.min_confidence:
            return HOLD
        metadata = {"reason": said.reason, "confidence": said.confidence}
        if said.action == "CLOSE":
            return Word("CLOSE", None, (), metadata)
        stop = None if said.stop_loss is None else prices.of(said.stop_loss)
        return Word(said.action, stop, tuple(prices.of(each) for each in said.take_profits), metadata)

    def _joined(self, votes: Sequence[Word | None], middle: float) -> Word:
        """Return the side with more than half of all roles, its nearest stop and the means of its targets."""
        for action in SIDES:
            own = [vote for vote in votes if vote is not None and vote.action == action]
            if 2 * len(own) > len(self._asker.roles):
                break
        else:
            return HOLD
        said = {
            role: dict(vote.metadata or {})
            for role, vote in zip(self._asker.roles, votes, strict=True)
            if vote is not None and vote.action == action
        }
        reasons = "; ".join(f"{role}: {each['reason']}" for role, each in said.items())
        metadata = {"reason": reasons[:LONGEST_REASON], "votes": said}
        stop = nearest_stop(middle, [vote.stop_loss for vote in own if vote.stop_loss is not None])
        return Word(action, stop, self._mean_targets(own, middle, CODES[action]), metadata)

    def _mean_targets(self, votes: Sequence[Word], middle: float, side: int) -> tuple[float, ...]:
        """Return the means of first, second, ... targets; one that is no farther than the one before it is left out."""
        means: list[float] = []
        nearer = middle
        for number in range(max(len(vote.take_profits) for vote in votes)):
            own = [vote.take_profits[number] for vote in votes if len(vote.take_profits) > number]
            mean = _on_grid(sum(own) / len(own), self._run.instrument.price_scale)
            if (mean - nearer) * side > 0.0:
                means.append(mean)
                nearer = mean
        return tuple(means)


def _on_grid(price: float, scale: float) -> float:
    return float(round_price(np.array(price), scale))


class _Prices(NamedTuple):
    """The unit of the prices that a model was shown, and of its levels."""

    unit: float
    scale: float
    blind: bool

    def of(self, level: float) -> float:
        return _on_grid(level * self.unit, self.scale) if self.blind else level

    def shown(self, price: float) -> float:
        return price / self.unit


@dataclass(frozen=True, slots=True)
class _Judge:
    """Reads answers at one close. middle: what lies between stop and targets, a price."""

    middle: float
    middle_name: str
    prices: _Prices
    min_confidence: float

    def read(self, text: str) -> Said | str:
        """Return what was said, or what is wrong with it."""
        try:
            said = read_answer(text)
        except UnreadableAnswer as error:
            return str(error)
        if said.action in ("BUY", "SELL"):
            middle = self.prices.shown(self.middle)
            problem = level_problem(said, CODES[said.action], middle, self.prices.of, self.middle_name)
            if problem is not None:
                return problem
        if said.confidence is None and self.min_confidence > 0.0 and said.action != "HOLD":
            return "confidence is missing"
        return said


def _held_against(proposal: Proposal, word: Word, middle: float, *, changes_stop_only: bool) -> Word:
    """Return a model's word on what a rule proposed: on its side, or nothing."""
    if word.action != proposal.action:
        return HOLD
    metadata = dict(word.metadata or {})
    if proposal.pattern_metadata is not None:
        metadata["rule"] = json.loads(proposal.pattern_metadata)
    if not changes_stop_only:
        return replace(word, metadata=metadata)
    own = proposal.decision[2][0]
    stop = word.stop_loss
    is_nearer = stop is not None and (np.isnan(own) or abs(stop - middle) < abs(own - middle))
    return Word(word.action, stop if is_nearer else None, (), metadata)
