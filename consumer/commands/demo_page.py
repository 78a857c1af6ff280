"""The end of the demo on a terminal: the page at its address, until a key is pressed."""

import asyncio
import sys
import termios
import tty
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import typer

from consumer.devstack.api_server import start_api
from consumer.devstack.supervised_process import SupervisedProcess
from consumer.errors import StartFailed

PATIENCE_SECONDS: Final = 60.0
PAUSE_SECONDS: Final = 0.1


async def show_page(environment: Mapping[str, str], log_path: Path) -> None:
    """Start the API, say where its page is, and keep it there until a key or Ctrl-C.

    Raises StartFailed where it does not come up.
    """
    api, address = start_api(environment, log_path)
    try:
        await _until_it_answers(api, address, log_path)
        typer.echo(f"\nthe page, with these runs: {address}\nany key or Ctrl-C ends it all", err=True)
        await _key_pressed()
    finally:
        await api.stop()


async def _until_it_answers(api: SupervisedProcess, address: str, log_path: Path) -> None:
    host, _, port = address.removeprefix("http://").rpartition(":")
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while api.is_running:
                with suppress(OSError):
                    _, writer = await asyncio.open_connection(host, int(port))
                    writer.close()
                    return
                await asyncio.sleep(PAUSE_SECONDS)
    except TimeoutError:
        pass
    raise StartFailed(f"the API does not answer at {address}: {_last_line(log_path)} (its log: {log_path})")


def _last_line(log_path: Path) -> str:
    return " ".join(log_path.read_text(errors="replace").strip().splitlines()[-1:])


async def _key_pressed() -> None:
    pressed = asyncio.Event()
    loop = asyncio.get_running_loop()
    with _single_keys():
        loop.add_reader(sys.stdin.fileno(), pressed.set)
        try:
            await pressed.wait()
        finally:
            loop.remove_reader(sys.stdin.fileno())
            termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)


@contextmanager
def _single_keys() -> Iterator[None]:
    """The terminal gives each key as it is pressed, not a line at its end."""
    before = termios.tcgetattr(sys.stdin.fileno())
    tty.setcbreak(sys.stdin.fileno())
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, before)
