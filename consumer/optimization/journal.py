"""Records requests for searches and their cancels, each batch in one transaction. Implements `SearchJournal`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from consumer.optimization.keeper import SearchKeeper
from consumer.ports import CancelToRecord, IntakeResult, OutgoingEvent
from consumer.ports.event_writer import EventWriter
from consumer.ports.outcomes import RecordOutcome
from consumer.ports.posting import KnownHashes
from consumer.ports.search_tables import SearchRecord, SearchTables, SearchTransaction
from consumer.ports.searches import AdmitSearch, SearchAdmitted, SearchRow, SearchToRecord
from consumer.rules.search_events import SearchEventRenderer
from consumer.rules.search_recording import (
    SortedOut,
    cancelled_before,
    named_rows,
    named_strategies,
    sort_out,
    waiting_search,
)
from consumer.rules.search_specification import stored_search
from schemas.json_text import storable
from schemas.problems import FieldProblem


@dataclass(frozen=True, slots=True)
class SearchRecorder:
    """letters: renders dead letters, which searches share with runs."""

    tables: SearchTables
    keeper: SearchKeeper
    writer: SearchEventRenderer
    letters: EventWriter

    async def record_searches(self, searches: Sequence[SearchToRecord], admit: AdmitSearch) -> IntakeResult:
        while True:
            try:
                async with self.tables.transaction() as at:
                    known = await at.known_hashes([each.request_id for each in searches])
                    out = await decide(at, searches, known, admit)
                    records = await insert(at, out)
                    unless_raced(await at.insert_requests(records))
                    events = await at.store_events(out.events(self.writer, self.letters))
                break
            except Raced:
                continue  # another worker recorded one of these meanwhile: now it is a duplicate or a conflict
        return await self._result(out, records, events)

    async def record_waiting(self, admit: AdmitSearch) -> IntakeResult:
        while True:
            try:
                async with self.tables.transaction() as at:
                    requests = [waiting_search(row) for row in await at.waiting()]
                    if not requests:
                        return IntakeResult({})
                    out = await decide(at, requests, {}, admit)
                    records = [each for each in await insert(at, out) if each.outcome != RecordOutcome.WAITING]
                    await at.decide_waiting(records)
                    events = await at.store_events(out.events(self.writer, self.letters))
                break
            except Raced:
                continue
        return await self._result(out, records, events)

    async def keep_cancels(self, cancels: Sequence[CancelToRecord]) -> IntakeResult:
        async with self.tables.transaction() as at:
            await at.keep_cancels(cancels)
            named = await at.named_by(cancels)
        outcomes = {RecordOutcome.CANCEL_KEPT.value: len(cancels)}
        return IntakeResult(outcomes, await self.end_cancelled(named))

    async def _result(
        self, out: SortedOut, records: Sequence[SearchRecord], events: Sequence[OutgoingEvent]
    ) -> IntakeResult:
        new = tuple(each.optimization_id for each in records if each.outcome == "accepted" and each.optimization_id)
        cancelled = [each.optimization_id for each in records if each.cancelled and each.optimization_id is not None]
        ended = await self.end_cancelled(cancelled)
        return IntakeResult(out.outcomes(), (*events, *ended), new, out.unchecked)

    async def end_cancelled(self, ids: Sequence[int]) -> tuple[OutgoingEvent, ...]:
        """Here and now; where that fails the sweep does it."""
        events: list[OutgoingEvent] = []
        for optimization_id in ids:
            events += (await self.keeper.end_if_cancelled(optimization_id)).events
        return tuple(events)


class Raced(Exception):
    """A request id, a row's search or the number of a new row was taken between our look and our insert."""


async def decide(
    at: SearchTransaction, requests: Sequence[SearchToRecord], known: KnownHashes, admit: AdmitSearch
) -> SortedOut:
    rows = await at.search_rows(named_rows(requests))
    strategies, locked = await at.strategies(named_strategies(requests, rows))
    return sort_out(requests, known, rows, strategies, locked, admit)


async def insert(at: SearchTransaction, out: SortedOut) -> list[SearchRecord]:
    """Rows and searches of what was accepted; the requests to be written with them."""
    ids = iter(await at.next_search_ids(sum(row is None for _, _, row in out.accepted)))
    cancels = await at.kept_cancels(
        [row.id for _, _, row in out.accepted if row is not None],
        [request.request_id for request, _, _ in out.accepted],
    )
    records = []
    for request, admitted, row in out.accepted:
        number = row.id if row is not None else next(ids)
        await _insert_search(at, request, admitted, row, number)
        is_cancelled = cancelled_before(request, row, cancels) is not None
        specification = stored_search(admitted.specification)
        records.append(SearchRecord(request, "accepted", number, specification, cancelled=is_cancelled))
    records += [
        SearchRecord(request, "rejected", request.request.optimization_id, error=_error_json(problems))
        for request, problems in out.rejected
    ]
    records += [SearchRecord(request, "waiting") for request in out.waiting]
    return records


async def _insert_search(
    at: SearchTransaction, request: SearchToRecord, admitted: SearchAdmitted, row: SearchRow | None, number: int
) -> None:
    if row is None:
        unless_raced(await at.insert_row(number, admitted.columns))
    made = await at.insert_search(
        number, request.request_id, request.source, admitted.columns["max_workers"], is_named=row is not None
    )
    unless_raced(made)


def unless_raced(made: bool) -> None:
    if not made:
        raise Raced


def _error_json(problems: Sequence[FieldProblem]) -> str:
    return storable(json.dumps([[problem.field, problem.code, problem.message] for problem in problems]))
