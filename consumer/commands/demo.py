"""`backtest demo`: the whole system at work on real servers, from an empty directory to a table of results."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from consumer.clock import SystemClock
from consumer.commands.connections import quiet_log
from consumer.commands.demo_page import show_page
from consumer.commands.devstack import devstack_errors, told_to_stop
from consumer.commands.display.columns import text_columns
from consumer.commands.display.live_runs import run_bars
from consumer.commands.runs import rejections_table, runs_table, with_warnings
from consumer.demo_data import EURUSD_H1
from consumer.demo_data.requests import STRATEGIES, DemoRequest, demo_requests
from consumer.devstack import DevStack, devstack
from consumer.devstack.supervised_process import ServerCommand, SupervisedProcess
from consumer.errors import StartFailed
from consumer.ports import Delivery
from consumer.ports.requests import TopicReader, Topics
from consumer.requests.event_feed import RUNS, EventFeed
from consumer.requests.sending import send_cancel
from consumer.requests.states import is_terminal
from consumer.requests.watching import Show
from consumer.settings import DatabaseSettings, LogSettings, load_settings
from consumer.wiring.broker import open_topics_at
from consumer.wiring.database import open_history, open_strategies
from consumer.wiring.schema import migrate
from schemas.cancel_requested import CancelRequested
from schemas.outgoing import CONTENT_TYPE_HEADER, EventData, request_key
from schemas.progress import Progress
from schemas.topics import Topic

app = typer.Typer(add_completion=False)

SOURCE = "backtest-demo"
PATIENCE_SECONDS = 120.0
WORKER_GRACE_SECONDS = 15.0
CANCEL_FROM_PERCENT = 5


@app.command()
def demo(
    directory: Annotated[Path, typer.Option(help="Where bars, artefacts and the worker's log are left.")] = Path(
        ".demo"
    ),
) -> None:
    """Start Postgres and Kafka, run a worker, emit a handful of requests, follow them live, and show what came out.

    On a terminal it ends with the page open for looking at, until a key or Ctrl-C. Servers and worker end with it; the
    files stay.
    """
    quiet_log(load_settings(LogSettings))
    place = (directory / f"{datetime.now().astimezone():%Y%m%d-%H%M%S}").absolute()
    with devstack_errors():
        try:
            asyncio.run(run_demo(place))
        except KeyboardInterrupt:
            _say("stopped before anything was started")


async def run_demo(place: Path) -> None:
    """The demonstration, one step a line."""
    began = time.monotonic()
    with told_to_stop() as stopped:
        _say(f"starting Postgres and Kafka, and importing {EURUSD_H1.name}: three years of EURUSD H1")
        importing = asyncio.create_task(asyncio.to_thread(_import_sample, place))
        async with devstack() as stack:
            topics = open_topics_at(stack.kafka_bootstrap_servers)
            settings = DatabaseSettings.model_validate({"database_url": stack.database_url})
            await importing
            _say("migrating the database")
            await migrate(settings)
            requests = demo_requests(await _add_strategies(settings))
            _say("starting a worker, as a process of its own")
            async with _worker(stack, place) as worker:
                await topics.prepare()
                async with topics.reading((Topic.PROGRESS, Topic.COMPLETED), from_beginning=True) as reader:
                    _say(f"emitting {len(requests)} backtest.requested events; one of the runs is cancelled on its way")
                    await _emit(topics, requests)
                    with run_bars({each.request_id: each.label for each in requests}) as show:
                        await _follow(reader, topics, requests, worker, show)
                await _show_results(settings, place)
                _say(f"\nall of this took {time.monotonic() - began:.1f} s")
                if sys.stdin.isatty() and sys.stdout.isatty():
                    await show_page(_settings(stack, place), place / "api.log")
    if stopped.is_set():
        _say("stopped; nothing is left running")


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """The demo's worker."""

    process: SupervisedProcess
    log_path: Path

    def check(self) -> None:
        """Raise StartFailed with the end of its log when it is gone."""
        if not self.process.is_running:
            last = self.log_path.read_text(errors="replace").strip().splitlines()[-1:]
            raise StartFailed(f"the worker ended by itself: {' '.join(last)} (its log: {self.log_path})")


@asynccontextmanager
async def _worker(stack: DevStack, place: Path) -> AsyncIterator[WorkerProcess]:
    """`backtest worker`, with settings from its environment alone; it ends with this program, however that ends."""
    log_path = place / "worker.log"
    settings = _settings(stack, place)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BACKTEST_")}
    process = SupervisedProcess.start(
        ServerCommand(
            arguments=(sys.executable, "-m", "consumer", "worker"),
            working_directory=str(place),
            environment=inherited | settings,
            log_path=str(log_path),
            stop_signal=signal.SIGTERM,
            grace_seconds=WORKER_GRACE_SECONDS,
        )
    )
    try:
        yield WorkerProcess(process, log_path)
    finally:
        await process.stop()


