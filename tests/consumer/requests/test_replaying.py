"""What a replay would do, decided without any server."""

import pytest

from consumer.requests.replaying import Effect, OldRequest, plan_replay, replay_id
from schemas.identity import content_hash
from schemas.requested import parse_requested
from tests.support.builders import request_data


def test_what_was_never_replayed_under_this_label_is_new() -> None:
    (planned,) = plan_replay([old("r")], "april", {"r": content_hash(parse_requested(request_data()))})
    assert (planned.effect, planned.new_id) == (Effect.NEW, "r/replay/april")
    assert planned.request is not None
    assert planned.request.request_id == "r/replay/april"


def test_the_same_replay_again_is_a_duplicate() -> None:
    (first,) = plan_replay([old("r")], "april", {})
    assert first.request is not None
    (again,) = plan_replay([old("r")], "april", {"r/replay/april": content_hash(first.request)})
    assert again.effect is Effect.DUPLICATE


def test_the_same_id_with_other_content_is_a_conflict() -> None:
    (first,) = plan_replay([old("r")], "april", {})
    assert first.request is not None
    (other,) = plan_replay([old("r", volume=0.7)], "april", {"r/replay/april": content_hash(first.request)})
    assert other.effect is Effect.CONFLICT


def test_requests_of_one_replay_meet_each_other() -> None:
    planned = plan_replay([old("r"), old("r"), old("r", volume=0.7), old("s")], "april", {})
    assert [each.effect for each in planned] == [Effect.NEW, Effect.DUPLICATE, Effect.CONFLICT, Effect.NEW]


def test_what_is_no_request_is_skipped_and_says_why() -> None:
    (planned,) = plan_replay([OldRequest("topic/0/7", "topic/0/7", None, "undecodable: no JSON")], "april", {})
    assert (planned.effect, planned.why, planned.request) == (Effect.SKIPPED, "undecodable: no JSON", None)


@pytest.mark.parametrize("length", [1, 241, 255])
def test_a_new_id_is_never_too_long(length: int) -> None:
    assert len(replay_id("x" * length, "april")) <= 255
    assert replay_id("x" * length, "april") != replay_id("y" * length, "april")


def old(request_id: str, **changes: object) -> OldRequest:
    return OldRequest("topic/0/1", request_id, parse_requested(request_data(**changes)))
