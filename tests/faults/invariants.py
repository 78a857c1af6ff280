"""The invariants of docs/guarantees.md that one look at one system can judge; checker.py calls them all.

Each is a function of the evidence that yields what breaks it, and its name is the finding's.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from math import fsum, isclose
from typing import Any

from schemas.topics import Topic
from tests.faults.evidence import Event, Evidence, Place, Row, Trades
from tests.faults.input_records import Kept, Poison, Wanted, place_of, read_input

LIVE_STATES = frozenset({"queued", "pending", "running"})
TERMINAL_KINDS = frozenset({"completed", "failed", "cancelled"})
METRIC_COLUMNS = (
    "total_trades", "win_rate", "profit_factor", "expectancy", "max_drawdown_pct", "recovery_factor", "sharpe_ratio",
    "sortino_ratio", "total_return_pct", "avg_win", "avg_loss", "max_consec_wins", "max_consec_losses", "avg_spread",
)  # fmt: skip
SUM_TOLERANCE = 1e-6
NO_TRADES = Trades((), 0.0)

Invariant = Callable[[Evidence], Iterator[str]]

# --- at every moment ------------------------------------------------------------------------------------------------


def committed_offsets_are_durable(evidence: Evidence) -> Iterator[str]:
    """Every input record below the group's committed offset is durable: in a table, or in the dead-letter topic."""
    durable = _Durable.of(evidence)
    for record in evidence.inputs:
        committed = evidence.committed.get((record.topic, record.partition), 0)
        if record.offset < committed and (missing := durable.missing(read_input(record))):
            yield f"{place_of(record)} is below the committed {committed}, and {missing}"


def every_event_has_one_content(evidence: Evidence) -> Iterator[str]:
    """However often an event is delivered, and on whichever topic: the same id, the same bytes, the same key."""
    seen: dict[str, tuple[bytes | None, bytes | None]] = {}
    for topic in (Topic.PROGRESS, Topic.COMPLETED):
        for event in evidence.events(topic):
            content = (event.record.key, event.record.value)
            if seen.setdefault(event.id, content) != content:
                yield f"event {event.id} appears with two contents"


def sequence_rises(evidence: Evidence) -> Iterator[str]:
    """On backtest.progress no started or terminal event first appears after one of higher sequence.

    A progress event that a newer one replaced may arrive late; whoever drops what is not above the last sequence seen
    never notices. Two events of a run never share a sequence.
    """
    for run_id, events in evidence.events_by_run(Topic.PROGRESS).items():
        highest = 0
        by_sequence: dict[int, str] = {}
        for event in first_appearances(events):
            if by_sequence.setdefault(event.sequence, event.id) != event.id:
                yield f"run {run_id}: events {by_sequence[event.sequence]} and {event.id} share a sequence"
            if event.sequence < highest and event.kind != "progress":
                yield f"run {run_id}: {event.kind} {event.id} first appears after sequence {highest}"
            highest = max(highest, event.sequence)


def attempts_never_fall(evidence: Evidence) -> Iterator[str]:
    """By sequence, a run's attempt never falls, and its progress_pct never falls within an attempt."""
    for run_id, events in evidence.events_by_run(Topic.PROGRESS).items():
        attempt, progress = 0, 0
        for event in sorted(events, key=lambda event: event.sequence):
            now, percent = event.data["attempt"], event.data["progress_pct"]
            if now < attempt:
                yield f"run {run_id}: {event.id} of attempt {now} comes after one of attempt {attempt}"
            if now == attempt and percent < progress:
                yield f"run {run_id}: {event.id} says {percent} % after {progress} % in attempt {now}"
            attempt, progress = max(now, attempt), percent if now != attempt else max(percent, progress)


def a_request_has_one_run(evidence: Evidence) -> Iterator[str]:
    """Duplicates, redeliveries and races start nothing: one execution for each accepted request, and no other."""
    executions = Counter(row["request_id"] for row in evidence.executions.values())
    for request_id, count in executions.items():
        if count > 1:
            yield f"request {request_id!r} was given {count} runs"
        if request_id not in evidence.accepted:
            yield f"a run was made for {request_id!r}, which is no accepted request"
    for request_id, row in evidence.accepted.items():
        if row["run_id"] not in evidence.executions:
            yield f"request {request_id!r} was accepted as run {row['run_id']}, which is nowhere queued"


# --- at rest --------------------------------------------------------------------------------------------------------


