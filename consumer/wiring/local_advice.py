"""A run of this process that asks language models: its calls, their ledger, and a loop for both."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from consumer.adapters.language_models.ledger_file import LocalRun, open_ledger_file
from consumer.advice.desk import AdviceDesk
from consumer.advice.run_advice import AdviceTerms, RunAdvice
from consumer.clock import SystemClock
from consumer.ports.advice import (
    Advice,
    AdviceFailed,
    AdviceFigures,
    CallLedger,
    CallOutcome,
    CallRefused,
    CallSettings,
    Messages,
    MessageStore,
)
from consumer.preparation.questions import in_words_of_ports
from consumer.preparation.snapshot import specification_to_json
from consumer.rules.budget import specification_hash, waited_too_long
from consumer.settings import DatabaseSettings, ModelSettings, load_settings
from consumer.wiring.models import desk_limits, open_caller
from engine.deciders.advised import advisor
from engine.errors import AdviceFailed as RunAdviceFailed
from engine.errors import RunFailed
from engine.specification import Specification

_LONGEST_WAIT_SECONDS: Final = 0.1
WaitFor = Callable[[Callable[[], Awaitable[Any]]], Any]
"""Runs a coroutine on the loop, and waits."""


class RunLedger(CallLedger, MessageStore, Protocol):
    """A ledger that knows which runs there are of it."""

    def begin_run(self, specification: str) -> LocalRun: ...
    def end_run(self, run_id: int) -> None: ...


@contextmanager
def open_local_advisor(
    specification: Specification,
    ledger_path: Path | None,
    settings: ModelSettings,
    *,
    replays: bool,
    of_run: int | None = None,
) -> Iterator["LocalAdvisor"]:
    """An advisor for one run of the specification, or for another attempt at one that was broken off.

    ledger_path: None for the database's ledger. Whatever ends the run but its own end (a signal, a crash) leaves it to
    be gone on with, in a file; in the database each run is one of its own, which shares the answers of all.
    of_run: the run of the database that is replayed, whose calls its budget counts. Raises SettingsInvalid,
    LedgerUnusable, AlreadyAtWork.
    """
    advice = specification.advice
    assert advice is not None, "only runs that leave something to a model have an advisor"
    database = load_settings(DatabaseSettings) if ledger_path is None else None
    secrets = (*settings.secret_values(), *(() if database is None else database.secret_values()))
    # Before a file is opened: what cannot be reached leaves no ledger behind.
    caller = Nobody() if replays else open_caller(settings, specification.account_currency, secrets)
    with _event_loop() as wait_for, _ledger(ledger_path, database, wait_for) as ledger:
        hashed = specification_hash(specification_to_json(specification))
        run = ledger.begin_run(hashed) if of_run is None else LocalRun(of_run, 0)

        async def open_desk() -> AdviceDesk:
            return AdviceDesk(caller, ledger, ledger, SystemClock(), desk_limits(settings))

        terms = AdviceTerms(
            run_id=run.run_id,
            epoch=run.epoch,
            model=advice.model,
            settings=CallSettings(advice.max_answer_tokens, advice.temperature),
            max_calls=advice.max_calls,
            replays=replays,
            specification=hashed,
            start=specification.start,
        )
        desk: AdviceDesk = wait_for(open_desk)
        try:
            yield LocalAdvisor(RunAdvice(desk, terms), wait_for, settings.llm_run_timeout_seconds)
            ledger.end_run(run.run_id)
        except RunFailed:
            ledger.end_run(run.run_id)
            raise
        finally:
            wait_for(desk.close)


@contextmanager
def _ledger(path: Path | None, database: DatabaseSettings | None, wait_for: "WaitFor") -> Iterator[RunLedger]:
    if database is None:
        assert path is not None
        with open_ledger_file(path) as ledger:
            yield ledger
        return
    # Late: a run with a file needs no database's client.
    from consumer.wiring.local_calls import open_local_calls

    opened = open_local_calls(database)
    calls: RunLedger = wait_for(opened.__aenter__)
    try:
        yield calls
    finally:
        wait_for(lambda: opened.__aexit__(None, None, None))


@dataclass(slots=True)
class LocalAdvisor:
    """Implements engine.deciders.advised.advisor.Advisor."""

    run: RunAdvice
    wait_for: "WaitFor"
    timeout_seconds: float
    """For which the run may wait for answers, in all."""
    waited_seconds: float = field(default=0.0, init=False)

    def ask(self, questions: Sequence[advisor.Question]) -> Sequence[advisor.Answer | None]:
        asked = [in_words_of_ports(question) for question in questions]
        told = self.wait_for(lambda: self._within_the_limit(self.run.ask(asked)))
        if isinstance(told, AdviceFailed):
            raise RunAdviceFailed(told.code, told.message)
        return [None if text is None else advisor.Answer(text) for text in told]

    async def _within_the_limit(self, asking: Awaitable[Advice]) -> Advice:
        began = time.monotonic()
        try:
            async with asyncio.timeout(self.timeout_seconds - self.waited_seconds):
                return await asking
        except TimeoutError:
            return AdviceFailed("timeout", waited_too_long(self.timeout_seconds))
        finally:
            self.waited_seconds += time.monotonic() - began

    def figures(self) -> AdviceFigures:
        """What the run's calls came to, over all its attempts."""
        found: AdviceFigures = self.wait_for(self.run.final_figures)
        return found

    @property
    def warnings(self) -> tuple[str, ...]:
        found: tuple[str, ...] = self.wait_for(self.run.warnings)
        return found


class Nobody:
    """Implements ModelCaller for runs that ask nobody."""

    async def call(self, model: str, messages: Messages, settings: CallSettings) -> CallOutcome:
        return CallRefused("a replay calls nobody")

    async def close(self) -> None:
        """There is nothing to let go of."""


@contextmanager
def _event_loop() -> Iterator[WaitFor]:
    """A loop in a thread of its own; yields what runs a coroutine there and waits for it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="models", daemon=True)
    thread.start()

    def wait_for(make: Callable[[], Awaitable[Any]]) -> Any:
        async def awaited() -> Any:
            return await make()

        future = asyncio.run_coroutine_threadsafe(awaited(), loop)
        try:
            # In small waits: Polars' handler of SIGINT has the kernel restart a wait without an end.
            while not wait([future], _LONGEST_WAIT_SECONDS).done:
                pass
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
