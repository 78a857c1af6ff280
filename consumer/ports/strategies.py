"""A strategy's own code, asked about a request before anything of it is recorded."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from schemas.problems import FieldProblem


@dataclass(frozen=True, slots=True)
class StrategyCheck:
    """May this strategy run with these parameters?"""

    key: str
    """Of the strategy's row; it may name nothing that is registered."""
    params: str
    """JSON object, the request's over the row's."""
    space: str = ""
    """Of a search: JSON of param_grid, method and samples, what is varied over these parameters."""


Verdict = tuple[FieldProblem, ...]
"""What is wrong, by the fields of a request: `unknown_strategy` where the strategy cannot be had, `invalid_params`
where its Params refuse. Nothing: it may run.
"""


class StrategyChecker(Protocol):
    """Imports strategies and has their Params validate, which is code of anybody: it may take for ever, end its
    process, or print.

    None of it happens in the caller's event loop, and none of it stops the caller. Within its time limit each check
    gets its verdict, a slow or a crashing one too, and does not hold up checks of other packages meanwhile.
    """

    def check(self, checks: Collection[StrategyCheck]) -> AsyncIterator[Mapping[StrategyCheck, Verdict]]:
        """Yield the verdicts as they come, in lots; each check is in exactly one."""
        ...


@dataclass(frozen=True, slots=True)
class StrategyDescription:
    """What a registered strategy says of itself. Where its code cannot be asked, `trouble` says why, and the rest is
    empty.
    """

    key: str
    package: str
    """That registered it, with its version."""
    version: str | None = None
    """SHA-256 of its code, as runs have it."""
    kind: str | None = None
    """decide_all or decide."""
    docstring: str = ""
    params: Mapping[str, Any] | None = None
    """JSON Schema of its parameters."""
    trouble: str | None = None


class StrategyCatalogue(Protocol):
    """What is registered. Strategies' code is asked in a process of its own, and bounded in time."""

    def registered(self) -> Collection[str]:
        """Imports nothing."""
        ...

    async def describe(self, keys: Collection[str]) -> Sequence[StrategyDescription]:
        """Those of the keys that are registered, in order."""
        ...
