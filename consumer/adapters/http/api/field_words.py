"""What each field of a body is for, and what it is where it is left out: for `/openapi.json` and `/docs`."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic_core import PydanticUndefined

from schemas.optimization_requested import SEARCH_DEFAULTS
from schemas.requested import DEFAULT_SPREAD_SOURCE, OFF, ROW_DEFAULTS
from schemas.strategy_row import StrategyRowGiven

_OF_BOTH: Final[Mapping[str, str]] = {
    "request_id": "Names the request, as the header Idempotency-Key does. Left out: a new one.",
    "strategy_id": "The strategy's row (GET /v1/strategies).",
    "symbol": "An instrument, spelt as GET /v1/instruments spells it.",
    "start_date": "The first moment, included; with an offset.",
    "end_date": "The end, excluded; with an offset, after start_date.",
    "timeframe": "Candle length, as M15, H1, D1. Left out: the strategy's primary_tf.",
    "context_tfs": "Longer timeframes that the strategy sees too. Left out: the strategy's; empty: none.",
    "initial_balance": "The deposit, in the account's currency.",
    "spread_pips": "The spread, in pips.",
    "execution_mode": "The fill mode. close_price: entries, stops and targets at the closes of bars; intra_candle:"
    " entries at the deciding bar's close, stops and targets at their levels; next_open: entries at the next bar's"
    " open, the rest as intra_candle. Who decides is another thing: the execution_mode of the strategy's row.",
    "commission_per_lot": "Money a lot, both sides together.",
    "tp_partial_close_ratio": "The share of a position that a take-profit closes where more follow it, 0 to 1.",
    "volume": "Lots of each trade. Left out: the strategy's lot_size, or 0.1.",
    "risk_pct": "Fraction of equity risked a trade, 0.01 = 1 %, in place of a volume. Left out: the strategy's.",
    "on_opposite": "What a signal against the open position does. Left out: the strategy's.",
    "stop_to_entry": "Whether a take-profit that more follow moves the stop to the entry. Left out: the strategy's.",
    "account_currency": "As USD. Left out: the worker's.",
    "spread_source": "fixed: spread_pips; bars: the spread that stands in the bars.",
    "slippage_pips": "By how much fills at a close or an open, and stops, are worse.",
    "commission_pct": "Per cent of the notional on each side, beside commission_per_lot.",
    "leverage": "Left out: no margin is asked.",
    "stop_out_pct": "Per cent of the margin at which equity ends the run; only with leverage.",
}
OF_RUN: Final[Mapping[str, str]] = {
    **_OF_BOTH,
    "primary_tf": "May only repeat timeframe.",
    "strategy_params": "Merged over the strategy's.",
    "max_llm_calls": "Calls to language models at most.",
    "warm_up_bars": "Bars before start_date that the run sees. Left out: as many as the strategy needs.",
    "skip_llm": "The rule decides alone, whatever the strategy leaves to a language model.",
    "llm_replay": "No call to a model is made: a question without an answer in the ledger fails the run.",
}
OF_SEARCH: Final[Mapping[str, str]] = {
    **_OF_BOTH,
    "param_grid": 'By parameter a list [5, 10], a range {"from": 20, "to": 40, "step": 10} or, to be drawn from, an'
    ' interval {"low": 1.0, "high": 4.0}.',
    "strategy_params": "What is not varied, over the strategy's.",
    "method": "grid: every combination; random, tpe: samples of them.",
    "samples": "Combinations of random and tpe.",
    "seed": "Of what random and tpe draw.",
    "optimize_metric": "What is best.",
    "min_trades": "A combination with fewer trades is kept, and is never the best.",
    "max_workers": "Simulations at once, of all workers together. Left out: as many as are free.",
    "walk_forward": "Folds in days, each trained and then tested on what follows: train_days (365), test_days (90),"
    " purge_days between (0), anchored: all train from the start (false). Left out: one search over the whole range.",
}
OF_STRATEGY: Final[Mapping[str, str]] = {
    "name": "Of one row alone.",
    "description": "For people.",
    "execution_mode": "Who decides: the rule, a language model, or both. How decisions are filled is the"
    " execution_mode of a request.",
    "strategy_key": "The code that decides (GET /v1/strategy-keys); not needed by llm_only.",
    "strategy_params": "Its parameters; GET /v1/strategy-keys/{key} has their schema.",
    "primary_tf": "Candle length of requests that name none.",
    "context_tfs": "Longer timeframes that it sees too.",
    "symbols": "What it may run on; empty: any.",
    "lot_size": "Lots of each trade, where neither the request has volume or risk_pct nor the row risk_pct; whole"
    " steps of the instrument's lot. Left out: 0.1.",
    "risk_pct": "Fraction of equity risked a trade, 0.01 = 1 %, in place of lot_size.",
    "sl_pips": "Distance of the stop from the deciding bar's close, where the decision brings none.",
    "tp_pips": "Distance of the take-profit from the deciding bar's close, where the decision brings none.",
    "on_opposite": "What a signal against the open position does.",
    "stop_to_entry": "Whether a take-profit that more follow moves the stop to the entry price.",
    "custom_prompt": "Added to what a language model is told.",
    "skip_hours": "Hours, 0 to 23, of the deciding bar's close in which no decision is taken: none opens, closes or"
    " reverses a position; stops and targets go on.",
    "skip_weekdays": "Weekdays, 0 = Monday, on which no decision is taken, as with skip_hours.",
    "skip_hours_timezone": "Zone of skip_hours and skip_weekdays, as America/New_York. Left out: UTC.",
    "is_active": "Requests for a row that is not are rejected.",
}
RUN_DEFAULTS: Final[Mapping[str, Any]] = {**ROW_DEFAULTS, **OFF, "spread_source": DEFAULT_SPREAD_SOURCE}
OF_SEARCH_DEFAULTS: Final[Mapping[str, Any]] = {
    **SEARCH_DEFAULTS,
    **{name: value for name, value in OFF.items() if name in OF_SEARCH},
    "spread_source": DEFAULT_SPREAD_SOURCE,
}
STRATEGY_DEFAULTS: Final[Mapping[str, Any]] = {
    name: default
    for name, field in StrategyRowGiven.model_fields.items()
    if (default := field.get_default(call_default_factory=True)) not in (None, PydanticUndefined)
}
