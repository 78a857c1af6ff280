"""Sends requests and cancels as an upstream service does: CloudEvents, keyed by what they are about."""

from datetime import datetime

from consumer.ports import Delivery
from consumer.ports.requests import Topics
from schemas.cancel_requested import CancelRequested
from schemas.optimization_cancel_requested import OptimizationCancelRequested
from schemas.optimization_requested import OptimizationRequested
from schemas.outgoing import CONTENT_TYPE_HEADER, render, request_key, run_key, search_key
from schemas.requested import BacktestRequested
from schemas.topics import Topic


async def send_request(
    topics: Topics, request: BacktestRequested, request_id: str, *, source: str, now: datetime
) -> tuple[int, int]:
    """Send the request under this id; partition and offset. The same id and content again is a duplicate, a no-op."""
    (sent,) = await topics.send([request_delivery(request, request_id, source=source, now=now)])
    return sent


async def send_cancel(topics: Topics, cancel: CancelRequested, event_id: str, *, source: str, now: datetime) -> None:
    """Send a cancel."""
    value = render(cancel, event_id=event_id, source=source, time=now)
    key = run_key(cancel.run_id) if cancel.run_id is not None else request_key(cancel.request_id or "")
    await topics.send([Delivery(Topic.CANCEL_REQUESTED, key, value, (CONTENT_TYPE_HEADER,))])


async def send_search(
    topics: Topics, request: OptimizationRequested, request_id: str, *, source: str, now: datetime
) -> tuple[int, int]:
    """Send a request for a search, as `send_request`."""
    (sent,) = await topics.send([search_delivery(request, request_id, source=source, now=now)])
    return sent


async def send_search_cancel(
    topics: Topics, cancel: OptimizationCancelRequested, event_id: str, *, source: str, now: datetime
) -> None:
    """Send a search's cancel."""
    value = render(cancel, event_id=event_id, source=source, time=now)
    number = cancel.optimization_id
    key = search_key(number) if number is not None else request_key(cancel.request_id or "")
    await topics.send([Delivery(Topic.OPTIMIZATION_CANCEL_REQUESTED, key, value, (CONTENT_TYPE_HEADER,))])


def search_delivery(request: OptimizationRequested, request_id: str, *, source: str, now: datetime) -> Delivery:
    """The record of a request for a search."""
    value = render(request, event_id=request_id, source=source, time=now)
    number = request.optimization_id
    key = search_key(number) if number is not None else request_key(request_id)
    return Delivery(Topic.OPTIMIZATION_REQUESTED, key, value, (CONTENT_TYPE_HEADER,))


def request_delivery(request: BacktestRequested, request_id: str, *, source: str, now: datetime) -> Delivery:
    """The record of a request."""
    value = render(request, event_id=request_id, source=source, time=now)
    key = run_key(request.run_id) if request.run_id is not None else request_key(request_id)
    return Delivery(Topic.REQUESTED, key, value, (CONTENT_TYPE_HEADER,))
