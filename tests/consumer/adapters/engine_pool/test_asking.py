"""A child asks its worker, and the run is stopped, held to its limits and answered while it waits."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from consumer.adapters.engine_pool.pool import EngineProcesses
from consumer.ports import EngineProgress, EngineTask, StopSignal
from consumer.ports.advice import Advice, AdviceFailed, Question
from consumer.ports.outcomes import ChildDied, Completed, EngineOutcome, Failed, Stopped
from tests.consumer.adapters.engine_pool.behaviours import QUESTION
from tests.consumer.pools import run, settings, task, until


class Adviser:
    """Answers after the gate is open, and keeps what it was asked."""

    def __init__(self, advice: Advice | None = None) -> None:
        self.advice = advice
        self.asked: list[tuple[Question, ...]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.cancelled = False

    async def __call__(self, questions: Sequence[Question]) -> Advice:
        self.asked.append(tuple(questions))
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return self.advice if self.advice is not None else (f"answer {len(self.asked)} \u00e9", None)[: len(questions)]


@pytest.fixture(scope="module")
async def pool() -> AsyncIterator[EngineProcesses]:
    async with EngineProcesses(settings(slots=1)) as processes:
        yield processes


def asking(file: Path, asks: int = 1, at_once: int = 1) -> EngineTask:
    return task("asks", asks=asks, at_once=at_once, file=str(file))


def unheard(_: EngineProgress) -> None:
    pass


async def ask(pool: EngineProcesses, adviser: Adviser, file: Path, asks: int = 1, at_once: int = 1) -> EngineOutcome:
    return await pool.run(asking(file, asks, at_once), unheard, StopSignal(), adviser)


async def test_answers_come_to_the_questions_that_were_asked(pool: EngineProcesses, tmp_path: Path) -> None:
    adviser = Adviser()

    assert isinstance(await ask(pool, adviser, tmp_path / "told", asks=2, at_once=2), Completed)

    assert adviser.asked == [(QUESTION, QUESTION)] * 2
    assert json.loads((tmp_path / "told").read_text()) == [["answer 1 \u00e9", None], ["answer 2 \u00e9", None]]


async def test_a_refusal_fails_the_run_with_its_code(pool: EngineProcesses, tmp_path: Path) -> None:
    outcome = await ask(pool, Adviser(AdviceFailed("llm_refused", "status 401")), tmp_path / "told")

    assert outcome == Failed("llm_refused", "status 401")


async def test_a_run_that_waits_for_an_answer_is_stopped_within_its_second(
    pool: EngineProcesses, tmp_path: Path
) -> None:
    adviser, stop = Adviser(), StopSignal()
    adviser.gate.clear()
    running = asyncio.ensure_future(pool.run(asking(tmp_path / "told"), unheard, stop, adviser))
    await until(lambda: bool(adviser.asked))

    began = time.monotonic()
    stop.set()

    assert await running == Stopped()
    assert time.monotonic() - began < 1
    assert adviser.cancelled
    assert isinstance(await run(pool, "well"), Completed)


async def test_waiting_for_an_answer_has_a_limit_of_its_own(tmp_path: Path) -> None:
    adviser = Adviser()
    adviser.gate.clear()
    async with EngineProcesses(settings(slots=1, run_timeout_seconds=0.4, advice_timeout_seconds=1.2)) as pool:
        running = asyncio.ensure_future(ask(pool, adviser, tmp_path / "told"))
        await until(lambda: bool(adviser.asked))
        began = time.monotonic()
        outcome = await running

    assert outcome == Failed("timeout", "the run waited for its model longer than LLM_RUN_TIMEOUT_SECONDS, 1.2 s")
    assert time.monotonic() - began > 1
    assert adviser.cancelled


async def test_a_child_that_asks_for_a_run_without_a_model_is_not_believed(
    pool: EngineProcesses, tmp_path: Path
) -> None:
    outcome = await pool.run(asking(tmp_path / "told"), unheard, StopSignal())

    assert isinstance(outcome, ChildDied)
    assert "a question that the run may not ask" in outcome.description


async def test_a_defect_of_the_adviser_is_told_to_who_runs_the_task(pool: EngineProcesses, tmp_path: Path) -> None:
    async def broken(questions: Sequence[Question]) -> Advice:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        await pool.run(asking(tmp_path / "told"), unheard, StopSignal(), broken)
