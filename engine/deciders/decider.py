"""Who decides in a run: what every kind of decider offers, and what it is given to decide on.

A new kind is a module that implements `Decider` (or `StrategyKind`, where users write strategies of that kind, and then
its line in `chosen.KINDS`). Nothing else asks which kind it has before it.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

from engine.deciders.decisions import Decisions, OneDecision
from engine.prepared import PreparedRun
from engine.specification import Specification
from engine.strategy import Decision, Market, Position, View
from engine.warm_up import WarmUp


class DigestInputs(NamedTuple):
    """What of a decider goes into the result digest. params: JSON values. values: arrays, in order. version: of the
    strategy's code, where it is known.
    """

    params: Mapping[str, Any]
    values: tuple[NDArray[Any], ...] = ()
    version: str | None = None


class Decider(Protocol):
    """Decides in any number of runs; what it keeps of one is not seen in another."""

    @property
    def source(self) -> str:
        """Who opened a trade, as its row says."""
        ...

    @property
    def closes_as(self) -> str:
        """The exit reason of a position that a decision closes: signal, or llm_close."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """What whoever believes its runs should know of it."""
        ...

    def digest_inputs(self) -> DigestInputs: ...

    def warm_up(self, specification: Specification) -> WarmUp:
        """Return how many bars before the start it has to see. Raises StrategyError."""
        ...

    def decide(self, run: PreparedRun, carrier: "Carrier", before: Decisions | None) -> Decisions:
        """Have one simulation of the run carried out, and return what was decided in it.

        before: None in the first simulation of a run; in the second, which fills targets first, what the first one
        decided. Decisions that do not depend on fills are then the same.
        """
        ...


class Carrier(Protocol):
    """A simulation that waits for decisions: exactly one of its methods is called, once."""

    def carry_out(self, decisions: Decisions) -> None:
        """Simulate to the end. decisions: all there are."""
        ...

    def ask_at_each_close(self, asked: "Asked") -> None:
        """Simulate to the end, or to a stop-out, asking on the way."""
        ...


class Asked(Protocol):
    """Is asked at every close of a run, in order."""

    def show(self, position: Position | None, balance: float) -> None:
        """Take note of the position and the balance as they stand from now on."""
        ...

    def ask(self, bar: int, equity: float) -> OneDecision | None:
        """Return the checked decision at the close of a bar, None for one that changes nothing."""
        ...

    def said_at(self, bar: int) -> tuple[str | None, str | None]:
        """Return what the decision at a bar said about itself: pattern_name, and pattern_metadata as JSON."""
        ...


class StrategyKind(Protocol):
    """A way in which users write strategies; implemented by modules."""

    def takes(self, strategy: Any) -> bool:
        """Whether the object is a strategy of this kind."""
        ...

    def decide(self, strategy: Any, run: PreparedRun, carrier: Carrier, before: Decisions | None) -> Decisions:
        """As Decider.decide, by a strategy made for this simulation."""
        ...

    def overheard(self, strategy: Any, listener: "Listener") -> Any:
        """Return a strategy of the same kind, for which the listener asks this one."""
        ...


class Listener(Protocol):
    """Stands between a run and a strategy; may give another answer than the strategy gave."""

    def decide_all(self, strategy: Any, market: Market) -> Any: ...

    def decide(self, strategy: Any, view: View) -> Decision | None: ...
