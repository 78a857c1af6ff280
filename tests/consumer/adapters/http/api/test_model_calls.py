"""`GET /v1/backtest/{id}/llm-calls`, over tables in memory."""

from typing import Any

from consumer.adapters.memory.history import MemoryHistory
from tests.consumer.adapters.http.apis import client_of
from tests.consumer.reports.test_model_calls import KEPT, Kept, asked
from tests.consumer.stores import MemoryStore


async def test_calls_are_listed_with_what_came_of_them_page_by_page() -> None:
    store = MemoryStore()
    run_id = await asked(store)
    history: Any = MemoryHistory(store.tables)
    nothing: Any = None
    async with client_of(history, nothing, messages=Kept()) as client:
        first = (await client.get(f"/v1/backtest/{run_id}/llm-calls?limit=3")).json()
        last = (await client.get(f"/v1/backtest/{run_id}/llm-calls?limit=3&cursor={first['next_cursor']}")).json()
        missing = await client.get("/v1/backtest/4711/llm-calls")

    assert [(each["number"], each["state"]) for each in first["items"]] == [
        (1, "answered"),
        (2, "answered"),
        (3, "failed"),
    ]
    decided = first["items"][0]
    assert decided["messages"] == KEPT["messages"]
    assert (decided["decided"]["action"], decided["decided"]["reason"], decided["positions"]) == ("BUY", "up", [1, 2])
    assert decided["bar_time"] == "2024-01-02T00:00:00Z"
    assert [each["state"] for each in last["items"]] == ["asked"]
    assert last["next_cursor"] is None
    assert missing.status_code == 404
