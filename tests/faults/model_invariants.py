"""What must hold of runs that ask a language model: invariants over the ledger and what the provider has received.

Each is a function of the evidence that yields what breaks it, and its name is the finding's.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator

from schemas.topics import Topic
from tests.faults.evidence import Evidence, Row
from tests.faults.invariants import Invariant, first_appearances


def every_call_to_a_model_is_in_the_ledger(evidence: Evidence) -> Iterator[str]:
    """Of no question has the provider received more calls than there are rows: a call is a row before it is sent."""
    rows = Counter(row["key"] for row in evidence.llm_calls)
    for key, received in evidence.model_calls.items():
        if received > rows[key]:
            yield f"question {key[:12]}: the provider has {received} calls, the ledger {rows[key]}"


def no_run_calls_beyond_its_budget(evidence: Evidence) -> Iterator[str]:
    """A run has at most max_llm_calls calls, over all its attempts, each under a number of its own within it.

    A worker that dies may leave a gap: of calls begun together a later one may have been written first.
    """
    for run_id, rows in _by_run(evidence).items():
        numbers = sorted(row["number"] for row in rows)
        if len(set(numbers)) < len(numbers) or numbers[0] < 1:
            yield f"run {run_id}: calls are numbered {numbers}"
        run = evidence.runs.get(run_id)
        if run is not None and numbers[-1] > run["max_llm_calls"]:
            yield f"run {run_id}: {len(rows)} calls, of {run['max_llm_calls']} that it may have"


def no_call_begins_under_an_old_epoch(evidence: Evidence) -> Iterator[str]:
    """By number the epochs of a run's calls never fall, and none is above its execution's."""
    for run_id, rows in _by_run(evidence).items():
        epochs = [row["epoch"] for row in sorted(rows, key=lambda row: int(row["number"]))]
        if epochs != sorted(epochs):
            yield f"run {run_id}: calls begin under epochs {epochs}"
        execution = evidence.executions.get(run_id)
        if execution is not None and epochs and epochs[-1] > execution["epoch"]:
            yield f"run {run_id}: a call under epoch {epochs[-1]}, of {execution['epoch']}"


def no_answer_is_paid_for_twice(evidence: Evidence) -> Iterator[str]:
    """An attempt has one answer at most to a question: what is answered is not asked again."""
    answered = Counter(
        (row["run_id"], row["key"], row["epoch"]) for row in evidence.llm_calls if row["state"] == "answered"
    )
    for (run_id, key, epoch), count in answered.items():
        if count > 1:
            yield f"run {run_id}: {count} answers to question {key[:12]} under epoch {epoch}"


def a_completed_run_says_what_its_calls_came_to(evidence: Evidence) -> Iterator[str]:
    """llm_calls_used is the number of the run's calls; a run without a model says nothing of any."""
    by_run = _by_run(evidence)
    for event in first_appearances(evidence.events(Topic.COMPLETED)):
        if event.kind == "completed":
            told, kept = event.data.get("llm_calls_used", 0), len(by_run.get(event.data["run_id"], ()))
            if told != kept:
                yield f"run {event.data['run_id']}: {event.id} says {told} calls, the ledger has {kept}"


def _by_run(evidence: Evidence) -> dict[int, list[Row]]:
    found: dict[int, list[Row]] = defaultdict(list)
    for row in evidence.llm_calls:
        found[row["run_id"]].append(row)
    return found


def has_lost_calls(evidence: Evidence, run_id: int) -> bool:
    """Whether faults have taken calls of the run's budget: it may have ended its asking earlier than in quiet."""
    return any(row["run_id"] == run_id and row["state"] != "answered" for row in evidence.llm_calls)


AT_EVERY_MOMENT: tuple[Invariant, ...] = (
    no_run_calls_beyond_its_budget,
    no_call_begins_under_an_old_epoch,
    no_answer_is_paid_for_twice,
)
AT_REST: tuple[Invariant, ...] = (
    every_call_to_a_model_is_in_the_ledger,
    a_completed_run_says_what_its_calls_came_to,
)
