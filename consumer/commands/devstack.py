"""`backtest devstack`: a real Postgres, a real Kafka and the HTTP API for local work, until Ctrl-C."""

import asyncio
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer
from pydantic import SecretStr

from consumer.devstack import DevStackError, StackKind, devstack
from consumer.devstack.api_server import start_api, until_it_answers
from consumer.devstack.temporary_directory import temporary_directory
from consumer.errors import StartFailed
from consumer.settings import DatabaseSettings
from consumer.wiring.schema import migrate

PAGE: Final = Path(__file__).parents[1] / "web" / "dist" / "index.html"
HOW_TO_GO_ON: Final = """Postgres and Kafka are up with their tables, while this terminal is open.
Ctrl-C stops them{data}.
{api}: {address} (its log: {log})
Every other terminal needs the exports above, and the same folder or BACKTEST_MARKET_DATA_URL. In there:
  backtest data import --market-data ./market-data ...    bars
  backtest worker                                         goes on until Ctrl-C, in a terminal of its own
  backtest strategy add ...                               and `backtest submit ...`, in another one"""

app = typer.Typer(add_completion=False)


@app.command("devstack")
def keep_up(
    data_dir: Annotated[
        Path | None, typer.Option(help="Where their data stay for a next time. Default: thrown away at the end.")
    ] = None,
    durable: Annotated[bool, typer.Option("--durable", help="Survive a crash of the machine too; slower.")] = False,
    stack: Annotated[StackKind, typer.Option(help="Processes of our own, or containers.")] = "embedded",
) -> None:
    """Start both servers on free ports of 127.0.0.1, make the tables, start the HTTP API beside them (API_PORT, else
    8080 or a free port), print the settings to use on stdout, and stop all of it on Ctrl-C.
    """
    with devstack_errors():
        asyncio.run(_keep_up(data_dir, durable=durable, stack=stack))


async def _keep_up(data_dir: Path | None, *, durable: bool, stack: StackKind) -> None:
    with told_to_stop():
        async with devstack(data_dir, durable=durable, stack=stack) as running:
            environment = running.settings_environment()
            await migrate(DatabaseSettings(database_url=SecretStr(running.database_url)))
            with temporary_directory() as folder:
                log = folder / "api.log"
                api, address = start_api(environment, log)
                try:
                    for name, value in environment.items():
                        typer.echo(f"export {name}={shlex.quote(value)}")
                    sys.stdout.flush()
                    try:
                        await until_it_answers(api, address, log)
                    except StartFailed as error:  # the servers are up all the same
                        typer.echo(f"warning: {error}", err=True)
                    typer.echo(how_to_go_on(address, log, data_dir), err=True)
                    await asyncio.Event().wait()
                finally:
                    await api.stop()


def how_to_go_on(address: str, log: Path, data_dir: Path | None, page: Path = PAGE) -> str:
    """What to do beside them. page: a file of it, which is not there where it was not built."""
    data = " and throws away all that they hold: give --data-dir to keep it" if data_dir is None else ""
    api = "The HTTP API and its page" if page.is_file() else "The HTTP API (its page was not built: see make setup)"
    return HOW_TO_GO_ON.format(data=data, api=api, address=address, log=log)


@contextmanager
def told_to_stop() -> Iterator[asyncio.Event]:
    """On the first SIGINT or SIGTERM the block is cancelled and left, without an error; the event says so.

    Later signals change nothing, so that an impatient second Ctrl-C does not interrupt the stopping of servers.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _stop, stop, task)
    try:
        yield stop
    except asyncio.CancelledError:
        if not stop.is_set() or task is None:
            raise
        task.uncancel()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _stop(stop: asyncio.Event, task: "asyncio.Task[None] | None") -> None:
    if not stop.is_set():
        stop.set()
        if task is not None:
            task.cancel()


@contextmanager
def devstack_errors() -> Iterator[None]:
    """Say why the servers are not up, with the end of a server's log where there is one, and exit 1."""
    try:
        yield
    except DevStackError as error:
        typer.echo(f"backtest: {error}", err=True)
        raise typer.Exit(1) from error
