"""From the options of a run and a row of `strategies` to the specification that a worker would execute for them."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from consumer.commands.connections import database_settings
from consumer.commands.options import values as options
from consumer.commands.options.advice_request import prompt_of
from consumer.ports import StrategyRow
from consumer.preparation.snapshot import specification_from_json
from consumer.requests.admitting import admit, admit_search, strategy_row
from consumer.rules.admission import Admission
from consumer.rules.search_admission import SearchAdmission
from consumer.settings import ModelSettings, load_settings
from engine.errors import InputRefused
from engine.market.instruments import Instrument
from engine.specification import Specification
from schemas.optimization_requested import parse_optimization_requested
from schemas.problems import InvalidRequestError
from schemas.requested import parse_requested

_SAME = (
    *("execution_mode", "on_opposite", "tp_partial_close_ratio", "stop_to_entry", "initial_balance", "volume"),
    *("risk_pct", "spread_pips", "spread_source", "commission_per_lot", "slippage_pips", "commission_pct"),
    *("leverage", "stop_out_pct", "warm_up_bars", "max_llm_calls", "skip_llm", "llm_replay"),
)
"""Options that are fields of a request under their own names."""
_COLUMNS = {"sl_pips": "sl_pips", "tp_pips": "tp_pips", "decided_by": "execution_mode"}
"""Options that a request has no field for, and the row's columns that they stand in place of."""


class GivenOptions(Protocol):
    """RunRequest, as far as it is read here."""

    @property
    def explicit(self) -> frozenset[str]: ...


@dataclass(frozen=True, slots=True)
class RowOfRun:
    """The row that decides, options that were given over its columns. search: what is searched, None for a run."""

    strategy: StrategyRow
    request: Any
    search: "SearchOfRow | None" = None

    @property
    def timeframe(self) -> str:
        return str(self.request.timeframe or self.strategy.primary_tf)

    def specification(
        self,
        symbol: str,
        start: datetime,
        end: datetime,
        context_files: Iterable[str],
        registry: Mapping[str, Instrument],
    ) -> Specification:
        """What a worker would execute. context_files: timeframes that bars were named of. What is searched is not among
        its parameters. Raises InputRefused.
        """
        given = self.request
        data: dict[str, Any] = {name: _plain(getattr(given, name)) for name in _SAME if name in given.explicit}
        data |= {"strategy_id": self.strategy.id, "symbol": symbol, "start_date": start, "end_date": end}
        data |= {"timeframe": self.timeframe}
        params = options.json_object(given.params, "--params") if given.params else {}
        if given.llm:
            params["llm"] = options.json_object(given.llm, "--llm")
        if params:
            data["strategy_params"] = params
        contexts = self._contexts(context_files)
        if contexts is not None:
            data["context_tfs"] = contexts
        if given.account_currency is not None:
            data["account_currency"] = given.account_currency
        admission = _admission(registry)
        try:
            if self.search is None:
                admitted = admit(parse_requested(data), self.strategy, admission).specification
            else:
                admitted = self.search.admitted(data, self.strategy, admission)
        except InvalidRequestError as error:
            raise InputRefused(f"strategy {self.strategy.id}: {error}") from error
        # A request for a search has no field for the warm-up.
        return replace(specification_from_json(admitted), warm_up_bars=given.warm_up_bars)

    def _contexts(self, of_files: Iterable[str]) -> list[str] | None:
        """The contexts asked for, None for the row's own."""
        asked = None
        if "context_timeframes" in self.request.explicit:
            asked = list(options.timeframe_list(self.request.context_timeframes, "--context-timeframes"))
        further = [name for name in of_files if name not in (asked or ())]
        if asked is None and further:
            asked = [name for name in json.loads(self.strategy.context_tfs) if name not in further]
        return None if asked is None else [*asked, *further]


@dataclass(frozen=True, slots=True)
class SearchOfRow:
    """Fields of a request that say what is searched, and how many combinations are allowed."""

    fields: Mapping[str, Any]
    most: int

    def admitted(self, of_run: Mapping[str, Any], strategy: StrategyRow, admission: Admission) -> dict[str, Any]:
        """What a worker would execute, without what is varied. Raises InvalidRequestError."""
        of_run = {name: value for name, value in of_run.items() if name != "warm_up_bars"}
        request = parse_optimization_requested({**of_run, **self.fields})
        decided = admit_search(request, strategy, SearchAdmission(admission, self.most))
        engine: dict[str, Any] = decided.specification["engine"]
        return engine


def read_row(request: Any, search: SearchOfRow | None = None) -> RowOfRun:
    """Look the row up. Raises NoSuchStrategy, SettingsInvalid without a database, StoreUnavailable."""
    changes = {_COLUMNS[name]: getattr(request, name) for name in _COLUMNS if name in request.explicit}
    prompt = prompt_of(request)
    if prompt is not None:
        changes["custom_prompt"] = prompt
    return RowOfRun(asyncio.run(_fetched(request.strategy_id, changes)), request, search)


async def _fetched(strategy_id: int, changes: Mapping[str, Any]) -> StrategyRow:
    from consumer.wiring.database import open_history  # late: a run without a row needs no database's client

    async with open_history(database_settings()) as history:
        return await strategy_row(history, strategy_id, changes)


def tries_of_row(strategy_id: int, specification: Specification) -> int:
    """How often the row's strategy was tried on that symbol and range, as far as the database knows."""
    return asyncio.run(_tries(strategy_id, specification))


async def _tries(strategy_id: int, specification: Specification) -> int:
    from consumer.wiring.database import open_search_history  # late, as above

    async with open_search_history(database_settings()) as history:
        return await history.tries(strategy_id, specification.symbol, specification.start, specification.end)


def _admission(registry: Mapping[str, Instrument]) -> Admission:
    from consumer.wiring.models import model_terms

    return Admission(registry, "USD", model_terms(load_settings(ModelSettings)))


def _plain(value: Any) -> Any:
    return value.value if hasattr(value, "value") else value
