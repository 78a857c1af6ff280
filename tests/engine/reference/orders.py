"""A decision made ready to be carried out: checked, and its missing levels measured in pips from the deciding close."""

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from tests.engine.reference.model import Action, Bar, Config, Decision, DecisionRefusedError
from tests.engine.reference.numbers import exact, price_grid, round_price


@dataclass(frozen=True, slots=True)
class Order:
    action: Action
    volume: Fraction | None
    stop_loss: Fraction | None
    take_profits: tuple[Fraction, ...]


def read_order(decision: Decision, bar: Bar, config: Config) -> Order:
    """Raises DecisionRefusedError with the deciding bar's time for anything section 2 does not allow."""
    if decision.action == "CLOSE":
        if decision.volume is not None or decision.stop_loss is not None or decision.take_profits:
            raise DecisionRefusedError("CLOSE carries nothing else", bar.time_us)
        return Order("CLOSE", None, None, ())
    try:
        volume = None if decision.volume is None else exact(decision.volume)
        stop = None if decision.stop_loss is None else exact(decision.stop_loss)
        targets = tuple(exact(target) for target in decision.take_profits)
    except ValueError as error:
        raise DecisionRefusedError(str(error), bar.time_us) from error
    if volume is not None and (volume <= 0 or volume % exact(config.instrument.lot_step) != 0):
        raise DecisionRefusedError("volume off the lot step", bar.time_us)

    up = 1 if decision.action == "BUY" else -1
    close, pip, grid = exact(bar.close), exact(config.instrument.pip), price_grid(config.instrument.digits)
    if stop is None and config.sl_pips is not None:
        stop = round_price(close - up * exact(config.sl_pips) * pip, grid)
    if not targets and config.tp_pips is not None:
        targets = (round_price(close + up * exact(config.tp_pips) * pip, grid),)

    ladder = [*([] if stop is None else [stop]), close, *targets]
    if any(up * (higher - lower) <= 0 for lower, higher in pairwise(ladder)):
        raise DecisionRefusedError("levels out of order", bar.time_us)
    return Order(decision.action, volume, stop, targets)
