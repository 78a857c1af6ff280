"""How every route answers: problems, queries, lists, bodies, tags and headers."""

import gzip
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urljoin

import pytest

from consumer.adapters.http.api.access import Access
from consumer.adapters.http.api.application import document_of, make_application
from consumer.adapters.http.api.bodies import MAX_JSON_BYTES
from consumer.adapters.http.api.listing import read_cursor, write_cursor
from consumer.adapters.http.api.problems import Problem
from consumer.adapters.memory.history import MemoryHistory
from consumer.adapters.memory.tables import MemoryTables
from consumer.errors import StoreUnavailable
from tests.consumer.adapters.http.api.application import client, services
from tests.support.messages import STRATEGY

JSON = {"Content-Type": "application/json"}


def some_runs(count: int, **columns: Any) -> MemoryHistory:
    tables = MemoryTables()
    tables.add_strategy(**{"name": "mine", **STRATEGY})
    for _ in range(count):
        tables.clock.advance(1)
        tables.add_run(
            strategy_id=1, symbol="EURUSD", timeframe="H1",
            start_date=datetime(2024, 1, 1, tzinfo=UTC), end_date=datetime(2024, 2, 1, tzinfo=UTC), **columns,
        )  # fmt: skip
    return MemoryHistory(tables)


async def test_errors_are_problems_with_code_and_details() -> None:
    async with client() as asked:
        answer = await asked.get("/v1/backtest/7")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json() == {
        "type": "about:blank", "title": "Not Found", "status": 404, "detail": "there is no run 7",
        "code": "not_found", "details": [],
    }  # fmt: skip


@pytest.mark.parametrize("number", ["0", "-1", "01", "1.0", "2147483648", "9" * 30, "x", "%00", "１"])
async def test_what_a_path_cannot_name_is_not_there(number: str) -> None:
    async with client() as asked:
        assert (await asked.get(f"/v1/backtest/{number}")).status_code == 404


async def test_a_method_that_a_path_does_not_have_is_told_those_that_it_has() -> None:
    async with client() as asked:
        answer = await asked.put("/v1/backtest/7")
        collection = await asked.delete("/v1/backtest")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == "DELETE, GET, HEAD"
    assert collection.headers["Allow"] == "GET, HEAD, POST"


async def test_a_server_that_is_away_is_503_with_retry_after() -> None:
    class Away:
        async def runs(self, *_: object, **__: object) -> None:
            raise StoreUnavailable("Postgres is away")

    async with client(history=Away()) as asked:
        answer = await asked.get("/v1/backtest")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert int(answer.headers["Retry-After"]) >= 1


async def test_a_defect_is_a_problem_that_tells_nothing() -> None:
    class Broken:
        async def runs(self, *_: object, **__: object) -> None:
            raise ZeroDivisionError("secret")

    async with client(history=Broken()) as asked:
        answer = await asked.get("/v1/backtest")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "secret" not in answer.text


def operations() -> list[tuple[str, str]]:
    document = document_of(make_application(services(), Access({})), Access({}))
    return [(method.upper(), path) for path, each in document["paths"].items() for method in each]


