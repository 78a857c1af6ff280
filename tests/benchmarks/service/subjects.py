"""The programs that are compared: our worker, and the FastStream handler in its arrangements."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.service.rig import OUR_TOPICS, Rig, Topics

ROOT = Path(__file__).parents[3]
PEERS = ROOT / "tests" / "benchmarks" / "peers"
PEER_ENVIRONMENT = ROOT / ".venv-bench-service"
OUR_STRATEGIES = Path(__file__).parent / "plugin_strategies"


@dataclass(frozen=True, slots=True)
class Subject:
    """One program. variant: None is ours; engine: where a handler runs the engine."""

    name: str
    topics: Topics
    variant: str | None = None
    engine: str = "process"

    @property
    def processes(self) -> int:
        """Handler processes: one a core where the engine runs in their threads."""
        return len(os.sched_getaffinity(0)) if self.variant is not None and self.engine == "thread" else 1


OURS = Subject("backtest worker", OUR_TOPICS)


def peer(variant: str, engine: str) -> Subject:
    topics = Topics(*(f"{variant}.{engine}.{name}" for name in ("requested", "progress", "completed")))
    return Subject(f"FastStream, {variant}, engine in a {engine}", topics, variant, engine)


PEERS_COMPARED = (peer("plain", "thread"), peer("plain", "process"), peer("tuned", "thread"), peer("tuned", "process"))


@asynccontextmanager
async def running(rig: Rig, subject: Subject, database_url: str, **settings: str) -> AsyncIterator[list[int]]:
    """Start the subject's processes; their ids. Killed at the end."""
    log_file = rig.directory / f"{subject.name.replace(' ', '-').replace(',', '')}-{next(rig.numbers)}.log"
    environment = environment_of(rig, subject, database_url, settings)
    processes: list[asyncio.subprocess.Process] = []
    try:
        for _ in range(subject.processes):
            with log_file.open("ab") as log:
                processes.append(
                    await asyncio.create_subprocess_exec(
                        *command_of(subject), env=environment, stdout=log, stderr=log, start_new_session=True
                    )
                )
        yield [process.pid for process in processes]
    finally:
        for process in processes:
            if process.returncode is None:
                process.terminate()
        for process in processes:
            try:
                await asyncio.wait_for(process.wait(), 15)
            except TimeoutError:
                process.kill()
                await process.wait()


def command_of(subject: Subject) -> tuple[str, ...]:
    if subject.variant is None:
        return (sys.executable, "-m", "consumer", "worker")
    return (str(peer_python()), str(PEERS / "faststream_handler.py"))


def environment_of(rig: Rig, subject: Subject, database_url: str, settings: dict[str, str]) -> dict[str, str]:
    artifacts = str(rig.directory / "artifacts" / (subject.variant or "ours"))
    if subject.variant is None:
        return {
            **os.environ,
            "BACKTEST_DATABASE_URL": database_url,
            "BACKTEST_KAFKA_BOOTSTRAP_SERVERS": rig.kafka,
            "BACKTEST_MARKET_DATA_URL": str(rig.market_data),
            "BACKTEST_ARTIFACTS_URL": artifacts,
            "BACKTEST_KAFKA_TOPIC_PARTITIONS": "6",
            "BACKTEST_LOG_FORMAT": "json",
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(OUR_STRATEGIES)]),
            **{f"BACKTEST_{name.upper()}": value for name, value in settings.items()},
        }
    return {
        **os.environ,
        "PEER_VARIANT": subject.variant,
        "PEER_ENGINE": subject.engine,
        "PEER_KAFKA": rig.kafka,
        "PEER_DATABASE_URL": database_url,
        "PEER_MARKET_DATA": str(rig.market_data),
        "PEER_ARTIFACTS": artifacts,
        "PEER_REQUESTED": subject.topics.requested,
        "PEER_PROGRESS": subject.topics.progress,
        "PEER_COMPLETED": subject.topics.completed,
        # As our children do: the cores are shared out by processes.
        "POLARS_MAX_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(PEERS / "entry_points")]),
    }


def peer_python() -> Path:
    """The interpreter of the peers' own environment, made from its lock at the first use."""
    python = PEER_ENVIRONMENT / "bin" / "python"
    lock = PEERS / "faststream.txt"
    made_from = PEER_ENVIRONMENT / ".made-from"
    if not made_from.exists() or made_from.read_text() != lock.read_text():
        print(f"making {PEER_ENVIRONMENT}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", PEER_ENVIRONMENT], check=True)
        uv = Path(sys.executable).with_name("uv")
        options = ("--quiet", "--compile-bytecode", "--require-hashes", "--python", str(python))
        subprocess.run([uv, "pip", "sync", *options, str(lock)], check=True, env=_uv_environment())
        made_from.write_text(lock.read_text())
    return python


def _uv_environment() -> dict[str, str]:
    """uv does not read pip's configuration; `make setup` hands the index over in the same way."""
    index = os.environ.get("PIP_INDEX_URL")
    return {**os.environ, **({"UV_DEFAULT_INDEX": index} if index else {})}
