"""Health, readiness and metrics over real HTTP."""

import asyncio
import json
import socket
import time
import urllib.error
import urllib.request
from contextlib import closing

import pytest
from prometheus_client import CollectorRegistry, Counter

from consumer.adapters.http.server import Checks, http_server
from consumer.errors import StartFailed

FINE: Checks = {"postgres": None, "kafka": None}


async def test_health_readiness_and_metrics_answer() -> None:
    registry = CollectorRegistry()
    Counter("backtest_things", "Things.", registry=registry).inc(3)
    port = free_port()
    async with http_server("127.0.0.1", port, answering(FINE), registry) as served:
        assert served == port
        assert await get(port, "/healthz") == (200, '{"status":"ok","checks":{}}')
        assert await get(port, "/readyz") == (200, '{"status":"ok","checks":{"postgres":"ok","kafka":"ok"}}')
        status, text = await get(port, "/metrics")
        assert status == 200
        assert "backtest_things_total 3.0" in text
        assert (await get(port, "/else"))[0] == 404


async def test_what_is_not_ready_is_told_with_its_reason() -> None:
    port = free_port()
    checks = {"postgres": None, "kafka": "no partitions assigned"}
    async with http_server("127.0.0.1", port, answering(checks), CollectorRegistry()):
        status, text = await get(port, "/readyz")
    assert status == 503
    assert json.loads(text)["checks"] == {"postgres": "ok", "kafka": "no partitions assigned"}


async def test_a_loop_that_ended_is_unhealthy() -> None:
    port = free_port()
    async with http_server(
        "127.0.0.1", port, answering(FINE), CollectorRegistry(), liveness=lambda: {"intake": "has ended"}
    ):
        assert (await get(port, "/healthz"))[0] == 503


async def test_readiness_that_hangs_is_answered_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.adapters.http.server.READINESS_TIMEOUT_SECONDS", 0.05)

    async def hang() -> Checks:
        await asyncio.Event().wait()
        return FINE

    port = free_port()
    async with http_server("127.0.0.1", port, hang, CollectorRegistry()):
        assert (await get(port, "/readyz"))[0] == 503


async def test_port_0_is_off() -> None:
    async with http_server("127.0.0.1", 0, answering(FINE), CollectorRegistry()) as served:
        assert served is None


async def test_an_address_that_is_taken_is_a_failed_start() -> None:
    port = free_port()
    async with http_server("127.0.0.1", port, answering(FINE), CollectorRegistry()):
        with pytest.raises(StartFailed, match=f"BACKTEST_HTTP_PORT {port}"):
            async with http_server("127.0.0.1", port, answering(FINE), CollectorRegistry()):
                pass


async def test_it_stops_at_once_though_a_client_keeps_its_connection_open() -> None:
    port = free_port()
    async with http_server("127.0.0.1", port, answering(FINE), CollectorRegistry()):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"}")
        began = time.monotonic()
    assert time.monotonic() - began < 2
    writer.close()


def answering(checks: Checks):  # type: ignore[no-untyped-def]  # the type is http_server's to say
    async def readiness() -> Checks:
        return checks

    return readiness


async def get(port: int, path: str) -> tuple[int, str]:
    def ask() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return await asyncio.to_thread(ask)


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return int(listener.getsockname()[1])
