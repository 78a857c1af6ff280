"""Both stores for the behaviour suites: `store` runs a test on each, `postgres_store` only on the real one."""

from collections.abc import AsyncIterator

import pytest

from consumer.adapters.postgres.schema.migrating import migrate
from consumer.devstack import Postgres
from tests.consumer.stores import MemoryStore, PostgresStore, Store, open_postgres_store


@pytest.fixture(scope="session")
async def migrated_database(postgres: Postgres) -> AsyncIterator[str]:
    url = await postgres.new_database()
    await migrate(url)
    yield url
    await postgres.drop_database(url)


@pytest.fixture
async def postgres_store(migrated_database: str) -> AsyncIterator[PostgresStore]:
    async with open_postgres_store(migrated_database) as store:
        yield store


@pytest.fixture(params=["memory", "postgres"])
async def store(request: pytest.FixtureRequest, migrated_database: str) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
    else:
        async with open_postgres_store(migrated_database) as store:
            yield store
