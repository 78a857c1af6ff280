"""An engine program whose tasks behave as their specification says: well, badly, or like a strategy gone wrong.

Engine children of the tests load it in place of the real one (`EngineProcessSettings.program`). The specification's
`behaviour` names a function below; `file`, where given, is where it leaves a sign of life.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from consumer.adapters.engine_pool.settings import EngineProcessSettings
from consumer.adapters.engine_pool.task import TaskControl
from consumer.installed.strategy_code import CodeChanged
from consumer.ports import EngineProgress, EngineTask
from consumer.ports.advice import Question
from consumer.ports.outcomes import Completed
from engine.errors import InvalidParams, NoData, ParameterProblem

PROGRAM = f"{__name__}:open_program"

SPIN = "while True: pass"
SIMULATED_TIME_US = 1_704_164_645_678_901
SIMULATED_TIME = datetime(2024, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
QUESTION = Question(SIMULATED_TIME, "decide", (("system", "You decide."), ("user", "What \u00e9?")))
_kept: list[Any] = []


def open_program(settings: EngineProcessSettings) -> Callable[[EngineTask, TaskControl], Completed]:
    def execute(task: EngineTask, control: TaskControl) -> Completed:
        behaviour = BEHAVIOURS[task.specification["behaviour"]]
        behaviour(task.specification, control)
        return completed(task)

    return execute


def completed(task: EngineTask) -> Completed:
    """A result that names its task and carries as many bytes of trades as it is told."""
    return Completed(
        columns={"total_trades": 1, "win_rate": 0.1, "profit_factor": None},
        metrics={"total_trades": 1, "null_reasons": {"profit_factor": "no losses"}},
        trades_csv=b"x" * task.specification.get("trade_bytes", 10),
        trade_count=1,
        data_file_path="/bars.csv",
        artifacts={"trades": f"/runs/{task.run_id}/{task.epoch}/trades.parquet"},
        result_digest="d" * 64,
        engine_version="1",
        strategy_version="c" * 64,
        warnings=("one",),
        duration_seconds=0.5,
    )


def progress(bars_done: int, bars_total: int = 1_000_000_000) -> EngineProgress:
    """What `report` makes the worker see."""
    return EngineProgress(bars_done, bars_total, SIMULATED_TIME, 10_000.25, 7)


def report(control: TaskControl, bars_done: int, bars_total: int = 1_000_000_000) -> None:
    control.report(bars_done, bars_total, SIMULATED_TIME_US, 10_000.25, 7)


def asks(specification: dict[str, Any], control: TaskControl) -> None:
    """Ask as often as it is told, and leave what is answered in its file."""
    report(control, 1)
    answers = [control.ask([QUESTION] * specification.get("at_once", 1)) for _ in range(specification["asks"])]
    Path(specification["file"]).write_text(json.dumps(answers))


def well(specification: dict[str, Any], control: TaskControl) -> None:
    report(control, 1, 2)
    report(control, 2, 2)


def outdated(specification: dict[str, Any], control: TaskControl) -> None:
    """The code was changed since this process imported it, until as many as `processes` have found so."""
    found = Path(specification["file"])
    pids = found.read_text().split() if found.exists() else []
    if len(pids) < specification["processes"]:
        found.write_text(" ".join([*pids, str(os.getpid())]))
        raise CodeChanged("mine")


def tell_pid(specification: dict[str, Any], control: TaskControl) -> None:
    leave_sign(specification)


def tell_pid_and_spin(specification: dict[str, Any], control: TaskControl) -> None:
    leave_sign(specification)
    while True:
        pass


def tell_environment(specification: dict[str, Any], control: TaskControl) -> None:
    told = "".join(f"{name}={value}\n" for name, value in os.environ.items())
    Path(specification["file"]).write_text(told)


def wait_for_peer(specification: dict[str, Any], control: TaskControl) -> None:
    """Leave a sign and wait for that of another run: both are under way at once."""
    leave_sign(specification)
    while not Path(specification["peer"]).exists():
        control.pause(0.01)


def chunks(specification: dict[str, Any], control: TaskControl) -> None:
    """Work in chunks for ever, as the engine does."""
    bars = 0
    while True:
        bars += 1
        report(control, bars)


def until_file(specification: dict[str, Any], control: TaskControl) -> None:
    """Work in chunks until somebody makes the file `until`."""
    bars = 0
    leave_sign(specification)
    while not Path(specification["until"]).exists():
        bars += 1
        report(control, bars)


def endless(specification: dict[str, Any], control: TaskControl) -> None:
    report(control, 1)
    while True:
        pass


def swallow(specification: dict[str, Any], control: TaskControl) -> None:
    """Catch whatever comes, also the polite request to stop."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    while True:
        try:
            report(control, 1)
            control.pause(0.01)
            while True:
                pass
        except BaseException:
            continue


