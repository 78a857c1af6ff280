"""Strategies' code, asked in processes of its own: what users registered never runs in the worker, and what this
program brings along would load a compiler and data frames into it. Implements `StrategyChecker`.

A checker (checker_handle) serves one package and has its modules imported. Checkers are apart from the engine children,
so that running backtests delay no request.
"""

import asyncio
import subprocess
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import structlog

from consumer.adapters.engine_pool.checker_handle import Answer, AskAnother, Checker, Trouble
from consumer.adapters.engine_pool.child_process import ChildStartFailed
from consumer.adapters.engine_pool.pool import end_guardian, start_guardian, write_to_stderr
from consumer.adapters.engine_pool.settings import EngineProcessSettings
from consumer.installed.strategy_code import Fingerprint, fingerprint, package_of
from consumer.ports import StrategyCheck, Verdict
from consumer.preparation.strategy_verdict import unchecked_params, verdict_of
from engine.errors import EngineError
from schemas.problems import MAX_MESSAGE_CHARACTERS, FieldProblem

MAX_CHECKERS: Final = 8
"""More than one a package are started only where strategies keep theirs busy."""
CHECKERS_A_STRATEGY: Final = 2
"""So that no strategy can keep all of them busy."""
PATIENCE_SECONDS: Final = 0.5
"""For a package's checker to be done with a check, before another one takes those that wait."""
IDLE_SECONDS: Final = 300.0
"""After which a checker that nobody asks gives its memory back, if it is not the only one."""
TROUBLE_SECONDS: Final = 60.0
"""For which a strategy that was in trouble is not asked again, unless its code changes."""
TROUBLES_WITH_PARAMS: Final = 3
"""Of a strategy within TROUBLE_SECONDS before it is not asked again: it may have been those parameters alone."""
WATCH_SECONDS: Final = 0.1
_About = tuple[str, bool]
"""A strategy, and whether it is asked about what a search varies: a search too wide to check must not have the strategy
refused for runs."""
_FIRST_BACKOFF_SECONDS: Final = 0.1
_LONGEST_BACKOFF_SECONDS: Final = 10.0
MOST_TRIES: Final = MAX_CHECKERS + 2
"""Of a check whose process somebody else kills, or whose code is changed, before it is its own doing."""

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Asked:
    """A check that waits for its verdict."""

    check: StrategyCheck
    package: str
    state: Fingerprint
    """Of the code when it was asked for."""
    verdict: "asyncio.Future[Verdict]"
    tries: int = 1


@dataclass(frozen=True, slots=True)
class _KnownTrouble:
    problem: FieldProblem
    state: Fingerprint
    until: float
    """Monotonic seconds."""
    count: int
    is_settled: bool
    """Not asked again."""


