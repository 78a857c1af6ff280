"""`backtest replay --verify RUN_ID`: compute a completed run again, and name every figure that differs."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import typer

from consumer.adapters.files.instruments import read_instruments
from consumer.adapters.files.market_data import ParquetMarketData
from consumer.adapters.postgres.reading import find_run, specification_of
from consumer.commands.connections import database_settings
from consumer.rules.columns import METRIC_COLUMNS
from consumer.settings import StoreSettings, load_settings
from engine.errors import InputRefused
from engine.results.result import BacktestResult


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of a run that came out otherwise."""

    figure: str
    stored: Any
    computed: Any


def show_verification(run_id: int, *, as_json: bool) -> None:
    """Print what differs, or that nothing does. Raises typer.Exit(1) where something differs."""
    url = database_settings().database_url.get_secret_value()
    run, specification = asyncio.run(_stored(url, run_id))
    differences = list(compare(run, recompute(specification)))
    if as_json:
        told = {"run_id": run_id, "differences": [asdict(difference) for difference in differences]}
        typer.echo(json.dumps(told, default=str))
    for difference in differences:
        typer.echo(
            f"run {run_id}: {difference.figure} is stored as {difference.stored}, computed as {difference.computed}",
            err=True,
        )
    if differences:
        raise typer.Exit(1)
    typer.echo(f"run {run_id}: digest and every figure are the same ({run['result_digest']})", err=True)


def recompute(specification: Mapping[str, Any]) -> BacktestResult:
    """Simulate a stored specification on the market data as they are now. Raises what the engine raises."""
    # Imported here: the engine's program loads numba, which no other replay needs.
    from consumer.adapters.engine_pool.program import chosen_strategy
    from consumer.preparation.inputs import assemble
    from consumer.preparation.snapshot import specification_from_json
    from engine.market.instruments import instrument_for
    from engine.simulate import run_backtest

    settings = load_settings(StoreSettings)
    registry = read_instruments(settings.instruments_file)
    wanted = specification_from_json(dict(specification))
    data = assemble(wanted, ParquetMarketData(settings.market_data_url), registry)
    return run_backtest(wanted, instrument_for(wanted.symbol, registry), data, chosen_strategy(wanted))


def compare(run: Mapping[str, Any], result: BacktestResult) -> Iterator[Difference]:
    """What differs between a run's row (with result_digest) and a result: every metric column, then the digest."""
    for name in METRIC_COLUMNS:
        computed = getattr(result.metrics, name)
        if run[name] != computed:
            yield Difference(name, run[name], computed)
    if run["result_digest"] != result.result_digest:
        yield Difference("result_digest", run["result_digest"], result.result_digest)


async def _stored(url: str, run_id: int) -> tuple[dict[str, Any], dict[str, Any]]:
    run = await find_run(url, run_id)
    specification = await specification_of(url, run_id)
    if run is None:
        raise InputRefused(f"run {run_id}: there is no such run")
    if run["status"] != "completed" or specification is None:
        raise InputRefused(f"run {run_id}: is {run['status']}; only a completed run of this service can be verified")
    return run, specification
