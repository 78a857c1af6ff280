"""Decides whether a request may run, and resolves it: request over row, request over strategy, table defaults.

All that can be checked without opening market data is checked here, and every field at fault is named with its own
code. What the strategy's own code has to say was asked before (`consumer.ports.strategies`): none of it runs here, in
the middle of a transaction. The resolved specification is a snapshot: later changes of the strategy's row do not reach
a run that was accepted.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from consumer.ports import Admitted, Decision, Refused, RunRow, StrategyCheck, StrategyRow, Unchecked, Verdict
from consumer.preparation.known_instruments import snapshot_of
from consumer.rules.advice import RULE_ONLY, DecidedOn, ModelTerms, advice_of, strangers_of, who_decides
from consumer.rules.columns import REPEATABLE_COLUMNS
from engine.deciders.advised.terms import merged_llm, split_params
from engine.errors import InvalidSpecification, UnknownTimeframe
from engine.expressions.document import KEY as RULES
from engine.expressions.merging import merged
from engine.market.instruments import Instrument
from engine.market.lots import volume_problem
from engine.market.timeframes import TIMEFRAMES, timeframe
from engine.specification import (
    BALANCES,
    LARGEST_COMMISSION,
    LARGEST_SPREAD_PIPS,
    ExecutionMode,
    OnOpposite,
    Specification,
    SpreadSource,
    check_specification,
)
from schemas.json_text import JsonTextError, printable, shown_key, strict_json
from schemas.problems import FieldProblem, bounded
from schemas.requested import DEFAULT_SPREAD_SOURCE, ROW_DEFAULTS, BacktestRequested, fields_at_fault, set_fields

DEFAULT_VOLUME: Final = 0.1
"""Lots, where neither request nor strategy says."""


@dataclass(frozen=True, slots=True)
class Admission:
    """What a request is held against: the instruments, the account currency of last resort, the language models."""

    instruments: Mapping[str, Instrument]
    account_currency: str
    models: ModelTerms | None = None
    """None: no language model may decide."""

    def __call__(
        self,
        request: BacktestRequested,
        strategy: StrategyRow | None,
        run: RunRow | None,
        problems: tuple[FieldProblem, ...],
        verdicts: Mapping[StrategyCheck, Verdict],
        *,
        varied: "Varied | None" = None,
    ) -> Decision:
        """Decide one request against the rows it names (None: there is no such row): `ports.Admit`, with the verdicts
        there are of strategies' code. Where the one that the rows call for is missing, the request is Unchecked.

        varied: of a search, whose request this is part of.
        """
        problems_of_run = tuple(_problems_of_run(request, run))
        if request.run_id is not None and run is None:
            return Refused(bounded((*problems, *problems_of_run)))
        columns = _columns_of_row(run) if run is not None else _columns_of_request(request, strategy)
        unset = {name for name, value in columns.items() if value is None and run is None}
        checks = _Checks(list(problems), fields_at_fault(problems) | unset)
        checks.extend(problems_of_run)
        decided_on = _check_strategy(request, strategy, columns, self.models, checks, is_search=varied is not None)
        params, llm = _params(request, strategy, decided_on, checks)
        unchecked = _check_code(strategy, params, varied, verdicts, checks) if decided_on is not None else None
        if unchecked is not None:
            return unchecked
        params = _without(params, varied, strategy)
        advice = None
        if strategy is not None and decided_on is not None and decided_on.asks and self.models is not None:
            advice = advice_of(strategy, llm, columns["max_llm_calls"], self.models, checks.add)
        contexts = self._check_market(columns, checks)
        sizing = _check_sizing(request, strategy, self.instruments.get(columns["symbol"]), checks)
        session = _check_skips(strategy, checks)
        _check_orders(request, strategy, checks)
        _check_ranges(request, run, columns, checks)
        if checks.problems or strategy is None:
            return Refused(bounded(checks.problems))
        specification = Specification(
            symbol=columns["symbol"],
            timeframe=columns["timeframe"],
            start=columns["start_date"],
            end=columns["end_date"],
            strategy_key=strategy.strategy_key if params is not None else None,
            strategy_params=params or {},
            context_timeframes=contexts,
            initial_balance=columns["initial_balance"],
            account_currency=request.account_currency or self.account_currency,
            spread_pips=columns["spread_pips"],
            spread_source=SpreadSource(request.spread_source or DEFAULT_SPREAD_SOURCE),
            execution_mode=ExecutionMode(columns["execution_mode"]),
            commission_per_lot=columns["commission_per_lot"],
            tp_partial_close_ratio=columns["tp_partial_close_ratio"],
            volume=sizing.volume,
            risk_pct=sizing.risk_pct,
            stop_loss_pips=strategy.sl_pips,
            take_profit_pips=strategy.tp_pips,
            on_opposite=OnOpposite(request.on_opposite or strategy.on_opposite),
            stop_to_entry=request.stop_to_entry if request.stop_to_entry is not None else strategy.stop_to_entry,
            skip_hours=session.hours,
            skip_weekdays=session.weekdays,
            skip_timezone=session.timezone,
            warm_up_bars=request.warm_up_bars,
            slippage_pips=request.slippage_pips or 0.0,
            commission_pct=request.commission_pct or 0.0,
            leverage=request.leverage,
            stop_out_pct=request.stop_out_pct or 0.0,
            advice=advice,
        )
        try:
            check_specification(specification, self.instruments[specification.symbol])
        except InvalidSpecification as error:
            field, _, message = str(error).partition(" ")  # the engine's message opens with the field's name
            return Refused((FieldProblem(field.rstrip(":"), "invalid_request", message),))
        return Admitted(snapshot_of(specification, self.instruments), columns, request.llm_replay or False)

    def _check_market(self, columns: Mapping[str, Any], checks: "_Checks") -> tuple[str, ...]:
        """Symbol and timeframes exist; the context timeframes."""
        if columns["symbol"] not in self.instruments:
            checks.add("symbol", "unknown_symbol", _no_such_symbol(columns["symbol"], self.instruments))
        if not is_timeframe(columns["timeframe"]):
            checks.add("timeframe", "unknown_timeframe", _no_timeframe(columns["timeframe"]))
        contexts = checks.json_of("context_tfs", columns["context_tfs"], _is_text_list, "a JSON list of timeframes")
        for index, name in enumerate(contexts or []):
            if not is_timeframe(name):
                checks.add(f"context_tfs.{index}", "unknown_timeframe", _no_timeframe(name))
        return tuple(contexts or ())


@dataclass(frozen=True, slots=True)
class Varied:
    """What a search varies. names: its parameters, which win over the row's. question: what the strategy's code is
    asked about them (StrategyCheck.space); None: they are at fault already, and it is not asked.
    """

    names: frozenset[str]
    question: str | None


def _without(
    params: dict[str, Any] | None, varied: Varied | None, strategy: StrategyRow | None
) -> dict[str, Any] | None:
    """Without what is varied. Of rules that is within their params, whose names may be those of fields too."""
    if params is None or varied is None or strategy is None or strategy.strategy_key == RULES:
        return params
    return {name: value for name, value in params.items() if name not in varied.names}


@dataclass(slots=True)
class _Checks:
    """Collects what is at fault."""

    problems: list[FieldProblem]
    unset: frozenset[str] = frozenset()
    """Fields that break the schema or are missing: what would stand in their place says nothing about the request."""

    def add(self, name: str, code: str, message: str) -> None:
        self.extend([FieldProblem(name, code, message)])

    def extend(self, problems: Iterable[FieldProblem]) -> None:
        self.problems.extend(problem for problem in problems if problem.field.partition(".")[0] not in self.unset)

    def json_of(self, name: str, text: str | None, fits: Callable[[Any], bool], what: str) -> Any:
        """The JSON in a column of another service, or None where it is not what it should be (and that is a
        problem).
        """
        try:
            value = strict_json(text) if text is not None else None
        except JsonTextError:
            value = None
        if value is None or not fits(value):
            self.add(name, "invalid_params", f"must be {what}, is {(text or 'null')[:80]!r}")
            return None
        return value


@dataclass(frozen=True, slots=True)
class _Sizing:
    volume: float | None
    risk_pct: float | None


@dataclass(frozen=True, slots=True)
class _Session:
    hours: tuple[int, ...] = ()
    weekdays: tuple[int, ...] = ()
    timezone: str = "UTC"


def is_timeframe(name: str) -> bool:
    try:
        timeframe(name)
    except UnknownTimeframe:
        return False
    return True


def _no_such_symbol(symbol: str | None, known: Iterable[str]) -> str:
    """Tables, events and files spell a symbol in one way, so that another case is told and not taken."""
    alike = [each for each in known if symbol is not None and each.upper() == symbol.upper()]
    meant = f"; did you mean {' or '.join(map(repr, alike))}?" if alike else ""
    return f"{symbol!r} is in no instruments file{meant}"


def _no_timeframe(name: str) -> str:
    return f"{name!r} is no timeframe; known are {', '.join(TIMEFRAMES)}"


def _problems_of_run(request: BacktestRequested, run: RunRow | None) -> Iterator[FieldProblem]:
    """The named row must exist, wait, and agree. A row already cancelled is let through: it ends cancelled, not
    rejected.
    """
    if request.run_id is None:
        return
    if run is None:
        yield FieldProblem("run_id", "run_not_found", f"names no run: {request.run_id}")
        return
    if run.has_execution:
        yield FieldProblem("run_id", "run_not_pending", f"names run {run.id}, for which a request was accepted before")
    elif run.status not in {"pending", "cancelled"}:
        yield FieldProblem("run_id", "run_not_pending", f"names run {run.id}, which is {run.status}")
    given = set_fields(request)
    for name in REPEATABLE_COLUMNS:
        if name in given and getattr(request, name) != getattr(run, name):
            message = f"is {_shown(getattr(request, name))}, but the run's row says {_shown(getattr(run, name))}"
            yield FieldProblem(name, "run_disagrees", message)
    if "context_tfs" in given and request.context_tfs != _parsed(run.context_tfs):
        yield FieldProblem(
            "context_tfs", "run_disagrees", f"is {request.context_tfs}, but the run's row says {run.context_tfs}"
        )
    if "primary_tf" in given and request.primary_tf != run.timeframe:
        message = f"is {request.primary_tf!r}, but the run's row has timeframe {run.timeframe!r}"
        yield FieldProblem("primary_tf", "run_disagrees", message)


def _columns_of_row(run: RunRow) -> dict[str, Any]:
    names = (*REPEATABLE_COLUMNS, "context_tfs")
    return {**{name: getattr(run, name) for name in names}, "primary_tf": run.timeframe}


def _columns_of_request(request: BacktestRequested, strategy: StrategyRow | None) -> dict[str, Any]:
    """The configuration of a new row: the request over the strategy's timeframes over the table's defaults."""
    timeframe_name = request.timeframe or (strategy.primary_tf if strategy is not None else "M15")
    contexts = request.context_tfs
    return {
        "strategy_id": request.strategy_id,
        "symbol": request.symbol,
        "timeframe": timeframe_name,
        "start_date": request.start_date,
        "end_date": request.end_date,
        "primary_tf": timeframe_name,
        "context_tfs": json.dumps(contexts) if contexts is not None else strategy.context_tfs if strategy else "[]",
        **{
            name: getattr(request, name) if getattr(request, name) is not None else default
            for name, default in ROW_DEFAULTS.items()
        },
    }


def _check_strategy(
    request: BacktestRequested,
    strategy: StrategyRow | None,
    columns: Mapping[str, Any],
    models: ModelTerms | None,
    checks: _Checks,
    *,
    is_search: bool,
) -> DecidedOn | None:
    """The strategy may run here, on this symbol; who decides in it, None where nobody can."""
    if strategy is None:
        checks.add("strategy_id", "unknown_strategy", f"names no strategy: {columns['strategy_id']}")
        return None
    if not strategy.is_active:
        checks.add("strategy_id", "strategy_inactive", f"names strategy {strategy.name!r}, which is not active")
    decided_on = who_decides(strategy, models, checks.add, skip_llm=request.skip_llm or False, is_search=is_search)
    symbols = checks.json_of("strategies.symbols", strategy.symbols, _is_text_list, "a JSON list of symbols")
    if symbols and columns["symbol"] not in symbols:
        checks.add("symbol", "symbol_not_allowed", f"is not one that strategy {strategy.name!r} may trade")
    return decided_on


def _params(
    request: BacktestRequested, strategy: StrategyRow | None, decided_on: DecidedOn | None, checks: _Checks
) -> tuple[dict[str, Any] | None, Any]:
    """The merged parameters of the rule, None where there is none to check; and what is said of `llm`."""
    if strategy is None:
        return None, None
    own = checks.json_of("strategies.strategy_params", strategy.strategy_params, _is_object, "a JSON object")
    if own is None or decided_on is None:
        return None, None
    given = request.strategy_params or {}
    llm = None
    if strategy.execution_mode != RULE_ONLY:  # a rule of its own is told what it is told of any unknown name
        (own, llm_below), (given, llm_above) = split_params(own), split_params(given)
        llm = merged_llm(llm_below, llm_above)
    if not decided_on.has_rule:
        if strategy.strategy_key is None:
            strangers_of({**own, **given}, checks.add)
        return None, llm
    if strategy.strategy_key == RULES:
        params, strangers = merged(own, given)
        checks.extend(
            FieldProblem(shown_key(each.field), "invalid_params", printable(each.message)) for each in strangers
        )
        return params, llm
    return {**own, **given}, llm


def _check_code(
    strategy: StrategyRow | None,
    params: dict[str, Any] | None,
    varied: "Varied | None",
    verdicts: Mapping[StrategyCheck, Verdict],
    checks: _Checks,
) -> Unchecked | None:
    """The strategy's code is there and takes these parameters, by what it said when it was asked."""
    if strategy is None or params is None:
        return None
    if strategy.strategy_key is None:
        checks.add("strategy_id", "unknown_strategy", f"names strategy {strategy.name!r}, which has no strategy_key")
        return None
    if varied is not None and varied.question is None:
        return None
    question = varied.question if varied is not None else None
    check = StrategyCheck(strategy.strategy_key, json.dumps(_without(params, varied, strategy)), question or "")
    verdict = verdicts.get(check)
    if verdict is None:
        return Unchecked(check)
    checks.extend(verdict)
    return None


