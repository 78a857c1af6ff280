"""How many bars before its start a run sees for the sake of a model."""

from engine.advice import Advice
from engine.deciders.advised.shown import indicators_program
from engine.specification import Specification
from engine.warm_up import LEAST, WarmUp


def advice_warm_up(specification: Specification, given: Advice | None = None) -> WarmUp:
    """Return what is seen before the start for what is sent: llm.bars, and what llm.indicators look back over.

    given: the specification's own, where that has it.
    """
    advice = given or specification.advice
    assert advice is not None, "asked of runs that leave something to a model"
    lengths = indicators_program(advice).lengths if advice.indicators else {}
    own = {name if name is not None else specification.timeframe: each for name, each in lengths.items()}
    asked = specification.warm_up_bars
    names = dict.fromkeys((specification.timeframe, *specification.context_timeframes, *own))
    bars = {name: max(LEAST, advice.bars, own.get(name, (0, 0))[1]) if asked is None else asked for name in names}
    return WarmUp(bars, {name: min(bars[name], own.get(name, (0, 0))[0]) for name in names})
