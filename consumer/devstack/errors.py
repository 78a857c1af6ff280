"""What can go wrong while real servers are started for the demo, the tests or local work.

DevStackError                 the stack cannot be used; the message says what to do
    ServerStartError         a server ended, or was not ready in time; carries the end of its log
    KafkaJarsError      the jars could not be fetched, or are not the ones that the lock names
    DataDirectoryError     the server's account cannot reach the directory it was given
    DockerError         `containers` was asked for and no Docker engine answers
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

LOG_TAIL_LINES = 30


class DevStackError(Exception):
    """The development stack cannot be used."""


@dataclass
class ServerStartError(DevStackError):
    """A server ended before it was ready, or was not ready in time."""

    server: str
    reason: str
    log_path: Path | None
    log_text: str

    def __str__(self) -> str:
        tail = "\n".join(f"    {line}" for line in self.log_text.splitlines()[-LOG_TAIL_LINES:]) or "    (nothing)"
        where = f" ({self.log_path})" if self.log_path is not None else ""
        return f"{self.server} did not start: {self.reason}. The end of its log{where}:\n{tail}"

    @property
    def port_was_taken(self) -> bool:
        return "Address already in use" in self.log_text


@dataclass
class KafkaJarsError(DevStackError):
    """The jars of Apache Kafka could not be fetched, or differ from the lock."""

    reason: str
    directory: Path

    def __str__(self) -> str:
        return f"the jars of Apache Kafka are not to be had: {self.reason} (they are kept in {self.directory})"


@dataclass
class DataDirectoryError(DevStackError):
    """The account that Postgres runs under cannot reach its directory."""

    directory: Path
    account: str

    def __str__(self) -> str:
        return (
            f"Postgres refuses to run as root, so it runs as {self.account!r}, who cannot enter {self.directory}: "
            "choose a data directory below one that everybody may enter, such as /var/tmp"
        )


@dataclass
class DockerError(DevStackError):
    """Containers were asked for and no Docker engine answers."""

    reason: str

    def __str__(self) -> str:
        return f"no Docker engine answers, so there are no containers ({self.reason}); the embedded stack needs none"
