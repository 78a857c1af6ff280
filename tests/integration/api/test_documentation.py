"""What the API says of itself is so: every command of docs/api.md was run, and schemathesis finds nothing."""

import asyncio
import re
import secrets
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pytest

from tests.support.api_page import commands
from tests.support.api_process import Api
from tests.support.front_door import SAMPLE, FrontDoor, Worker

pytestmark = pytest.mark.integration

BASE = "http://127.0.0.1:8080"
FIRST = {"POST": 0, "GET": 1, "PATCH": 2, "DELETE": 3}
"""What others read is made before, and goes after."""
STREAMS = r"/events$"
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")


@pytest.fixture
async def ids(door: FrontDoor, api: Api, worker: Worker, strategy: int) -> Mapping[str, int]:
    """A completed run and a completed search, for paths to name."""
    run = (await api.post_run(strategy, key="documented-run")).json()["run_id"]
    body = {
        "strategy_id": strategy,
        "symbol": "EURUSD",
        "timeframe": "H1",
        "param_grid": {"fast": [5, 6], "slow": [20]},
    }
    body |= {"start_date": "2017-01-02T00:00:00Z", "end_date": "2017-02-01T00:00:00Z", "min_trades": 1}
    posted = await api.post("/v1/optimization", body, headers={"Idempotency-Key": "documented-search"})
    await door.terminal_event("documented-run")
    await door.end_of_search("documented-search")
    return {"backtest": run, "optimization": posted.json()["optimization_id"], "strategies": strategy}


async def test_every_command_of_the_page_does_what_it_says(
    api: Api, ids: Mapping[str, int], strategy: int, tmp_path: Path
) -> None:
    pl.read_parquet(SAMPLE).head(200).write_csv(tmp_path / "bars.csv", datetime_format="%Y-%m-%dT%H:%M:%SZ")
    answers: dict[str, int] = {}
    for method, path, command in sorted(commands(), key=lambda each: FIRST[each[0]]):
        text = command.replace(BASE, api.base_url).replace('"strategy_id": 1', f'"strategy_id": {strategy}')
        for group, number in ids.items():
            text = re.sub(rf"/v1/{group}/1\b", f"/v1/{group}/{number}", text)
        if path.startswith("/v1/market-data"):  # others need the bars of EURUSD
            text = text.replace("EURUSD", "GBPUSD")
        if path == "/v1/instruments":  # schemathesis may have made the document's example on these servers before
            text = text.replace("XPTUSD", f"X{secrets.token_hex(4).upper()}")
        answers[f"{method} {path}"] = await status_of(text, tmp_path)
    expected = {202, 200, 201, 204}
    refused = {name: status for name, status in answers.items() if status not in expected}
    # The report is the page's view of a run: 503 where the page was not built.
    assert refused.pop("GET /v1/backtest/{run_id}/report", None) in {None, 503}
    assert refused == {
        "POST /v1/backtest/{run_id}/cancel": 409,
        "POST /v1/optimization/{optimization_id}/cancel": 409,
        "DELETE /v1/strategies/{strategy_id}": 409,
    }


async def status_of(command: str, folder: Path) -> int:
    """Of the answer that curl got; a stream is left after a second."""
    process = await asyncio.create_subprocess_exec(
        *shlex.split(command),
        *("--silent", "--max-time", "2" if "-N" in command else "60"),
        *("--output", "/dev/null", "--write-out", "%{http_code}"),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await process.communicate()
    return int(told)


@pytest.mark.parametrize(
    "phases",
    ["examples,coverage", pytest.param("fuzzing,stateful", marks=[pytest.mark.nightly, pytest.mark.timeout(3600)])],
)
async def test_schemathesis_finds_nothing_in_the_whole_document(
    api: Api, ids: Mapping[str, int], tmp_path: Path, phases: str
) -> None:
    """Streams aside, which do not end: tests of their own are in test_events."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION)),
        *("run", f"{api.base_url}/openapi.json", "--exclude-path-regex", STREAMS, "--phases", phases),
        *("--max-examples", "20", "--seed", "1", "--generation-database", "none", "--request-timeout", "60"),
        *("--no-color", "--continue-on-failure"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await process.communicate()
    assert process.returncode == 0, told.decode()[-8000:]
    assert (await api.get("/healthz")).json()["status"] == "ok"
    assert "Traceback" not in api.log_text()
