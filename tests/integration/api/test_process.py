"""The API as a process: what it refuses to start with, and what it never tells."""

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.api_process import Api, api_process
from tests.support.front_door import FrontDoor

pytestmark = pytest.mark.integration

TOKEN = "planted-token-4711"


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"api_host": "0.0.0.0"}, "BACKTEST_API_TOKENS"),
        ({"api_tokens": "no-name"}, "BACKTEST_API_TOKENS"),
        ({"api_tokens": f"a:{TOKEN},a:other"}, "BACKTEST_API_TOKENS"),
        ({"api_tokens": f"a:{TOKEN}", "api_root_path": "no-slash"}, "BACKTEST_API_ROOT_PATH"),
        ({"api_port": "0"}, "BACKTEST_API_PORT"),
    ],
)
async def test_settings_that_are_wrong_are_one_line_and_show_no_token(
    door: FrontDoor, settings: dict[str, Any], named: str
) -> None:
    ended = await door.command("api", **settings)
    assert ended.status == 2
    assert named in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    assert TOKEN not in ended.stderr


async def test_a_token_is_in_no_log_answer_or_event_and_its_name_is(door: FrontDoor, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"alice:{TOKEN}\nbob:another-token\n")
    strategy = await door.add_strategy()
    async with api_process(door, token=TOKEN, api_tokens_file=str(tokens), log_level="debug") as api:
        answers = [
            await api.post_run(strategy, key="by-alice"),
            await api.post_run(strategy, symbol=TOKEN),
            await api.post("/v1/session", {"token": TOKEN}),
            await api.post("/v1/session", {"token": f"{TOKEN}x"}),
            await api.get(f"/v1/backtest/{TOKEN}"),
            await api.get("/v1/backtest", headers={"Authorization": f"Bearer {TOKEN}x"}),
        ]
        assert [answer.status_code for answer in answers] == [202, 422, 204, 401, 404, 401]
        session = answers[2].headers["Set-Cookie"]
        assert TOKEN not in session
        log = api.log_text()
    assert TOKEN not in log
    assert '"caller": "alice"' in log
    source = await door.database.fetchval("SELECT source FROM backtest_requests WHERE request_id = 'by-alice'")
    assert source == "backtest-api/alice"


async def test_what_is_no_http_is_answered_as_a_problem_with_the_headers_of_every_answer(api: Api) -> None:
    for sent in (b"GARBAGE\r\n\r\n", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\x00b\r\n\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(api.base_url).port)
        writer.write(sent)
        told = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        head, _, body = told.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert {b"content-type: application/problem+json", b"x-content-type-options: nosniff"} <= set(
            head.split(b"\r\n")
        )
        assert (json.loads(body)["status"], json.loads(body)["code"]) == (400, "undecodable")


async def test_the_proxys_path_is_in_links_and_location(door: FrontDoor) -> None:
    strategy = await door.add_strategy()
    async with api_process(door, api_root_path="/tools/backtest") as api:
        answer = await api.post_run(strategy)
        run_id = answer.json()["run_id"]
        assert answer.headers["Location"] == f"/tools/backtest/v1/backtest/{run_id}"
        assert answer.json()["links"]["events"] == f"/tools/backtest/v1/backtest/{run_id}/events"
        assert (await api.get("/v1/backtest")).status_code == 200
