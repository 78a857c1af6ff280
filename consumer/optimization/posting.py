"""Takes requests for searches that are answered at once: with their search in one transaction, or not at all.
Implements `SearchPostJournal`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from consumer.errors import StoreBusy
from consumer.optimization.journal import Raced, SearchRecorder, decide, insert, unless_raced
from consumer.ports import Unchecked
from consumer.ports.intake import Refused
from consumer.ports.posting import Held, PostAnswer, PostResult, Taken
from consumer.ports.search_tables import SearchRecord
from consumer.ports.searches import AdmitSearch, SearchToRecord
from consumer.rules.posting import answers_of_searches, unseen
from consumer.rules.search_recording import SortedOut
from schemas.identity import hash_with_search


@dataclass(frozen=True, slots=True)
class SearchPosts:
    """recorder: of what the topics bring, with whose tables and events this works."""

    recorder: SearchRecorder

    async def take(self, requests: Sequence[SearchToRecord], admit: AdmitSearch) -> PostResult:
        recorder = self.recorder
        while True:
            try:
                async with recorder.tables.transaction() as at:
                    taken = await at.taken([each.request_id for each in requests])
                    out = await decide(at, unseen(requests, taken), {}, admit)
                    records = [_emitted(each) for each in await insert(at, SortedOut(accepted=out.accepted))]
                    unless_raced(await at.insert_requests(records))
                    events = await at.store_events(
                        [recorder.writer.requested(each.request, each.optimization_id or 0) for each in records]
                    )
                break
            except (Raced, StoreBusy):
                continue  # another process takes one of these ids just now; who asks bounds the time
        cancelled = [each.optimization_id for each in records if each.cancelled and each.optimization_id is not None]
        ended = await recorder.end_cancelled(cancelled)
        return PostResult(answers_of_searches(requests, taken, _decided(out, records)), (*events, *ended))


def _emitted(record: SearchRecord) -> SearchRecord:
    return replace(record, emitted_hash=hash_with_search(record.request.request, record.optimization_id or 0))


def _decided(out: SortedOut, records: Sequence[SearchRecord]) -> dict[str, PostAnswer]:
    answers: dict[str, PostAnswer] = {
        each.request.request_id: Taken(each.optimization_id or 0, is_repeat=False) for each in records
    }
    answers |= {request.request_id: Refused(problems) for request, problems in out.rejected}
    answers |= {request.request_id: Held() for request in out.waiting}
    return answers | {request.request_id: Unchecked(check) for request, check in out.unchecked}
