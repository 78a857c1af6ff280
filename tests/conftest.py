"""Servers that tests share, started when the first test asks for them: real Postgres, real Kafka.

Each test gets a database and topic names of its own, so tests do not see each other. A test that stops, kills or
pauses a server starts a stack for itself (`async with devstack() as stack`): it takes about a second.

Hypothesis has no deadline: the first call of a compiled function may compile it, and a busy machine is no fault.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

import pytest
from hypothesis import settings

from consumer.devstack import DevStackError, Kafka, Postgres, StackKind, check_containers, devstack

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--stack",
        choices=("embedded", "containers"),
        default="embedded",
        help="where Postgres and Kafka run: processes of ours, with nothing else on the machine, or containers",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--stack") == "containers":
        try:
            check_containers()
        except DevStackError as error:
            raise pytest.UsageError(f"--stack=containers: {error}") from error


@pytest.fixture(scope="session")
def stack_kind(pytestconfig: pytest.Config) -> StackKind:
    return "containers" if pytestconfig.getoption("--stack") == "containers" else "embedded"


@pytest.fixture(scope="session")
async def postgres(stack_kind: StackKind) -> AsyncIterator[Postgres]:
    """The Postgres server of all tests. Do not stop it."""
    async with devstack(kafka=False, stack=stack_kind) as stack:
        yield stack.postgres


@pytest.fixture(scope="session")
async def kafka(stack_kind: StackKind) -> AsyncIterator[Kafka]:
    """The Kafka broker of all tests. Do not stop it."""
    async with devstack(postgres=False, stack=stack_kind) as stack:
        yield stack.kafka


@pytest.fixture
async def database_url(postgres: Postgres) -> AsyncIterator[str]:
    """An empty database of this test alone: `postgresql+asyncpg://...`."""
    url = await postgres.new_database()
    yield url
    await postgres.drop_database(url)


@pytest.fixture(scope="session")
def kafka_bootstrap_servers(kafka: Kafka) -> str:
    return kafka.bootstrap_servers


@pytest.fixture
def topic_prefix() -> str:
    """The beginning of topic, group and client names that no other test uses."""
    return f"test-{secrets.token_hex(5)}."
