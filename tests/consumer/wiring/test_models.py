"""What the doctor says of a model, never its key; and what a worker counts of its calls."""

from dataclasses import replace

import pytest

from consumer.advice.run_advice import RunAdvice
from consumer.clock import SystemClock
from consumer.settings import ModelSettings, load_settings
from consumer.telemetry import Telemetry
from consumer.wiring.models import open_desk, where_asked
from tests.consumer.advice.desks import Office, question
from tests.support.scripted_model import HOLD, Says, ScriptedModel


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


async def test_calls_are_counted_by_what_came_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    office, telemetry = Office(), Telemetry()
    with ScriptedModel(lambda received: Says(HOLD, status={1: 503, 3: 401}.get(received.number, 200))) as model:
        variables = {"MODEL": "openai:a", "BASE_URL": model.url, "INPUT_PRICE": "1", "OUTPUT_PRICE": "2"}
        for name, value in variables.items():
            monkeypatch.setenv(f"BACKTEST_LLM_{name}", value)
        ledger, settings = office.desk.ledger, load_settings(ModelSettings)
        async with open_desk(settings, ledger, office.kept, SystemClock(), "USD", (), telemetry) as desk:
            assert desk is not None
            office.desk = desk
            run = replace(office.run().terms, model="openai:a")
            for text in ("first", "second"):
                await RunAdvice(desk, run).ask([question(text)])
    counted = {
        (sample.name, *(value for name, value in sorted(sample.labels.items()) if name != "model")): sample.value
        for family in telemetry.registry.collect()
        for sample in family.samples
        if sample.labels.get("model") == "openai:a"
    }
    assert [counted["backtest_llm_calls_total", each] for each in ("answered", "failed", "refused")] == [1, 1, 1]
    assert [counted["backtest_llm_tokens_total", each] for each in ("input", "output")] == [100, 10]
    assert counted["backtest_llm_cost_total",] == pytest.approx(0.00012)
    assert counted["backtest_llm_call_seconds_count",] == 3
