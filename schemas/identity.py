"""Which request a record is, and whether its content is one seen before."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from schemas.json_text import canonical_json, why_unusable_text
from schemas.optimization_requested import OptimizationRequested, search_content_of
from schemas.requested import BacktestRequested, content_of


def request_identity(
    data_request_id: object, envelope_id: str | None, topic: str, partition: int, offset: int, timestamp_ms: int
) -> str:
    """The request_id: the one in data, else the CloudEvents id, else `<topic>/<partition>/<offset>/<timestamp ms>`.

    The record's timestamp stands in it since a topic that was deleted and made anew counts from 0 again: its requests
    would be taken for duplicates of the old ones.

    data_request_id: as sent. One that is no text of 1 to 255 storable characters names nothing (the request is rejected
    for it), so the next takes its place and the rejection can be kept.
    """
    if (
        isinstance(data_request_id, str)
        and 0 < len(data_request_id) <= 255
        and why_unusable_text(data_request_id) is None
    ):
        return data_request_id
    return envelope_id if envelope_id is not None else f"{topic}/{partition}/{offset}/{timestamp_ms}"


def content_text(request: BacktestRequested) -> str:
    """The content as canonical JSON, ASCII: what is hashed, and what is kept with the request."""
    return canonical_json(content_of(request))


def content_hash(request: BacktestRequested) -> bytes:
    """32 bytes; equal exactly when two valid requests have the same content.

    Defaults filled in, times in UTC, request_id left out, null as absent, 1 as 1.0 where the field is a float. Inside
    strategy_params numbers stay as sent, since 1 and 1.0 may mean different things to a strategy.
    """
    return hash_of_content(content_text(request))


def hash_of_content(text: str) -> bytes:
    """The `content_hash` of the request whose `content_text` this is: intake needs both, and makes the text once."""
    return hashlib.sha256(b"valid\n" + text.encode("ascii")).digest()


def hash_with_run(request: BacktestRequested, run_id: int) -> bytes:
    """The `content_hash` of the request once it names the run that it became."""
    return content_hash(request.model_copy(update={"run_id": run_id}))


def hash_with_search(request: OptimizationRequested, optimization_id: int) -> bytes:
    """As `hash_with_run`, of a request for a search."""
    return hash_of_search_content(search_content_text(request.model_copy(update={"optimization_id": optimization_id})))


def search_content_text(request: OptimizationRequested) -> str:
    """The content of a request for a search as canonical JSON, ASCII."""
    return canonical_json(search_content_of(request))


def hash_of_search_content(text: str) -> bytes:
    """32 bytes for a `search_content_text`; never those of a request for a run, however alike their data are."""
    return hashlib.sha256(b"search\n" + text.encode("ascii")).digest()


def raw_content_text(data: Mapping[str, Any]) -> str:
    """Data that do not validate as canonical JSON, ASCII: as sent, keys sorted at every level, request_id left out."""
    return canonical_json({name: value for name, value in data.items() if name != "request_id"})


def raw_content_hash(data: Mapping[str, Any], duplicate_keys: Sequence[str] = (), *, of_search: bool = False) -> bytes:
    """32 bytes for data that do not validate; never equal to a `content_hash`.

    Nulls and numbers count as written (1 is not 1.0, null is not absent), except that every infinite literal is one
    infinity. Of a repeated key the last value counts, and that it was repeated.
    """
    kind = "invalid search" if of_search else "invalid"
    text = f"{kind}\n{canonical_json(list(duplicate_keys))}\n{raw_content_text(data)}"
    return hashlib.sha256(text.encode("ascii")).digest()
