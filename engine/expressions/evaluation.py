"""A program's steps as whole columns: numbers with NaN where they are unknown, conditions as two masks, surely true and
surely false, which is Kleene's logic.

Of a condition only what is asked for is computed, mostly where it is true; a column is dropped when nobody waits for it
any more.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from engine.expressions.operations import Side, Source, Sources, compute
from engine.expressions.program import Program


def evaluate(
    program: Program, wanted: Sequence[int], source_of: Callable[[str | None], Source], pip: float
) -> list[Any]:
    """Return the wanted steps' columns over the run's bars: of numbers the values, NaN where unknown, of conditions
    where they are surely true. source_of: the bars of a timeframe, None for the run's; asked once for each.
    """
    sources = Sources(source_of, pip)
    asked: list[tuple[int, Side]] = [(place, _own_side(program, place, "true")) for place in wanted]
    waiting = _waiting(program, asked)
    columns: dict[tuple[int, Side], Any] = {}
    with np.errstate(all="ignore"):
        for place, side in sorted(waiting):
            inputs = _inputs(program, place, side)
            columns[place, side] = compute(sources, program.steps[place], side, [columns[each] for each in inputs])
            for each in inputs:
                waiting[each] -= 1
                if not waiting[each]:
                    del columns[each]
    return [np.broadcast_to(columns[each], sources.of(None).size) for each in asked]


def _waiting(program: Program, asked: Sequence[tuple[int, Side]]) -> Counter[tuple[int, Side]]:
    """Count who waits for each column: those asked for and those they are made of, and no other."""
    waiting = Counter(asked)
    sides: tuple[Side, ...] = ("value", "true", "false")
    for place in range(len(program.steps) - 1, -1, -1):
        for side in sides:
            if (place, side) in waiting:
                waiting.update(_inputs(program, place, side))
    return waiting


def _inputs(program: Program, place: int, side: Side) -> list[tuple[int, Side]]:
    """Which columns a column is made of."""
    step = program.steps[place]
    if step.operation == "not":
        return [(step.inputs[0], "false" if side == "true" else "true")]
    crossed = step.operation in ("crosses_above", "crosses_below") and side == "true"
    return [(each, _own_side(program, each, side)) for each in (step.inputs[:1] if crossed else step.inputs)]


def _own_side(program: Program, place: int, side: Side) -> Side:
    """Of a condition the side asked for (a number's condition: where it is true), of what is none its value."""
    if program.steps[place].gives != "condition":
        return "value"
    return "true" if side == "value" else side
