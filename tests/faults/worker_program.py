"""A worker for fault tests, `python -m tests.faults.worker_program`: `backtest worker` with orders carried out first.

The product has no hooks for tests: what dies here, forgets a guard or lives by a wrong clock was patched from outside,
before the worker starts. Orders are JSON in the variable FAULT_ORDERS; without any it is a plain worker.
"""

import ctypes
import functools
import importlib
import inspect
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Literal

ORDERS_VARIABLE = "FAULT_ORDERS"
PR_SET_PDEATHSIG = 1


def main() -> None:
    """Carry out the orders, then be a worker."""
    end_with_parent()
    orders = Orders.from_json(os.environ.get(ORDERS_VARIABLE, "{}"))
    shorten_sessions(orders.session_timeout_ms)
    if orders.clock_file:
        live_by(Path(orders.clock_file))
    if orders.proxied_ports:
        go_through_proxy({int(port): proxy for port, proxy in orders.proxied_ports.items()})
    if orders.without:
        from tests.faults.guards_removed import remove_guard

        remove_guard(orders.without)
    if orders.crash is not None:
        arm(orders.crash)
    from consumer.cli import main as command_line

    if orders.go_file:
        wait_for(Path(orders.go_file))

    sys.argv = ["backtest", orders.command]
    command_line()


@dataclass(frozen=True, slots=True)
class CrashPoint:
    """Where the worker dies: `target` is `module:function` or `module:Class.method`, as the caller looks it up.

    It dies of SIGKILL before or after the first call whose arguments (and result, for `after`) show `needle` in their
    repr; an empty needle takes the first call.
    """

    target: str
    when: Literal["before", "after"]
    needle: str = ""


@dataclass(frozen=True, slots=True)
class Orders:
    """What is to be done to a worker before it starts."""

    crash: CrashPoint | None = None
    without: str = ""
    """A guard, by its name in guards_removed."""
    clock_file: str = ""
    """Seconds by which the worker's wall clock is wrong, read anew whenever it looks."""
    proxied_ports: dict[str, int] | None = None
    """Broker port -> port to connect to instead."""
    go_file: str = ""
    """Load everything, and begin when this file is there."""
    command: str = "worker"
    """Or "api"."""
    session_timeout_ms: int = 3_000
    """Of the consumer group: a dead member is missed soon, so that a campaign gets on."""

    @staticmethod
    def from_json(text: str) -> "Orders":
        given = json.loads(text)
        crash = given.pop("crash", None)
        return Orders(crash=CrashPoint(**crash) if crash else None, **given)

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def wait_for(go_file: Path) -> None:
    """Be ready to begin at once: what takes a worker's start its time has been imported by then."""
    importlib.import_module("consumer.commands.worker")
    importlib.import_module("consumer.wiring.worker")
    while not go_file.exists():
        time.sleep(0.005)


def end_with_parent() -> None:
    """Have the kernel kill this worker when the campaign that started it dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def arm(point: CrashPoint) -> None:
    """Wrap the target so that it kills this process."""
    module_name, _, path = point.target.partition(":")
    owner: Any = importlib.import_module(module_name)
    *classes, name = path.split(".")
    for each in classes:
        owner = getattr(owner, each)
    setattr(owner, name, deadly(getattr(owner, name), point))


def deadly(function: Callable[..., Any], point: CrashPoint) -> Callable[..., Any]:
    """The function, and death at the point."""

    def reached(when: str, shown: object) -> None:
        if when == point.when and point.needle in repr(shown):
            os.kill(os.getpid(), signal.SIGKILL)

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def awaited(*arguments: Any, **named: Any) -> Any:
            reached("before", (arguments, named))
            result = await function(*arguments, **named)
            reached("after", (arguments, named, result))
            return result

        return awaited

    @functools.wraps(function)
    def called(*arguments: Any, **named: Any) -> Any:
        reached("before", (arguments, named))
        result = function(*arguments, **named)
        reached("after", (arguments, named, result))
        return result

    return called


def shorten_sessions(session_timeout_ms: int) -> None:
    """Let the group miss a killed member after seconds instead of ten."""
    from consumer.adapters.kafka import source as kafka_source

    client = vars(kafka_source)["AIOKafkaConsumer"]

    def short(*topics: str, **arguments: Any) -> Any:
        sessions = {"session_timeout_ms": session_timeout_ms, "heartbeat_interval_ms": session_timeout_ms // 5}
        return client(*topics, **{**arguments, **sessions})

    patch(kafka_source, "AIOKafkaConsumer", short)


def go_through_proxy(ports: dict[int, int]) -> None:
    """Connect to the proxy wherever a broker's address is given or advertised."""
    from aiokafka import client, conn

    connect = conn.create_conn

    async def redirected(host: str, port: int, **arguments: Any) -> Any:
        return await connect(host, ports.get(port, port), **arguments)

    patch(conn, "create_conn", redirected)
    patch(client, "create_conn", redirected)


def live_by(clock_file: Path) -> None:
    """Make this process's wall clock wrong by what the file says, as its producers see it too, whose compiled part
    looks for itself; the monotonic one goes on as before.
    """
    from aiokafka.producer.message_accumulator import BatchBuilder

    from consumer import clock

    true_time = time.time

    def offset() -> float:
        try:
            return float(clock_file.read_text())
        except (OSError, ValueError):
            return 0.0

    class WrongDatetime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "WrongDatetime":
            wrong = datetime.now(tz) + timedelta(seconds=offset())
            return cls.fromtimestamp(wrong.timestamp(), tz)

    append = BatchBuilder.append

    def append_by_wrong_time(builder: Any, *, timestamp: int | None, **named: Any) -> Any:
        stamped = int((true_time() + offset()) * 1000) if timestamp is None else timestamp
        return append(builder, timestamp=stamped, **named)

    patch(time, "time", lambda: true_time() + offset())
    patch(clock, "datetime", WrongDatetime)
    patch(BatchBuilder, "append", append_by_wrong_time)


def patch(owner: Any, name: str, value: object) -> None:
    """Put something else in the place of a name, in this process alone."""
    setattr(owner, name, value)


if __name__ == "__main__":
    main()