def no_record_is_lost(evidence: Evidence) -> Iterator[str]:
    """Every input record is in a table, or in the dead-letter topic."""
    durable = _Durable.of(evidence)
    for record in evidence.inputs:
        if missing := durable.missing(read_input(record)):
            yield f"{place_of(record)}: {missing}"


def nothing_is_left_undone(evidence: Evidence) -> Iterator[str]:
    """Nothing is pending or running, nothing waits to be sent, all that was read is committed."""
    for run_id, execution in evidence.executions.items():
        row = evidence.runs.get(run_id)
        if execution["state"] in LIVE_STATES or (row is not None and row["status"] in LIVE_STATES):
            yield f"run {run_id} is {execution['state']}, its row {row['status'] if row else 'gone'}"
    for request_id, request in evidence.requests.items():
        if request["outcome"] == "waiting":
            yield f"request {request_id!r} is not decided"
    for row in evidence.outbox:
        yield f"event {row['event_id']} ({row['kind']}) was never sent"
    ends: dict[tuple[str, int], int] = {}
    for record in evidence.inputs:
        ends[record.topic, record.partition] = record.offset + 1
    for place, end in ends.items():
        if evidence.committed.get(place, 0) < end:  # behind it aborted transactions may stand
            yield f"{place[0]}/{place[1]} ends at {end}, committed is {evidence.committed.get(place)}"


def one_terminal_row(evidence: Evidence) -> Iterator[str]:
    """Each accepted request has one terminal row, which says what its execution says; a deleted row ends cancelled."""
    for request_id, request in evidence.accepted.items():
        execution, row = evidence.executions.get(request["run_id"]), evidence.runs.get(request["run_id"])
        if execution is None:
            continue  # a_request_has_one_run tells
        state = execution["state"]
        if row is None and state != "cancelled":
            yield f"request {request_id!r}: run {request['run_id']} is {state} and has no row"
        elif row is not None and row["status"] != state:
            yield f"request {request_id!r}: run {request['run_id']} is {state}, its row {row['status']}"


def one_terminal_event(evidence: Evidence) -> Iterator[str]:
    """Each accepted request has one distinct terminal event, the same on both topics; a rejected one its rejection."""
    on_completed = _terminal_events(evidence, Topic.COMPLETED)
    on_progress = _terminal_events(evidence, Topic.PROGRESS)
    for request_id, request in evidence.requests.items():
        key: int | str = request["run_id"] if request["outcome"] == "accepted" else request_id
        found = on_completed.get(key, set())
        if len(found) != 1:
            yield f"request {request_id!r} ({key}) has {len(found)} terminal events on backtest.completed"
        if request["outcome"] == "accepted" and on_progress.get(key, set()) != found:
            yield f"request {request_id!r} ({key}): backtest.progress ends otherwise than backtest.completed"
    known = {row["run_id"] for row in evidence.accepted.values()} | set(evidence.requests)
    for key in on_completed.keys() - known:
        yield f"{key} has a terminal event, and nobody asked for it"


def terminal_event_is_last(evidence: Evidence) -> Iterator[str]:
    """A run's terminal event has its highest sequence, and the sequence that its execution ended with."""
    for run_id, events in evidence.events_by_run(Topic.PROGRESS).items():
        last = max(events, key=lambda event: event.sequence)
        execution = evidence.executions.get(run_id)
        if last.kind not in TERMINAL_KINDS:
            yield f"run {run_id}: the last event, {last.id}, is {last.kind}"
        elif execution is not None and execution["sequence"] != last.sequence:
            yield f"run {run_id}: ended with sequence {execution['sequence']}, its last event is {last.id}"


def no_write_below_the_highest_epoch(evidence: Evidence) -> Iterator[str]:
    """The end is written by the highest epoch: its attempt is the last one, the artefacts it names are of its epoch.

    Each attempt has its one started event (claims and started events are one write), so none is unseen from outside.
    """
    on_progress = evidence.events_by_run(Topic.PROGRESS)
    for run_id, events in evidence.events_by_run(Topic.COMPLETED).items():
        execution = evidence.executions.get(run_id)
        if execution is None:
            continue
        started = {event.id: event.data["attempt"] for event in on_progress.get(run_id, ()) if event.kind == "started"}
        if sorted(started.values()) != list(range(1, execution["attempts"] + 1)):
            yield f"run {run_id}: {execution['attempts']} attempts, started events of {sorted(started.values())}"
        for event in first_appearances(events):
            if event.data["attempt"] != execution["attempts"]:
                yield f"run {run_id}: ended by attempt {event.data['attempt']} of {execution['attempts']}"
            folder = f"/runs/{run_id}/{execution['epoch']}/"
            for path in (event.data.get("artifacts") or {}).values():
                if folder not in path:
                    yield f"run {run_id}: ended by epoch {execution['epoch']}, artefacts in {path}"


