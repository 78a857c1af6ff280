"""The end of the demo on a terminal: the page at its address, until a key is pressed."""

import asyncio
import sys
import termios
import tty
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import typer

from consumer.devstack.api_server import start_api, until_it_answers


async def show_page(environment: Mapping[str, str], log_path: Path) -> None:
    """Start the API, say where its page is, and keep it there until a key or Ctrl-C.

    Raises StartFailed where it does not come up.
    """
    api, address = start_api(environment, log_path)
    try:
        await until_it_answers(api, address, log_path)
        typer.echo(f"\nthe page, with these runs: {address}\nany key or Ctrl-C ends it all", err=True)
        await _key_pressed()
    finally:
        await api.stop()


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
