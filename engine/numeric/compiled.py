"""The one way this package compiles a function, so that its speed and its exactness are decided in one place."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from numba import njit

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def compiled(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Compile to machine code on first call, kept on disk between processes, running without the interpreter lock.

    For loops over bars; see compiled_short. Strict IEEE 754: `fastmath` stays off and numba fuses no multiply-add, so
    that every machine gives the same bits and exact sums stay exact. Division by zero gives infinity or NaN as in
    numpy, no exception.
    """
    return _machine_code(function, nogil=True)


def compiled_short(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Compile as `compiled` does, for work of a few microseconds: the interpreter lock is kept.

    Where another thread waits for the lock, letting go of it means waiting until that thread lets go in its turn.
    """
    return _machine_code(function, nogil=False)


def _machine_code(function: Callable[Arguments, Result], *, nogil: bool) -> Callable[Arguments, Result]:
    result: Callable[Arguments, Result] = njit(cache=True, nogil=nogil, error_model="numpy")(function)
    return result