def hold_the_gil(specification: dict[str, Any], control: TaskControl) -> None:
    """One call into C for minutes that lets no other Python thread run."""
    report(control, 1)
    _kept.append(3 ** (10**9))


def detach_process(specification: dict[str, Any], control: TaskControl) -> None:
    """Start a process in its own session, with an empty environment."""
    process = subprocess.Popen([sys.executable, "-c", SPIN], start_new_session=True, env={})
    Path(specification["file"]).write_text(str(process.pid))
    endless(specification, control)


def detach_fork(specification: dict[str, Any], control: TaskControl) -> None:
    """Fork twice, so that the spinning process has neither parent nor session in common with this one."""
    fork_daemon(specification)
    endless(specification, control)


def die_beside_fork(specification: dict[str, Any], control: TaskControl) -> None:
    fork_daemon(specification)
    while not Path(specification["file"]).exists():
        pass
    os._exit(3)


def die_while_forking(specification: dict[str, Any], control: TaskControl) -> None:
    fork_daemon(specification)
    os._exit(3)


def leave_process(specification: dict[str, Any], control: TaskControl) -> None:
    process = subprocess.Popen([sys.executable, "-c", SPIN])
    Path(specification["file"]).write_text(str(process.pid))


def leave_thread(specification: dict[str, Any], control: TaskControl) -> None:
    threading.Thread(target=endless, args=(specification, control), daemon=True).start()
    leave_sign(specification)


def grow(specification: dict[str, Any], control: TaskControl) -> None:
    """Take more and more memory, and use it."""
    while True:
        _kept.append(bytearray(os.urandom(1)) * (8 * 2**20))


def keep_memory(specification: dict[str, Any], control: TaskControl) -> None:
    _kept.append(bytearray(os.urandom(1)) * (specification["keep_mb"] * 2**20))
    leave_sign(specification)


def ask_too_much(specification: dict[str, Any], control: TaskControl) -> None:
    """Ask for more at once than any limit."""
    _kept.append(bytearray(10**15))


def abort_for_memory(specification: dict[str, Any], control: TaskControl) -> None:
    """End as libraries in Rust do when they are refused memory."""
    os.write(2, b"memory allocation of 1000000000000 bytes failed\n")
    os.abort()


def fault(specification: dict[str, Any], control: TaskControl) -> None:
    ctypes.string_at(0)


def exit_now(specification: dict[str, Any], control: TaskControl) -> None:
    os._exit(3)


def exit_politely(specification: dict[str, Any], control: TaskControl) -> None:
    sys.exit("enough")


def raise_defect(specification: dict[str, Any], control: TaskControl) -> None:
    raise RuntimeError("nul \x00 and surrogate \ud800")


def raise_no_data(specification: dict[str, Any], control: TaskControl) -> None:
    raise NoData("no EURUSD H1 bars")


def raise_invalid_params(specification: dict[str, Any], control: TaskControl) -> None:
    raise InvalidParams("mine", (ParameterProblem("fast", "too large"),))


def write_garbage(specification: dict[str, Any], control: TaskControl) -> None:
    """Write to the worker what no child says."""
    for descriptor in range(3, 30):
        try:
            if Path(f"/proc/self/fd/{descriptor}").readlink().name.startswith("socket:"):
                os.write(descriptor, b"\xff" * 64)
        except OSError:
            continue
    endless(specification, control)


def print_much(specification: dict[str, Any], control: TaskControl) -> None:
    print("a strategy's words")
    sys.stdout.flush()
    os.write(1, b"and of its libraries\n")
    well(specification, control)


def fork_daemon(specification: dict[str, Any]) -> None:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            leave_sign(specification)
            while True:
                pass
        os._exit(0)


def leave_sign(specification: dict[str, Any]) -> None:
    """Write this process's id, whole or not at all."""
    target = Path(specification["file"])
    draft = target.with_suffix(".draft")
    draft.write_text(str(os.getpid()))
    draft.replace(target)


BEHAVIOURS: dict[str, Callable[[dict[str, Any], TaskControl], None]] = {
    each.__name__: each
    for each in (
        well,
        asks,
        outdated,
        tell_pid,
        tell_pid_and_spin,
        tell_environment,
        wait_for_peer,
        chunks,
        until_file,
        endless,
        swallow,
        hold_the_gil,
        detach_process,
        detach_fork,
        die_beside_fork,
        die_while_forking,
        leave_process,
        leave_thread,
        grow,
        keep_memory,
        ask_too_much,
        abort_for_memory,
        fault,
        exit_now,
        exit_politely,
        raise_defect,
        raise_no_data,
        raise_invalid_params,
        write_garbage,
        print_much,
    )
}