def row_trades_and_event_agree(evidence: Evidence) -> Iterator[str]:
    """Row, trade rows and terminal event say the same, to the last bit; only completed runs have results."""
    for run_id, events in evidence.events_by_run(Topic.COMPLETED).items():
        row, trades = evidence.runs.get(run_id), evidence.trades.get(run_id)
        for event in first_appearances(events):
            if row is not None:
                for what in _disagreements(event, row, trades or NO_TRADES):
                    yield f"run {run_id}: {what}"
    for run_id in evidence.trades.keys() - {row["id"] for row in evidence.runs.values()}:
        yield f"run {run_id} has trades and no row"


def _disagreements(event: Event, row: Row, trades: Trades) -> Iterator[str]:
    data = event.data
    if not event.kind == data["status"] == row["status"]:
        yield f"the event is {event.kind} and says {data['status']}, the row says {row['status']}"
    yield from (
        _differing_results(data, row, trades)
        if event.kind == "completed"
        else _stray_results(data, row, trades.profits)
    )


def _stray_results(data: Mapping[str, Any], row: Row, profits: Sequence[float]) -> Iterator[str]:
    filled = [name for name in METRIC_COLUMNS if row[name] is not None]
    if filled or profits:
        yield f"{data['status']}, and yet {len(profits)} trades and {', '.join(filled) or 'no metrics'}"
    if data["status"] == "failed" and not (row["error_message"] or "").startswith(f"{data['error']['code']}: "):
        yield f"failed with {data['error']['code']}, the row says {row['error_message']!r}"


def _differing_results(data: Mapping[str, Any], row: Row, trades: Trades) -> Iterator[str]:
    metrics, profits = data["metrics"], trades.profits
    for name in METRIC_COLUMNS:
        if row[name] != metrics[name]:
            yield f"{name} is {row[name]!r} in the row, {metrics[name]!r} in the event"
    if (row["progress_pct"], data["progress_pct"]) != (100, 100):
        yield f"completed at {row['progress_pct']} % (row), {data['progress_pct']} % (event)"
    if row["data_file_path"] != data["data_file_path"]:
        yield f"data_file_path is {row['data_file_path']} in the row, {data['data_file_path']} in the event"
    if len(profits) != metrics["total_trades"]:
        yield f"{len(profits)} trade rows, total_trades {metrics['total_trades']}"
    if not isclose(fsum(profits), metrics["net_profit"], rel_tol=0, abs_tol=SUM_TOLERANCE):
        yield f"trade rows earn {fsum(profits)!r}, net_profit is {metrics['net_profit']!r}"
    if profits and not isclose(trades.last_equity, metrics["final_equity"], rel_tol=0, abs_tol=SUM_TOLERANCE):
        yield f"the last trade row leaves {trades.last_equity!r}, final_equity is {metrics['final_equity']!r}"


def every_poison_record_is_kept(evidence: Evidence) -> Iterator[str]:
    """What cannot be used or conflicts, and only that, is in the dead-letter topic, as it came: key, value, headers.

    The record is the one its dlq- headers name; its own headers come first. A letter may be there more than once.
    """
    by_place = {place_of(record): record for record in evidence.inputs}
    letters = evidence.dead_letters()
    requests = {**evidence.requests, **evidence.search_requests}
    for place, record in by_place.items():
        if isinstance(read_input(record), Poison) and place not in letters:
            yield f"{place} cannot be used and has no dead letter"
    for place, copies in letters.items():
        original = by_place.get(place)
        if original is None:
            yield f"a dead letter stands for {place}, where no record is"
            continue
        if isinstance(wanted := read_input(original), Wanted):
            row = requests.get(wanted.request_id)
            if row is None or wanted.content_hash in {row["content_hash"], row.get("emitted_hash")}:
                yield f"{place} is a good request, and yet dead-lettered"
        for letter in copies:
            own = len(original.headers)
            if (letter.key, letter.value, letter.headers[:own]) != (original.key, original.value, original.headers):
                yield f"the dead letter of {place} is not what came"


