"""Where a model is asked and whose key opens it, in words for messages: without the providers' libraries."""

from typing import Final
from urllib.parse import urlsplit

OUR_KEY: Final = "BACKTEST_LLM_API_KEY"
_KEYS: Final = {
    "openai": ("OPENAI_API_KEY",),
    "anthropic": ("ANTHROPIC_API_KEY",),
    "google": ("GOOGLE_API_KEY", "GEMINI_API_KEY"),
    "google-gla": ("GOOGLE_API_KEY", "GEMINI_API_KEY"),
}


def provider_of(model: str) -> str:
    """openai, openai-chat and openai-responses are one provider: the key is the same."""
    return model.partition(":")[0].removesuffix("-responses").removesuffix("-chat")


def key_variables(model: str, default_model: str) -> tuple[str, ...]:
    """Variables that a model's key is read from, the first that is set; a provider's own only where it is known."""
    own = _KEYS.get(provider_of(model), ())
    return (OUR_KEY, *own) if provider_of(model) == provider_of(default_model) else own


def host_of(address: str) -> str:
    """Host and port of a URL, without its credentials."""
    return urlsplit(address).netloc.rpartition("@")[2]
