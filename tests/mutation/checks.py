"""What a mutant has to get past: goldens, then recorded random runs of the reference, then the unit tests.

The compiled loop runs as plain Python here (NUMBA_DISABLE_JIT=1), so that a mutant costs no compilation. A mutant is
put into the modules in memory; no file is written.
"""

import contextlib
import functools
import inspect
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from engine import simulation
from engine.errors import EngineError
from engine.kernel import loop as kernel
from engine.kernel import loop_with_orders as kernel_with_orders
from tests.engine import compiled_engine, reference
from tests.engine.compiled_engine import STYLES, Style
from tests.engine.goldens import Case, load_cases
from tests.engine.random_runs import RandomRun, random_runs
from tests.engine.test_against_reference import agree_on
from tests.engine.test_simulate_goldens import NOT_LOOKED_AT, test_engine_gives_the_hand_computed_figures
from tests.mutation.mutants import Mutant
from tests.mutation.targets import FIGURES_TESTS, NOT_WITHOUT_COMPILER, ROOT, RUNS_TESTS, TOO_SLOW_WITHOUT_COMPILER

CPU_SECONDS_A_STEP = 2.0
Killer = Literal["golden", "reference", "unit test", "import"]
KERNEL_STYLES: tuple[Style, ...] = ("columns", "bars")
"""A signal file drives the kernel as columns do."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A random run and what the reference made of it, None where it refuses."""

    run: RandomRun
    expected: reference.Simulation | None


@dataclass(frozen=True, slots=True)
class Checks:
    cases: tuple[Case, ...]
    recorded: tuple[Recorded, ...]


def prepare(seed_value: int, count: int) -> Checks:
    """Record the reference's answers once for all mutants, and make the loop run as plain Python."""
    np.seterr(all="ignore")
    kernel.__dict__["advance"] = simulation.__dict__["advance"] = _on_records(kernel.advance)
    kernel_with_orders.__dict__["advance"] = _on_records(kernel_with_orders.advance)
    recorded = [*_record(seed_value, count // 2, orders=False), *_record(seed_value, count - count // 2, orders=True)]
    cases = tuple(case for case in load_cases("", "orders") if case.name not in NOT_LOOKED_AT)
    return Checks(cases, tuple(recorded))


def killer_of(checks: Checks, module: str, thorough: bool) -> Killer | None:
    """Return the kind of check that notices the mutant now in memory, None if it survives.

    Of kernel mutants the unit tests are asked only when thorough: they are slow in plain Python and kill few.
    """
    of_kernel = module.startswith("kernel.")
    if not of_kernel and _fails_in_time(FIGURES_TESTS):
        return "unit test"
    for style in STYLES if thorough else KERNEL_STYLES:
        for case in checks.cases:
            _start_clock()
            if _fails(test_engine_gives_the_hand_computed_figures, case, style):
                return "golden"
    for number, recorded in enumerate(checks.recorded):
        _start_clock()
        if _fails(_agree, recorded, KERNEL_STYLES[number % 2]):
            return "reference"
    return "unit test" if thorough and _fails_in_time(RUNS_TESTS) else None


def put_in(mutant: Mutant) -> None:
    """Give the module's functions the mutant's code, and its constants to every module that took them over."""
    module = sys.modules[f"engine.{mutant.place.module}"]
    fresh = ModuleType(module.__name__)
    fresh.__file__ = module.__file__
    # Dataclasses look their module up while they are made.
    sys.modules[module.__name__] = fresh
    try:
        exec(compile(mutant.source, f"{module.__file__}", "exec"), fresh.__dict__)
    finally:
        sys.modules[module.__name__] = module
    for name, value in vars(fresh).items():
        old = vars(module).get(name)
        if inspect.isfunction(old) and old.__module__ == module.__name__:
            _transplant(inspect.unwrap(old), value)
        elif isinstance(value, int | float | tuple) and value != old:
            for taker in [each for key, each in sys.modules.items() if key.startswith("engine.")]:
                if vars(taker).get(name) is old:
                    setattr(taker, name, value)


def _transplant(old: Any, new: Any) -> None:
    code: CodeType = new.__code__
    if old.__code__.co_freevars == code.co_freevars:
        old.__code__, old.__defaults__, old.__kwdefaults__ = code, new.__defaults__, new.__kwdefaults__


def _on_records(plain: Any) -> Any:
    """Compiled code reads a record's fields as attributes; numpy does so on record arrays only."""

    @functools.wraps(plain)
    def advance(command: int, until: int, state: Any, rules: Any, *arrays: Any) -> int:
        given_arrays = [each.view(np.recarray) if each.dtype.names else each for each in arrays]
        return int(plain(command, until, state.view(np.recarray), rules.view(np.recarray), *given_arrays))

    return advance


def _record(seed_value: int, count: int, *, orders: bool) -> Iterator[Recorded]:
    runs: list[RandomRun] = []

    @seed(seed_value)
    @settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )
    @given(run=random_runs(orders=orders))
    def collect(run: RandomRun) -> None:
        runs.append(run)

    collect()
    for run in runs:
        try:
            yield Recorded(run, reference.simulate(**_arguments(run)))
        except reference.RunRefusedError:
            yield Recorded(run, None)


def _agree(recorded: Recorded, style: Style) -> None:
    if recorded.expected is None:
        with pytest.raises(EngineError):
            compiled_engine.simulate(**_arguments(recorded.run), style=style)
    else:
        agree_on(recorded.expected, compiled_engine.simulate(**_arguments(recorded.run), style=style), style)


def _arguments(run: RandomRun) -> dict[str, Any]:
    return {each.name: getattr(run, each.name) for each in fields(run)}


def _fails_in_time(tests: Sequence[str]) -> bool:
    _start_clock(60)
    deselected = " and ".join(f"not {name}" for name in (*NOT_WITHOUT_COMPILER, *TOO_SLOW_WITHOUT_COMPILER))
    files = [str(ROOT / "tests" / "engine" / name) for name in tests]
    options = ["-x", "-q", "-k", deselected, "-p", "no:cacheprovider"]
    # Hypothesis and others were imported before pytest could rewrite them: no matter here.
    options += ["-p", "no:hypothesispytest", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        return pytest.main([*options, *files]) != pytest.ExitCode.OK


def _fails(check: Callable[..., object], *arguments: object) -> bool:
    try:
        check(*arguments)
    except BaseException:  # pytest.raises fails with a BaseException; whatever it is, it noticed
        return True
    return False


def _start_clock(times: int = 1) -> None:
    """A mutant that never ends is ended by the system's signal."""
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS_A_STEP * times)
