"""Numbering a large search in parts: which places of a grid stand, or what is drawn at random, and what they all need
before their start.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.errors import InvalidParams, ParameterProblem
from engine.search.combinations import Combinations, Draws, draw_on
from engine.search.parts import Choose
from engine.search.space import Space
from engine.specification import Specification
from engine.warm_up import WarmUp, most_of

LOOKED_AT_TOGETHER: Final = 100
"""Places between two looks at the clock."""


@dataclass(frozen=True, slots=True)
class Numbered:
    """As far as it is numbered. surveyed: places looked at. parts: of those that stand, as earlier steps left them;
    latest: as this one found them.
    """

    size: int
    surveyed: int
    parts: tuple[NDArray[np.int64], ...]
    latest: NDArray[np.int64]
    warm_up: WarmUp

    @staticmethod
    def of_plan(size: int, plan: Mapping[str, Any], parts: Sequence[NDArray[np.int64]]) -> "Numbered":
        """As `plan` and the parts that it names have it; nothing yet of an empty one."""
        warm_up = WarmUp(*plan.get("warm_up", ({}, {})))
        return Numbered(size, plan.get("surveyed", 0), tuple(parts), np.empty(0, np.int64), warm_up)

    @property
    def plan(self) -> dict[str, Any]:
        return {"surveyed": self.surveyed, "warm_up": [dict(self.warm_up.bars), dict(self.warm_up.wanted)]}

    @property
    def is_done(self) -> bool:
        return self.surveyed == self.size

    @property
    def count(self) -> int:
        return sum(part.size for part in self.parts) + self.latest.size

    def combinations(self, space: Space) -> Combinations:
        places = np.concatenate([*self.parts, self.latest])
        left_out = self.size - places.size
        return Combinations(space, places.size, left_out, places if left_out else None)


@dataclass(frozen=True, slots=True)
class Drawn:
    """As far as it is drawn. draws: all so far; latest: rows of this step."""

    samples: int
    draws: Draws
    latest: NDArray[np.float64]
    warm_up: WarmUp

    @staticmethod
    def of_plan(space: Space, samples: int, plan: Mapping[str, Any], parts: Sequence[NDArray[np.float64]]) -> "Drawn":
        """As `plan` and the parts that it names have it; nothing yet of an empty one."""
        none = Draws.none(space)
        rows = np.concatenate([none.rows, *parts])
        draws = Draws(rows, plan.get("refused", 0), plan.get("left_out", 0), plan.get("generator"))
        return Drawn(samples, draws, none.rows, WarmUp(*plan.get("warm_up", ({}, {}))))

    @property
    def plan(self) -> dict[str, Any]:
        return {
            "refused": self.draws.refused,
            "left_out": self.draws.left_out,
            "generator": self.draws.generator,
            "warm_up": [dict(self.warm_up.bars), dict(self.warm_up.wanted)],
        }

    @property
    def is_done(self) -> bool:
        return self.count == self.samples

    @property
    def count(self) -> int:
        return int(self.draws.rows.shape[0])

    def combinations(self, space: Space) -> Combinations:
        return Combinations(space, self.count, self.draws.left_out, drawn=self.draws.rows)


def draw_further(
    drawn: Drawn,
    space: Space,
    choose: Choose,
    specification: Specification,
    seed: int,
    clock: Callable[[], float],
    seconds: float,
) -> Drawn:
    """Draw for so long. Raises InvalidParams where too few stand."""
    until, before = clock() + seconds, drawn.count
    warm_ups: dict[tuple[tuple[str, int], ...], WarmUp] = {}

    def judge(combination: Mapping[str, Any]) -> tuple[ParameterProblem, ...]:
        try:
            warm_up = choose(combination).warm_up(specification)
        except InvalidParams as error:
            return error.problems
        warm_ups.setdefault(tuple(warm_up.bars.items()), warm_up)
        return ()

    key = specification.strategy_key or ""
    draws = draw_on(space, judge, drawn.draws, drawn.samples, seed, key, stop=lambda: clock() >= until)
    warm_up = most_of([drawn.warm_up, *warm_ups.values()])
    return replace(drawn, draws=draws, latest=draws.rows[before:], warm_up=warm_up)


def number_on(
    numbered: Numbered,
    space: Space,
    choose: Choose,
    specification: Specification,
    clock: Callable[[], float],
    seconds: float,
) -> Numbered:
    """Look at further places for so long. Raises InvalidParams where none of the grid stands."""
    until, at = clock() + seconds, numbered.surveyed
    kept: list[int] = []
    warm_ups: dict[tuple[tuple[str, int], ...], WarmUp] = {}
    while at < numbered.size:
        try:
            warm_up = choose(space.at(at)).warm_up(specification)
            kept.append(at)
            warm_ups.setdefault(tuple(warm_up.bars.items()), warm_up)
        except InvalidParams:
            pass
        at += 1
        if at % LOOKED_AT_TOGETHER == 0 and clock() >= until:
            break
    warm_up = most_of([numbered.warm_up, *warm_ups.values()])
    found = replace(numbered, surveyed=at, latest=np.array(kept, np.int64), warm_up=warm_up)
    if found.is_done and not found.count:
        name = next(iter(space.choices))
        problem = ParameterProblem(f"param_grid.{name}", "the strategy refuses every combination")
        raise InvalidParams(specification.strategy_key or "", (problem,))
    return found
