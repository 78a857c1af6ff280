"""What one call to a provider comes to: an answer, a failure that may pass, or a refusal; and never a secret."""

import json
import os
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from consumer.adapters.language_models.addresses import host_of
from consumer.adapters.language_models.caller import LanguageModels, Prices
from consumer.errors import SettingsInvalid
from consumer.ports.advice import CallFailed, CallRefused, CallSettings, Messages, Reply
from tests.support.scripted_model import HOLD, Says, ScriptedModel

KEY = "sk-planted-3f9a/with+signs"
OTHER_SECRET = "another planted secret"
MESSAGES: Messages = (("system", "You decide."), ("user", "What now?"))
AGAIN: Messages = (*MESSAGES, ("assistant", "hm"), ("user", "That was no JSON."))
SETTINGS = CallSettings(max_tokens=77, temperature=0.0)
SCHEMA = {"type": "object", "properties": {"action": {"type": "string"}}}


@pytest.fixture
def server() -> Iterator[ScriptedModel]:
    with ScriptedModel() as server:
        yield server


@asynccontextmanager
async def caller_of(base_url: str | None, model: str = "openai:test", **changes: Any) -> AsyncIterator[LanguageModels]:
    given: dict[str, Any] = {
        "default_model": model,
        "base_url": base_url,
        "api_key": KEY,
        "prices": Prices(2.0, 10.0),
        "uses_price_list": True,
        "schema": SCHEMA,
        "timeout_seconds": 8.0,
        "secrets": (OTHER_SECRET,),
    }
    caller = LanguageModels([model], **{**given, **changes})
    try:
        yield caller
    finally:
        await caller.close()


async def test_an_answer_comes_with_its_tokens_and_its_cost(server: ScriptedModel) -> None:
    async with caller_of(server.url) as caller:
        told = await caller.call("openai:test", AGAIN, SETTINGS)

    assert told == Reply(json.dumps(HOLD), 100, 10, 100 * 2e-6 + 10 * 10e-6)
    [sent] = server.received
    assert sent.path == "/v1/chat/completions"
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert [(each["role"], each["content"]) for each in sent.body["messages"]] == list(AGAIN)
    assert (sent.body["model"], sent.body["temperature"]) == ("test", 0.0)
    assert 77 in {sent.body.get("max_completion_tokens"), sent.body.get("max_tokens")}
    assert sent.body["response_format"]["json_schema"]["name"] == "decision"
    assert "tools" not in sent.body


async def test_with_an_address_the_name_says_which_of_the_two_languages_is_spoken(server: ScriptedModel) -> None:
    async with caller_of(server.url, "openai-responses:test") as caller:
        await caller.call("openai-responses:test", MESSAGES, SETTINGS)

    assert server.received[0].path == "/v1/responses"


async def test_a_cost_is_not_made_up(server: ScriptedModel) -> None:
    async with caller_of(server.url, "openai:of-nobody", prices=None) as caller:
        told = await caller.call("openai:of-nobody", MESSAGES, SETTINGS)

    assert isinstance(told, Reply)
    assert told.cost is None


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        (Says("slow down", status=429, headers={"Retry-After": "7"}), CallFailed, "status 429: slow down"),
        (Says("oh", status=500), CallFailed, "status 500: oh"),
        (Says("oh", status=503), CallFailed, "status 503"),
        (
            Says("who?", status=401),
            CallRefused,
            "read from BACKTEST_LLM_API_KEY or OPENAI_API_KEY): who?",
        ),
        (Says("no", status=403), CallRefused, "status 403"),
        (Says("what?", status=404), CallRefused, "status 404"),
        (Says("bad", status=400), CallRefused, "status 400"),
        (Says("", status=302, headers={"Location": "http://127.0.0.1:9/stolen"}), CallRefused, "status 302"),
        (Says(cuts=True), CallFailed, "disconnected"),
        (Says(raw=b"{nonsense"), CallFailed, ""),
        (Says(raw=b'{"choices": []}'), CallFailed, ""),
        (Says(raw=b"[" * 100_000), CallFailed, ""),
        (Says(raw=b'{"error": null}'), CallFailed, ""),
        (Says(raw=b"x" * 2_000_000), CallFailed, "more than"),
        (Says(raw=b"zip", headers={"Content-Encoding": "gzip"}), CallFailed, ""),
    ],
)
async def test_what_is_no_answer_is_sent_once_and_told_by_its_kind(
    server: ScriptedModel, said: Says, kind: type, words: str
) -> None:
    server.script = lambda _: said
    async with caller_of(server.url) as caller:
        told = await caller.call("openai:test", MESSAGES, SETTINGS)

    assert isinstance(told, kind), told
    assert isinstance(told, CallFailed | CallRefused)
    assert words in told.message
    assert told.message.startswith(f"openai:test at {host_of(server.url)}: ")
    assert server.calls == 1
    if isinstance(told, CallFailed):
        assert told.was_sent
        assert told.retry_after_seconds == (7.0 if said.status == 429 else None)


