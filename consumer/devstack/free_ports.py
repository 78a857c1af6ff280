"""Free TCP ports on 127.0.0.1 that stay free while their server is down."""

from __future__ import annotations

import random
import socket
from pathlib import Path

LOWEST_PORT = 15_000
PORT_RANGE_FILE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_ports(count: int) -> list[int]:
    """Return `count` different ports that nobody listens on now.

    They lie below the range that the system gives to outgoing connections. In that range a client that reconnects to
    a server which is being restarted may be given the server's own port, be connected to itself, and keep the server
    from coming back. Another program may still take a port before its server does: start again with another one then.
    """
    highest = _first_ephemeral_port() - 1
    chosen: list[int] = []
    while len(chosen) < count:
        port = random.randint(LOWEST_PORT, highest)
        if port not in chosen and _is_free(port):
            chosen.append(port)
    return chosen


def _first_ephemeral_port() -> int:
    try:
        first = int(PORT_RANGE_FILE.read_text().split()[0])
    except (OSError, ValueError):
        return 32_768
    return first if first > LOWEST_PORT + 1_000 else 65_536  # a range as wide as that leaves nothing below it


def _is_free(port: int) -> bool:
    with socket.socket() as candidate:
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port_near(wanted: int) -> int:
    """That port where nobody listens on it, else any free one."""
    return wanted if _is_free(wanted) else free_ports(1)[0]
