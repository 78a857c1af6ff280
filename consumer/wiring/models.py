"""Language models: which may decide, who calls them, and what a worker allows itself."""

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from consumer.advice.desk import AdviceDesk, DeskLimits
from consumer.ports import Clock
from consumer.ports.advice import (
    CallFailed,
    CallLedger,
    CallOutcome,
    CallRefused,
    MessageStore,
    ModelCaller,
    Reply,
)
from consumer.rules.advice import ModelTerms
from consumer.settings import ModelSettings
from consumer.telemetry import Telemetry
from engine.deciders.advised.answers import ANSWER_SCHEMA

PRICE_LIST_CURRENCY = "USD"


def model_terms(settings: ModelSettings) -> ModelTerms | None:
    """What requests are held against; None: no model is configured."""
    if not settings.models:
        return None
    return ModelTerms(
        settings.models, settings.llm_max_prompt_tokens, settings.llm_max_tokens, settings.llm_temperature
    )


def where_asked(settings: ModelSettings) -> tuple[str, str] | None:
    """The default model in words: where it is asked and whether a key is set; and what to do. None: no model."""
    # Here: the package is loaded only where a model is configured.
    from consumer.adapters.language_models.addresses import OUR_KEY, host_of, key_variables, provider_of

    if not settings.models:
        return None
    model = settings.models[0]
    own_server = settings.llm_base_url if provider_of(model) == "openai" else None
    place = host_of(own_server) if own_server is not None else "its provider's own address"
    names = key_variables(model, model)
    given = {OUR_KEY} if settings.llm_api_key is not None else set[str]()
    key = next((name for name in names if name in given or (name != OUR_KEY and os.environ.get(name))), None)
    if key is not None:
        return f"{model} at {place}, its key in {key}", ""
    advice = (
        "" if own_server is not None else f"set {' or '.join(names)}, unless its provider has a variable of its own"
    )
    return f"{model} at {place}, no key is set", advice


@asynccontextmanager
async def open_desk(
    settings: ModelSettings,
    ledger: CallLedger,
    messages: MessageStore,
    clock: Clock,
    account_currency: str,
    secrets: Sequence[str],
    telemetry: Telemetry,
) -> AsyncIterator[AdviceDesk | None]:
    """Who makes calls; None without a model. secrets: taken out of providers' words. Raises SettingsInvalid."""
    if not settings.models:
        yield None
        return
    caller = open_caller(settings, account_currency, secrets)
    desk = AdviceDesk(caller, ledger, messages, clock, desk_limits(settings), told=_counted_in(telemetry))
    try:
        yield desk
    finally:
        await desk.close()


def _counted_in(telemetry: Telemetry) -> Callable[[str, CallOutcome, float], None]:
    def told(model: str, outcome: CallOutcome, seconds: float) -> None:
        match outcome:
            case Reply(input_tokens=read, output_tokens=written, cost=cost):
                telemetry.call_ended(model, "answered", seconds)
                telemetry.call_answered(model, read or 0, written or 0, cost or 0.0)
            case CallFailed():
                telemetry.call_ended(model, "failed", seconds)
            case CallRefused():
                telemetry.call_ended(model, "refused", seconds)

    return told


def desk_limits(settings: ModelSettings) -> DeskLimits:
    return DeskLimits(
        concurrency=settings.llm_concurrency,
        requests_per_minute=settings.llm_requests_per_minute,
        timeout_seconds=settings.llm_timeout_seconds,
        patience_seconds=settings.llm_patience_seconds,
        shares_answers=settings.llm_cache,
        cutoff=settings.llm_cutoff,
    )


def open_caller(settings: ModelSettings, account_currency: str, secrets: Sequence[str]) -> ModelCaller:
    """What calls models. Raises SettingsInvalid for one that cannot be reached with what is configured."""
    # Here: the library is large, and a worker without a model need not have it in memory.
    from consumer.adapters.language_models.caller import LanguageModels, Prices

    prices = None
    if settings.llm_input_price is not None and settings.llm_output_price is not None:
        prices = Prices(settings.llm_input_price, settings.llm_output_price)
    return LanguageModels(
        settings.models,
        default_model=settings.models[0],
        base_url=settings.llm_base_url,
        api_key=settings.llm_api_key.get_secret_value() if settings.llm_api_key is not None else None,
        prices=prices,
        uses_price_list=account_currency == PRICE_LIST_CURRENCY,
        schema=ANSWER_SCHEMA,
        timeout_seconds=settings.llm_timeout_seconds,
        secrets=secrets,
    )
