"""What the doctor says of a model: where it would be asked, and whether a key is set, never the key."""

import pytest

from consumer.settings import ModelSettings, load_settings
from consumer.wiring.models import where_asked


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BACKTEST_LLM_MODEL", "BACKTEST_LLM_BASE_URL", "BACKTEST_LLM_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({}, None),
        (
            {"BACKTEST_LLM_MODEL": "openai:a"},
            (
                "openai:a at its provider's own address, no key is set",
                "set BACKTEST_LLM_API_KEY or OPENAI_API_KEY, unless its provider has a variable of its own",
            ),
        ),
        (
            {"BACKTEST_LLM_MODEL": "openai:a", "OPENAI_API_KEY": "sk-planted"},
            ("openai:a at its provider's own address, its key in OPENAI_API_KEY", ""),
        ),
        (
            {
                "BACKTEST_LLM_MODEL": "openai:a",
                "BACKTEST_LLM_BASE_URL": "http://127.0.0.1:8123/v1",
                "BACKTEST_LLM_API_KEY": "sk-planted",
                "OPENAI_API_KEY": "sk-other",
            },
            ("openai:a at 127.0.0.1:8123, its key in BACKTEST_LLM_API_KEY", ""),
        ),
    ],
)
def test_a_model_is_told_by_its_place_and_the_name_of_its_key(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], told: tuple[str, str] | None
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert where_asked(load_settings(ModelSettings)) == told