def _check_sizing(
    request: BacktestRequested, strategy: StrategyRow | None, instrument: Instrument | None, checks: _Checks
) -> _Sizing:
    """How much a trade is: the request's word wins whole, so that a volume asked for is not overruled by a
    strategy's risk.
    """
    if request.volume is not None or request.risk_pct is not None:
        where, sizing = "volume", _Sizing(request.volume, request.risk_pct)
        code: Literal["invalid_request", "invalid_params"] = "invalid_request"
    elif strategy is not None:
        where, code = "strategies.lot_size", "invalid_params"
        sizing = _Sizing(strategy.lot_size, strategy.risk_pct)
    else:
        return _Sizing(DEFAULT_VOLUME, None)
    if sizing.volume is None and sizing.risk_pct is None:
        sizing = _Sizing(DEFAULT_VOLUME, None)
    problem = volume_problem(sizing.volume, instrument.lot_step) if sizing.volume is not None and instrument else None
    if problem is not None:
        checks.add(where, code, problem)
    if sizing.risk_pct is not None and not 0 < sizing.risk_pct <= 1:
        checks.add("strategies.risk_pct", "invalid_params", f"must be above 0 and at most 1, is {sizing.risk_pct}")
    # Risk wins: a volume beside it decides nothing, and must not make two equal runs differ in their digest.
    return sizing if sizing.risk_pct is None else _Sizing(None, sizing.risk_pct)


