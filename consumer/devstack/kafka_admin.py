"""What is asked of a running Kafka broker, wherever it runs: is it ready."""

from __future__ import annotations

import asyncio
import contextlib

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

REQUEST_TIMEOUT_MILLISECONDS = 5_000


async def is_ready(bootstrap_servers: str) -> bool:
    """Whether the broker answers a metadata request and counts itself in: until then it refuses new topics."""
    if not await _accepts_connections(bootstrap_servers):
        return False  # asked first because aiokafka logs an error for each refused connection
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers, request_timeout_ms=REQUEST_TIMEOUT_MILLISECONDS)
    try:
        await admin.start()
        cluster = await admin.describe_cluster()
    except (KafkaError, OSError):
        return False
    finally:
        await admin.close()
    return bool(cluster["brokers"])


async def _accepts_connections(bootstrap_servers: str) -> bool:
    host, port = bootstrap_servers.rsplit(":", 1)
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, int(port)), timeout=1)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
