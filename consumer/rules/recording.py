"""What becomes of a batch of requests and cancels: pure functions, so that a store only reads what they ask for and
writes the answer. In the order in which a store calls them, within one transaction.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from consumer.ports import (
    Admit,
    Admitted,
    CancelToRecord,
    EventWriter,
    OutgoingEvent,
    Record,
    Refused,
    RequestToRecord,
    RunRow,
    StrategyCheck,
    StrategyRow,
    Unchecked,
)
from consumer.ports.outcomes import RecordOutcome
from consumer.ports.posting import KnownHashes
from consumer.rules.endings import cancel_reason, facts_of, stored_specification
from consumer.rules.ownership import Standing
from schemas.cancelled import REASON_REQUESTED
from schemas.dead_letter import DeadLetterReason
from schemas.problems import FieldProblem
from schemas.requested import parse_requested


@dataclass(frozen=True, slots=True)
class Repeats:
    """A batch's requests, by whether their ids were seen before, in the tables or earlier in the batch."""

    unseen: tuple[RequestToRecord, ...]
    duplicates: tuple[RequestToRecord, ...]
    conflicts: tuple[RequestToRecord, ...]
    """Same id, other content."""


def sort_out_repeats(requests: Iterable[RequestToRecord], known: KnownHashes) -> Repeats:
    """known: of those among the requests that are in the table. The first one counts."""
    hashes = dict(known)
    unseen, duplicates, conflicts = [], [], []
    for request in requests:
        first = hashes.get(request.request_id)
        if first is None:
            hashes[request.request_id] = (request.content_hash,)
            unseen.append(request)
        elif request.content_hash in first:
            duplicates.append(request)
        else:
            conflicts.append(request)
    return Repeats(tuple(unseen), tuple(duplicates), tuple(conflicts))


def named_runs(requests: Iterable[RequestToRecord]) -> list[int]:
    """The rows of backtest_runs that deciding these requests takes."""
    return sorted({request.request.run_id for request in requests if request.request.run_id})


def named_strategies(requests: Iterable[RequestToRecord], runs: Mapping[int, RunRow]) -> list[int]:
    """The rows of strategies that deciding these requests takes, once the runs that they name are read."""
    ids = {request.request.strategy_id for request in requests if request.request.strategy_id}
    return sorted(ids | {run.strategy_id for run in runs.values()})


@dataclass(frozen=True, slots=True)
class Accepted:
    """A request that was admitted. row: of the run that it names; None: a row is made."""

    request: RequestToRecord
    admitted: Admitted
    row: RunRow | None


@dataclass(frozen=True, slots=True)
class Rejected:
    """A request that was refused, and why."""

    request: RequestToRecord
    problems: tuple[FieldProblem, ...]


PutOff = tuple[RequestToRecord, StrategyCheck]
"""A request that is left out of its batch until its strategy's code was asked."""


@dataclass(frozen=True, slots=True)
class Decisions:
    """On new requests, in their order."""

    accepted: tuple[Accepted, ...]
    rejected: tuple[Rejected, ...]
    unchecked: tuple[PutOff, ...]


def decide_all(
    requests: Iterable[RequestToRecord],
    runs: Mapping[int, RunRow],
    strategies: Mapping[int, StrategyRow],
    admit: Admit,
) -> Decisions:
    """Decide requests against the rows they name. Of two that name the same run the first one has it."""
    accepted, rejected, unchecked = [], [], []
    rows = dict(runs)
    for request in requests:
        asked = request.request
        row = rows.get(asked.run_id) if asked.run_id is not None else None
        strategy_id = row.strategy_id if row is not None else asked.strategy_id
        strategy = strategies.get(strategy_id) if strategy_id is not None else None
        match admit(asked, strategy, row, request.problems):
            case Admitted() as admitted:
                accepted.append(Accepted(request, admitted, row))
                if row is not None:
                    rows[row.id] = replace(row, has_execution=True)
            case Refused(problems):
                rejected.append(Rejected(request, problems))
            case Unchecked(check):
                unchecked.append((request, check))
    return Decisions(tuple(accepted), tuple(rejected), tuple(unchecked))


def put_off(unchecked: Sequence[PutOff], repeats: Repeats) -> tuple[tuple[PutOff, ...], Repeats]:
    """What is left out of the batch: the unchecked, and behind them whatever repeats one of them. The other repeats.

    Of a request that is not durable nothing can be a duplicate or a conflict.
    """
    if not unchecked:
        return (), repeats
    checks = {request.request_id: check for request, check in unchecked}
    behind = [request for request in (*repeats.duplicates, *repeats.conflicts) if request.request_id in checks]
    return (*unchecked, *((request, checks[request.request_id]) for request in behind)), Repeats(
        repeats.unseen,
        tuple(request for request in repeats.duplicates if request.request_id not in checks),
        tuple(request for request in repeats.conflicts if request.request_id not in checks),
    )


def hold_back(
    accepted: Iterable[Accepted], locked: Collection[int]
) -> tuple[tuple[Accepted, ...], tuple[RequestToRecord, ...]]:
    """Those that can become runs now, and those that have to wait: for a new row its strategy must be ours to lock."""
    going_on, waiting = [], []
    for each in accepted:
        if each.row is not None or each.admitted.columns["strategy_id"] in locked:
            going_on.append(each)
        else:
            waiting.append(each.request)
    return tuple(going_on), tuple(waiting)