async def test_a_server_that_is_not_there_was_sent_nothing() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with caller_of(f"http://127.0.0.1:{port}/v1") as caller:
        told = await caller.call("openai:test", MESSAGES, SETTINGS)

    assert isinstance(told, CallFailed)
    assert not told.was_sent


async def test_a_server_that_says_nothing_is_given_up(server: ScriptedModel) -> None:
    server.script = lambda _: Says(after=threading.Event())
    async with caller_of(server.url, timeout_seconds=0.2) as caller:
        told = await caller.call("openai:test", MESSAGES, SETTINGS)

    assert isinstance(told, CallFailed)
    assert told.was_sent


async def test_an_answer_is_of_bounded_length_and_fit_for_a_table(server: ScriptedModel) -> None:
    server.script = lambda _: Says("a\0b" + "x" * 200_000)
    async with caller_of(server.url) as caller:
        told = await caller.call("openai:test", MESSAGES, SETTINGS)

    assert isinstance(told, Reply)
    assert len(told.text) <= 65_536
    assert "\0" not in told.text


async def test_a_provider_that_quotes_the_secrets_shows_none(
    server: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_OTHER_API_KEY", "planted-in-the-environment")
    quoted = f"key {KEY}, {OTHER_SECRET}, planted-in-the-environment, Authorization: Bearer abc.def" + "!" * 1000
    for status in (401, 500):
        server.script = lambda _, status=status: Says(quoted, status=status)  # type: ignore[misc]  # bound per turn
        async with caller_of(server.url) as caller:
            told = await caller.call("openai:test", MESSAGES, SETTINGS)
        assert isinstance(told, CallFailed | CallRefused)
        for secret in (KEY, OTHER_SECRET, "planted-in-the-environment", "abc.def"):
            assert secret not in told.message
        assert len(told.message) <= 300


async def test_a_key_goes_to_the_default_models_provider_only(
    server: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    async with caller_of(server.url, default_model="anthropic:claude-test") as caller:
        await caller.call("openai:test", MESSAGES, SETTINGS)

    assert KEY not in json.dumps(server.received[0].headers)


async def test_the_providers_own_variable_is_used_where_no_key_is_set(
    server: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")
    async with caller_of(server.url, api_key=None) as caller:
        await caller.call("openai:test", MESSAGES, SETTINGS)

    assert server.received[0].headers["authorization"] == "Bearer sk-of-the-environment"


@pytest.mark.parametrize("model", ["nobody:test", "anthropic:claude-test", "google:gemini-test"])
async def test_a_model_that_cannot_be_reached_is_told_at_the_start(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.endswith("_API_KEY")]:
        monkeypatch.delenv(name)
    with pytest.raises(SettingsInvalid, match=model):
        async with caller_of(None, model, api_key=None):
            pass


async def test_the_providers_that_are_installed_are_reached_through_the_same_client() -> None:
    for model in ("anthropic:claude-test", "google:gemini-test", "openai:gpt-test", "deepseek:test"):
        async with caller_of(None, model) as caller:
            opened = caller._models[model]  # what the port does not show
            client = getattr(opened, "client", None)
            assert getattr(client, "max_retries", 0) == 0
