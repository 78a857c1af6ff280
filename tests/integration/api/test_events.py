"""Streams of events: whoever follows a run sees where it stands, what happens, and its end, once."""

import asyncio
import signal
import time
from pathlib import Path

import pytest

from tests.support.api_process import Api, api_process
from tests.support.event_source import event_source
from tests.support.front_door import FrontDoor, Worker

pytestmark = pytest.mark.integration


def gate(folder: Path) -> str:
    """Parameters of a strategy that goes on once the file is there."""
    return f'{{"sign_file": "{folder / "sign"}", "gate_file": "{folder / "gate"}"}}'


async def test_a_run_is_followed_from_its_state_to_its_end(
    door: FrontDoor, api: Api, worker: Worker, tmp_path: Path
) -> None:
    strategy = await door.add_strategy("test_gate", strategy_params=gate(tmp_path))
    run_id = (await api.post_run(strategy, key="followed")).json()["run_id"]

    async with event_source(api.client, f"/v1/backtest/{run_id}/events") as source:
        assert source.response.headers["Content-Type"].startswith("text/event-stream")
        assert "Content-Encoding" not in source.response.headers
        (tmp_path / "gate").touch()
        told = await source.to_the_end()

    assert told[0].word == "state"
    assert told[0].data["run_id"] == run_id
    assert told[-1].word == "completed"
    numbers = [event.number for event in told[1:]]
    assert numbers == sorted(set(numbers), key=lambda number: number or 0)
    sent = await door.terminal_event("followed")
    assert told[-1].data == sent.data
    assert told[-1].number == sent.data["sequence"]

    again = await api.get(f"/v1/backtest/{run_id}/events", headers={"Last-Event-ID": str(told[-1].number)})
    assert (again.status_code, again.content) == (204, b"")
    async with event_source(api.client, f"/v1/backtest/{run_id}/events", last_event_id=1) as source:
        late = await source.to_the_end()
    assert [event.word for event in late] == ["state", "completed"]
    assert (late[0].data["status"], late[0].number) == ("completed", None)
    assert late[1].number == told[-1].number
    assert late[1].data == sent.data


async def test_who_follows_a_run_that_is_not_there_is_told_so(api: Api) -> None:
    assert (await api.get("/v1/backtest/999999/events")).status_code == 404
    assert (await api.get("/v1/optimization/999999/events")).status_code == 404


async def test_a_stream_of_everything_begins_with_what_has_not_ended(
    door: FrontDoor, api: Api, worker: Worker, tmp_path: Path
) -> None:
    strategy = await door.add_strategy("test_gate", strategy_params=gate(tmp_path))
    waiting = (await api.post_run(strategy, key="waiting")).json()["run_id"]

    async with event_source(api.client, "/v1/events") as source:
        state = await source.until("state", run_id=waiting)
        assert state.number is None
        new = (await api.post_run(await door.add_strategy(), key="new")).json()["run_id"]
        (tmp_path / "gate").touch()
        for run_id in (waiting, new):
            if not any(event.word == "completed" and event.data["run_id"] == run_id for event in source.told):
                ended = await source.until("completed", run_id=run_id)
                assert ended.number is None


async def test_an_end_that_no_event_told_is_found_in_the_tables(door: FrontDoor, api: Api) -> None:
    run_id = await door.add_run(await door.add_strategy())  # by another service: nobody has asked for it

    async with event_source(api.client, f"/v1/backtest/{run_id}/events") as source:
        assert (await source.until("state")).data["status"] == "pending"
        await door.database.execute("UPDATE backtest_runs SET status = 'cancelled' WHERE id = $1", run_id)
        [ended] = await source.to_the_end()

    assert (ended.word, ended.data["reason"]) == ("cancelled", "row")


async def test_sigterm_ends_the_process_in_time_though_streams_are_open(door: FrontDoor, tmp_path: Path) -> None:
    strategy = await door.add_strategy("test_gate", strategy_params=gate(tmp_path))
    async with api_process(door) as api:
        run_id = (await api.post_run(strategy)).json()["run_id"]
        async with (
            event_source(api.client, "/v1/events") as everything,
            event_source(api.client, f"/v1/backtest/{run_id}/events") as one,
        ):
            await asyncio.gather(everything.until("state"), one.until("state"))
            began = time.monotonic()
            assert await api.stop(signal.SIGTERM) == 0
            assert time.monotonic() - began < 10
            assert "Traceback" not in api.log_text()
    async with api_process(door) as api:
        await api.post(f"/v1/backtest/{run_id}/cancel")
