"""A run that a model decided in a worker, repeated and verified by commands: from its ledger, to the same bytes."""

import json
from typing import Any

import pytest

from consumer.devstack import StackKind
from tests.support.front_door import open_front_door
from tests.support.scripted_model import Received, Says, ScriptedModel

pytestmark = pytest.mark.integration

MONTH = {"start_date": "2017-01-02T00:00:00Z", "end_date": "2017-02-01T00:00:00Z"}
ACTIONS = ("BUY", "HOLD", "SELL", "HOLD", "CLOSE")


def in_turn(received: Received) -> Says:
    if received.number == 3:
        return Says("busy", status=503)  # so that the budget is spent before the run's end
    return Says({"action": ACTIONS[received.number % len(ACTIONS)], "confidence": 0.7, "reason": "in turn"})


async def test_a_workers_run_is_repeated_and_verified_without_a_call(
    tmp_path_factory: pytest.TempPathFactory, stack_kind: StackKind
) -> None:
    directory = tmp_path_factory.mktemp("elsewhere")
    with ScriptedModel(in_turn) as server:
        models: dict[str, Any] = {"llm_model": "openai:scripted", "llm_base_url": server.url}
        async with open_front_door(directory, stack_kind) as door, door.worker(**models):
            strategy = await door.add_strategy(
                None,  # type: ignore[arg-type]  # no rule decides
                execution_mode="llm_only",
                strategy_params="{}",
                custom_prompt="In turn.",
            )
            request_id = await door.request(strategy, **MONTH, max_llm_calls=20)
            completed = (await door.terminal_event(request_id)).data
            assert completed["status"] == "completed", completed
            assert (completed["llm_calls_used"], server.calls) == (20, 20)
            assert any("max_llm_calls 20" in each for each in completed["warnings"])
            run_id = await door.run_of(request_id)
            verified = await door.command("replay", "--verify", str(run_id), **models)
            assert verified.status == 0, verified.stderr
            estimated = await door.command("estimate", "--run-id", str(run_id), "--json", **models)
            assert json.loads(estimated.stdout)["asks"] >= 20, estimated.stderr
            assert server.calls == 20
