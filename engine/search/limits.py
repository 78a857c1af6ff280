"""How combinations are chosen, and how many there may be; apart because checking that needs no array."""

from typing import Final, Literal

from engine.errors import InvalidSpace, ParameterProblem
from engine.search.space import Space

Method = Literal["grid", "random", "tpe"]
MOST_COMBINATIONS: Final = 1_000_000
MOST_BY_TPE: Final = 10_000
MOST_SEED: Final = 2**31 - 1


def check_method(space: Space, method: Method, samples: int | None, seed: int, most: int = MOST_COMBINATIONS) -> None:
    """Refuse counts that no search may have; nothing is made. Raises InvalidSpace."""
    size = space.size
    if method == "grid":
        if size is None:
            raise AssertionError("read_space takes no interval for a grid")
        _require(size <= most, "param_grid", f"has {size:,} combinations, more than the {most:,} that are allowed")
    else:
        _require(samples is not None and samples >= 1, "samples", f"must be at least 1 for {method}")
        limit = min(most, MOST_BY_TPE) if method == "tpe" else most
        _require((samples or 0) <= limit, "samples", f"must be at most {limit:,} for {method}")
    _require(0 <= seed <= MOST_SEED, "seed", f"must be from 0 to {MOST_SEED}")


def _require(holds: bool, field: str, message: str) -> None:
    if not holds:
        raise InvalidSpace((ParameterProblem(field, message),))
