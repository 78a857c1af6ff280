"""The combinations of a search, numbered from 0: those of a grid that its strategy takes, or as many as are drawn."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import InvalidParams, ParameterProblem
from engine.numeric.arrays import Floats
from engine.search.space import Choice, Interval, Listed, Space, Stepped
from engine.strategy import is_no_parameter

Judge = Callable[[Mapping[str, Any]], tuple[ParameterProblem, ...]]
"""Says what a strategy has against a combination, nothing where it stands. A problem whose field is a varied name is
that value's; any other is one of values that do not go together."""

_DRAWN_TOGETHER = 100
"""Draws between two questions whether to go on."""
_NAMED_VALUES = 5
"""Of those of one parameter that are refused; a range may have a million."""
_CHECKED_AT_EACH_END = 5_000
"""Values of one parameter that are asked about one by one: a strategy's bounds lie at the ends of a long range, and a
million of values would take it longer than it is given. What it refuses between them is left out when it comes."""


def check_values(space: Space, judge: Judge, strategy_key: str = "") -> None:
    """Refuse names that the strategy does not have, and values and interval ends that it never takes.

    A value that is refused beside the others' defaults may be fine beside their first or last values. Of more than
    10 000 values of one parameter the first and last 5 000 are asked about. Raises InvalidParams naming each as
    `param_grid.<name>`, with the first values at fault.
    """
    firsts, lasts = ({name: values[end] for name, values in _ends(space).items()} for end in (0, -1))

    def against(name: str, value: Any) -> str | None:
        said = _said_of(name, judge({name: value}))
        if said and all(_said_of(name, judge({**others, name: value})) for others in (firsts, lasts)):
            return said[0] if is_no_parameter(said[0]) else f"{json.dumps(value)}: {said[0]}"
        return None

    found = []
    for name, choice in space.choices.items():
        refused = (why for value in _to_check(choice) if (why := against(name, value)) is not None)
        told = list(islice(refused, _NAMED_VALUES + 1))
        if told and is_no_parameter(told[0]):
            found.append(ParameterProblem(f"param_grid.{name}", told[0]))
        elif told:
            more = ["and more"] if len(told) > _NAMED_VALUES else []
            found.append(ParameterProblem(f"param_grid.{name}", "; ".join([*told[:_NAMED_VALUES], *more])))
    if found:
        raise InvalidParams(strategy_key, tuple(found))


@dataclass(frozen=True, slots=True, eq=False)
class Combinations:
    """Numbered combinations. left_out: how many the strategy's own check refused.

    places: of each in the space, where only those count; None where all do. drawn: shape (n, names), a place of the
    name's choices or an interval's value; None for places. A space taken whole has places, whatever the method.
    """

    space: Space
    count: int
    left_out: int
    places: NDArray[np.int64] | None = None
    drawn: Floats | None = None

    def __len__(self) -> int:
        return self.count

    @property
    def is_whole(self) -> bool:
        """Whether they are all of the space, so that neighbours are known."""
        return self.drawn is None

    def at(self, number: int) -> dict[str, Any]:
        if self.drawn is None:
            return self.space.at(self.place(number))
        return combination_of(self.space, self.drawn[number])

    def place(self, number: int) -> int:
        """Return where in the space the combination is, of a space taken whole."""
        return number if self.places is None else int(self.places[number])

    def groups(self, name: str) -> NDArray[np.float64]:
        """Return which value of the parameter each combination has: a place of its choices, an interval's value."""
        at = list(self.space.choices).index(name)
        if self.drawn is not None:
            return self.drawn[:, at]
        places = np.arange(self.count) if self.places is None else self.places
        return np.unravel_index(places, self.space.shape)[at].astype(np.float64)


def combinations_of_grid(space: Space, judge: Judge, strategy_key: str = "") -> Combinations:
    """Number those of the space that stand. Raises InvalidParams where none does."""
    size = space.size
    if size is None:
        raise AssertionError("a space without end has no grid")
    stands = np.fromiter((not judge(space.at(place)) for place in range(size)), bool, size)
    count = int(np.count_nonzero(stands))
    if count == 0:
        raise refuses_all(strategy_key, space, judge(space.at(0)))
    return Combinations(space, count, size - count, None if count == size else np.flatnonzero(stands))


def draw_combinations(space: Space, judge: Judge, samples: int, seed: int, strategy_key: str = "") -> Combinations:
    """Draw different combinations that stand, each parameter by itself; the same seed draws the same ones.

    A space of no more than `samples` places is taken whole. What was drawn before or does not stand is drawn anew, at
    most 100 * samples + 1 000 times. Raises InvalidParams after that.
    """
    size = space.size
    if size is not None and size <= samples:
        return combinations_of_grid(space, judge, strategy_key)
    draws = draw_on(space, judge, Draws.none(space), samples, seed, strategy_key)
    return Combinations(space, samples, draws.left_out, drawn=draws.rows)


@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    """What was drawn so far. rows: Combinations.drawn. refused: draws that do not stand or came before; left_out: of
    these, those that do not stand. generator: its state after them, plain JSON; None: at its beginning.
    """

    rows: Floats
    refused: int = 0
    left_out: int = 0
    generator: Mapping[str, Any] | None = None

    @staticmethod
    def none(space: Space) -> "Draws":
        return Draws(np.empty((0, len(space.choices))))