def _settings(stack: DevStack, place: Path) -> dict[str, str]:
    return {
        **stack.settings_environment(),
        "BACKTEST_MARKET_DATA_URL": str(place / "market-data"),
        "BACKTEST_ARTIFACTS_URL": str(place / "artifacts"),
        "BACKTEST_SLOTS": "2",
        "BACKTEST_PROGRESS_INTERVAL_SECONDS": "0.1",
        "BACKTEST_LOG_FORMAT": "json",
    }


def _import_sample(place: Path) -> None:
    """In a thread, and with its imports here: the engine's take as long as the servers' start."""
    from consumer.wiring.files import IncomingBars, import_bars, read_bars
    from engine.market.timeframes import timeframe

    bars = read_bars(EURUSD_H1, timeframe("H1"), "UTC")
    import_bars(
        str(place / "market-data"), "EURUSD", timeframe("H1"), [IncomingBars(EURUSD_H1.name, bars)], replace=False
    )


async def _add_strategies(settings: DatabaseSettings) -> dict[str, int]:
    async with open_strategies(settings) as rows:
        return {
            key: await rows.add(
                {
                    "name": f"demo {key}",
                    "strategy_key": key,
                    "strategy_params": json.dumps(params),
                    "primary_tf": "H1",
                }
            )
            for key, params in STRATEGIES.items()
        }


async def _emit(topics: Topics, requests: tuple[DemoRequest, ...]) -> None:
    """As an upstream service does: CloudEvents, the key being the request's id while there is no run."""
    for each in requests:
        event = {
            "specversion": "1.0",
            "id": each.request_id,
            "source": SOURCE,
            "type": "backtest.requested",
            "datacontenttype": "application/json",
            "data": each.data,
        }
        delivery = Delivery(
            Topic.REQUESTED, request_key(each.request_id), json.dumps(event).encode(), (CONTENT_TYPE_HEADER,)
        )
        await topics.send([delivery])


async def _follow(
    reader: TopicReader,
    topics: Topics,
    requests: tuple[DemoRequest, ...],
    worker: WorkerProcess,
    show: Show,
) -> None:
    """Show every event until each request has its last one, and cancel what is to be cancelled."""
    waiting = {each.request_id for each in requests}
    clock = SystemClock()
    to_cancel = {each.request_id for each in requests if each.is_cancelled}
    feed = EventFeed(RUNS, reader, clock)
    deadline = clock.monotonic() + PATIENCE_SECONDS
    while waiting:
        worker.check()
        if clock.monotonic() > deadline:
            raise StartFailed(f"no end after {PATIENCE_SECONDS:g} s; the worker's log: {worker.log_path}")
        for event in [news.event for news in await feed.read(0.2)]:
            show(event)
            if is_terminal(event):
                waiting.discard(event.request_id)
            if event.request_id in to_cancel and _is_well_under_way(event):
                to_cancel.discard(event.request_id)
                cancel = CancelRequested(run_id=event.run_id, reason="the demo asked for it")
                await send_cancel(topics, cancel, f"cancel-{event.request_id}", source=SOURCE, now=clock.now_utc())


def _is_well_under_way(event: EventData) -> bool:
    return isinstance(event, Progress) and event.progress_pct >= CANCEL_FROM_PERCENT


async def _show_results(settings: DatabaseSettings, place: Path) -> None:
    """What the tables say now, where the files are, and how to go on."""
    async with open_history(settings) as history:
        runs = await with_warnings(history, sorted(await history.runs(limit=20), key=lambda run: int(run["id"])))
        rejected = await history.rejected_requests(limit=20)
    typer.echo(f"\nbacktest_runs, read back from Postgres:\n\n{text_columns(runs_table(runs))}")
    typer.echo(f"\nrejected, without a run:\n\n{text_columns(rejections_table(rejected))}")
    typer.echo(f"\n{_places(runs, place)}\n\n{_NEXT_STEPS}")


def _places(runs: Sequence[Mapping[str, Any]], place: Path) -> str:
    completed = next(run for run in runs if run["status"] == "completed")
    return "\n".join(
        (
            "what is left of it:",
            f"  artefacts          {place}/artifacts/runs/<run>/<epoch>/, e.g. of run {completed['id']}:",
            f"                     {place}/artifacts/runs/{completed['id']}/{completed['epoch']}/trades.parquet",
            f"  its bars           {completed['data_file_path']}",
            f"  market data        {place}/market-data",
            f"  the worker's log   {place}/worker.log",
        )
    )


_NEXT_STEPS = """how to go on:
  backtest run --bars FILE --symbol EURUSD --timeframe H1 --strategy sma_cross     one run, without any server
  backtest strategy new my_strategy                                                a strategy of your own
  backtest devstack                                                                both servers for local work, then:
  backtest migrate; backtest data import ...; backtest worker; backtest submit --wait ...
  backtest --help                                                                  everything else"""


def _say(line: str) -> None:
    typer.echo(line, err=True)
