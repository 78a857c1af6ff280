"""What one run may ask, and what it gets: from the ledger where an answer is there, else by a call of its budget."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from consumer.advice.desk import Abandoned, AdviceDesk, Fenced, NotSent, Wanted
from consumer.errors import StoreUnavailable
from consumer.ports import Claim
from consumer.ports.advice import (
    Advice,
    AdviceFailed,
    AdviceFigures,
    Call,
    CallFailed,
    CallRefused,
    CallSettings,
    CallsMade,
    KnownAnswer,
    Question,
)
from consumer.ports.outcomes import Completed
from consumer.retries import retry_while_unavailable
from consumer.rules.budget import Budget, cutoff_warnings, failure_warnings, question_key, specification_hash

FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class AdviceTerms:
    """What of a claim concerns its calls."""

    run_id: int
    epoch: int
    model: str
    settings: CallSettings
    max_calls: int
    replays: bool
    """Never calls: a question without an answer ends the run."""
    specification: str
    """Its hash."""
    start: datetime
    """Of the run."""


def terms_of(claim: Claim) -> AdviceTerms | None:
    """None: the rule decides alone."""
    advice: Mapping[str, Any] | None = claim.specification.get("advice")
    if advice is None:
        return None
    return AdviceTerms(
        run_id=claim.run_id,
        epoch=claim.epoch,
        model=advice["model"],
        settings=CallSettings(advice["max_answer_tokens"], advice["temperature"]),
        max_calls=advice["max_calls"],
        replays=claim.facts.llm_replay,
        specification=specification_hash(claim.specification),
        start=datetime.fromisoformat(claim.specification["start"]),
    )


class _RunEnds(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.told = AdviceFailed(code, message)


@dataclass(slots=True)
class RunAdvice:
    """The questions of one attempt of a run. `ask` is a `ports.advice.Advise`; one ask at a time."""

    desk: AdviceDesk
    terms: AdviceTerms
    budget: Budget | None = field(default=None, init=False)
    """None until the first question."""
    own: AdviceFigures = field(default_factory=AdviceFigures, init=False)
    """Of the run's calls, by the ledger when the attempt began, and by their answers since."""
    never_begun: int = field(default=0, init=False)
    """Numbers that earlier attempts gave, under which nothing was begun."""
    of_others: set[str] = field(default_factory=set, init=False)
    """Keys answered by other runs' calls."""
    unsent: dict[str, Call] = field(default_factory=dict, init=False)
    """By key: begun, and not sent for want of a connection."""

    async def ask(self, questions: Sequence[Question]) -> Advice:
        """See Advise. Waits for ever where the run is another worker's by now: it is about to be stopped."""
        try:
            return await self._ask(questions)
        except _RunEnds as end:
            return end.told

    def figures(self) -> AdviceFigures:
        """So far."""
        used = self.budget.last_number - self.never_begun if self.budget is not None else 0
        return replace(self.own, llm_calls_used=used, llm_calls_cached=len(self.of_others))

    async def final_figures(self) -> AdviceFigures:
        """At the run's end, by the ledger: it has the calls of other attempts too, whenever they were answered."""
        return replace((await self._made()).figures, llm_calls_cached=len(self.of_others))

    async def warnings(self) -> tuple[str, ...]:
        """What is to be known of the run's calls at its end; no part of the result's digest."""
        cutoff = cutoff_warnings(self.terms.start, self.desk.limits.cutoff)
        if (await self._made()).unanswered == 0:
            return cutoff
        calls = await retry_while_unavailable(lambda: self.desk.ledger.calls_of(self.terms.run_id), StoreUnavailable)
        return (*failure_warnings(calls), *cutoff)

    async def told_with(self, outcome: Completed) -> Completed:
        """The result with what its calls came to, in its metrics too."""
        figures = await self.final_figures()
        warnings = (*outcome.warnings, *await self.warnings())
        metrics = {**outcome.metrics, **asdict(figures), "warnings": list(warnings)}
        return replace(outcome, llm=figures, warnings=warnings, metrics=metrics)

    async def _ask(self, questions: Sequence[Question]) -> tuple[str | None, ...]:
        budget = await self._begun_budget()
        keys = [question_key(self.terms.model, self.terms.settings, question.messages) for question in questions]
        answers = await self._known(keys)
        missing = {key: question for key, question in zip(keys, questions, strict=True) if key not in answers}
        if missing:
            if not await self._may_call(missing, budget):
                return (None,) * len(questions)
            called = await _all_or_first_error([self._obtain(key, missing[key], budget) for key in missing])
            answers |= dict(zip(missing, called, strict=True))
        return tuple(answers[key] for key in keys)

    async def _begun_budget(self) -> Budget:
        if self.budget is None:
            made = await self._made()
            self.own = made.figures
            self.never_begun = made.last_number - made.figures.llm_calls_used
            self.budget = Budget(self.terms.max_calls, made.last_number, made.unanswered)
        return self.budget

    async def _made(self) -> CallsMade:
        return await retry_while_unavailable(lambda: self.desk.ledger.made(self.terms.run_id), StoreUnavailable)

    @property
    def scope(self) -> int | None:
        return None if self.desk.limits.shares_answers or self.terms.replays else self.terms.run_id

    async def _known(self, keys: Sequence[str]) -> dict[str, str | None]:
        found = await retry_while_unavailable(lambda: self.desk.ledger.answers(set(keys), self.scope), StoreUnavailable)
        return {key: self._taken(key, answer) for key, answer in found.items()}

    def _taken(self, key: str, answer: KnownAnswer) -> str:
        if answer.run_id != self.terms.run_id:
            self.of_others.add(key)
        return answer.text

    async def _may_call(self, missing: Mapping[str, Question], budget: Budget) -> bool:
        """Whether the calls of an ask fit, all of them; then they are set aside."""
        first = next(iter(missing))
        specification, ledger = self.terms.specification, self.desk.ledger
        if budget.is_spent:
            return False
        if self.scope is None and await retry_while_unavailable(
            lambda: ledger.is_limit(specification, first), StoreUnavailable
        ):
            budget.is_spent = True
            return False
        if self.terms.replays and budget.reserve(len(missing)):
            bar_time = missing[first].bar_time
            raise _RunEnds(
                "llm_replay_miss",
                f"at {bar_time:%Y-%m-%dT%H:%M:%SZ}: the ledger has no answer to what the run asks there",
            )
        if budget.reserve(len(missing)):
            return True
        if self.scope is None and budget.unanswered == 0:
            await retry_while_unavailable(lambda: ledger.note_limit(specification, first), StoreUnavailable)
        return False

    async def _obtain(self, key: str, question: Question, budget: Budget) -> str | None:
        """An answer, by as many calls as it takes; one is set aside. None: the budget has no room for another one."""
        calls = _CallsOfKey(self, key, question, budget)
        failures = 0
        deadline: float | None = None
        try:
            while calls.may_go_on():
                end = await self.desk.call(calls.wanted())
                match end:
                    case KnownAnswer():
                        if calls.has_begun:
                            self.own = (await self._made()).figures
                        return self._taken(key, end)
                    case Abandoned():
                        continue
                    case Fenced():
                        await asyncio.Event().wait()
                        continue
                    case CallRefused(message):
                        raise _RunEnds("llm_refused", message)
                    case NotSent(failure=failure):
                        if calls.has_begun:
                            self.unsent[key] = end.call
                    case CallFailed() as failure:
                        budget.unanswered += calls.has_begun
                failures += 1
                now = self.desk.clock.monotonic()
                deadline = deadline if deadline is not None else now + self.desk.limits.patience_seconds
                await self._pause(failure, failures, deadline - now)
            return None
        finally:
            calls.end()

    async def _pause(self, failure: CallFailed, failures: int, patience_left: float) -> None:
        """Wait before the call is sent again. Raises _RunEnds where that would be too late."""
        asked_for = failure.retry_after_seconds or 0.0
        if asked_for > self.desk.limits.patience_seconds:
            await self._drop_unsent()
            raise _RunEnds(
                "llm_refused",
                f"the model's provider asks for a pause of {asked_for:g} s, which is more than"
                f" BACKTEST_LLM_PATIENCE_SECONDS, {self.desk.limits.patience_seconds:g} s: {failure.message}",
            )
        if patience_left <= 0 or asked_for > patience_left:
            await self._drop_unsent()
            raise _RunEnds(
                "llm_unavailable",
                f"no answer from the model within BACKTEST_LLM_PATIENCE_SECONDS,"
                f" {self.desk.limits.patience_seconds:g} s; the last failure: {failure.message}",
            )
        pause = min(FIRST_PAUSE_SECONDS * 2 ** (failures - 1), LONGEST_PAUSE_SECONDS, patience_left)
        await self.desk.sleep(max(pause, asked_for))

    async def _drop_unsent(self) -> None:
        """Say of calls that were begun and never sent that they failed."""
        while self.unsent:
            _, call = self.unsent.popitem()
            await self.desk.settle(call, CallFailed("no connection to the model's provider"), 0, self.scope)


