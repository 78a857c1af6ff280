"""A run in which a language model has a say: a decider over an advisor and, where there is one, a rule."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import polars as pl

from engine.advice import Advice, DecidedBy
from engine.deciders.advised.advisor import Advisor
from engine.deciders.advised.consulting import Consulting, Consults, Word
from engine.deciders.advised.questions import Account, Proposal
from engine.deciders.advised.warm_up import advice_warm_up
from engine.deciders.decider import Asked, Carrier, Decider, DigestInputs
from engine.deciders.decisions import Decisions, OneDecision, encode_decision
from engine.deciders.left_out import no_decision
from engine.deciders.rules import CODES, skipped, with_default_levels
from engine.errors import InvalidSpecification
from engine.kernel.layout import BUY_CODE, CLOSE_CODE, MARKET, TERMS
from engine.prepared import PreparedRun
from engine.specification import OnOpposite, Specification
from engine.strategy import Decision, Position
from engine.warm_up import WarmUp, most_of

MakeConsults = Callable[[PreparedRun, Advice], Consults]
_CLOSES_IT: Final[OneDecision] = (CLOSE_CODE, 0, [math.nan], None)


def advised(specification: Specification, rule: Decider | None, advisor: Advisor) -> "AdvisedDecider":
    """Return what decides a run whose specification leaves something to a model.

    rule: of the specification's strategy_key; None where the model decides alone. Raises InvalidSpecification where the
    mode needs one, or has no use for it.
    """
    advice = specification.advice
    if advice is None:
        raise InvalidSpecification("advice: nothing of the run is left to a language model")
    return AdvisedDecider(advice, rule, lambda run, its_advice: Consulting(run, its_advice, advisor))


@dataclass(frozen=True, slots=True, eq=False)
class AdvisedDecider:
    """Implements engine.deciders.decider.Decider. consults: makes who is asked in a simulation.

    The simulation that fills targets first carries out what was decided in the one that fills stops first: a model is
    asked once a close.
    """

    advice: Advice
    rule: Decider | None
    consults: MakeConsults

    def __post_init__(self) -> None:
        mode = self.advice.decided_by
        if self.rule is None and mode in (DecidedBy.RULE_THEN_LLM, DecidedBy.HYBRID_VALIDATOR):
            raise InvalidSpecification(f"strategy_key: mode {mode} needs a rule")
        if self.rule is not None and mode is DecidedBy.LLM_ONLY:
            raise InvalidSpecification(f"strategy_key: mode {mode} has no use for a rule")

    @property
    def source(self) -> str:
        return "rule" if self.advice.decided_by is DecidedBy.HYBRID_VALIDATOR else "llm"

    @property
    def closes_as(self) -> str:
        """With a rule only that one closes: of a model's word nothing but what it opens is taken."""
        return "llm_close" if self.rule is None else "signal"

    @property
    def warnings(self) -> tuple[str, ...]:
        return () if self.rule is None else self.rule.warnings

    def digest_inputs(self) -> DigestInputs:
        return DigestInputs({}) if self.rule is None else self.rule.digest_inputs()

    def warm_up(self, specification: Specification) -> WarmUp:
        own = advice_warm_up(specification, self.advice)
        return own if self.rule is None else most_of([self.rule.warm_up(specification), own])

    def decide(self, run: PreparedRun, carrier: Carrier, before: Decisions | None) -> Decisions:
        if before is not None:
            carrier.carry_out(before)
            return before
        consults = self.consults(run, self.advice)
        taken = _Taken(run)
        warnings: tuple[str, ...] = ()
        if self.rule is None:
            carrier.ask_at_each_close(_AtEveryKth(run, self.advice, consults, taken))
        else:
            warnings = self.rule.decide(run, _OverRule(run, self.advice, carrier, consults, taken), None).warnings
        return taken.decisions((*warnings, *consults.warnings()))


