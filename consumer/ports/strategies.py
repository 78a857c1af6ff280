"""A strategy's own code, asked about a request before anything of it is recorded."""

from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

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
