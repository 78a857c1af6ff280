"""A decision made ready to be carried out: checked, and its missing levels measured in pips or by its trail."""

from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

from tests.engine.reference.model import Action, Bar, Config, Decision, DecisionRefusedError, Direction, OrderKind
from tests.engine.reference.numbers import exact, price_grid, round_price


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """decided_at: the number of the deciding bar. side: of the position it opens, or of the one a MOVE is meant for."""

    action: Action
    decided_at: int
    side: Direction | None = None
    volume: Fraction | None = None
    stop_loss: Fraction | None = None
    take_profits: tuple[Fraction, ...] = ()
    trailing_stop: Fraction | None = None
    max_bars: int | None = None
    kind: OrderKind = "market"
    price: Fraction | None = None
    expires_bars: int | None = None

    def fills_downwards(self) -> bool:
        """Whether the market must fall to the price: buying cheaper, selling on weakness."""
        return (self.side == "BUY") == (self.kind == "limit")

    def is_over_after(self, bar: int) -> bool:
        """Whether this bar is the last one that an entry order rests in."""
        return self.expires_bars is not None and bar >= self.decided_at + self.expires_bars


def read_order(decision: Decision, bar: Bar, index: int, config: Config) -> Order:
    """Raises DecisionRefusedError with the deciding bar's time for anything that sections 2 and 7 do not allow."""
    try:
        match decision.action:
            case "CLOSE" | "CANCEL":
                _refuse_if(decision != Decision(decision.action), f"{decision.action} carries nothing else")
                return Order(action=decision.action, decided_at=index)
            case "MOVE":
                return _read_move(decision, bar, index)
            case "BUY" | "SELL":
                return _read_opening(decision, decision.action, bar, index, config)
    except ValueError as error:
        raise DecisionRefusedError(str(error), bar.time_us) from error


def _read_move(decision: Decision, bar: Bar, index: int) -> Order:
    levels_only = Decision("MOVE", stop_loss=decision.stop_loss, take_profits=decision.take_profits)
    _refuse_if(decision != levels_only, "MOVE carries levels only")
    close = exact(bar.close)
    stop = None if decision.stop_loss is None else exact(decision.stop_loss)
    targets = tuple(exact(target) for target in decision.take_profits)
    _refuse_if(stop is None and not targets, "MOVE without levels")
    sides: tuple[Direction, Direction] = ("BUY", "SELL")
    for side in sides:
        if _in_order(side, stop, close, targets):
            return Order(action="MOVE", decided_at=index, side=side, stop_loss=stop, take_profits=targets)
    raise ValueError("levels that no position could take")


def _read_opening(decision: Decision, side: Direction, bar: Bar, index: int, config: Config) -> Order:
    order = Order(
        action=decision.action,
        decided_at=index,
        side=side,
        volume=_optional(decision.volume),
        stop_loss=_optional(decision.stop_loss),
        take_profits=tuple(exact(target) for target in decision.take_profits),
        trailing_stop=_optional(decision.trailing_stop),
        max_bars=decision.max_bars,
        kind=decision.order,
        price=_optional(decision.price),
        expires_bars=decision.expires_bars,
    )
    step = exact(config.instrument.lot_step)
    _refuse_if(order.volume is not None and (order.volume <= 0 or order.volume % step != 0), "volume off the lot step")
    _refuse_if(order.trailing_stop is not None and order.trailing_stop <= 0, "a trail at no distance")
    _refuse_if(not _is_count(order.max_bars) or not _is_count(order.expires_bars), "a number of bars below 1")
    measured_from = _price_of(order, exact(bar.close))
    order = _with_measured_levels(order, measured_from, config)
    _refuse_if(not _in_order(side, order.stop_loss, measured_from, order.take_profits), "levels out of order")
    return order


def _price_of(order: Order, close: Fraction) -> Fraction:
    """What levels are measured from and checked against: the deciding close, or the price of an entry order."""
    if order.kind == "market":
        _refuse_if(order.price is not None or order.expires_bars is not None, "a market order has no price to wait for")
        return close
    if order.price is None or order.price <= 0:
        raise ValueError("an entry order needs a price")
    is_beyond = order.price < close if order.fills_downwards() else order.price > close
    _refuse_if(not is_beyond, "a price on the wrong side of the close")
    return order.price


def _with_measured_levels(order: Order, measured_from: Fraction, config: Config) -> Order:
    up = 1 if order.side == "BUY" else -1
    pip, grid = exact(config.instrument.pip), price_grid(config.instrument.digits)
    if order.stop_loss is None and order.trailing_stop is not None:
        order = replace(order, stop_loss=round_price(measured_from - up * order.trailing_stop, grid))
    elif order.stop_loss is None and config.sl_pips is not None:
        order = replace(order, stop_loss=round_price(measured_from - up * exact(config.sl_pips) * pip, grid))
    if not order.take_profits and config.tp_pips is not None:
        order = replace(order, take_profits=(round_price(measured_from + up * exact(config.tp_pips) * pip, grid),))
    return order


def _in_order(side: Direction, stop: Fraction | None, middle: Fraction, targets: tuple[Fraction, ...]) -> bool:
    up = 1 if side == "BUY" else -1
    ladder = [*([] if stop is None else [stop]), middle, *targets]
    return all(up * (higher - lower) > 0 for lower, higher in pairwise(ladder))


def _optional(value: float | None) -> Fraction | None:
    return None if value is None else exact(value)


def _is_count(value: object) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 1)


def _refuse_if(is_wrong: bool, what: str) -> None:
    if is_wrong:
        raise ValueError(what)
