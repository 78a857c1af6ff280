"""How a walk-forward splits its range: where each fold trains, and where it is tested."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from engine.errors import InvalidSpace, ParameterProblem

_FIELD: Final = "walk_forward"
_WORDS: Final = ("train_days", "test_days", "anchored", "purge_days")
_MOST_DAYS: Final = 100_000


@dataclass(frozen=True, slots=True)
class WalkForward:
    """Days of 24 hours, from the start of the range. anchored: training always begins there. purge_days: left out
    between training and test.
    """

    train_days: int = 365
    test_days: int = 90
    anchored: bool = False
    purge_days: int = 0

    def to_json_dict(self) -> dict[str, Any]:
        return {word: getattr(self, word) for word in _WORDS}


@dataclass(frozen=True, slots=True)
class Fold:
    """Ranges of one fold; starts are inclusive, ends exclusive."""

    number: int
    train_start: datetime
    train_end: datetime
    test_start: datetime
    test_end: datetime


def read_walk_forward(document: Any) -> WalkForward:
    """Read {"train_days", "test_days", "anchored", "purge_days"}; any may be left out. Raises InvalidSpace with every
    mistake.
    """
    if not isinstance(document, Mapping):
        raise InvalidSpace((ParameterProblem(_FIELD, "must be an object"),))
    problems = [f"{word}: is unknown; known are {', '.join(_WORDS)}" for word in document if word not in _WORDS]
    least = {"train_days": 1, "test_days": 1, "purge_days": 0}
    for word, fewest in least.items():
        value = document.get(word, fewest)
        if isinstance(value, bool) or not isinstance(value, int) or not fewest <= value <= _MOST_DAYS:
            problems.append(f"{word}: must be a whole number from {fewest} to {_MOST_DAYS}, not {value!r}")
    if not isinstance(document.get("anchored", False), bool):
        problems.append("anchored: must be true or false")
    if problems:
        raise InvalidSpace(tuple(ParameterProblem(_FIELD, problem) for problem in problems))
    return WalkForward(**document)


def folds_of(walk_forward: WalkForward, start: datetime, end: datetime) -> tuple[Fold, ...]:
    """Return the folds of [start, end): fold k trains on [s, s + train_days), s = start + k * test_days (anchored: from
    start), and is tested on the test_days after purge_days; the last test ends at `end`. Raises InvalidSpace without
    any.
    """
    train, test, purge = (
        timedelta(days=days) for days in (walk_forward.train_days, walk_forward.test_days, walk_forward.purge_days)
    )
    folds: list[Fold] = []
    shift = start
    while shift + train + purge < end:
        test_start = shift + train + purge
        train_start = start if walk_forward.anchored else shift
        folds.append(Fold(len(folds), train_start, shift + train, test_start, min(test_start + test, end)))
        shift += test
    if not folds:
        needed, there = walk_forward.train_days + walk_forward.purge_days, (end - start) / timedelta(days=1)
        message = f"no fold fits: training and purge take {needed} days, the range has {there:g}"
        raise InvalidSpace((ParameterProblem(_FIELD, message),))
    return tuple(folds)
