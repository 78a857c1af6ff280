"""Computes a completed run again from what is stored of it, and names every figure that comes out otherwise."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from consumer.errors import NoSuchRun
from consumer.ports.history import History
from consumer.preparation.inputs import MarketData, assemble, spelled_as_known
from consumer.preparation.snapshot import recorded_instruments, specification_from_json
from consumer.preparation.strategy import chosen_strategy
from consumer.rules.columns import METRIC_COLUMNS
from engine.errors import InputRefused
from engine.market.instruments import Instrument, instrument_for
from engine.results.result import BacktestResult
from engine.simulate import run_backtest


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of a run that came out otherwise."""

    figure: str
    stored: Any
    computed: Any


@dataclass(frozen=True, slots=True)
class CompletedRun:
    """A run's row (with result_digest) and what it executed."""

    row: Mapping[str, Any]
    specification: Mapping[str, Any]


async def completed_run(history: History, run_id: int) -> CompletedRun:
    """Raises NoSuchRun, and InputRefused for a run that has no figures to compare."""
    row = await history.run(run_id)
    if row is None:
        raise NoSuchRun(run_id)
    specification = await history.specification_of(run_id)
    if row["status"] != "completed" or specification is None:
        raise InputRefused(f"run {run_id}: is {row['status']}; only a completed run of this service can be verified")
    return CompletedRun(row, specification)


def verify(run: CompletedRun, market_data: MarketData, registry: Mapping[str, Instrument]) -> list[Difference]:
    """What differs on the market data as they are now; nothing where all is the same. Raises what the engine raises."""
    return list(compare(run.row, recompute(run.specification, market_data, registry)))


def recompute(
    specification: Mapping[str, Any], market_data: MarketData, registry: Mapping[str, Instrument]
) -> BacktestResult:
    """Simulate a stored specification. Raises what the engine raises."""
    registry = {**registry, **recorded_instruments(specification)}
    wanted = spelled_as_known(specification_from_json(dict(specification)), registry)
    strategy = chosen_strategy(wanted)
    data = assemble(wanted, market_data, registry, strategy.warm_up(wanted))
    return run_backtest(wanted, instrument_for(wanted.symbol, registry), data, strategy)


def compare(run: Mapping[str, Any], result: BacktestResult) -> Iterator[Difference]:
    """What differs between a run's row (with result_digest and strategy_version) and a result: whose code it was, every
    metric column, then the digest.
    """
    if run["strategy_version"] != result.strategy_version:
        yield Difference("strategy_version", run["strategy_version"], result.strategy_version)
    for name in METRIC_COLUMNS:
        computed = getattr(result.metrics, name)
        if run[name] != computed:
            yield Difference(name, run[name], computed)
    if run["result_digest"] != result.result_digest:
        yield Difference("result_digest", run["result_digest"], result.result_digest)
