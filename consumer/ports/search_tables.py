"""What keeping searches takes of a database: primitive reads and writes inside one transaction. What they mean is
decided above (consumer.optimization), once for every store.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from consumer.ports.events import OutgoingEvent
from consumer.ports.intake import CancelToRecord, StrategyRow
from consumer.ports.outcomes import Completed
from consumer.ports.posting import KnownHashes, TakenRequest
from consumer.ports.queue import BeatResult
from consumer.ports.searches import LapsedShard, SearchRow, SearchToRecord, ShardClaim, ShardKey


@dataclass(frozen=True, slots=True)
class SearchRecord:
    """A row of backtest_requests for a new request. outcome: accepted, rejected, waiting."""

    request: SearchToRecord
    outcome: str
    optimization_id: int | None = None
    specification: str | None = None
    error: str | None = None
    emitted_hash: bytes | None = None
    """Of one that came over HTTP: the content hash of the record that goes out for it."""
    cancelled: bool = False
    """By a cancel that came before: the search ends at once."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A search as it is kept, locked until the transaction ends."""

    search: Mapping[str, Any]
    """Columns of backtest_searches, plan and best_params as JSON text."""
    specification: str
    """As it was admitted."""
    row_status: str | None
    """None: its row of optimization_runs is gone."""
    cancel: str | None
    """Why its end was asked for by an event."""
    now: datetime


class SearchTransaction(Protocol):
    """One transaction: all of it, or nothing. Waits for no lock for longer than half a second (StoreUnavailable)."""

    # --- requests -------------------------------------------------------------------------------------------------

    async def known_hashes(self, request_ids: Sequence[str]) -> KnownHashes: ...

    async def taken(self, request_ids: Sequence[str]) -> Mapping[str, TakenRequest]:
        """Those of the requests that are in the table, for a run or a search."""
        ...

    async def search_rows(self, ids: Sequence[int]) -> Mapping[int, SearchRow]: ...

    async def strategies(self, ids: Sequence[int]) -> tuple[Mapping[int, StrategyRow], Collection[int]]:
        """Those that exist, and of them the ones that no client outside keeps locked: they cannot go meanwhile."""
        ...

    async def next_search_ids(self, count: int) -> Sequence[int]: ...

    async def next_run_id(self) -> int: ...

    async def kept_cancels(self, ids: Sequence[int], request_ids: Sequence[str]) -> Mapping[int | str, str | None]: ...

    async def keep_cancels(self, cancels: Sequence[CancelToRecord]) -> None:
        """The first of a target counts. A number means the search that stands under it, or one that names its row
        later: never one that gets this number afterwards.
        """
        ...

    async def insert_requests(self, records: Sequence[SearchRecord]) -> bool:
        """False: another worker recorded one of them meanwhile; the transaction must not be committed."""
        ...

    async def decide_waiting(self, records: Sequence[SearchRecord]) -> None: ...

    async def waiting(self) -> Sequence[Mapping[str, Any]]:
        """Rows of kept requests whose strategy is free again or gone, locked."""
        ...

    async def insert_row(self, optimization_id: int, columns: Mapping[str, Any]) -> bool:
        """False: another service took the number by hand just now."""
        ...

    async def insert_search(
        self, optimization_id: int, request_id: str, source: str, max_workers: int | None, *, is_named: bool
    ) -> bool:
        """False: the row has a search already."""
        ...

    # --- searches and shards ----------------------------------------------------------------------------------------

    async def with_work(self, limit: int) -> Sequence[int]:
        """Open searches with a step that could be taken, those with the fewest slots at work first, then the oldest."""
        ...

    async def to_be_ended(self, limit: int) -> Sequence[int]:
        """Open searches that are cancelled by event or row, or whose row is gone."""
        ...

    async def named_by(self, cancels: Sequence[CancelToRecord]) -> Sequence[int]:
        """Open searches that these cancels name."""
        ...

    async def load(self, optimization_id: int) -> Kept | None:
        """Lock the search and read it; waits for whoever else is at it. None: there is none."""
        ...

    async def open_shards(self, optimization_id: int) -> Sequence[Mapping[str, Any]]:
        """Columns of those that are queued or running."""
        ...

    async def shard(self, key: ShardKey) -> Mapping[str, Any] | None: ...

    async def results(self, optimization_id: int) -> Sequence[Mapping[str, Any]]:
        """first, last, and file or error of every range that is done, in order."""
        ...

    async def save(self, optimization_id: int, search: Mapping[str, Any], shards: Sequence[Mapping[str, Any]]) -> None:
        """Write the search's columns, and insert or replace its shards."""
        ...

    async def trials_before(self, optimization_id: int) -> int: ...

    # --- the shared rows ------------------------------------------------------------------------------------------

    async def show(self, optimization_id: int, columns: Mapping[str, Any]) -> None:
        """Write columns into the row of optimization_runs, unless it is gone or a client keeps it locked."""
        ...

    async def lock_row(self, optimization_id: int) -> str | None:
        """Lock the row and return its status, None where it is gone. Before `load`: one order in every transaction."""
        ...

    async def write_row(self, optimization_id: int, columns: Mapping[str, Any]) -> None:
        """Write columns into a row that is locked."""
        ...

    async def insert_best_run(self, run_id: int, columns: Mapping[str, Any], outcome: Completed) -> None:
        """A completed row of backtest_runs, with its trades and what it printed."""
        ...

    # --- events -----------------------------------------------------------------------------------------------------

    async def take_over(self, optimization_id: int) -> Sequence[OutgoingEvent]:
        """Make this worker the one who relays all unsent events of the search, its progress aside, which goes."""
        ...

    async def store_events(self, events: Iterable[OutgoingEvent]) -> Sequence[OutgoingEvent]: ...


class SearchTables(Protocol):
    """A database that keeps searches."""

    def transaction(self) -> AbstractAsyncContextManager[SearchTransaction]: ...

    async def count_with_work(self) -> int: ...

    async def lapsed(self) -> frozenset[LapsedShard]: ...

    async def beat(self, claims: Sequence[ShardClaim]) -> Mapping[ShardKey, BeatResult]:
        """Extend the leases of those that are still theirs, and look for cancels; one statement each."""
        ...

    async def look(self, claims: Sequence[ShardClaim]) -> Mapping[ShardKey, BeatResult]: ...

    async def give_back(self, claim: ShardClaim) -> bool: ...

    async def forget_unknown(self, known: Collection[ShardKey]) -> int: ...
