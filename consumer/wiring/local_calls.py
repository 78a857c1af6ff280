"""The database's ledger of calls to language models, for a run of this process that no worker knows of."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from consumer.adapters.files.model_messages import MessageFiles
from consumer.adapters.language_models.ledger_file import LocalRun
from consumer.adapters.postgres.llm_calls import PostgresCalls
from consumer.adapters.postgres.pool import open_pool
from consumer.settings import DatabaseSettings, StoreSettings, load_settings

_CONNECTIONS = 4
_LARGEST_NUMBER = 2**31 - 1


@dataclass(frozen=True, slots=True)
class LocalCalls(PostgresCalls):
    """A ledger whose runs have numbers below zero. artifacts: keeps what was asked; None: nothing does."""

    artifacts: MessageFiles | None = field(default=None, kw_only=True)

    def begin_run(self, specification: str) -> LocalRun:
        """A new run: nobody knows of one that was broken off, whose answers are there all the same."""
        return LocalRun(-1 - secrets.randbelow(_LARGEST_NUMBER), 1)

    def end_run(self, run_id: int) -> None:
        """Nothing is kept of runs but their calls."""

    def save_messages(self, key: str, document: bytes) -> str:
        return "" if self.artifacts is None else self.artifacts.save_messages(key, document)


@asynccontextmanager
async def open_local_calls(settings: DatabaseSettings) -> AsyncIterator[LocalCalls]:
    """Raises StoreUnavailable when it is first asked."""
    stores = load_settings(StoreSettings)
    artifacts = MessageFiles(stores.artifacts_url) if "artifacts_url" in stores.model_fields_set else None
    url = settings.database_url.get_secret_value()
    async with open_pool(url, max_connections=_CONNECTIONS, name="backtest run") as pool:
        yield LocalCalls(pool, needs_claim=False, artifacts=artifacts)
