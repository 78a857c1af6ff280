"""A decider of a kind that the engine does not know is run, swept over and audited as those that it does know."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
import pytest

from engine.audit.probe import audit_strategy
from engine.deciders import chosen
from engine.deciders.chosen import KINDS, ChosenStrategy
from engine.deciders.decider import Asked, Carrier, DigestInputs, Listener
from engine.deciders.decisions import Decisions, OneDecision
from engine.prepared import PreparedRun, RunData
from engine.search import optimize
from engine.specification import Specification
from engine.strategy import Instrument, Market, Position, StrategyParams
from engine.warm_up import WarmUp, signals_warm_up
from tests.engine.run_builders import EURUSD, NoParams, backtest, sample, scripted, specification_of

BARS = sample("eurusd_h1", 60)
EVERY_TENTH: list[str | None] = [(None, "BUY", "SELL")[bar % 10 == 0 and 1 + bar // 10 % 2] for bar in range(60)]


@dataclass
class EveryTenth:
    """Buys and sells in turn, at every tenth close. asks: to be asked on the way."""

    asks: bool = False
    passes: list[bool] = field(default_factory=list)
    seen: list[Position | None] = field(default_factory=list)

    @property
    def source(self) -> str:
        return "every tenth"

    @property
    def closes_as(self) -> str:
        return "signal"

    @property
    def warnings(self) -> tuple[str, ...]:
        return ("every tenth bar, whatever happens",)

    def digest_inputs(self) -> DigestInputs:
        return DigestInputs({"every": 10}, (np.array([10.0]),))

    def warm_up(self, specification: Specification) -> WarmUp:
        return signals_warm_up(specification)

    def decide(self, run: PreparedRun, carrier: Carrier, before: Decisions | None) -> Decisions:
        self.passes.append(before is not None)
        rows = np.arange(0, run.bar_count, 10)
        actions = np.where(rows // 10 % 2 == 0, 1, -1)
        decisions = Decisions(rows, actions, np.zeros(rows.size, np.int64), np.full((rows.size, 1), np.nan))
        if self.asks:
            asked: Asked = self
            carrier.ask_at_each_close(asked)
        else:
            carrier.carry_out(decisions)
        return decisions

    def show(self, position: Position | None, balance: float) -> None:
        assert balance > 0
        self.seen.append(position)

    def ask(self, bar: int, equity: float) -> OneDecision | None:
        assert equity > 0
        return None if bar % 10 else ((1, -1)[bar // 10 % 2], 0, [float("nan")], None)

    def said_at(self, bar: int) -> tuple[str | None, str | None]:
        return None, None


@pytest.mark.parametrize("asks", [False, True])
def test_a_new_kind_of_decider_needs_no_word_in_the_engine(asks: bool) -> None:
    decider = EveryTenth(asks)
    result = backtest(BARS, decider)
    same = backtest(BARS, scripted(EVERY_TENTH))
    assert result.trades.drop("source").equals(same.trades.drop("source"))
    assert result.trades["source"].unique().to_list() == ["every tenth"]
    assert result.result_digest != same.result_digest
    assert decider.passes == [False]
    assert bool(decider.seen) == asks


LETTERS = "".join("." if action is None else action[0] for action in EVERY_TENTH)


class AsText:
    """A strategy of a kind of its own: a letter a bar."""

    class Params(StrategyParams):
        pass

    def __init__(self, params: Any, instrument: Instrument) -> None:
        del params, instrument
        self.letters = LETTERS


class LetterKind:
    """Implements engine.deciders.decider.StrategyKind."""

    def takes(self, strategy: Any) -> bool:
        return hasattr(strategy, "letters")

    def decide(self, strategy: Any, run: PreparedRun, carrier: Carrier, before: Decisions | None) -> Decisions:
        columns = self.overheard(strategy, _Passive())
        return KINDS[0].decide(columns, run, carrier, before)

    def overheard(self, strategy: Any, listener: Listener) -> Any:
        return KINDS[0].overheard(_Spelt(strategy.letters), listener)


class Varied:
    """The same with a parameter, for a search to vary."""

    class Params(StrategyParams):
        n: int = 1

    def __init__(self, params: Any, instrument: Instrument) -> None:
        del params, instrument
        self.letters = LETTERS


class _Spelt:
    def __init__(self, letters: str) -> None:
        self._letters = letters

    def decide_all(self, market: Market) -> pl.DataFrame:
        actions = [{"B": "BUY", "S": "SELL"}.get(letter) for letter in self._letters[: market.bars.height]]
        return pl.DataFrame({"action": actions}, schema={"action": pl.String})


class _Passive:
    def decide_all(self, strategy: Any, market: Market) -> Any:
        return strategy.decide_all(market)

    def decide(self, strategy: Any, view: Any) -> Any:
        return strategy.decide(view)


def test_a_new_kind_of_strategy_needs_its_registration_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chosen, "KINDS", (LetterKind(), *KINDS))
    same = backtest(BARS, scripted(EVERY_TENTH))
    strategy = ChosenStrategy(AsText, NoParams())
    assert backtest(BARS, strategy).trades.equals(same.trades)
    searched = optimize(specification_of(BARS), EURUSD, RunData(bars=BARS), Varied, {"n": [1]}, threads=1)
    assert searched.results[0]["metrics"]["net_profit"] == same.metrics.net_profit
    audit = audit_strategy(specification_of(BARS), EURUSD, RunData(bars=BARS), strategy, moments=4)
    assert (audit.finding, audit.decisions, audit.probes) == (None, 6, 24)