@pytest.mark.parametrize(("method", "path"), operations())
async def test_a_query_name_that_a_route_does_not_know_is_refused(method: str, path: str) -> None:
    for name in ("run_id", "optimization_id", "strategy_id"):
        path = path.replace(f"{{{name}}}", "7")
    path = path.replace("{symbol}", "EURUSD").replace("{timeframe}", "H1").replace("{key}", "sma_cross")
    async with client() as asked:
        answer = await asked.request(method, path, params={"no_such_name": "1"})
    assert answer.status_code == 422, answer.text
    assert "no_such_name" in {each["field"] for each in answer.json()["details"]}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"), ("limit=501", "limit"), ("limit=x", "limit"), ("limit=1&limit=2", "limit"),
        ("status=done", "status"), ("sort=id", "sort"), ("sort=--created_at", "sort"), ("cursor=abc", "cursor"),
        ("created_after=2024-01-01", "created_after"), ("created_before=2024-01-01T00:00:00", "created_before"),
        ("strategy_id=0", "strategy_id"), ("timeframe=h1", "timeframe"), ("min_trades=-1", "min_trades"),
        ("q=%00", "q"), ("strategy_id=99999999999", "strategy_id"),
    ],
)  # fmt: skip
async def test_a_query_value_that_is_none_is_refused_by_name(query: str, field: str) -> None:
    async with client() as asked:
        answer = await asked.get(f"/v1/backtest?{query}")
    assert answer.status_code == 422
    assert [each["field"] for each in answer.json()["details"]] == [field]


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("backtest?limit=501", "limit must be at most 500"),
        ("backtest?limit=0", "limit must be at least 1"),
        ("backtest?limit=x", "limit must be a whole number"),
        ("backtest?strategy_id=x", "strategy_id must be a number from 1"),
        ("backtest?status=done", "status must be one of pending, running, completed, failed, cancelled"),
        ("backtest/1/analytics", "by is required"),
        ("backtest/1/candles?from=2024-01-02T00:00:00Z&to=2024-01-01T00:00:00Z", "to must be after from"),
        ("market-data/EURUSD/H1?replace=perhaps", "replace must be true or false"),
    ],
)
async def test_a_query_is_refused_in_the_words_of_the_house(query: str, told: str) -> None:
    async with client() as asked:
        method = "POST" if query.startswith("market-data") else "GET"
        answer = await asked.request(method, f"/v1/{query}", headers={"Content-Type": "text/csv"})
    assert answer.status_code == 422
    [detail] = answer.json()["details"]
    assert f"{detail['field']} {detail['message']}" == told


async def test_the_symbol_of_a_list_is_compared_in_any_case() -> None:
    async with client(history=some_runs(2)) as asked:
        found = (await asked.get("/v1/backtest", params={"symbol": "eurusd"})).json()["items"]
    assert [each["run_id"] for each in found] == [2, 1]


async def test_a_list_is_read_in_parts_without_gap_or_repeat() -> None:
    async with client(history=some_runs(7)) as asked:
        found, cursor = [], None
        while True:
            query: dict[str, Any] = {"limit": 3, **({"cursor": cursor} if cursor else {})}
            page = (await asked.get("/v1/backtest", params=query)).json()
            found += [each["run_id"] for each in page["items"]]
            if (cursor := page["next_cursor"]) is None:
                break
    assert found == [7, 6, 5, 4, 3, 2, 1]


async def test_a_cursor_is_good_for_its_sort_and_filters_alone_and_outlives_its_row() -> None:
    history = some_runs(5)
    async with client(history=history) as asked:
        cursor = (await asked.get("/v1/backtest", params={"limit": 2})).json()["next_cursor"]
        for other in ({"sort": "created_at"}, {"symbol": "EURUSD"}, {"q": "x"}, {"min_trades": "0"}):
            assert (await asked.get("/v1/backtest", params={"cursor": cursor, **other})).status_code == 422
        for spoilt in (cursor[:-4], cursor + "AAAA", cursor.swapcase(), "é", cursor[:10] + "A" + cursor[11:]):
            assert (await asked.get("/v1/backtest", params={"cursor": spoilt})).status_code == 422
        history.tables.delete_run(4)
        page = (await asked.get("/v1/backtest", params={"cursor": cursor, "limit": 500})).json()
    assert [each["run_id"] for each in page["items"]] == [3, 2, 1]


