"""What becomes of a batch of requests for searches: pure functions, as `rules.recording` has them for runs."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from consumer.ports import OutgoingEvent, Record, StrategyCheck, StrategyRow
from consumer.ports.event_writer import EventWriter
from consumer.ports.outcomes import RecordOutcome
from consumer.ports.posting import KnownHashes
from consumer.ports.searches import (
    AdmitSearch,
    SearchAdmitted,
    SearchRefused,
    SearchRow,
    SearchToRecord,
    SearchUnchecked,
)
from consumer.rules.endings import cancel_reason
from consumer.rules.search_events import SearchEventRenderer
from schemas.cancelled import REASON_REQUESTED
from schemas.dead_letter import DeadLetterReason
from schemas.optimization_requested import parse_optimization_requested
from schemas.problems import FieldProblem


@dataclass(frozen=True, slots=True)
class SortedOut:
    """A batch's requests, by whether their ids were seen before, and what is decided of the new ones."""

    accepted: tuple[tuple[SearchToRecord, SearchAdmitted, SearchRow | None], ...] = ()
    rejected: tuple[tuple[SearchToRecord, tuple[FieldProblem, ...]], ...] = ()
    waiting: tuple[SearchToRecord, ...] = ()
    unchecked: tuple[tuple[SearchToRecord, StrategyCheck], ...] = ()
    duplicates: tuple[SearchToRecord, ...] = ()
    conflicts: tuple[SearchToRecord, ...] = ()

    def outcomes(self) -> dict[str, int]:
        """How many records came to which outcome; those that none came to are left out."""
        counts = {
            RecordOutcome.ACCEPTED: len(self.accepted),
            RecordOutcome.REJECTED: len(self.rejected),
            RecordOutcome.WAITING: len(self.waiting),
            RecordOutcome.DUPLICATE: len(self.duplicates),
            RecordOutcome.DEAD_LETTERED: len(self.conflicts),
        }
        return {outcome.value: count for outcome, count in counts.items() if count}

    def events(self, writer: SearchEventRenderer, letters: EventWriter) -> list[OutgoingEvent]:
        conflicts = [
            letters.dead_letter(
                request.record,
                DeadLetterReason.CONFLICT,
                f"request_id {request.request_id!r} was used before, with other content",
            )
            for request in self.conflicts
        ]
        return [*conflicts, *(writer.rejected(request, problems) for request, problems in self.rejected)]


def named_rows(requests: Iterable[SearchToRecord]) -> list[int]:
    """The rows of optimization_runs that deciding these requests takes."""
    return sorted({each.request.optimization_id for each in requests if each.request.optimization_id})


def named_strategies(requests: Iterable[SearchToRecord], rows: Mapping[int, SearchRow]) -> list[int]:
    """The rows of strategies, once the rows that the requests name are read."""
    ids = {each.request.strategy_id for each in requests if each.request.strategy_id}
    return sorted(ids | {row.columns["strategy_id"] for row in rows.values()})


def sort_out(
    requests: Sequence[SearchToRecord],
    known: KnownHashes,
    rows: Mapping[int, SearchRow],
    strategies: Mapping[int, StrategyRow],
    locked: Collection[int],
    admit: AdmitSearch,
) -> SortedOut:
    """Decide requests against what is kept. The first of an id counts, and the first of a row.

    known: of those that are in the table. locked: strategies that cannot go meanwhile.
    """
    hashes = dict(known)
    unchecked_ids: dict[str, StrategyCheck] = {}
    rows = dict(rows)
    out = SortedOut()
    for request in requests:
        name = request.request_id
        if name in unchecked_ids:  # nothing of it is durable, so that nothing can be its duplicate
            out = replace(out, unchecked=(*out.unchecked, (request, unchecked_ids[name])))
            continue
        if (first := hashes.get(name)) is not None:
            if request.content_hash in first:
                out = replace(out, duplicates=(*out.duplicates, request))
            else:
                out = replace(out, conflicts=(*out.conflicts, request))
            continue
        asked = request.request
        row = rows.get(asked.optimization_id) if asked.optimization_id is not None else None
        strategy_id = row.columns["strategy_id"] if row is not None else asked.strategy_id
        strategy = strategies.get(strategy_id) if strategy_id is not None else None
        match admit(asked, strategy, row, request.problems):
            case SearchUnchecked(check):
                unchecked_ids[name] = check
                out = replace(out, unchecked=(*out.unchecked, (request, check)))
                continue
            case SearchRefused(problems):
                out = replace(out, rejected=(*out.rejected, (request, problems)))
            case SearchAdmitted() as admitted:
                if row is not None:
                    rows[row.id] = replace(row, has_search=True)
                if row is None and admitted.columns["strategy_id"] not in locked:
                    out = replace(out, waiting=(*out.waiting, request))
                else:
                    out = replace(out, accepted=(*out.accepted, (request, admitted, row)))
        hashes[name] = (request.content_hash,)
    return out


def cancelled_before(
    request: SearchToRecord, row: SearchRow | None, cancels: Mapping[int | str, str | None]
) -> str | None:
    """Why a new search is over already: a cancel by number counts for the row that a request names only."""
    targets: list[int | str] = [request.request_id]
    if row is not None:
        targets.append(row.id)
    noted = next((cancels[target] or REASON_REQUESTED for target in targets if target in cancels), None)
    return cancel_reason(row.status if row is not None else "pending", noted)


def waiting_search(row: Mapping[str, Any]) -> SearchToRecord:
    """A kept request as it was, from its columns in backtest_requests."""
    data = json.loads(row["data"])
    return SearchToRecord(
        request_id=row["request_id"],
        content_hash=row["content_hash"],
        record=Record(row["topic"], row["partition"], row["kafka_offset"], None, None),
        source=row["source"],
        data=row["data"],
        given=data,
        request=parse_optimization_requested(data),
    )
