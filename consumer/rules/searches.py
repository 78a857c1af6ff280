"""How a search goes from step to step: pure functions of its row and its open shards, so that a store only reads what
they take and writes what they return.

    survey -> range, range, ... -> gather             grid and random: all combinations may be given out at once
    survey -> survey -> ... -> range ...              a large grid is numbered in parts
    survey -> (range ... -> ask) -> ... -> gather     tpe: the next batch is asked for when all before it are counted
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from consumer.ports.outcomes import Failed
from consumer.ports.searches import Asked, RangeDone, ShardClaim, ShardKind, StepDied, StepResult, Surveyed, Surveying

BEST_RUN: Final = "best_run"
"""In the plan: the number of the best run, from when it is first begun; what it left in files is known by that."""
SHARD_SECONDS: Final = 1.0
"""Of work in a shard: a run that comes waits for no longer."""
SHORTEST_SHARD_SECONDS: Final = 0.1
"""Towards the end shards get smaller, so that all slots end together, but a claim has its cost."""
FIRST_SHARD: Final = 8
"""Combinations, while nothing is measured yet."""
LARGEST_SHARD: Final = 50_000
END_IN_PARTS: Final = 3
"""A shard takes such a part of what is left at most."""
PACE_KEPT: Final = 0.7
"""How much of the pace so far a new measurement leaves standing."""


@dataclass(frozen=True, slots=True)
class SearchState:
    """A row of backtest_searches."""

    optimization_id: int
    request_id: str
    state: str = "queued"
    is_named: bool = True
    max_workers: int | None = None
    sequence: int = 0
    progress_pct: int = 0
    shards: int = 0
    total: int = 0
    released: int = 0
    given: int = 0
    done: int = 0
    failed: int = 0
    pace_seconds: float | None = None
    plan: Mapping[str, Any] | None = None
    best_value: float | None = None
    best_params: Mapping[str, Any] | None = None
    started_at: datetime | None = None
    reported_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        return self.state in {"queued", "running"}

    @property
    def has_work(self) -> bool:
        """Whether a step can be cut off what is left."""
        return self.state == "queued" or self.given < self.released


@dataclass(frozen=True, slots=True)
class ShardState:
    """A row of backtest_search_shards."""

    number: int
    kind: ShardKind
    first: int = 0
    last: int = 0
    state: str = "queued"
    epoch: int = 0
    deaths: int = 0
    owner: str | None = None
    lease_until: datetime | None = None
    results_file: str | None = None
    error: str | None = None

    @property
    def size(self) -> int:
        return self.last - self.first

    def is_owned_by(self, claim: ShardClaim) -> bool:
        """Whether the claim still is the right to the step: every write under it depends on this."""
        return self.epoch == claim.epoch and self.state == "running"

    def was_ended_by(self, claim: ShardClaim) -> bool:
        """Whether it ended under this claim: by its owner's own word, whose answer was lost."""
        return self.epoch == claim.epoch and self.state in {"done", "dropped"}


@dataclass(frozen=True, slots=True)
class Change:
    """What a transition changes: the search, and shards, new ones among them. failed: the search ends with that."""

    search: SearchState
    shards: tuple[ShardState, ...] = ()
    failed: Failed | None = None


def begin(search: SearchState, now: datetime) -> Change:
    """The first claim: the search runs, and its survey can be taken."""
    running = replace(search, state="running", started_at=now, sequence=search.sequence + 1, shards=1)
    return Change(running, (ShardState(0, "survey"),))


def next_step(search: SearchState, open_shards: Sequence[ShardState]) -> Change | None:
    """The step to take now, queued: the oldest that waits, or one cut off what is left. None: there is none."""
    running = sum(shard.state == "running" for shard in open_shards)
    if search.max_workers is not None and running >= search.max_workers:
        return None
    waiting = [shard for shard in open_shards if shard.state == "queued"]
    if waiting:
        return Change(search, (min(waiting, key=_number),))
    if search.given >= search.released:
        return None
    last = search.given + size_of_next(search)
    cut = ShardState(search.shards, "range", search.given, last)
    return Change(replace(search, shards=search.shards + 1, given=last), (cut,))


