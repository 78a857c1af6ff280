"""The cache of Kafka's jars: complete or not there at all, whoever fetches, however often, whatever fails."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from consumer.devstack import DevStackEvent, kafka_jars
from consumer.devstack.errors import KafkaJarsError
from consumer.devstack.kafka_jars import LockedJar, fetch_kafka_jars, read_lock, sha256_of

pytestmark = pytest.mark.integration

Download = Callable[[LockedJar, Path], Path]


class Registry:
    """Hands out the jars that this machine has already, and counts; `failures` are done instead, once each."""

    def __init__(self, jars: Path) -> None:
        self._jars = jars
        self._lock = threading.Lock()
        self.downloads: list[str] = []
        self.failures: list[Download] = []

    def download(self, jar: LockedJar, repository: Path) -> Path:
        with self._lock:
            self.downloads.append(jar.file_name)
            failure = self.failures.pop() if self.failures else None
        if failure is not None:
            return failure(jar, repository)
        repository.mkdir(parents=True)
        return Path(shutil.copy(self._jars / jar.file_name, repository))


def connection_lost(jar: LockedJar, repository: Path) -> Path:
    raise ConnectionError(f"no more of {jar.file_name}")


def cut_off(jar: LockedJar, repository: Path) -> Path:
    repository.mkdir(parents=True)
    half = repository / jar.file_name
    half.write_bytes(b"half a jar")
    return half


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """A registry that hands out what lies in the user's own cache, which is filled first if need be."""
    registry = Registry(fetch_kafka_jars(lambda _: None))
    monkeypatch.setattr(kafka_jars, "_download", registry.download)
    return registry


def test_the_cache_holds_the_jars_of_the_lock_byte_for_byte(registry: Registry, tmp_path: Path) -> None:
    events: list[DevStackEvent] = []

    jars = fetch_kafka_jars(events.append, tmp_path)

    assert {path.name: sha256_of(path) for path in jars.iterdir()} == {jar.file_name: jar.sha256 for jar in read_lock()}
    assert [event.done for event in events] == list(range(len(read_lock()) + 1))
    assert all(event.total == len(read_lock()) for event in events)


def test_what_is_cached_is_not_fetched_again(registry: Registry, tmp_path: Path) -> None:
    first = fetch_kafka_jars(lambda _: None, tmp_path)
    registry.downloads.clear()

    assert fetch_kafka_jars(lambda _: None, tmp_path) == first
    assert registry.downloads == []


def test_two_who_fetch_at_once_fetch_each_jar_once(registry: Registry, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = (pool.submit(fetch_kafka_jars, lambda _: None, tmp_path) for _ in range(2))
        assert first.result() == second.result()
    assert sorted(registry.downloads) == sorted(jar.file_name for jar in read_lock())


@pytest.mark.parametrize("failure", [connection_lost, cut_off])
def test_a_download_that_fails_once_is_tried_again(registry: Registry, tmp_path: Path, failure: Download) -> None:
    registry.failures = [failure]
    jars = fetch_kafka_jars(lambda _: None, tmp_path)
    assert len(list(jars.iterdir())) == len(read_lock())


@pytest.mark.parametrize(
    ("failure", "reason"), [(connection_lost, "ConnectionError: no more of"), (cut_off, "SHA-256")]
)
def test_a_fetch_that_fails_leaves_nothing_that_counts_as_cached(
    registry: Registry, tmp_path: Path, failure: Download, reason: str
) -> None:
    registry.failures = [failure] * 1000
    with pytest.raises(KafkaJarsError, match=reason):
        fetch_kafka_jars(lambda _: None, tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.suffix == ".jar" or path.name == "jars"] == []

    registry.failures = []
    assert len(list(fetch_kafka_jars(lambda _: None, tmp_path).iterdir())) == len(read_lock())


def test_the_cache_lies_below_xdg_cache_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert kafka_jars.default_cache_directory().is_relative_to(tmp_path)
