"""How models are reached: one HTTP client that trusts no server further than it must, each provider on top of it."""

import inspect
import os
import re
from collections.abc import AsyncIterator
from typing import Any, Final

import httpx2
from openai import AsyncOpenAI
from pydantic_ai.exceptions import UserError
from pydantic_ai.models import Model, infer_model
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers import infer_provider_class
from pydantic_ai.providers.openai import OpenAIProvider

from consumer.errors import SettingsInvalid

LARGEST_ANSWER_BYTES: Final = 1_048_576
NO_KEY: Final = "no-key"
"""Sent to a server of one's own that asks for none."""
_CONNECT_SECONDS: Final = 10.0
_OPENAI: Final = re.compile(r"openai(-chat|-responses)?:(.*)")


class TooLarge(Exception):
    """A server's answer is not read to its end."""


class BoundedClient(httpx2.AsyncClient):
    """Follows no redirect, and reads so much of an answer at most."""

    def __init__(self, timeout_seconds: float) -> None:
        super().__init__(
            timeout=httpx2.Timeout(timeout_seconds, connect=min(_CONNECT_SECONDS, timeout_seconds)),
            follow_redirects=False,
            headers={"Accept-Encoding": "identity"},
            event_hooks={"response": [_bound]},
        )


async def _bound(response: httpx2.Response) -> None:
    """Called before anything of the body is read."""
    if response.headers.get("content-encoding", "identity").lower() not in {"identity", ""}:
        await response.aclose()
        raise TooLarge("the provider's answer is packed, and may be of any size")
    response.stream = _Bounded(response.stream)


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read = 0
        async for chunk in self._stream:
            read += len(chunk)
            if read > LARGEST_ANSWER_BYTES:
                raise TooLarge(f"the provider's answer has more than {LARGEST_ANSWER_BYTES} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


def open_model(name: str, client: BoundedClient, base_url: str | None, api_key: str | None) -> Model:
    """A model by its name, provider:name. Raises SettingsInvalid, which says what is missing, never a key."""
    try:
        openai = _OPENAI.fullmatch(name)
        if base_url is not None and openai is not None:
            return _own_server(openai[1] == "-responses", openai[2], client, base_url, api_key)
        return infer_model(name, lambda provider: _provider(provider, client, api_key))
    except (UserError, ValueError, ImportError, TypeError) as error:
        raise SettingsInvalid(f"BACKTEST_LLM_MODEL {name}: {str(error)[:300]}") from None


def _own_server(
    is_responses: bool, model: str, client: BoundedClient, base_url: str, api_key: str | None
) -> OpenAIChatModel | OpenAIResponsesModel:
    key = api_key or os.environ.get("OPENAI_API_KEY") or NO_KEY
    speaker = AsyncOpenAI(base_url=base_url, api_key=key, http_client=client, max_retries=0)
    provider = OpenAIProvider(openai_client=speaker)
    return OpenAIResponsesModel(model, provider=provider) if is_responses else OpenAIChatModel(model, provider=provider)


def _provider(name: str, client: BoundedClient, api_key: str | None) -> Any:
    kind = infer_provider_class(name)
    taken = inspect.signature(kind.__init__).parameters
    if "http_client" not in taken:
        raise ValueError(f"the provider {name!r} cannot be used: its client is none of ours")
    given: dict[str, Any] = {"http_client": client}
    if api_key is not None:
        given["api_key"] = api_key
    provider = kind(**given)
    # Each request counts: whether it is sent again, this program decides.
    if hasattr(provider.client, "max_retries"):
        provider.client.max_retries = 0
    return provider
