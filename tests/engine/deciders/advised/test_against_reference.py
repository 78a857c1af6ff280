"""Runs that a model decides, put beside the reference, which is given the same decisions as a script."""

from dataclasses import asdict, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.advice import Advice, DecidedBy
from engine.deciders.advised.advisor import Question
from engine.deciders.advised.consulting import Consulting
from engine.deciders.advised.decider import AdvisedDecider, closes_between
from engine.deciders.decider import Decider
from engine.errors import EngineError
from tests.engine import compiled_engine, reference
from tests.engine.deciders.advised.scripted import Scripted, known_of, said
from tests.engine.random_runs import RandomRun, random_runs
from tests.engine.test_against_reference import agree_on

SLOW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def advice(mode: DecidedBy, max_calls: int = 10_000, **further: Any) -> Advice:
    return Advice(decided_by=mode, model="openai:test", max_calls=max_calls, **further)


def decided(rule: Decider | None, asked: Advice, advisor: Scripted) -> Decider:
    return AdvisedDecider(asked, rule, lambda run, its: Consulting(run, its, advisor))


@SLOW
@given(run=random_runs(calendar=True, orders=True), style=st.sampled_from(compiled_engine.STYLES[:2]))
def test_a_rule_whose_decisions_all_pass_is_the_rule(run: RandomRun, style: compiled_engine.Style) -> None:
    def lets_pass(question: Question) -> str:
        return said(known_of(question)["rule"]["action"])

    def judged(rule: Decider) -> Decider:
        return decided(rule, advice(DecidedBy.HYBRID_VALIDATOR), Scripted(lets_pass, budget=10_000))

    _agree(run, list(run.decisions), style, judged)


@SLOW
@given(
    run=random_runs(calendar=True),
    max_calls=st.integers(1, 30),
    fenced=st.booleans(),
)
def test_a_model_alone_is_a_script_of_what_it_said(run: RandomRun, max_calls: int, fenced: bool) -> None:
    bars = len(run.bars) - run.first_bar
    every = closes_between(bars, advice(DecidedBy.LLM_ONLY, max_calls)) or 1
    asked = [
        index >= run.first_bar and (index - run.first_bar) % every == 0 and not _is_skipped(run, index)
        for index in range(len(run.bars))
    ]
    decisions = [
        replace(each, volume=None) if each is not None and is_asked else None
        for each, is_asked in zip(run.decisions, asked, strict=True)
    ]
    by_time = {bar.time_us: each for bar, each in zip(run.bars, decisions, strict=True)}

    def answers(question: Question) -> str:
        decision = by_time[question.bar_time_us]
        if decision is None:
            return said("HOLD")
        text = said(decision.action, decision.stop_loss, *decision.take_profits)
        return f"```json\n{text}\n```" if fenced else text

    advisor = Scripted(answers, budget=max_calls)
    _agree(
        run,
        decisions,
        "columns",
        lambda _: decided(None, advice(DecidedBy.LLM_ONLY, max_calls), advisor),
    )
    assert len(advisor.asked) <= max_calls


def _agree(run: RandomRun, decisions: list[Any], style: compiled_engine.Style, decided_by: Any) -> None:
    arguments: dict[str, Any] = {each.name: getattr(run, each.name) for each in fields(run)}
    arguments["decisions"] = decisions
    try:
        expected = reference.simulate(**arguments)
    except reference.RunRefusedError:
        with pytest.raises(EngineError):
            compiled_engine.simulate(**arguments, style=style, decided_by=decided_by)
        return
    got = compiled_engine.simulate(**arguments, style=style, decided_by=decided_by)
    by_rule = [replace(row, exit_reason=_of_rule(row.exit_reason)) for row in got.trades]
    assert [asdict(row) for row in by_rule] == [asdict(row) for row in expected.trades]
    agree_on(expected, replace(got, trades=tuple(by_rule)), style)


def _of_rule(reason: Any) -> Any:
    return "signal" if reason == "llm_close" else reason


def _is_skipped(run: RandomRun, index: int) -> bool:
    config, bar = run.config, run.bars[index]
    closes_us = bar.close_us if bar.close_us is not None else bar.time_us + config.timeframe_us
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=closes_us)
    local = moment.astimezone(ZoneInfo(config.skip_timezone))
    return local.hour in config.skip_hours or local.weekday() in config.skip_weekdays
