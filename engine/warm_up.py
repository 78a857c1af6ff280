"""How many bars before its start a run sees, on each timeframe: enough that no figure depends on where data begin."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from engine.errors import StrategyError
from engine.market.timeframes import TIMEFRAMES
from engine.specification import MOST_WARM_UP_BARS, Specification

OF_OTHERS = 2_000
"""For strategies that say nothing of what they need."""
LEAST, LENGTHS = 500, 40
"""A recursive indicator forgets where it began at e^-2 a length: after 40 not a digit of a double is left of it."""


@dataclass(frozen=True, slots=True)
class WarmUp:
    """By timeframe, the run's and every context's: those that were asked for, and those that whoever decides brings.

    bars: how many to see before the start, at most. wanted: with fewer of them figures are not the strategy's own yet;
    0 where that is not known.
    """

    bars: Mapping[str, int]
    wanted: Mapping[str, int]

    def contexts(self, specification: Specification) -> tuple[str, ...]:
        """Return the run's context timeframes, those asked for first."""
        own = (name for name in self.bars if name != specification.timeframe)
        return tuple(dict.fromkeys((*specification.context_timeframes, *own)))


def strategy_warm_up(strategy: Any, params: Any, specification: Specification) -> WarmUp:
    """Return what a strategy asks for, by its class.

    `context_timeframes` are the longer ones that it looks at unasked: names, or a function of its Params.
    `warm_up_bars` is what it says: a number, or a function of its Params and a timeframe. Else `longest_length`, a
    function of the same, is its longest chain of lengths, nested ones added up, and 40 times that are seen, at least
    500. Else 2 000. The specification's own number comes before all of them. Rules say both at once, by a timeframe and
    the run's (`length_and_bars`), since they tell the run's own bars from a context of the same timeframe.

    Raises StrategyError where what it says is no number of bars from 0 to 1 000 000, or no timeframe.
    """
    bars, wanted = {}, {}
    for name in (*_timeframes(specification), *_own_contexts(strategy, params)):
        if hasattr(strategy, "length_and_bars"):
            longest, own = strategy.length_and_bars(params, name, specification.timeframe)
        else:
            longest, own = (_said(strategy, said, params, name) for said in ("longest_length", "warm_up_bars"))
        if own is None and longest is not None:
            own = min(MOST_WARM_UP_BARS, max(LEAST, LENGTHS * longest))
        asked = specification.warm_up_bars
        bars[name] = asked if asked is not None else OF_OTHERS if own is None else own
        wanted[name] = min(bars[name], (own or 0) if longest is None else longest)
    return WarmUp(bars, wanted)


def signals_warm_up(specification: Specification) -> WarmUp:
    """Return what a run on signals sees: nothing before its start, unless it is asked for."""
    bars = dict.fromkeys(_timeframes(specification), specification.warm_up_bars or 0)
    return WarmUp(bars, dict.fromkeys(bars, 0))


def most_of(each: Iterable[WarmUp]) -> WarmUp:
    """Return what serves all of them."""
    bars: dict[str, int] = {}
    wanted: dict[str, int] = {}
    for one in each:
        for most, of_one in ((bars, one.bars), (wanted, one.wanted)):
            most.update({name: max(count, most.get(name, 0)) for name, count in of_one.items()})
    return WarmUp(bars, wanted)


def _timeframes(specification: Specification) -> tuple[str, ...]:
    return specification.timeframe, *specification.context_timeframes


def _own_contexts(strategy: Any, params: Any) -> tuple[str, ...]:
    said: Any = getattr(strategy, "context_timeframes", ())
    names: Any = said(params) if callable(said) else said
    strangers = [name for name in names if name not in TIMEFRAMES]
    if strangers:
        raise StrategyError(f"context_timeframes has {strangers[0]!r}, which is no timeframe")
    return tuple(names)


def _said(strategy: Any, attribute: str, params: Any, timeframe: str) -> int | None:
    said = getattr(strategy, attribute, None)
    if callable(said):
        said = said(params, timeframe)
    if said is None:
        return None
    if isinstance(said, bool) or not isinstance(said, int) or not 0 <= said <= MOST_WARM_UP_BARS:
        raise StrategyError(
            f"{attribute} for {timeframe} is {said!r}, not a whole number from 0 to {MOST_WARM_UP_BARS}"
        )
    return said
