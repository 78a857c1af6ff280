"""A run of this process that asks language models: its calls, their ledger, and a loop for both."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

from consumer.adapters.language_models.ledger_file import LedgerFile, open_ledger_file
from consumer.advice.desk import AdviceDesk
from consumer.advice.run_advice import AdviceTerms, RunAdvice
from consumer.clock import SystemClock
from consumer.ports.advice import (
    AdviceFailed,
    AdviceFigures,
    CallOutcome,
    CallRefused,
    CallSettings,
    Messages,
    ModelCaller,
    Question,
)
from consumer.preparation.snapshot import specification_to_json
from consumer.rules.budget import specification_hash
from consumer.settings import ModelSettings
from consumer.wiring.models import desk_limits
from engine.advice import Advice
from engine.deciders.advised import advisor
from engine.errors import AdviceFailed as RunAdviceFailed
from engine.errors import RunFailed
from engine.specification import Specification

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
Result = TypeVar("Result")


@contextmanager
def open_local_advisor(
    specification: Specification, ledger_path: Path, settings: ModelSettings, *, replays: bool
) -> Iterator["LocalAdvisor"]:
    """An advisor for one run of the specification, or for another attempt at one that was broken off.

    Whatever ends the run but its own end (a signal, a crash) leaves it to be gone on with. Raises SettingsInvalid,
    LedgerUnusable, AlreadyAtWork.
    """
    advice = specification.advice
    assert advice is not None, "only runs that leave something to a model have an advisor"
    # Before the file is opened: what cannot be reached leaves no ledger behind.
    caller = Nobody() if replays else open_models(advice.model, settings, specification.account_currency)
    with open_ledger_file(ledger_path) as ledger, _event_loop() as wait_for:
        run, limits = _begun(specification, ledger), desk_limits(settings)

        async def open_desk() -> AdviceDesk:
            return AdviceDesk(caller, ledger, ledger, SystemClock(), limits)

        desk = wait_for(open_desk)
        terms = _terms(specification, advice, run, replays=replays)
        try:
            yield LocalAdvisor(RunAdvice(desk, terms), wait_for)
            ledger.end_run(terms.run_id)
        except RunFailed:
            ledger.end_run(terms.run_id)
            raise
        finally:
            wait_for(desk.close)


@dataclass(frozen=True, slots=True)
class LocalAdvisor:
    """Implements engine.deciders.advised.advisor.Advisor. wait_for: runs a coroutine on the loop, and waits."""

    run: RunAdvice
    wait_for: Callable[[Callable[[], Awaitable[Any]]], Any]

    def ask(self, questions: Sequence[advisor.Question]) -> Sequence[advisor.Answer | None]:
        asked = [_in_words_of_ports(question) for question in questions]
        told = self.wait_for(lambda: self.run.ask(asked))
        if isinstance(told, AdviceFailed):
            raise RunAdviceFailed(told.code, told.message)
        return [None if text is None else advisor.Answer(text) for text in told]

    def figures(self) -> AdviceFigures:
        """What the run's calls came to, over all its attempts."""
        found: AdviceFigures = self.wait_for(self.run.final_figures)
        return found


class Nobody:
    """Implements ModelCaller for runs that ask nobody."""

    async def call(self, model: str, messages: Messages, settings: CallSettings) -> CallOutcome:
        return CallRefused("a replay calls nobody")

    async def close(self) -> None:
        """There is nothing to let go of."""


def open_models(model: str, settings: ModelSettings, account_currency: str) -> ModelCaller:
    """What calls a model. Raises SettingsInvalid for one that cannot be reached with what is configured."""
    # Late: a model's client takes a second to load, which other runs need not wait for.
    from consumer.adapters.language_models.caller import LanguageModels, Prices
    from engine.deciders.advised.answers import ANSWER_SCHEMA

    priced = settings.llm_input_price is not None and settings.llm_output_price is not None
    key = settings.llm_api_key.get_secret_value() if settings.llm_api_key is not None else None
    return LanguageModels(
        [model],
        default_model=settings.llm_model or model,
        base_url=settings.llm_base_url,
        api_key=key,
        prices=Prices(settings.llm_input_price or 0.0, settings.llm_output_price or 0.0) if priced else None,
        uses_price_list=account_currency == "USD",
        schema=ANSWER_SCHEMA,
        timeout_seconds=settings.llm_timeout_seconds,
        secrets=(),
    )


def _begun(specification: Specification, ledger: LedgerFile) -> tuple[int, int]:
    return ledger.begin_run(_hash_of(specification))


def _hash_of(specification: Specification) -> str:
    return specification_hash(specification_to_json(specification))


def _terms(specification: Specification, advice: Advice, run: tuple[int, int], *, replays: bool) -> AdviceTerms:
    return AdviceTerms(
        run_id=run[0],
        epoch=run[1],
        model=advice.model,
        settings=CallSettings(advice.max_answer_tokens, advice.temperature),
        max_calls=advice.max_calls,
        replays=replays,
        specification=_hash_of(specification),
        start=specification.start,
    )


def _in_words_of_ports(question: advisor.Question) -> Question:
    messages = tuple((each.author, each.content) for each in question.messages)
    return Question(_EPOCH + timedelta(microseconds=question.bar_time_us), question.role, messages)


@contextmanager
def _event_loop() -> Iterator[Callable[[Callable[[], Awaitable[Result]]], Result]]:
    """A loop in a thread of its own; yields what runs a coroutine there and waits for it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="models", daemon=True)
    thread.start()

    def wait_for(make: Callable[[], Awaitable[Result]]) -> Result:
        async def awaited() -> Result:
            return await make()

        future = asyncio.run_coroutine_threadsafe(awaited(), loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # Ctrl-C: what is not begun is not begun
            raise

    try:
        yield wait_for
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