def closes_between(bars: int, advice: Advice) -> int | None:
    """Return at every how manieth close a model that decides alone is asked; None where the budget is below one ask."""
    calls = len(advice.roles) if advice.decided_by is DecidedBy.MULTI_AGENT else 1
    if advice.max_calls < calls:
        return None
    return advice.every or -(-bars * calls // advice.max_calls)


@dataclass(slots=True)
class _Taken:
    """Every decision that a run took, as it took it: to be carried out again, and looked up by its trades."""

    run: PreparedRun
    rows: list[int] = field(default_factory=list)
    taken: list[OneDecision] = field(default_factory=list)
    said: list[tuple[str | None, str | None]] = field(default_factory=list)
    """Pattern name and metadata of each."""

    def take(
        self, bar: int, decision: OneDecision, pattern_name: str | None = None, metadata: str | None = None
    ) -> OneDecision:
        self.rows.append(bar)
        self.taken.append(decision)
        self.said.append((pattern_name, metadata))
        return decision

    def decisions(self, warnings: tuple[str, ...]) -> Decisions:
        count, most = len(self.rows), max((len(levels) for _, _, levels, _ in self.taken), default=1)
        levels = np.full((count, most), np.nan)
        for row, (_, _, own, _) in enumerate(self.taken):
            levels[row, : len(own)] = own
        terms = None
        if any(each[3] is not None for each in self.taken):
            nothing = (0, 0, 0, 0, 0.0, 0.0)
            terms = np.array([each[3] or nothing for each in self.taken], TERMS)
        names, metadata = zip(*self.said, strict=True) if self.said else ((), ())
        if not count and no_decision(self.run) not in warnings:
            warnings = (no_decision(self.run), *warnings)
        return Decisions(
            np.array(self.rows, np.int64),
            np.array([each[0] for each in self.taken], np.int64),
            np.array([each[1] for each in self.taken], np.int64),
            levels,
            pl.Series(names, dtype=pl.String) if any(name is not None for name in names) else None,
            pl.Series(metadata, dtype=pl.String) if any(each is not None for each in metadata) else None,
            terms,
            warnings,
        )


class _AtEveryKth:
    """A model that decides alone. Implements engine.deciders.decider.Asked."""

    def __init__(self, run: PreparedRun, advice: Advice, consults: Consults, taken: _Taken) -> None:
        self._run, self._consults, self._taken = run, consults, taken
        self._every = closes_between(run.bar_count, advice)
        self._is_through = False
        self._skips = skipped(run.close_time_us, run.specification)
        self._position: Position | None = None
        self._balance = run.specification.initial_balance

    def show(self, position: Position | None, balance: float) -> None:
        self._position, self._balance = position, balance

    def ask(self, bar: int, equity: float) -> OneDecision | None:
        if self._is_through or bar % (self._every or 1) or self._skips[bar]:
            return None
        # A budget below one ask has no room at the first close, which the warning names.
        self._is_through = self._every is None
        word = self._consults.consult(bar, Account(self._position, self._balance, equity), None)
        if word.action == "HOLD":
            return None
        run = self._run
        close, time_us = float(run.bars.close[run.first + bar]), int(run.time_us[bar])
        decision = Decision(word.action, stop_loss=word.stop_loss, take_profits=word.take_profits)
        encoded = encode_decision(decision, close, time_us, run.specification, run.instrument)
        return self._taken.take(bar, encoded, None, _json(word.metadata))

    def said_at(self, bar: int) -> tuple[str | None, str | None]:
        return None, None  # its patterns are among what was taken


class _OverRule:
    """A rule whose openings a model has a say in: stands between the rule and its simulation.

    Implements Carrier for the rule, and Asked for the simulation.
    """

    def __init__(self, run: PreparedRun, advice: Advice, carrier: Carrier, consults: Consults, taken: _Taken) -> None:
        self._run, self._advice, self._carrier, self._consults, self._taken = run, advice, carrier, consults, taken
        self._rule: Asked
        self._position: Position | None = None
        self._balance = run.specification.initial_balance

    def carry_out(self, decisions: Decisions) -> None:
        self.ask_at_each_close(_Replayed(decisions))

    def ask_at_each_close(self, asked: Asked) -> None:
        self._rule = asked
        self._carrier.ask_at_each_close(self)

    def show(self, position: Position | None, balance: float) -> None:
        self._position, self._balance = position, balance
        self._rule.show(position, balance)

    def ask(self, bar: int, equity: float) -> OneDecision | None:
        decision = self._rule.ask(bar, equity)
        if decision is None:
            return None
        name, metadata = self._rule.said_at(bar)
        if not self._opens(bar, decision):
            return self._taken.take(bar, decision, name, metadata)
        account = Account(self._position, self._balance, equity)
        word = self._consults.consult(bar, account, Proposal(decision, name, metadata))
        if word.passes:
            return self._taken.take(bar, decision, name, metadata)
        if word.action == "HOLD":
            return self._taken.take(bar, _CLOSES_IT) if self._closes_too(decision) else None
        changed = self._validated(decision, word) if self._validates else self._replaced(bar, decision, word)
        return self._taken.take(bar, changed, name, _json(word.metadata))

    def said_at(self, bar: int) -> tuple[str | None, str | None]:
        return self._rule.said_at(bar)

    def _opens(self, bar: int, decision: OneDecision) -> bool:
        """Whether the decision opens a position, or reverses one. At the last bar none does."""
        action, _, _, terms = decision
        if abs(action) != BUY_CODE or bar == self._run.bar_count - 1:
            return False
        if self._position is None:
            return True
        waits = terms is not None and terms[0] != MARKET
        reverses = self._run.specification.on_opposite is OnOpposite.REVERSE
        return reverses and not waits and action != CODES[self._position.direction]

    def _closes_too(self, decision: OneDecision) -> bool:
        """Whether the rule closes the open position whatever comes of what it opens."""
        terms = decision[3]
        return terms is not None and self._position is not None and terms[3] == CODES[self._position.direction]

    @property
    def _validates(self) -> bool:
        return self._advice.decided_by is DecidedBy.HYBRID_VALIDATOR

    def _validated(self, decision: OneDecision, word: Word) -> OneDecision:
        action, steps, levels, terms = decision
        return action, steps, [levels[0] if word.stop_loss is None else word.stop_loss, *levels[1:]], terms

    def _replaced(self, bar: int, decision: OneDecision, word: Word) -> OneDecision:
        """Return the rule's decision with the model's levels, and none of its own but those in pips."""
        action, steps, _, terms = decision
        run = self._run
        waits = terms is not None and terms[0] != MARKET
        said = Decision(
            "BUY" if action > 0 else "SELL",
            stop_loss=word.stop_loss,
            take_profits=word.take_profits,
            price=terms[5] if waits and terms is not None else None,
        )
        close = float(run.bars.close[run.first + bar])
        stop, targets = with_default_levels(said, action, close, run.specification, run.instrument)
        own = None if terms is None else (*terms[:4], 0.0, terms[5])
        return action, steps, [math.nan if stop is None else stop, *targets], own


class _Replayed:
    """Decisions that were all taken before the run, as if they were asked for. Implements decider.Asked."""

    def __init__(self, decisions: Decisions) -> None:
        self._decisions = decisions
        self._row_of = {bar: row for row, bar in enumerate(decisions.rows.tolist())}

    def show(self, position: Position | None, balance: float) -> None:
        """They depend on neither."""

    def ask(self, bar: int, equity: float) -> OneDecision | None:
        row = self._row_of.get(bar)
        if row is None:
            return None
        given = self._decisions
        levels = given.levels[row]
        known = np.flatnonzero(~np.isnan(levels))
        terms: Any = None if given.terms is None else given.terms[row].item()
        behind = int(known[-1]) + 1 if known.size else 1
        return int(given.actions[row]), int(given.steps[row]), levels[:behind].tolist(), terms

    def said_at(self, bar: int) -> tuple[str | None, str | None]:
        row = self._row_of.get(bar)
        texts = (self._decisions.pattern_name, self._decisions.pattern_metadata)
        name, metadata = (None if row is None or each is None else each[row] for each in texts)
        return name, metadata


def _json(metadata: Mapping[str, Any] | None) -> str | None:
    return None if metadata is None else json.dumps(dict(metadata), allow_nan=False)
