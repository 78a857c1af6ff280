"""The OpenAPI document says what a body needs, /docs shows it, and docs/api.md is what it says."""

from collections.abc import Iterator
from typing import Any

import pytest

from consumer.adapters.http.api.access import COOKIE
from consumer.adapters.http.api.docs_page import docs_html
from consumer.adapters.http.api.field_words import OF_RUN, OF_SEARCH, OF_STRATEGY
from schemas.optimization_requested import OptimizationRequested
from schemas.requested import BacktestRequested
from schemas.strategy_row import StrategyRowGiven
from tests.support.api_page import MARK, PAGE, document, routes_text


def test_the_page_of_the_api_is_made_from_its_document() -> None:
    _, mark, written = PAGE.read_text(encoding="utf-8").partition(MARK)
    assert mark
    assert written == routes_text(), "run: python -m tests.support.api_page"


def body_of(path: str) -> dict[str, Any]:
    told = document()
    schema = told["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    found: dict[str, Any] = told["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found


def test_a_generator_of_clients_finds_names_and_what_arrays_hold() -> None:
    told = document()
    operations = [operation for each in told["paths"].values() for operation in each.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    assert {"post_run", "get_run", "list_trades", "post_search"} <= set(names)
    assert {"BacktestRequest", "Run", "RunList", "Trade", "Optimization", "Strategy"} <= set(
        told["components"]["schemas"]
    )
    assert list(_without_items(told)) == []


def _without_items(schema: Any, where: str = "") -> Iterator[str]:
    if isinstance(schema, list):
        for each in schema:
            yield from _without_items(each, where)
    elif isinstance(schema, dict):
        kinds = schema.get("type", ())
        if "array" in ([kinds] if isinstance(kinds, str) else kinds) and not {"items", "prefixItems"} & schema.keys():
            yield where
        for name, each in schema.items():
            yield from _without_items(each, f"{where}/{name}")


def test_answers_that_are_no_json_are_not_said_to_be() -> None:
    paths = document()["paths"]
    for path, kind in {
        "/v1/events": "text/event-stream",
        "/v1/backtest/{run_id}/report": "text/html",
        "/metrics": "text/plain",
    }.items():
        assert list(paths[path]["get"]["responses"]["200"]["content"]) == [kind]
    trades = paths["/v1/backtest/{run_id}/trades"]["get"]["responses"]["200"]["content"]
    assert {kind.partition(";")[0] for kind in trades} == {
        "application/json", "text/csv", "application/vnd.apache.parquet",
    }  # fmt: skip


@pytest.mark.parametrize("path", ["/v1/backtest", "/v1/optimization", "/v1/strategies"])
def test_every_field_of_a_body_says_what_it_is_for(path: str) -> None:
    assert [name for name, told in body_of(path)["properties"].items() if not told.get("description")] == []


def test_the_words_on_fields_are_of_fields_that_there_are() -> None:
    assert OF_RUN.keys() == BacktestRequested.model_fields.keys() - {"run_id"}
    assert OF_SEARCH.keys() == OptimizationRequested.model_fields.keys() - {"optimization_id"}
    assert OF_STRATEGY.keys() == StrategyRowGiven.model_fields.keys()


def test_fields_say_what_they_are_where_they_are_left_out() -> None:
    run = body_of("/v1/backtest")["properties"]
    assert (run["spread_pips"]["default"], run["initial_balance"]["default"]) == (1.5, 10_000.0)
    assert (run["execution_mode"]["default"], run["max_llm_calls"]["default"]) == ("close_price", 100)
    assert (run["start_date"]["type"], run["start_date"]["format"]) == ("string", "date-time")
    assert body_of("/v1/optimization")["properties"]["optimize_metric"]["default"] == "sharpe_ratio"
    assert body_of("/v1/strategies")["properties"]["primary_tf"]["default"] == "M15"
    rerun = body_of("/v1/backtest/{run_id}/rerun")["properties"]
    assert [name for name, told in rerun.items() if "default" in told] == [], "what is left out stays as it was"


def test_the_page_of_the_document_shows_the_fields_of_bodies() -> None:
    shown = docs_html(document(), "")
    assert "<code>spread_pips</code><td>number<td>1.5<td>The spread, in pips" in shown
    assert "an item: <code>trade</code>, <code>position_id</code>" in shown, "nobody learns what a trade has"
    assert "<code>start_date</code><td>string (date-time)<td>required<td>The first moment" in shown


def test_the_document_names_both_ways_of_signing_in_also_where_none_is_needed() -> None:
    told = document()
    assert told["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    assert told["components"]["securitySchemes"]["session"]["name"] == COOKIE
    assert "security" not in told
