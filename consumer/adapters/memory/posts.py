"""Requests over HTTP, in memory: what `postgres.posts` does, without a server. Implements `PostJournal`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from consumer.adapters.memory.journal import MemoryJournal, Recording, known_hashes
from consumer.adapters.memory.tables import MemoryTables
from consumer.ports import Admit, RequestToRecord
from consumer.ports.posting import PostResult, TakenRequest
from consumer.rules.posting import answers_of, emitted_hashes, unseen
from schemas.problems import FieldProblem


@dataclass(frozen=True, slots=True)
class MemoryPosts:
    """One process's view of the journal."""

    journal: MemoryJournal

    async def take(self, requests: Sequence[RequestToRecord], admit: Admit) -> PostResult:
        journal, tables = self.journal, self.journal.tables
        async with tables.transaction():
            recording = Recording(tables, journal)
            taken = taken_requests(tables, [request.request_id for request in requests])
            decisions, held = recording.decide(unseen(requests, taken), admit)
            new_runs = recording.number(decisions.accepted)
            recording.insert(new_runs, (), emitted_hashes(new_runs))
            ended = recording.end_queued([run.run_id for run in new_runs if run.cancelled is not None])
            records = [journal.writer.requested(run.request, run.run_id) for run in new_runs]
            stored = tables.store_events(records, journal.owner, journal.lease_seconds)
            return PostResult(answers_of(requests, taken, decisions, new_runs, held), (*stored, *ended))


def taken_requests(tables: MemoryTables, request_ids: Sequence[str]) -> Mapping[str, TakenRequest]:
    """By id."""
    hashes = known_hashes(tables)
    return {
        name: TakenRequest(
            hashes[name],
            row["outcome"],
            row.get("is_search", False),
            row.get("optimization_id") or row.get("run_id"),
            tuple(FieldProblem(**each) for each in row.get("problems", ())),
        )
        for name in request_ids
        if (row := tables.requests.get(name)) is not None
    }
