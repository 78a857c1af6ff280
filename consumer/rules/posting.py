"""What becomes of requests that are answered at once: pure functions, as `rules.recording` has them for the topics'."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from consumer.ports import RequestToRecord, Unchecked
from consumer.ports.intake import Refused
from consumer.ports.posting import Conflict, Held, PostAnswer, Taken, TakenRequest
from consumer.ports.searches import SearchToRecord
from consumer.rules.recording import Decisions, NewRun
from schemas.identity import hash_with_run

AnyRequest = TypeVar("AnyRequest", RequestToRecord, SearchToRecord)


def unseen(requests: Iterable[AnyRequest], taken: Mapping[str, TakenRequest]) -> tuple[AnyRequest, ...]:
    """Those that are not in the table."""
    return tuple(request for request in requests if request.request_id not in taken)


def emitted_hashes(new_runs: Iterable[NewRun]) -> dict[str, bytes]:
    """Request id -> content hash of the record that goes out for it."""
    return {run.request.request_id: hash_with_run(run.request.request, run.run_id) for run in new_runs}


def answers_of(
    requests: Iterable[RequestToRecord],
    taken: Mapping[str, TakenRequest],
    decisions: Decisions,
    new_runs: Iterable[NewRun],
    held: Iterable[RequestToRecord],
) -> tuple[PostAnswer, ...]:
    """One a request, in their order. taken: what was in the table before."""
    answers: dict[str, PostAnswer] = {run.request.request_id: Taken(run.run_id, is_repeat=False) for run in new_runs}
    answers |= {each.request.request_id: Refused(each.problems) for each in decisions.rejected}
    answers |= {request.request_id: Unchecked(check) for request, check in decisions.unchecked}
    answers |= {request.request_id: Held() for request in held}
    answers |= {
        request.request_id: answer_of_taken(request, taken[request.request_id])
        for request in requests
        if request.request_id in taken
    }
    return tuple(answers[request.request_id] for request in requests)


def answer_of_taken(request: RequestToRecord | SearchToRecord, found: TakenRequest) -> PostAnswer:
    """The answer to a request whose id is in the table already."""
    is_search = isinstance(request, SearchToRecord)
    if found.is_search is not is_search or request.content_hash not in found.content_hashes:
        return Conflict()
    if found.outcome == "waiting":
        return Held()
    if found.outcome == "rejected" or found.number is None:
        return Refused(found.problems)
    return Taken(found.number, is_repeat=True)


def answers_of_searches(
    requests: Sequence[SearchToRecord], taken: Mapping[str, TakenRequest], decided: Mapping[str, PostAnswer]
) -> tuple[PostAnswer, ...]:
    """As `answers_of`. decided: by request id, of those that were not in the table."""
    return tuple(
        answer_of_taken(request, taken[request.request_id])
        if request.request_id in taken
        else decided[request.request_id]
        for request in requests
    )
