"""One request to a language model, and what its outcome means: an answer, a failure that may pass, or a refusal.

pydantic-ai speaks each provider's language; it is given no tools, so that nothing a prompt says can make this process
do anything. Its clients' own retries are off, since each request counts towards a run's budget.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Final

from pydantic_ai import exceptions
from pydantic_ai.direct import model_request
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    UserPromptPart,
)
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.settings import ModelSettings as RequestSettings

from consumer.adapters.language_models.addresses import host_of, key_variables, provider_of
from consumer.adapters.language_models.clients import BoundedClient, TooLarge, open_model
from consumer.adapters.language_models.secrets import Redactor
from consumer.ports.advice import CallFailed, CallOutcome, CallRefused, CallSettings, Messages, Reply
from schemas.json_text import storable

LONGEST_ANSWER: Final = 65_536
"""Characters; what is longer is no decision, and is cut."""
QUOTED_CHARACTERS: Final = 300
"""Of a provider's words."""
_PASSING: Final = frozenset({408, 409, 425, 429})
"""Statuses below 500 after which the same request may succeed."""
_TALKATIVE: Final = ("openai", "anthropic", "google_genai", "httpx2", "httpcore2", "httpx", "httpcore", "pydantic_ai")
"""Loggers that show requests, and so keys and prompts."""


@dataclass(frozen=True, slots=True)
class Prices:
    """Account currency a million tokens."""

    input_price: float
    output_price: float


class LanguageModels:
    """Implements `ModelCaller`. models: provider:name -> how to reach it, opened."""

    def __init__(
        self,
        models: Sequence[str],
        *,
        default_model: str,
        base_url: str | None,
        api_key: str | None,
        prices: Prices | None,
        uses_price_list: bool,
        schema: Mapping[str, Any],
        timeout_seconds: float,
        secrets: Sequence[str],
    ) -> None:
        """api_key: for the provider of default_model. uses_price_list: the account is in the list's currency, USD.

        schema: JSON Schema of an answer. secrets: taken out of whatever a provider says, beside keys of the
        environment. Raises SettingsInvalid for a model that cannot be reached with what is configured.
        """
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.WARNING)
        self._client = BoundedClient(timeout_seconds)
        self._models: dict[str, Model] = {}
        for name in models:
            key = api_key if provider_of(name) == provider_of(default_model) else None
            self._models[name] = open_model(name, self._client, base_url, key)
        self._default_model = default_model
        self._prices, self._uses_price_list = prices, uses_price_list
        self._output = OutputObjectDefinition(json_schema=dict(schema), name="decision")
        self._redactor = Redactor((*secrets, *([api_key] if api_key else [])))

    async def call(self, model: str, messages: Messages, settings: CallSettings) -> CallOutcome:
        """See ModelCaller.call."""
        opened = self._models.get(model)
        if opened is None:
            return CallRefused(f"the model {model!r} is not one of BACKTEST_LLM_MODELS here")
        outcome = await self._call(opened, model, messages, settings)
        if isinstance(outcome, Reply):
            return outcome
        message = self._quoted(f"{model} at {host_of(opened.base_url or '') or 'its provider'}: {outcome.message}")
        return replace(outcome, message=message)

    async def close(self) -> None:
        """Let go of all connections."""
        await self._client.aclose()

    async def _call(self, opened: Model, model: str, messages: Messages, settings: CallSettings) -> CallOutcome:
        try:
            response = await model_request(
                opened,
                _as_sent(messages),
                model_settings=RequestSettings(max_tokens=settings.max_tokens, temperature=settings.temperature),
                model_request_parameters=self._parameters(opened),
            )
        except exceptions.ContentFilterError:
            return Reply("")
        except exceptions.ModelHTTPError as error:
            words = self._quoted(f"{self._status(model, error.status_code)}: {_words_of(error.body)}")
            if error.status_code in _PASSING or error.status_code >= 500:
                return CallFailed(words, error.retry_after)
            return CallRefused(words)
        except exceptions.ModelConnectionError as error:
            was_sent = error.phase not in {"pool", "connect"}
            return CallFailed(self._quoted(_cause_of(error)), was_sent=was_sent)
        except (exceptions.ModelAPIError, exceptions.UnexpectedModelBehavior) as error:
            if (status := _redirect_in(error)) is not None:
                return CallRefused(f"status {status}: the provider's address points elsewhere, and is not followed")
            return CallFailed(self._quoted(_cause_of(error)))
        except TooLarge as error:
            return CallFailed(str(error))
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            return CallFailed(f"what the provider answered cannot be read ({type(error).__name__})")
        return self._reply(response)

    def _status(self, model: str, status: int) -> str:
        if status != HTTPStatus.UNAUTHORIZED:
            return f"status {status}"
        names = " or ".join(key_variables(model, self._default_model))
        return f"status {status} (its key is read from {names or 'a variable of its own'})"

    def _parameters(self, model: Model) -> ModelRequestParameters:
        if model.profile.get("supports_json_schema_output", False):
            return ModelRequestParameters(output_mode="native", output_object=self._output)
        return ModelRequestParameters()

    def _reply(self, response: ModelResponse) -> Reply:
        text = "".join(part.content for part in response.parts if isinstance(part, TextPart))
        usage = response.usage
        measured = bool(usage.input_tokens or usage.output_tokens)
        return Reply(
            text=storable(text)[:LONGEST_ANSWER],
            input_tokens=min(usage.input_tokens, 2**31 - 1) if measured else None,
            output_tokens=min(usage.output_tokens, 2**31 - 1) if measured else None,
            cost=self._cost(response) if measured else None,
        )

    def _cost(self, response: ModelResponse) -> float | None:
        usage = response.usage
        if self._prices is not None:
            both = usage.input_tokens * self._prices.input_price + usage.output_tokens * self._prices.output_price
            return both / 1_000_000
        if not self._uses_price_list:
            return None
        try:
            return float(response.cost().total_price)
        except (LookupError, ValueError, AssertionError):
            return None

    def _quoted(self, words: str) -> str:
        """A provider's words, fit to be shown."""
        return storable(self._redactor.without_secrets(words))[:QUOTED_CHARACTERS]


def _as_sent(messages: Messages) -> list[ModelMessage]:
    sent: list[ModelMessage] = []
    parts: list[ModelRequestPart] = []
    for author, content in messages:
        match author:
            case "system":
                parts.append(SystemPromptPart(content))
            case "user":
                parts.append(UserPromptPart(content))
            case "assistant":
                sent.append(ModelRequest(parts))
                sent.append(ModelResponse([TextPart(content)]))
                parts = []
    sent.append(ModelRequest(parts))
    return sent


def _words_of(body: object) -> str:
    """What an error's body says, as briefly as it says it."""
    if isinstance(body, dict):
        inner = body.get("error", body)
        if isinstance(inner, dict):
            inner = inner.get("message", inner)
        return inner if isinstance(inner, str) else json.dumps(inner, default=str)[:2000]
    return str(body)[:2000]


def _redirect_in(error: BaseException) -> int | None:
    status = getattr(error.__cause__, "status_code", None)
    return status if isinstance(status, int) and 300 <= status < 400 else None


def _cause_of(error: BaseException) -> str:
    cause = error.__cause__ or error
    deepest = cause.__cause__ or cause
    return f"{type(deepest).__name__}: {str(deepest)[:2000]}".removesuffix(": ")