@dataclass(slots=True)
class _CallsOfKey:
    """The calls for one question, one after the other, the first of which is set aside in the budget."""

    run: RunAdvice
    key: str
    question: Question
    budget: Budget
    is_set_aside: bool = True
    has_begun: bool = False
    """The call that was wanted last is this run's own; False: it was another run's, or never made."""

    def may_go_on(self) -> bool:
        if not self.is_set_aside and self.key not in self.run.unsent:
            self.is_set_aside = self.budget.reserve(1)
            return self.is_set_aside
        return True

    def wanted(self) -> Wanted:
        self.has_begun = False
        terms = self.run.terms
        return Wanted(self.key, self.run.scope, terms.model, terms.settings, self.question.messages, self._begin)

    async def _begin(self) -> Call | None:
        terms = self.run.terms
        call = self.run.unsent.pop(self.key, None)
        if call is None:
            self.is_set_aside = False
            number = self.budget.take()
            call = Call(terms.run_id, terms.epoch, number, self.question, self.key, terms.model)
        self.has_begun = True
        begun = await retry_while_unavailable(lambda: self.run.desk.ledger.begin(call), StoreUnavailable)
        return call if begun else None

    def end(self) -> None:
        if self.is_set_aside:
            self.budget.release()


async def _all_or_first_error(calls: Sequence[Coroutine[Any, Any, str | None]]) -> list[str | None]:
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
