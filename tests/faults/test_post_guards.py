"""Guards of posts taken out, at the crash point that each is for: the checker names what is missing."""

import signal
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from consumer.devstack import StackKind
from tests.faults.checker import check, check_while_running
from tests.faults.field import open_field
from tests.faults.guards import EXPECTED
from tests.faults.load import Load
from tests.faults.test_api_crash_points import BODY, CRASH_POINTS, api_in, post
from tests.faults.worker_program import Orders

pytestmark = [pytest.mark.integration, pytest.mark.faults, pytest.mark.nightly]

POINTS = {"posted record": "committed, not answered", "known record": "record forgotten"}


@pytest.mark.parametrize("guard", list(POINTS))
async def test_a_guard_of_posts_that_is_taken_out_is_noticed_by_its_name(
    guard: str, tmp_path: Path, stack_kind: StackKind
) -> None:
    async with open_field(tmp_path, Orders(session_timeout_ms=1_000), stack_kind) as place:
        await Load(Random(0)).prepare(place)
        place.orders = replace(place.orders, without=guard)
        await place.start_worker(slots=1)
        async with api_in(place, CRASH_POINTS[POINTS[guard]]) as dying:
            await post(dying, "guarded")
            assert await dying.process.ended(60) == -signal.SIGKILL, dying.process.log_text()
        async with api_in(place) as clean:
            answer = await post(clean, "guarded")
            assert answer is not None
            assert answer.headers["Idempotency-Replayed"] == "true"
        findings = check(await place.settle())
    assert EXPECTED[guard] & {finding.invariant for finding in findings}, findings


async def test_a_post_that_is_answered_before_its_commit_is_noticed(tmp_path: Path, stack_kind: StackKind) -> None:
    guard = "commit before answer"
    async with open_field(tmp_path, Orders(session_timeout_ms=1_000), stack_kind) as place:
        await Load(Random(0)).prepare(place)
        place.orders = replace(place.orders, without=guard)
        async with api_in(place) as api:
            assert await place.posts.post("guarded", BODY) is not None
            api.process.send(signal.SIGKILL)
        findings = check_while_running(await place.evidence())
    assert EXPECTED[guard] & {finding.invariant for finding in findings}, findings
