"""Requests over HTTP in Postgres: with their run in one transaction, or not at all. Implements `PostJournal`."""

from collections.abc import Sequence
from dataclasses import dataclass

from consumer.adapters.postgres.endings import EventOwner, store_events
from consumer.adapters.postgres.journal import Raced, Recording
from consumer.adapters.postgres.pool import Pool, transaction
from consumer.adapters.postgres.taken_requests import taken_requests
from consumer.errors import StoreBusy
from consumer.ports import Admit, EventWriter, RequestToRecord
from consumer.ports.posting import PostResult
from consumer.rules.posting import answers_of, emitted_hashes, unseen


@dataclass(frozen=True, slots=True)
class PostgresPosts:
    """Concurrent processes may take the same requests, the first commit wins."""

    pool: Pool
    writer: EventWriter
    owner: EventOwner

    async def take(self, requests: Sequence[RequestToRecord], admit: Admit) -> PostResult:
        while True:
            try:
                async with transaction(self.pool) as connection:
                    return await self._take(Recording(connection, self.writer, self.owner), requests, admit)
            except (Raced, StoreBusy):
                continue  # another process takes one of these ids just now; who asks bounds the time

    async def _take(self, recording: Recording, requests: Sequence[RequestToRecord], admit: Admit) -> PostResult:
        taken = await taken_requests(recording.connection, [request.request_id for request in requests])
        decisions, held = await recording.decide(unseen(requests, taken), admit)
        new_runs = await recording.number(decisions.accepted)
        await recording.insert_requests(new_runs, (), (), emitted_hashes(new_runs))
        await recording.insert_runs(new_runs)
        await recording.insert_executions(new_runs)
        ended = await recording.end_queued([run.standing for run in new_runs if run.cancelled is not None])
        records = [self.writer.requested(run.request, run.run_id) for run in new_runs]
        stored = await store_events(recording.connection, records, self.owner)
        return PostResult(answers_of(requests, taken, decisions, new_runs, held), (*stored, *ended))