def waiting_request(row: Mapping[str, Any]) -> RequestToRecord:
    """A kept request as it was, from its columns in backtest_requests; its record's bytes are not needed any more."""
    data = json.loads(row["data"])
    return RequestToRecord(
        request_id=row["request_id"],
        content_hash=row["content_hash"],
        record=Record(row["topic"], row["partition"], row["kafka_offset"], None, None),
        source=row["source"],
        data=row["data"],
        given=data,
        request=parse_requested(data),
    )


KeptCancels = Mapping[int | str, str | None]
"""Run id or request id -> reason."""


@dataclass(frozen=True, slots=True)
class NewRun:
    """The run that an accepted request becomes."""

    request: RequestToRecord
    admitted: Admitted
    run_id: int
    is_new_row: bool
    cancelled: str | None
    """Why the run ends before it starts; None: it is queued."""

    @property
    def specification(self) -> str:
        """As it is stored with the request."""
        admitted = self.admitted
        return stored_specification(
            admitted.columns["strategy_id"], admitted.specification, llm_replay=admitted.llm_replay
        )

    @property
    def standing(self) -> Standing:
        """Of its execution, which is queued."""
        facts, _ = facts_of(self.run_id, self.request.request_id, self.specification)
        return Standing(facts, "queued", 0, 0, 0, 0, 0, self.cancelled)


def number(accepted: Iterable[Accepted], ids: Iterable[int], cancels: KeptCancels) -> tuple[NewRun, ...]:
    """Give each accepted request its run, and find out which were cancelled before they came.

    ids: for new rows, as many as there are. cancels: those that name a request or a run of these.
    """
    free = iter(ids)
    return tuple(
        NewRun(
            each.request,
            each.admitted,
            each.row.id if each.row is not None else next(free),
            each.row is None,
            _cancelled_before(each, cancels),
        )
        for each in accepted
    )


def _cancelled_before(accepted: Accepted, cancels: KeptCancels) -> str | None:
    """A cancel by run id counts for the run that a request names, never for one that is numbered here."""
    targets: list[int | str] = [accepted.request.request_id]
    if accepted.row is not None:
        targets.append(accepted.row.id)
    noted = next((cancels[target] or REASON_REQUESTED for target in targets if target in cancels), None)
    return cancel_reason(accepted.row.status if accepted.row is not None else "pending", noted)


def of_known_runs(cancels: Sequence[CancelToRecord], new_runs: Iterable[NewRun]) -> list[CancelToRecord]:
    """Those that may be for a run that is there. By run id no run is meant that got its number in this batch."""
    numbered = {run.run_id for run in new_runs if run.is_new_row}
    return [cancel for cancel in cancels if cancel.run_id not in numbered]


@dataclass(frozen=True, slots=True)
class SourceTurns:
    """Turns in the queue: head, its smallest one; last, the greatest of one source. None: nothing is queued."""

    head: int | None
    last: int | None


def place(new_runs: Iterable[NewRun], turns: Mapping[str, SourceTurns]) -> list[int]:
    """The turn of each run, by its source: behind its own last one, level with the head of the queue at least.

    So ten thousand queued runs of one source are passed by the first of another (start-time fair queueing); with
    a single source turns just rise, which is first in, first out.
    """
    following = {source: max(at.head or 1, (at.last or 0) + 1) for source, at in turns.items()}
    placed = []
    for run in new_runs:
        placed.append(following[run.request.source])
        following[run.request.source] += 1
    return placed


@dataclass(frozen=True, slots=True)
class Recorded:
    """A batch, as it was recorded."""

    cancels: Sequence[CancelToRecord]
    dead_letters: Sequence[OutgoingEvent]
    repeats: Repeats
    rejected: Sequence[Rejected]
    new_runs: Sequence[NewRun]
    waiting: Sequence[RequestToRecord] = ()

    def outcomes(self) -> dict[str, int]:
        """How many records came to which outcome; those that none came to are left out."""
        counts = {
            RecordOutcome.ACCEPTED: len(self.new_runs),
            RecordOutcome.REJECTED: len(self.rejected),
            RecordOutcome.WAITING: len(self.waiting),
            RecordOutcome.DUPLICATE: len(self.repeats.duplicates),
            RecordOutcome.DEAD_LETTERED: len(self.dead_letters) + len(self.repeats.conflicts),
            RecordOutcome.CANCEL_KEPT: len(self.cancels),
        }
        return {outcome.value: count for outcome, count in counts.items() if count}

    def events(self, writer: EventWriter) -> list[OutgoingEvent]:
        """What is stored with the batch, runs' own events aside."""
        conflicts = [
            writer.dead_letter(
                request.record,
                DeadLetterReason.CONFLICT,
                f"request_id {request.request_id!r} was used before, with other content",
            )
            for request in self.repeats.conflicts
        ]
        rejections = [writer.rejected(each.request, each.problems) for each in self.rejected]
        return [*self.dead_letters, *conflicts, *rejections]
