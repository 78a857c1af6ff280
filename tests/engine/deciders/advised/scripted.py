"""A scripted model, and runs that ask it."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.advice import Advice, DecidedBy
from engine.deciders.advised.advisor import Answer, Question
from engine.deciders.advised.decider import advised
from engine.deciders.decider import Decider
from engine.market.bars import Bars
from engine.prepared import RunData
from engine.results.result import BacktestResult
from engine.simulate import run_backtest
from tests.engine.bar_builders import closes_bars, utc
from tests.engine.run_builders import EURUSD, specification_of

START = utc("2024-03-04 00:00")


def said(action: str, stop: float | None = None, *targets: float, **further: Any) -> str:
    """An answer as a model gives it."""
    answer = {"action": action, "stop_loss": stop, "take_profits": list(targets), "confidence": 0.5, "reason": "why"}
    return json.dumps({**answer, **further})


def known_of(question: Question) -> dict[str, Any]:
    """What the question says is known at the close."""
    known: dict[str, Any] = json.loads(question.messages[1].content)
    return known


@dataclass
class Scripted:
    """An advisor that answers as it is told: by the question, or by the row of the deciding bar (HOLD elsewhere).

    budget: calls that it may make. asked: every call, batches[i]: how many questions came at once.
    """

    script: Callable[[Question], str] | dict[int, str | list[str]]
    budget: int = 1_000
    asked: list[Question] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)

    def ask(self, questions: Sequence[Question]) -> list[Answer | None]:
        self.batches.append(len(questions))
        if len(self.asked) + len(questions) > self.budget:
            return [None] * len(questions)
        answers = []
        for question in questions:
            answers.append(Answer(self._answer(question)))
            self.asked.append(question)
        return list(answers)

    def bars(self, of: Bars) -> list[int]:
        """The rows of the bars that were asked about, in order."""
        return [of.time_us.tolist().index(question.bar_time_us) for question in self.asked]

    def _answer(self, question: Question) -> str:
        if callable(self.script):
            return self.script(question)
        row = round((question.bar_time_us - int(START.timestamp() * 1e6)) / 3_600e6)
        answer = self.script.get(row, said("HOLD"))
        if isinstance(answer, str):
            return answer
        before = sum(each.bar_time_us == question.bar_time_us for each in self.asked)
        return answer[min(before, len(answer) - 1)]


def hours(*closes: float) -> Bars:
    """H1 bars of these closes from Monday 2024-03-04 00:00 on."""
    return closes_bars("H1", START, closes)


def run(
    of: Bars,
    mode: DecidedBy,
    advisor: Scripted,
    /,
    *,
    rule: Decider | None = None,
    context: dict[str, Bars] | None = None,
    max_calls: int | None = None,
    changes: dict[str, Any] | None = None,
    **llm: Any,
) -> BacktestResult:
    """One run. llm: of Advice. changes: of the specification."""
    if max_calls is not None:
        advisor.budget = max_calls
    advice = Advice(
        decided_by=mode, model="openai:test", max_calls=advisor.budget if max_calls is None else max_calls, **llm
    )
    specification = specification_of(of, advice=advice, strategy_key=rule and "test", **(changes or {}))
    data = RunData(bars=of, context=context or {})
    return run_backtest(specification, EURUSD, data, advised(specification, rule, advisor))
