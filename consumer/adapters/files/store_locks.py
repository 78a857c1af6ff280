"""Locks on names in a file store: one holder at a time, and none that outlives its holder.

In a directory the system holds the lock and drops it with the process. An object store has no such thing: there the
lock is an object that its holder renews, and one that was not renewed for minutes is taken over.
"""

import fcntl
import json
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_POLL_SECONDS = 0.1
_RENEW_SECONDS = 60.0
_STALE_SECONDS = 300.0


class Lock(Protocol):
    """A lock that is held."""

    def confirm(self) -> None:
        """Call before each write: raises TimeoutError when the lock was lost, because its holder stood still."""
        ...


@contextmanager
def directory_lock(path: Path, wait_seconds: float) -> Iterator[Lock]:
    """Hold the lock of this file; the file stays. Raises TimeoutError, when another still holds it after the wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        _wait_for(lambda: _try_flock(file.fileno()), wait_seconds, "another process works on it")
        yield _HeldByTheSystem()


@contextmanager
def object_lock(store: "ObjectStore", name: str, wait_seconds: float) -> Iterator[Lock]:
    """Hold the lock object of this name; it goes with the lock. Raises TimeoutError as `directory_lock` does."""
    lock = _LockObject(store, name)
    _wait_for(lock.try_to_take, wait_seconds, f"another process works on it; its lock is the object {name}")
    try:
        yield lock
    finally:
        lock.release()


class _HeldByTheSystem:
    def confirm(self) -> None:
        pass


class _LockObject:
    """Taken by creating it, renewed and taken over by compare-and-swap: of two who try, one succeeds."""

    def __init__(self, store: "ObjectStore", name: str) -> None:
        self._store = store
        self._name = name
        self._holder = json.dumps({"host": socket.gethostname(), "process": os.getpid()}).encode()
        self._version: dict[str, str] = {}
        self._renewed_at = 0.0

    def try_to_take(self) -> bool:
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        try:
            self._put("create")
        except AlreadyExistsError:
            with suppress(FileNotFoundError, PreconditionError):
                found = self._store.head(self._name)
                if self._store_clock() - found["last_modified"].timestamp() > _STALE_SECONDS:
                    self._put(_version(found["e_tag"], found["version"]))
                    return True
            return False
        return True

    def confirm(self) -> None:
        from obstore.exceptions import PreconditionError

        if time.monotonic() - self._renewed_at < _RENEW_SECONDS:
            return
        try:
            self._put(self._version)
        except (PreconditionError, FileNotFoundError):
            raise TimeoutError(f"this process stood still for too long, another took over ({self._name})") from None

    def release(self) -> None:
        with suppress(TimeoutError, FileNotFoundError):
            self.confirm()
            self._store.delete(self._name)

    def _put(self, mode: object) -> None:
        put = self._store.put(self._name, self._holder + b"\n" + secrets.token_hex(8).encode(), mode=mode)  # type: ignore[arg-type]  # its type is not exported
        self._version = _version(put["e_tag"], put["version"])
        self._renewed_at = time.monotonic()

    def _store_clock(self) -> float:
        """The store's time, which may differ from this machine's: that of an object written now."""
        probe = f"{self._name}.{secrets.token_hex(8)}"
        self._store.put(probe, b"")
        try:
            return self._store.head(probe)["last_modified"].timestamp()
        finally:
            self._store.delete(probe)


def _version(e_tag: str | None, version: str | None) -> dict[str, str]:
    return {name: value for name, value in (("e_tag", e_tag), ("version", version)) if value is not None}


def _wait_for(is_taken: Callable[[], bool], wait_seconds: float, refusal: str) -> None:
    deadline = time.monotonic() + wait_seconds
    while not is_taken():
        if time.monotonic() >= deadline:
            raise TimeoutError(refusal)
        time.sleep(_POLL_SECONDS)


def _try_flock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
