"""A strategy that a user chose, with its parameters, as the decider of runs."""

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

from engine.deciders import bar_by_bar, columns
from engine.deciders.decider import Carrier, DigestInputs, StrategyKind
from engine.deciders.decisions import Decisions
from engine.deciders.guard import guarded
from engine.prepared import PreparedRun
from engine.specification import Specification
from engine.strategy import Instrument, StrategyParams, checked_params
from engine.warm_up import WarmUp, strategy_warm_up

KINDS: tuple[StrategyKind, ...] = (columns, bar_by_bar)
"""In the order in which a strategy is offered to them; the last one takes what no other does."""
_PLAIN = (bool, int, float, str, type(None))
"""What cannot be changed, and need not be copied deeply, which takes longer than a small run's kernel."""


@dataclass(frozen=True, slots=True, eq=False)
class ChosenStrategy:
    """A strategy class and its validated parameters; each simulation makes its own object. See choose_strategy.

    version: tells this code from any other under the same name; None where nobody knows.
    """

    strategy: Callable[[Any, Instrument], Any]
    params: StrategyParams
    version: str | None = None

    @property
    def source(self) -> str:
        return "rule"

    @property
    def closes_as(self) -> str:
        return "signal"

    @property
    def warnings(self) -> tuple[str, ...]:
        return ()

    def digest_inputs(self) -> DigestInputs:
        return DigestInputs(self.params.model_dump(mode="json"), version=self.version)

    def warm_up(self, specification: Specification) -> WarmUp:
        warm_up: WarmUp = guarded(lambda: strategy_warm_up(self.strategy, self.params, specification), "its warm-up")
        return warm_up

    def decide(self, run: PreparedRun, carrier: Carrier, before: Decisions | None) -> Decisions:
        # Copies: a strategy may well fill a list among its parameters, and the instrument is that of all runs.
        plain = all(isinstance(value, _PLAIN) for value in vars(self.params).values())
        params, instrument = self.params.model_copy(deep=not plain), copy(run.instrument)
        strategy = guarded(lambda: self.strategy(params, instrument), "making the strategy")
        return kind_of(strategy).decide(strategy, run, carrier, before)


def choose_strategy(
    strategy: Any, strategy_key: str, params: Mapping[str, Any], version: str | None = None
) -> ChosenStrategy:
    """Validate parameters against the strategy's Params. Raises InvalidParams naming every field at fault."""
    return ChosenStrategy(strategy, checked_params(strategy, strategy_key, params), version)


def kind_of(strategy: Any) -> StrategyKind:
    """Return the kind of a strategy object."""
    return next((kind for kind in KINDS if kind.takes(strategy)), KINDS[-1])