def every_posted_request_went_out(evidence: Evidence) -> Iterator[str]:
    """What was accepted over HTTP stands in its request topic, naming what it became."""
    sent = {
        (read.request_id, read.content_hash) for read in map(read_input, evidence.inputs) if isinstance(read, Wanted)
    }
    for request_id, row in {**evidence.requests, **evidence.search_requests}.items():
        if row.get("emitted_hash") is not None and (request_id, row["emitted_hash"]) not in sent:
            yield f"request {request_id!r} was accepted over HTTP, and its record never went out"


def every_cancel_was_asked_for(evidence: Evidence) -> Iterator[str]:
    """A run ends cancelled by a kept cancel, by its row's word, or because its row is gone; for no other reason."""
    runs = {cancel["run_id"] for cancel in evidence.cancels if cancel["run_id"] is not None}
    requests = {cancel["request_id"] for cancel in evidence.cancels if cancel["request_id"] is not None}
    for event in first_appearances(evidence.events(Topic.COMPLETED)):
        if event.kind != "cancelled" or event.data["reason"] == "row":
            continue
        run_id = event.data["run_id"]
        is_gone = event.data["reason"] == "run_deleted" and run_id not in evidence.runs
        if not is_gone and run_id not in runs and event.data["request_id"] not in requests:
            yield f"run {run_id} was cancelled ({event.data['reason']}), and nobody asked for it"


def _terminal_events(evidence: Evidence, topic: Topic) -> dict[int | str, set[tuple[str, bytes | None]]]:
    """Distinct terminal events (id and bytes) by run, of a rejection by request."""
    found: dict[int | str, set[tuple[str, bytes | None]]] = {}
    for event in evidence.events(topic):
        if event.kind in TERMINAL_KINDS or event.kind == "rejected":
            key = event.data["request_id"] if event.kind == "rejected" else event.data["run_id"]
            found.setdefault(key, set()).add((event.id, event.record.value))
    return found


def first_appearances(events: Sequence[Event]) -> list[Event]:
    """Each event once, where it first stands."""
    first: dict[str, Event] = {}
    for event in events:
        first.setdefault(event.id, event)
    return list(first.values())


@dataclass(frozen=True, slots=True)
class _Durable:
    """What stands in a table or in the dead-letter topic."""

    requests: Mapping[str, Row]
    cancels: Set[tuple[int | None, str | None, int | None]]
    """Targets."""
    letters: Set[Place]
    waiting: Set[str]
    """Ids of dead letters in the outbox."""

    @staticmethod
    def of(evidence: Evidence) -> "_Durable":
        return _Durable(
            {**evidence.requests, **evidence.search_requests},
            {(row["run_id"], row["request_id"], row.get("optimization_id")) for row in evidence.cancels},
            evidence.dead_letters().keys(),
            {row["event_id"] for row in evidence.outbox if row["kind"] == "dead_letter"},
        )

    def missing(self, record: Wanted | Kept | Poison) -> str | None:
        """What is missing of a record that must be durable; None: nothing."""
        is_letter = record.place in self.letters or "dead-letter/{}/{}/{}".format(*record.place) in self.waiting
        match record:
            case _ if is_letter:
                return None
            case Poison():
                return "no dead letter keeps it"
            case Wanted(request_id=request_id, content_hash=content_hash):
                row = self.requests.get(request_id)
                if row is None:
                    return f"request {request_id!r} is in no table"
                conflict = f"conflicts with request {request_id!r}, and no dead letter keeps it"
                return None if content_hash in {row["content_hash"], row.get("emitted_hash")} else conflict
            case Kept(run_id=run_id, request_id=request_id, optimization_id=number):
                is_kept = (run_id, request_id, number) in self.cancels
                return None if is_kept else f"cancel of {run_id or number or request_id!r} is lost"


AT_EVERY_MOMENT: tuple[Invariant, ...] = (
    committed_offsets_are_durable,
    every_event_has_one_content,
    sequence_rises,
    attempts_never_fall,
    a_request_has_one_run,
)
AT_REST: tuple[Invariant, ...] = (
    no_record_is_lost,
    nothing_is_left_undone,
    one_terminal_row,
    one_terminal_event,
    terminal_event_is_last,
    no_write_below_the_highest_epoch,
    row_trades_and_event_agree,
    every_poison_record_is_kept,
    every_cancel_was_asked_for,
    every_posted_request_went_out,
)
