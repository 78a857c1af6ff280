"""Each guard of calls to models taken out, at the crash point that it is for: the checker names what is missing."""

import signal
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from consumer.devstack import StackKind
from tests.faults.checker import check
from tests.faults.field import event, open_field
from tests.faults.guards import EXPECTED
from tests.faults.load import REQUESTED, TIGHT, Load
from tests.faults.test_crash_points import CALL_POINTS, advised
from tests.faults.worker_program import Orders

pytestmark = [pytest.mark.integration, pytest.mark.faults, pytest.mark.nightly]

POINTS = {
    "call before sending": "call: answered, the answer not kept",
    "budget of all attempts": "call: about to be kept",
}


@pytest.mark.parametrize("guard", list(POINTS))
async def test_a_guard_of_calls_that_is_taken_out_is_noticed_by_its_name(
    guard: str, tmp_path: Path, stack_kind: StackKind
) -> None:
    async with open_field(tmp_path, Orders(session_timeout_ms=1_000), stack_kind) as place:
        await Load(Random(0)).prepare(place)
        place.orders = replace(place.orders, without=guard)
        await place.send(event(REQUESTED, "guarded", advised(TIGHT)))
        crashing = await place.start_worker(crash=CALL_POINTS[POINTS[guard]], slots=1)
        assert await crashing.ended(120) == -signal.SIGKILL, crashing.log_text()
        await place.start_worker(slots=1)
        findings = check(await place.settle())
    assert EXPECTED[guard] & {finding.invariant for finding in findings}, findings