def _check_skips(strategy: StrategyRow | None, checks: _Checks) -> _Session:
    """Hours and weekdays without decisions, from columns of another service."""
    if strategy is None:
        return _Session()
    hours = _small_integers("strategies.skip_hours", strategy.skip_hours, 23, checks)
    weekdays = _small_integers("strategies.skip_weekdays", strategy.skip_weekdays, 6, checks)
    zone = strategy.skip_hours_timezone or "UTC"
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        checks.add("strategies.skip_hours_timezone", "invalid_params", f"must be an IANA time zone, is {zone!r}")
    return _Session(hours, weekdays, zone)


def _check_orders(request: BacktestRequested, strategy: StrategyRow | None, checks: _Checks) -> None:
    """Stops, targets and what an opposite signal does, from columns of another service."""
    if strategy is None:
        return
    for name in ("sl_pips", "tp_pips"):
        pips = getattr(strategy, name)
        if pips is not None and not (math.isfinite(pips) and pips > 0):
            checks.add(f"strategies.{name}", "invalid_params", f"must be above 0, is {pips}")
    if request.on_opposite is None and strategy.on_opposite not in _ON_OPPOSITE:
        message = f"must be one of {', '.join(OnOpposite)}, is {strategy.on_opposite!r}"
        checks.add("strategies.on_opposite", "invalid_params", message)