def draw_on(
    space: Space,
    judge: Judge,
    draws: Draws,
    samples: int,
    seed: int,
    strategy_key: str = "",
    stop: Callable[[], bool] = lambda: False,
) -> Draws:
    """Draw further ones up to `samples`, or until `stop` says so, which is asked now and then: in how many goes they
    are drawn changes none of them. Raises as `draw_combinations`.
    """
    generator = np.random.default_rng(seed)
    if draws.generator is not None:
        generator.bit_generator.state = dict(draws.generator)
    drawn = np.empty((samples, len(space.choices)))
    count, left_out, refused = draws.rows.shape[0], draws.left_out, draws.refused
    drawn[:count] = draws.rows
    seen = {row.tobytes() for row in draws.rows}
    against: tuple[ParameterProblem, ...] = ()
    while count < samples:
        if (count + refused) % _DRAWN_TOGETHER == 0 and count > draws.rows.shape[0] and stop():
            break
        row = drawn[count]
        row[:] = [_draw(choice, generator) for choice in space.choices.values()]
        again = row.tobytes() in seen
        if not again:
            against = judge(combination_of(space, row)) or against
        if again or against:
            refused += 1
            left_out += not again
            if refused > most_refused(samples):
                raise _refuses_too_many(strategy_key, space, count, samples, against)
            against = ()
            continue
        seen.add(row.tobytes())
        count += 1
    return Draws(drawn[:count], refused, left_out, generator.bit_generator.state)


def most_refused(samples: int) -> int:
    """How many draws may be refused before a search gives up."""
    return 100 * samples + 1_000


def combination_of(space: Space, row: Sequence[float] | NDArray[np.float64]) -> dict[str, Any]:
    """Return the combination that was drawn as `row` (Combinations.drawn)."""
    return {
        name: _value(choice, float(drawn)) for (name, choice), drawn in zip(space.choices.items(), row, strict=True)
    }


def corners(space: Space) -> Iterator[dict[str, Any]]:
    """Yield the combinations of first and last values, and of the ends of intervals."""
    ends = _ends(space)
    for values in product(*ends.values()):
        yield dict(zip(ends, values, strict=True))


def judge_of(check: Callable[[Mapping[str, Any]], Any]) -> Judge:
    """Return the judge that asks `check`, which raises InvalidParams for parameters that it refuses."""

    def judge(combination: Mapping[str, Any]) -> tuple[ParameterProblem, ...]:
        try:
            check(combination)
        except InvalidParams as error:
            return error.problems
        return ()

    return judge


def named_within(within: str | None, problems: tuple[ParameterProblem, ...]) -> tuple[ParameterProblem, ...]:
    """Return problems of the entries of `within` as problems of parameters of these names."""
    if within is None:
        return problems
    return tuple(ParameterProblem(each.field.removeprefix(f"{within}."), each.message) for each in problems)


def _draw(choice: Choice, generator: np.random.Generator) -> float:
    if not isinstance(choice, Interval):
        return float(generator.integers(choice.count))
    if choice.log:
        top = choice.high + 1 if choice.whole else choice.high
        value = float(np.exp(generator.uniform(np.log(choice.low), np.log(top))))
        value = float(np.floor(value)) if choice.whole else value
        return min(max(value, choice.low), choice.high)
    if choice.whole:
        return float(generator.integers(int(choice.low), int(choice.high) + 1))
    return min(float(generator.uniform(choice.low, choice.high)), choice.high)


def _value(choice: Choice, drawn: float) -> Any:
    if isinstance(choice, Interval):
        return int(drawn) if choice.whole else drawn
    return choice.at(int(drawn))


def _to_check(choice: Choice) -> Iterator[Any]:
    match choice:
        case Interval():
            yield from (choice.low, choice.high)
        case Stepped() | Listed():
            first = min(choice.count, _CHECKED_AT_EACH_END)
            last = max(first, choice.count - _CHECKED_AT_EACH_END)
            yield from (choice.at(place) for place in chain(range(first), range(last, choice.count)))


def _ends(space: Space) -> dict[str, tuple[Any, Any]]:
    return {
        name: (choice.low, choice.high) if isinstance(choice, Interval) else (choice.at(0), choice.at(choice.count - 1))
        for name, choice in space.choices.items()
    }


def _said_of(name: str, problems: tuple[ParameterProblem, ...]) -> list[str]:
    return [problem.message for problem in problems if problem.field.partition(".")[0] == name]


def refuses_all(strategy_key: str, space: Space, against: tuple[ParameterProblem, ...]) -> InvalidParams:
    why = against[0].message if against else "refused"
    message = f"the strategy refuses every combination, the first because: {why}"
    return InvalidParams(strategy_key, (ParameterProblem(f"param_grid.{next(iter(space.choices))}", message),))


def _refuses_too_many(
    strategy_key: str, space: Space, count: int, samples: int, against: tuple[ParameterProblem, ...]
) -> InvalidParams:
    why = f"; the last because: {against[0].message}" if against else ""
    refused = most_refused(samples)
    message = f"only {count:,} of {samples:,} combinations were found, more than {refused:,} draws were refused{why}"
    return InvalidParams(strategy_key, (ParameterProblem(f"param_grid.{next(iter(space.choices))}", message),))
