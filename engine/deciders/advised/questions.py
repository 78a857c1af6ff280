"""The questions at one close, as a model is asked them: what is known there, bounded in size."""

import json
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from engine.advice import Advice, DecidedBy
from engine.deciders.advised.advisor import Message, Question
from engine.deciders.advised.messages import instructions, situation
from engine.deciders.advised.shown import Shown
from engine.deciders.advised.tokens import estimated_tokens
from engine.deciders.decisions import OneDecision
from engine.errors import StrategyError
from engine.kernel.layout import LIMIT, MARKET
from engine.numeric.times import iso_time
from engine.prepared import PreparedRun
from engine.strategy import Position

ONE_VOICE: Final = ("",)
"""The roles of all modes but multi_agent."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a rule wants to open: its decision, and what it said of it."""

    decision: OneDecision
    pattern_name: str | None = None
    pattern_metadata: str | None = None
    """JSON."""

    @property
    def action(self) -> str:
        return "BUY" if self.decision[0] > 0 else "SELL"


class Account(NamedTuple):
    """What a decision is taken on, beside the market."""

    position: Position | None
    balance: float
    equity: float


class Asker:
    """Makes the questions of one run."""

    def __init__(self, run: PreparedRun, advice: Advice) -> None:
        self._run, self._advice = run, advice
        self._shown = Shown(run, advice)
        self.roles = advice.roles if advice.decided_by is DecidedBy.MULTI_AGENT else ONE_VOICE

    def questions(self, bar: int, account: Account, proposal: Proposal | None) -> tuple[list[Question], float]:
        """Return one question a role, bounded in size, and the unit of the prices in them.

        Older bars are left out first. Raises StrategyError where not even a question with one bar is small enough.
        """
        heads = [instructions(self._advice, role, has_rule=proposal is not None) for role in self.roles]
        most = self._advice.bars
        while True:
            messages = [(head, self._situation(bar, most, account, proposal)) for head in heads]
            tokens = max(estimated_tokens(each) for each in messages)
            if tokens <= self._advice.max_prompt_tokens:
                break
            if most == 1:
                raise StrategyError(
                    f"at {iso_time(int(self._run.time_us[bar]))}: a question to the model has about {tokens} tokens"
                    f" with a single bar of each timeframe, and may have {self._advice.max_prompt_tokens}"
                )
            # Nearly linear in the bars: two or three steps, and the same ones for the same run.
            most = max(1, min(most - 1, most * self._advice.max_prompt_tokens // tokens))
        bar_time_us = int(self._run.time_us[bar])
        asked = [Question(bar_time_us, role, each) for role, each in zip(self.roles, messages, strict=True)]
        return asked, self._shown.unit(bar, most)

    def _situation(self, bar: int, most: int, account: Account, proposal: Proposal | None) -> Message:
        blind, run = self._advice.blind, self._run
        unit = self._shown.unit(bar, most)
        known: dict[str, Any] = {}
        if not blind:
            known = {"symbol": run.specification.symbol, "closed_at": iso_time(int(run.close_time_us[bar]))}
        known |= {"timeframe": run.bars.timeframe.name, "bars": self._shown.bars(bar, most)}
        if self._advice.indicators:
            known["indicators"] = self._shown.indicators(bar, most)
        if proposal is not None:
            known["rule"] = self._proposed(proposal, unit)
        known["position"] = None if account.position is None else self._open(account.position, bar, unit)
        deposit = run.specification.initial_balance if blind else 1.0
        known |= {
            "balance": _rounded(account.balance / deposit, 8),
            "equity": _rounded(account.equity / deposit, 8),
        }
        return situation(known)

    def _proposed(self, proposal: Proposal, unit: float) -> dict[str, Any]:
        """Return the rule's decision as JSON; in blind mode without its own words and its volume."""
        _, steps, levels, terms = proposal.decision
        told: dict[str, Any] = {
            "action": proposal.action,
            "stop_loss": self._level(levels[0], unit),
            "take_profits": [self._level(level, unit) for level in levels[1:] if not np.isnan(level)],
        }
        if terms is not None:
            order, max_bars, expires_bars, _, trail, price = terms
            if order != MARKET:
                told |= {"order": "limit" if order == LIMIT else "stop", "price": self._level(price, unit)}
            given = {"trailing_stop": self._level(trail, unit), "max_bars": max_bars, "expires_bars": expires_bars}
            told |= {name: value for name, value in given.items() if value}
        if not self._advice.blind:
            if steps:
                told["volume"] = _rounded(steps * self._run.instrument.lot_step, 9)
            if proposal.pattern_name is not None:
                told["pattern_name"] = proposal.pattern_name
            if proposal.pattern_metadata is not None:
                told["pattern_metadata"] = json.loads(proposal.pattern_metadata)
        return told

    def _open(self, position: Position, bar: int, unit: float) -> dict[str, Any]:
        entry_us = int(position.entry_time.astype(np.int64))
        entry_bar = int(np.searchsorted(self._run.time_us, entry_us))
        told: dict[str, Any] = {
            "direction": position.direction,
            "entry_price": self._level(position.entry_price, unit),
            "bars_held": bar - entry_bar,
            "stop_loss": self._level(position.stop_loss, unit),
            "take_profits": [self._level(level, unit) for level in position.take_profits],
        }
        if not self._advice.blind:
            told |= {"entry_time": iso_time(entry_us), "volume": position.volume}
        return told

    def _level(self, level: float | None, unit: float) -> float | None:
        if level is None or np.isnan(level):
            return None
        return _rounded(level / unit, 10) if self._advice.blind else float(level)


def _rounded(value: float, decimals: int) -> float:
    return round(float(value), decimals) + 0.0