def size_of_next(search: SearchState) -> int:
    """Combinations of the next shard: about a second of work, less towards the end."""
    left = search.released - search.given
    if unit := int((search.plan or {}).get("unit") or 0):  # a shard lies within one fold
        left = min(left, unit - search.given % unit)
    if search.pace_seconds is None:
        return min(left, FIRST_SHARD)
    pace = max(search.pace_seconds, 1e-9)
    most = min(LARGEST_SHARD, int(SHARD_SECONDS / pace))
    least = int(SHORTEST_SHARD_SECONDS / pace)
    return max(1, min(left, most, max(least, -(-left // END_IN_PARTS))))


def take(shard: ShardState, owner: str, lease_until: datetime) -> ShardState:
    """Fence it and hand it to an owner. One that was running is a lapsed lease: a death."""
    return replace(
        shard,
        state="running",
        epoch=shard.epoch + 1,
        deaths=shard.deaths + int(shard.state == "running"),
        owner=owner,
        lease_until=lease_until,
    )


def returned(shard: ShardState) -> ShardState:
    """Back in the queue."""
    return replace(shard, state="queued", owner=None, lease_until=None)


def counted(search: SearchState, shard: ShardState, result: StepResult, others: Sequence[ShardState]) -> Change:
    """A step is done: count what it found, and make the one that comes next, if it was the last that was open.

    others: open shards beside it.
    """
    done = replace(_closed(shard, "done"), results_file=result.file if isinstance(result, RangeDone) else None)
    match result:
        case Surveying(plan):
            following = ShardState(search.shards, "survey")
            return Change(replace(search, plan=plan, shards=search.shards + 1), (done, following))
        case Surveyed(total, released, plan):
            search = replace(search, total=total, released=released, plan=plan)
        case Asked(total, released, plan):
            search = replace(search, total=total, released=released, plan=plan)
        case RangeDone():
            search = _with_range(search, shard, result)
    return advance(search, (done,), others)


def advance(search: SearchState, changed: tuple[ShardState, ...], others: Sequence[ShardState]) -> Change:
    """Make the step that comes when nothing is open any more."""
    is_open = any(shard.state in {"queued", "running"} for shard in (*changed, *others))
    if is_open or search.given < search.released:
        return Change(search, changed)
    kind: ShardKind = "ask" if search.released < search.total else "gather"
    following = ShardState(search.shards, kind)
    return Change(replace(search, shards=search.shards + 1), (*changed, following))


def died(
    search: SearchState, shard: ShardState, death: StepDied, others: Sequence[ShardState], max_attempts: int
) -> Change:
    """The child died under a step. The combination at fault is parted from its range and tried alone."""
    deaths = shard.deaths + int(death.failure is None)
    crashed = crash_loop(deaths, death.description)
    if death.at is None or shard.kind != "range":
        if death.failure is not None or deaths >= max_attempts:
            return Change(search, (_closed(shard, "dropped"),), death.failure or crashed)
        return Change(search, (replace(returned(shard), deaths=deaths),))
    if shard.size == 1:
        if death.failure is not None or deaths >= max_attempts:
            return _given_up(search, shard, death.failure or crashed, others)
        return Change(search, (replace(returned(shard), deaths=deaths),))
    at = min(max(death.at, shard.first), shard.last - 1)
    ranges = [(shard.first, at), (at, at + 1), (at + 1, shard.last)]
    search, parts = _split(search, shard, [each for each in ranges if each[0] < each[1]])
    alone = next(part for part in parts if part.first == at)
    rest = [part for part in parts if part is not alone]
    closed = _closed(shard, "dropped")
    if death.is_final or (death.failure is None and max_attempts <= 1):
        change = _given_up(search, alone, death.failure or crashed, (*rest, *others))
        return replace(change, shards=(closed, *rest, *change.shards))
    return Change(search, (closed, *rest, replace(alone, deaths=int(death.failure is None))))


def lapsed(search: SearchState, shard: ShardState, others: Sequence[ShardState], max_attempts: int) -> Change | None:
    """A lease ran out for the last time that the shard may: halves are tried, until one combination is at fault alone.
    None: it may be taken once more.
    """
    deaths = shard.deaths + 1
    if deaths < max_attempts:
        return None
    crashed = crash_loop(deaths, "its worker was gone and its lease ran out")
    fenced = replace(shard, epoch=shard.epoch + 1)
    if shard.kind != "range":
        return Change(search, (_closed(fenced, "dropped"),), crashed)
    if shard.size == 1:
        return _given_up(search, fenced, crashed, others)
    middle = shard.first + shard.size // 2
    search, parts = _split(search, shard, [(shard.first, middle), (middle, shard.last)])
    return Change(search, (_closed(fenced, "dropped"), *parts))


def ended(search: SearchState, open_shards: Iterable[ShardState], state: str, own: int | None) -> Change:
    """The search is over: whoever is at a shard finds himself fenced, but for him who ends it under shard `own`."""
    over = replace(search, state=state, sequence=search.sequence + 1)
    shards = (replace(_closed(shard, "dropped"), epoch=shard.epoch + int(shard.number != own)) for shard in open_shards)
    return Change(over, tuple(shards))


def reported(search: SearchState, now: datetime) -> SearchState:
    """With a progress event told: 0 to 99, never falling."""
    percent = min(99, search.done * 100 // search.total) if search.total else 0
    return replace(
        search, sequence=search.sequence + 1, progress_pct=max(search.progress_pct, percent), reported_at=now
    )


def crash_loop(deaths: int, last: str) -> Failed:
    """The outcome of what children or workers died under MAX_ATTEMPTS times."""
    return Failed("crash_loop", f"gave up after {deaths} deaths under this combination; the last: {last}")


def _number(shard: ShardState) -> int:
    return shard.number


def _closed(shard: ShardState, state: str) -> ShardState:
    return replace(shard, state=state, owner=None, lease_until=None)


def _split(
    search: SearchState, shard: ShardState, ranges: Sequence[tuple[int, int]]
) -> tuple[SearchState, list[ShardState]]:
    parts = [ShardState(search.shards + at, shard.kind, *each) for at, each in enumerate(ranges)]
    return replace(search, shards=search.shards + len(parts)), parts


def _given_up(search: SearchState, shard: ShardState, failure: Failed, others: Sequence[ShardState]) -> Change:
    """A single combination is a result with an error."""
    error = f"{failure.code}: {failure.message}"
    counts = replace(search, done=search.done + 1, failed=search.failed + 1)
    return advance(counts, (replace(_closed(shard, "done"), error=error),), others)


def _with_range(search: SearchState, shard: ShardState, result: RangeDone) -> SearchState:
    pace = max(result.seconds, 0.0) / max(1, shard.size)
    if search.pace_seconds is not None:
        pace = PACE_KEPT * search.pace_seconds + (1 - PACE_KEPT) * pace
    search = replace(search, done=search.done + shard.size, failed=search.failed + result.failed, pace_seconds=pace)
    if result.best_value is None or not _is_better(search, result.best_value):
        return search
    return replace(search, best_value=result.best_value, best_params=result.best_params)


def _is_better(search: SearchState, value: float) -> bool:
    if search.best_value is None:
        return True
    lower_is_better = bool((search.plan or {}).get("lower_is_better"))
    return value < search.best_value if lower_is_better else value > search.best_value