@pytest.mark.parametrize("value", [None, 1.5, float("inf"), -0.0, 7, datetime(2024, 1, 1, 2, 3, 4, 5, UTC), "é"])
def test_a_cursor_keeps_its_place_to_the_last_bit(value: Any) -> None:
    cursor = write_cursor("runs", {"sort": "x"}, (value, 3))
    assert repr(read_cursor("runs", {"sort": "x"}, cursor)) == repr((value, 3))
    with pytest.raises(Problem):
        read_cursor("searches", {"sort": "x"}, cursor)


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        (b"{}", {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        (b"{}", {}, 415, "unsupported_media_type"),
        (b"{}", {"Content-Type": "application/json; charset=latin-1"}, 415, "unsupported_media_type"),
        (b"{}", {**JSON, "Content-Encoding": "gzip"}, 415, "unsupported_media_type"),
        (b"{", JSON, 400, "undecodable"),
        (b"", JSON, 400, "undecodable"),
        (b"[]", JSON, 400, "undecodable"),
        (b"\xff", JSON, 400, "undecodable"),
        (b"[" * 100_000, JSON, 400, "undecodable"),
        (b" " * (MAX_JSON_BYTES + 1), JSON, 413, "too_large"),
    ],
)
async def test_a_body_that_cannot_be_read(content: bytes, headers: dict[str, str], status: int, code: str) -> None:
    async with client() as asked:
        for path in ("/v1/backtest", "/v1/optimization", "/v1/strategies", "/v1/session"):
            answer = await asked.post(path, content=content, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (status, code), path


async def test_a_body_without_a_length_is_cut_off_at_the_limit() -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 65_536

    async with client() as asked:
        answer = await asked.post("/v1/session", content=endless(), headers=JSON)
    assert answer.status_code == 413


async def test_a_run_at_work_is_not_to_be_kept_and_one_that_ended_has_a_tag() -> None:
    history = some_runs(2)
    history.tables.change_run(2, status="failed", error_message="no_data: none")
    async with client(history=history) as asked:
        at_work = await asked.get("/v1/backtest/1")
        ended = await asked.get("/v1/backtest/2")
        tag = ended.headers["ETag"]
        again = await asked.get("/v1/backtest/2", headers={"If-None-Match": f'"x", {tag}'})
        weakened = await asked.get("/v1/backtest/2", headers={"If-None-Match": f"W/{tag}"})
        other = await asked.get("/v1/backtest/2", headers={"If-None-Match": '"other"'})
    async with client(history=history) as elsewhere:
        same = await elsewhere.get("/v1/backtest/2")
    assert at_work.headers["Cache-Control"] == "no-store"
    assert "ETag" not in at_work.headers
    assert ended.headers["Cache-Control"] == "private, no-cache"
    assert tag.startswith('"')
    for answer in (again, weakened):
        assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", tag)
    assert (other.status_code, same.headers["ETag"]) == (200, tag)


async def test_every_answer_has_the_headers_that_keep_browsers_safe() -> None:
    async with client(Access({"a": "b"})) as asked:
        answers = [await asked.get(path) for path in ("/", "/v1/backtest", "/healthz", "/assets/none.js", "/nowhere")]
    for answer in answers:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "unsafe-inline" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert "Server" not in answer.headers


async def test_large_answers_are_compressed_for_who_takes_it() -> None:
    async with client(history=some_runs(50)) as asked:
        answer = await asked.get("/v1/backtest", headers={"Accept-Encoding": "gzip"})
        plain = await asked.get("/v1/backtest", headers={"Accept-Encoding": "identity"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert int(answer.headers["Content-Length"]) < len(plain.content) / 3
    assert gzip.compress(answer.content)
    assert answer.json() == plain.json()


async def test_a_head_is_a_get_without_its_body() -> None:
    async with client(history=some_runs(1)) as asked:
        asked.headers["Accept-Encoding"] = "identity"
        head, get = await asked.head("/v1/backtest/1"), await asked.get("/v1/backtest/1")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == str(len(get.content))


async def test_runs_are_named_by_run_id_with_json_as_json_and_times_in_utc() -> None:
    async with client(history=some_runs(1, context_tfs='["H4"]')) as asked:
        [run] = (await asked.get("/v1/backtest")).json()["items"]
    assert "id" not in run
    assert (run["run_id"], run["context_tfs"], run["start_date"]) == (1, ["H4"], "2024-01-01T00:00:00Z")
    assert (run["strategy_name"], run["strategy_key"]) == ("mine", "sma_cross")


@pytest.mark.parametrize("path", ["/docs", "/", "/openapi.json"])
async def test_pages_load_nothing_from_another_host(path: str) -> None:
    async with client(Access({}, "/tools")) as asked:
        text = (await asked.get(path)).text
    loaded = [part.split('"')[0] for mark in ('src="', 'href="') for part in text.split(mark)[1:]]
    here = "http://here/tools/"  # what the page names without a slash is below its <base>
    assert all(urljoin(here, address).startswith(here) for address in loaded), loaded


async def test_the_document_is_openapi_3_1_with_the_proxys_path() -> None:
    async with client(Access({}, "/tools")) as asked:
        document = json.loads((await asked.get("/openapi.json")).content)
    assert document["openapi"].startswith("3.1")
    assert document["servers"] == [{"url": "/tools"}]
    routes = {"/v1/backtest", "/v1/backtest/{run_id}/events", "/v1/optimization", "/v1/strategies"}
    assert routes <= document["paths"].keys()
