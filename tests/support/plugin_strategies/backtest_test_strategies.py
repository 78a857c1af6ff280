"""Strategies that only tests register, as a user would register his own: an installed distribution with entry points.

They stand in for what users write: long runs, endless loops, crashes, memory eaters. Each leaves a file when it is
first asked, so that a test can wait for it.
"""

import os
import subprocess
import time
from pathlib import Path
from typing import ClassVar

from engine.strategy import Decision, Instrument, StrategyParams, View


class SignParams(StrategyParams):
    """sign_file: written when the strategy is first asked, one line an object; holds the process id."""

    sign_file: str


class Gate:
    """Asked at its first bar it waits until gate_file exists; then buys once and sells 50 bars later."""

    class Params(SignParams):
        gate_file: str

    def __init__(self, params: Params, instrument: Instrument) -> None:
        self.params = params
        self.asked = 0

    def decide(self, view: View) -> Decision | None:
        self.asked += 1
        if self.asked == 1:
            leave_sign(self.params)
            while not Path(self.params.gate_file).exists():
                time.sleep(0.005)
        if self.asked == 10:
            return Decision("BUY")
        return Decision("CLOSE") if self.asked == 60 else None


class Spin:
    """Never returns, and swallows whatever it is told."""

    Params = SignParams

    def __init__(self, params: SignParams, instrument: Instrument) -> None:
        self.params = params

    def decide(self, view: View) -> Decision | None:
        leave_sign(self.params)
        while True:
            try:
                while True:
                    pass
            except BaseException:  # noqa: BLE001, PERF203, RUF100  # the worst that a user's code can do
                pass


class Crash:
    """Takes its process down."""

    Params = SignParams

    def __init__(self, params: SignParams, instrument: Instrument) -> None:
        self.params = params

    def decide(self, view: View) -> Decision | None:
        leave_sign(self.params)
        os._exit(13)


class Raise:
    """Raises at the tenth bar."""

    class Params(StrategyParams):
        pass

    def __init__(self, params: Params, instrument: Instrument) -> None:
        self.asked = 0

    def decide(self, view: View) -> Decision | None:
        self.asked += 1
        if self.asked == 10:
            raise ZeroDivisionError("a user's mistake")
        return None


class Hog:
    """Takes memory until it is stopped."""

    Params = SignParams
    kept: ClassVar[list[bytes]] = []

    def __init__(self, params: SignParams, instrument: Instrument) -> None:
        self.params = params

    def decide(self, view: View) -> Decision | None:
        leave_sign(self.params)
        while True:
            self.kept.append(os.urandom(4 * 1024 * 1024))


def leave_sign(params: SignParams) -> None:
    with Path(params.sign_file).open("a", encoding="ascii") as sign:
        sign.write(f"{os.getpid()}\n")


class Orphans:
    """Starts a process that starts another and ends: nobody's child, which ends at once."""

    Params = SignParams

    def __init__(self, params: SignParams, instrument: Instrument) -> None:
        self.params = params
        self.is_asked = False

    def decide(self, view: View) -> Decision | None:
        if not self.is_asked:
            self.is_asked = True
            script = "sh -c 'sleep 0.5' & echo $!"
            found = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
            Path(self.params.sign_file).write_text(found.stdout)
        return None