def _small_integers(name: str, text: str | None, highest: int, checks: _Checks) -> tuple[int, ...]:
    if text is None:
        return ()

    def fits(value: Any) -> bool:
        return isinstance(value, list) and all(type(item) is int and 0 <= item <= highest for item in value)

    return tuple(sorted(set(checks.json_of(name, text, fits, f"a JSON list of integers from 0 to {highest}") or ())))


def _check_ranges(request: BacktestRequested, run: RunRow | None, columns: Mapping[str, Any], checks: _Checks) -> None:
    """What a schema-valid request can still get wrong once it is resolved, and what a row of another service may
    hold.
    """
    if run is None:
        if request.primary_tf is not None and request.primary_tf != columns["timeframe"]:
            message = f"must equal the timeframe {columns['timeframe']!r}, is {request.primary_tf!r}"
            checks.add("primary_tf", "invalid_request", message)
        return
    allowed: list[tuple[str, bool, str]] = [
        ("start_date", run.start_date is not None, "must be a date of the years 1 to 9999"),
        ("end_date", run.end_date is not None, "must be a date of the years 1 to 9999"),
        ("start_date", _is_before(run.start_date, run.end_date), "must be before end_date"),
        _within("initial_balance", run.initial_balance, *BALANCES),
        _within("spread_pips", run.spread_pips, 0.0, LARGEST_SPREAD_PIPS),
        _within("commission_per_lot", run.commission_per_lot, 0.0, LARGEST_COMMISSION),
        ("tp_partial_close_ratio", 0 <= run.tp_partial_close_ratio <= 1, "must be from 0 to 1"),
        ("execution_mode", run.execution_mode in set(ExecutionMode), f"must be one of {', '.join(ExecutionMode)}"),
    ]
    for name, is_fine, message in allowed:
        if not is_fine:
            checks.add(name, "invalid_request", f"{message}, is {_shown(getattr(run, name))} in the run's row")


def _is_before(start: datetime | None, end: datetime | None) -> bool:
    return start is None or end is None or start < end


def _within(name: str, value: float, least: float, most: float) -> tuple[str, bool, str]:
    return name, least <= value <= most, f"must be from {least:g} to {most:g}"


def _is_text_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


_ON_OPPOSITE: Final = frozenset(OnOpposite)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _shown(value: Any) -> str:
    if value is None:
        return "infinite or of another year"
    return value.isoformat() if isinstance(value, datetime) else repr(value)
