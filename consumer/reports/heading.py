"""What was run, in two lines: the same on the terminal of a run and in its report."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from consumer.reports.figure_groups import Unit, figure_text
from consumer.reports.spread import spread_text
from engine.market.instruments import Instrument
from engine.specification import Specification, SpreadSource


def heading(asked: Specification, full_params: Mapping[str, Any] | None, instrument: Instrument | None) -> list[str]:
    """Who decided, on what, over which range; how it was filled, at what costs, and how much.

    full_params: with the defaults, of which those that are null are not told; None where they are not known, and then
    that is said. instrument: None where it is not known.
    """
    context = f" with {', '.join(asked.context_timeframes)}" if asked.context_timeframes else ""
    time = f"{_minute(asked.start)} to {_minute(asked.end)} UTC"
    deposit = _money(asked.initial_balance, asked)
    return [
        f"{_decided(asked, full_params)} on {asked.symbol} {asked.timeframe}{context}, {time}",
        f"{asked.execution_mode}, {_costs(asked, instrument)}, deposit {deposit}, {_size(asked)}",
    ]


def _decided(asked: Specification, full_params: Mapping[str, Any] | None) -> str:
    advice = asked.advice
    if advice is None:
        return _rule(asked, full_params)
    blind = ", blind" if advice.blind else ""
    by = f"{advice.decided_by} of {advice.model} with {advice.max_calls:,} calls at most{blind}"
    return f"{_rule(asked, full_params)}, {by}" if asked.strategy_key else by


def _rule(asked: Specification, full_params: Mapping[str, Any] | None) -> str:
    if not asked.strategy_key:
        return "signals of a file"
    if full_params is None:
        return f"{asked.strategy_key} {json.dumps(asked.strategy_params)} and defaults of code that is not here"
    told = {name: value for name, value in full_params.items() if value is not None}
    return f"{asked.strategy_key} {json.dumps(told)}"


def _costs(asked: Specification, instrument: Instrument | None) -> str:
    spread = spread_text(None if asked.spread_source is SpreadSource.BARS else asked.spread_pips, instrument)
    slippage = [f"slippage {asked.slippage_pips:g} pips"] if asked.slippage_pips else []
    commissions = [f"{_money(asked.commission_per_lot, asked)} a lot"] if asked.commission_per_lot else []
    commissions += [f"{asked.commission_pct:g} % a side"] if asked.commission_pct else []
    commission = f"commission {' and '.join(commissions)}" if commissions else "no commission"
    return ", ".join([spread, *slippage, commission, *_margin(asked)])


def _margin(asked: Specification) -> list[str]:
    if asked.leverage is None:
        return []
    stop_out = f", stop-out at {asked.stop_out_pct:g} % of margin" if asked.stop_out_pct else ""
    return [f"leverage {asked.leverage:g}{stop_out}"]


def _size(asked: Specification) -> str:
    return f"{asked.risk_pct:.2%} of equity a trade" if asked.risk_pct is not None else f"{asked.volume:g} lots a trade"


def _money(amount: float, asked: Specification) -> str:
    return figure_text(amount, Unit.MONEY, asked.account_currency)


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"
