"""What every measured program answers, one JSON object a line: prepare a job, do it, say what it traded.

Standard library and numpy only: it runs in both environments.
"""

import gc
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Job = Callable[[], Any]
"""Does the whole work once, from arrays in memory to figures, and returns the program's own result."""
Trades = Mapping[str, Any]
"""entry_bar, exit_bar, entry_price, exit_price: arrays, one entry a closed trade."""


def serve(prepare: Callable[[str, Path, dict[str, Any]], Job], trades_of: Callable[[Any], Trades]) -> None:
    """Answer requests on stdin until it ends.

    {"do": "prepare", "job", "data", "options"}   load data, build the job; nothing is run yet
    {"do": "run"}                                 -> {"seconds"}: one run, garbage of the last one collected before
    {"do": "trades", "into"}                      -> {"count"}: what the last run traded, as npz
    {"do": "memory"}                              -> {"peak_mb", "now_mb"} of this process, the peak since preparing
    """
    job: Job | None = None
    result: Any = None
    channel = os.fdopen(os.dup(1), "w")
    # Whatever a program prints must not end up among the answers.
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        answer: dict[str, Any] = {}
        match request["do"]:
            case "prepare":
                job = prepare(request["job"], Path(request["data"]), request.get("options", {}))
                gc.collect()
                # The high-water mark begins anew here: how bars came into memory is not what is measured.
                Path("/proc/self/clear_refs").write_text("5")
            case "run":
                assert job is not None
                result = None
                gc.collect()
                gc.disable()
                begun = time.perf_counter()
                result = job()
                answer["seconds"] = time.perf_counter() - begun
                gc.enable()
            case "trades":
                trades = trades_of(result)
                np.savez(request["into"], **trades)
                answer["count"] = len(trades["entry_bar"])
            case "memory":
                answer = _memory_mb()
        channel.write(json.dumps(answer) + "\n")
        channel.flush()


def load(data: Path) -> dict[str, Any]:
    """Return the columns of a folder of .npy files."""
    return {file.stem: np.load(file) for file in sorted(data.glob("*.npy"))}


def _memory_mb() -> dict[str, float]:
    """High-water mark and present size; of the process itself, where ru_maxrss would include its parent's at exec."""
    status = Path("/proc/self/status").read_text()
    sizes = dict(line.split(":", 1) for line in status.splitlines() if line.startswith("Vm"))
    return {name: int(sizes[key].split()[0]) / 1024 for name, key in (("peak_mb", "VmHWM"), ("now_mb", "VmRSS"))}
