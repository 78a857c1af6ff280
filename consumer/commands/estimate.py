"""`backtest estimate`: what a run with a language model would ask and cost at most, with nobody asked."""

import asyncio
import inspect
import json
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import asdict
from typing import Any

import typer

from consumer.commands.connections import database_settings
from consumer.commands.submit import NO_DATA, read_request, request_data, submit
from consumer.preparation.inputs import assemble
from consumer.preparation.snapshot import specification_from_json
from consumer.preparation.strategy import strategy_with
from consumer.reports.estimate import Estimate, estimate
from consumer.requests.admitting import admit, rows_named
from consumer.settings import DatabaseSettings, ModelSettings, StoreSettings, load_settings
from consumer.wiring.files import market_data_at
from consumer.wiring.models import model_terms
from consumer.wiring.prices import token_prices
from engine.deciders.advised.warm_up import advice_warm_up
from engine.deciders.decider import Decider
from engine.errors import InputRefused
from engine.market.instruments import instrument_for
from engine.specification import Specification
from engine.warm_up import most_of
from schemas.problems import InvalidRequestError
from schemas.requested import BacktestRequested

app = typer.Typer(add_completion=False)

_SENDING = frozenset({"request_id", "wait", "wait_timeout"})
"""What submit has for the sake of sending."""


def _with_flags_of_submit(command: Callable[..., None]) -> Any:
    """Give a command the options of submit, but those of sending."""
    parameters = inspect.signature(submit).parameters

    def called(**values: Any) -> None:
        command(**{**dict.fromkeys(_SENDING), **values})

    adapted: Any = called
    kept = [each for name, each in parameters.items() if name not in _SENDING]
    adapted.__name__, adapted.__doc__ = command.__name__, command.__doc__
    adapted.__signature__ = inspect.Signature([each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in kept])
    adapted.__annotations__ = {each.name: each.annotation for each in kept}
    return adapted


@app.command("estimate")
@_with_flags_of_submit
def estimate_run(**flags: Any) -> None:
    """Count the asks of a run on its own bars, and say what they cost at most; nobody is asked.

    Options are those of `backtest submit`. Needs BACKTEST_DATABASE_URL and BACKTEST_MARKET_DATA_URL. Where a rule
    proposes, it is run as if every answer let it pass. Exit status: 0 done, 1 the run would fail, 2 bad input.
    """
    data = request_data({name: value for name, value in flags.items() if name not in NO_DATA})
    request = read_request(flags["file"], data).request
    # What a strategy prints is not the result: stdout holds nothing but that.
    with redirect_stdout(sys.stderr):
        found = _estimated(request, database_settings(), load_settings(StoreSettings), load_settings(ModelSettings))
    if flags["as_json"]:
        sys.stdout.write(json.dumps(asdict(found)) + "\n")
    else:
        typer.echo(_line(found))


def _estimated(
    request: BacktestRequested, database: DatabaseSettings, stores: StoreSettings, models: ModelSettings
) -> Estimate:
    from consumer.wiring.files import instruments_of

    registry = instruments_of(stores.instruments_file)
    specification = asyncio.run(_specification(request, database, stores, models, registry))
    rule: Decider | None = None
    if specification.strategy_key is not None:
        rule = strategy_with(specification.strategy_key, specification.strategy_params)
    warm_ups = [] if rule is None else [rule.warm_up(specification)]
    if specification.advice is not None:
        warm_ups.append(advice_warm_up(specification))
    data = assemble(specification, market_data_at(stores.market_data_url), registry, most_of(warm_ups))
    advice, currency = specification.advice, specification.account_currency
    prices = None if advice is None else token_prices(models, advice.model, currency)
    return estimate(specification, instrument_for(specification.symbol, registry), data, rule, prices)


async def _specification(
    request: BacktestRequested,
    database: DatabaseSettings,
    stores: StoreSettings,
    models: ModelSettings,
    registry: Any,
) -> Specification:
    from consumer.rules.admission import Admission
    from consumer.wiring.database import open_history

    admission = Admission(registry, stores.account_currency, model_terms(models))
    async with open_history(database) as history:
        strategy, run = await rows_named(history, request)
    try:
        return specification_from_json(admit(request, strategy, admission, run).specification)
    except InvalidRequestError as error:
        raise InputRefused(f"it would be rejected: {error}") from error


def _line(found: Estimate) -> str:
    if found.asks == 0:
        return f"{found.bars:,} bars: nobody is asked"
    cost = (
        "not known (set BACKTEST_LLM_INPUT_PRICE and BACKTEST_LLM_OUTPUT_PRICE)"
        if found.cost_at_most is None
        else f"{found.cost_at_most:,.2f}"
    )
    calls = f"{found.asks:,} asks, at most {found.calls_at_most:,} calls"
    return f"{found.bars:,} bars: {calls}, about {found.input_tokens_per_call:,} tokens a question, cost at most {cost}"