class StrategyCheckers:
    """Use it as an async context, in a thread that outlives it: checkers end with the thread that started them."""

    def __init__(
        self,
        settings: EngineProcessSettings,
        load_seconds: float,
        write_output: Callable[[bytes], None] = write_to_stderr,
    ) -> None:
        self._settings = settings
        self._load_seconds = load_seconds
        self._write_output = write_output
        self._checkers: set[Checker] = set()
        self._waiting: dict[str, deque[_Asked]] = {}
        """By package."""
        self._under_way: dict[StrategyCheck, _Asked] = {}
        self._troubles: dict[_About, _KnownTrouble] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._watcher: asyncio.Task[None] | None = None
        self._failed_starts = 0
        self._no_start_before = 0.0
        """Monotonic seconds."""
        self._closing = False
        self._marker = uuid.uuid4().hex
        self._guardian: subprocess.Popen[bytes] | None = None
        self._executor = ThreadPoolExecutor(max_workers=2, thread_name_prefix="checker-kill")

    async def __aenter__(self) -> Self:
        self._start("")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def check(self, checks: Collection[StrategyCheck]) -> AsyncIterator[Mapping[StrategyCheck, Verdict]]:
        """See StrategyChecker.check."""
        known, others = await asyncio.to_thread(self._sort_out, list(checks))
        if known:
            yield known
        answers = {self._ask(*other): other[0] for other in others}
        while answers:
            done, _ = await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
            yield {answers.pop(answer): answer.result() for answer in done}

    async def close(self) -> None:
        """Kill all checkers. Calling it again does nothing."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        for checker in self._checkers:
            checker.kill()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._checkers:
            await asyncio.wait([checker.process.ended for checker in self._checkers])
        for asked in self._under_way.values():
            asked.verdict.cancel()
        self._executor.shutdown(wait=False)
        if self._guardian is not None:
            end_guardian(self._guardian)
            self._guardian = None

    @property
    def pids(self) -> tuple[int, ...]:
        """Of checkers that are up."""
        return tuple(checker.process.pid for checker in self._checkers)

    # --- what needs no checker ----------------------------------------------------------------------------------

    def _sort_out(
        self, checks: Sequence[StrategyCheck]
    ) -> tuple[dict[StrategyCheck, Verdict], list[tuple[StrategyCheck, str, Fingerprint]]]:
        """Verdicts of what is not registered, and of what was in trouble just now; the others with package and state of
        their code. In a thread: it reads folders.
        """
        known: dict[StrategyCheck, Verdict] = {}
        others = []
        for check in checks:
            try:
                package, state = package_of(check.key), fingerprint(check.key)
            except EngineError:
                known[check] = verdict_of(check)  # says why it is not registered
                continue
            trouble = self._troubles.get(_about(check))
            if trouble is not None and trouble.is_settled and self._still_holds(trouble, state):
                known[check] = (_remembered(trouble.problem),)
            else:
                others.append((check, package, state))
        return known, others

    def _still_holds(self, trouble: _KnownTrouble, state: Fingerprint) -> bool:
        return trouble.state == state and time.monotonic() < trouble.until

    # --- what does ----------------------------------------------------------------------------------------------

    def _ask(self, check: StrategyCheck, package: str, state: Fingerprint) -> "asyncio.Future[Verdict]":
        """Queue a check, once however often it is asked for meanwhile."""
        asked = self._under_way.get(check)
        if asked is None:
            asked = _Asked(check, package, state, asyncio.get_running_loop().create_future())
            self._under_way[check] = asked
            self._waiting.setdefault(package, deque()).append(asked)
            self._dispatch()
        return asked.verdict

    def _dispatch(self) -> None:
        """Give each check that waits to a checker that is free for it, oldest first within a package."""
        for package, queue in list(self._waiting.items()):
            for asked in list(queue):
                if self._is_busy_enough(asked.check.key):
                    continue
                checker = self._checker_for(package)
                if checker is None:
                    break
                queue.remove(asked)
                self._spawn(self._see_through(asked, checker.ask(asked.check)))
            if not queue:
                del self._waiting[package]

    def _is_busy_enough(self, key: str) -> bool:
        return sum(checker.busy_with == key for checker in self._checkers) >= CHECKERS_A_STRATEGY

    def _checker_for(self, package: str) -> Checker | None:
        """A free one, bound to the package; None: one is on its way or will be free soon, or there are enough."""
        if self._closing:
            return None
        own = [checker for checker in self._checkers if checker.package == package]
        free = next((checker for checker in own if checker.is_free), None)
        if free is not None:
            return free
        coming = sum(checker.busy_seconds < PATIENCE_SECONDS for checker in own)
        stuck = len(own) - coming
        # At first one is enough for a package. When it is stuck, one for each strategy that waits: these may be too.
        if coming >= (len({asked.check.key for asked in self._waiting[package]}) if stuck else 1):
            return None
        spare = next((checker for checker in self._checkers if not checker.package), None)
        if spare is not None:
            spare.package = package
            return spare if spare.is_free else None
        if len(self._checkers) < MAX_CHECKERS:
            self._start(package)
        elif idle := [checker for checker in self._checkers if checker.is_free]:
            min(idle, key=lambda checker: checker.free_since).kill()  # its end makes room
        return None

    def _start(self, package: str) -> None:
        """Start a checker, unless the last one could not be started just now: then its checks try again."""
        if time.monotonic() < self._no_start_before:
            return
        if self._guardian is None:
            self._guardian = start_guardian(self._marker)
        try:
            checker = Checker(
                self._settings, self._load_seconds, self._marker, self._executor, self._write_output, package
            )
        except OSError as error:
            self._back_off(error)
            return
        self._checkers.add(checker)
        checker.process.ended.add_done_callback(lambda _: self._on_end(checker))
        self._spawn(self._become_ready(checker))
        if self._watcher is None or self._watcher.done():
            self._watcher = self._spawn(self._watch())

    async def _become_ready(self, checker: Checker) -> None:
        try:
            await checker.process.wait_until_ready()
        except ChildStartFailed as error:
            self._back_off(error)
            checker.kill()
        else:
            self._failed_starts = 0
            self._dispatch()

    def _back_off(self, error: Exception) -> None:
        self._failed_starts += 1
        pause = min(_FIRST_BACKOFF_SECONDS * 2**self._failed_starts, _LONGEST_BACKOFF_SECONDS)
        log.error("checker_start_failed", failures=self._failed_starts, error=str(error))
        self._no_start_before = time.monotonic() + pause
        asyncio.get_running_loop().call_later(pause, self._dispatch)

    def _on_end(self, checker: Checker) -> None:
        self._checkers.discard(checker)
        self._dispatch()

    async def _see_through(self, asked: _Asked, answer: "asyncio.Future[Answer]") -> None:
        """Settle the check by the checker's answer, or queue it again, before those that wait."""
        match await answer:
            case Trouble() as trouble:
                self._note(trouble, asked)
                self._settle(asked, (trouble.problem,))
            case AskAnother() as why if asked.tries == MOST_TRIES:
                how = "killed" if why is AskAnother.KILLED else "outdated by changes of its code"
                told = f"its process was {how} {MOST_TRIES} times"
                self._settle(asked, (unchecked_params(asked.check.key, told),))
            case AskAnother() as why:
                log.info("strategy_asked_again", key=asked.check.key, why=why.value)
                asked.tries += 1
                self._waiting.setdefault(asked.package, deque()).appendleft(asked)
            case problems:
                self._settle(asked, problems)
        self._dispatch()

    def _settle(self, asked: _Asked, verdict: Verdict) -> None:
        del self._under_way[asked.check]
        asked.verdict.set_result(verdict)

    def _note(self, trouble: Trouble, asked: _Asked) -> None:
        """Remember it: the next requests for the strategy must not wait as long, one after the other."""
        key, about, now = asked.check.key, _about(asked.check), time.monotonic()
        before = self._troubles.get(about)
        count = before.count + 1 if before is not None and before.state == asked.state and now < before.until else 1
        is_settled = trouble.at_import or count >= TROUBLES_WITH_PARAMS
        known = _KnownTrouble(trouble.problem, asked.state, now + TROUBLE_SECONDS, count, is_settled)
        at_fault = {(key, True), (key, False)} if trouble.at_import else {about}
        self._troubles |= dict.fromkeys(at_fault, known)
        log.warning("strategy_in_trouble", key=key, message=trouble.problem.message, count=count)
        if is_settled:
            for other in [each for each in self._waiting.get(asked.package, ()) if _about(each.check) in at_fault]:
                self._waiting[asked.package].remove(other)
                self._settle(other, (_remembered(trouble.problem),))

    async def _watch(self) -> None:
        """Hold checks to their limits, see to those that wait behind a slow one, and let go of idle checkers."""
        last_tick = time.monotonic()
        while self._checkers:
            await asyncio.sleep(WATCH_SECONDS)
            now = time.monotonic()
            for checker in tuple(self._checkers):
                checker.watch(now - last_tick)
                is_spared = checker.is_free and now - checker.free_since > IDLE_SECONDS
                if is_spared and len(self._checkers) > 1:
                    checker.kill()
            last_tick = now
            self._dispatch()

    def _spawn(self, step: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(step)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _about(check: StrategyCheck) -> _About:
    return check.key, bool(check.space)


def _remembered(problem: FieldProblem) -> FieldProblem:
    told = f"; it is not asked again for {TROUBLE_SECONDS:g} s, unless its code changes"
    return replace(problem, message=problem.message[: MAX_MESSAGE_CHARACTERS - len(told)] + told)
