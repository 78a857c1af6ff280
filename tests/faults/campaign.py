"""Faults in random order against a system at work, judged by the checker: `make faults`.

    python -m tests.faults.campaign --seed 7 --faults 200 --minutes 60

First each kind of run once, in quiet: that is what every result must equal. Then rounds: a mixed load and some faults
at the same time, sometimes two at once; all is healed, and once nothing is left to do the checker looks. At the end
all input is read again from offset 0 by another group, which must change nothing, and no process may be left.
"""

import argparse
import asyncio
import logging
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.api_faults import API_FAULTS
from tests.faults.checker import (
    Finding,
    check,
    check_while_running,
    digests,
    failures_are_expected,
    no_process_left_over,
    processes_with,
    replay_changed_nothing,
    results_equal_a_quiet_run,
    searches_equal_a_quiet_one,
)
from tests.faults.evidence import Evidence, read_committed
from tests.faults.faults import FAULTS, Fault, Trouble, name_of, of_one_server
from tests.faults.field import Field, open_field, persistently
from tests.faults.guards_removed import GUARDS
from tests.faults.load import KINDS, Load
from tests.faults.mixes import MIXES, of_mix
from tests.faults.posted_load import POSTED_KINDS
from tests.faults.search_invariants import search_digests
from tests.faults.worker_program import Orders
from tests.support.waiting import eventually

REPLAY_GROUP = "replay"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a campaign does. The same plan draws the same faults and load; how they meet is the machine's chance."""

    seed: int
    faults: int = 200
    minutes: float = 60.0
    """No new round begins after that."""
    faults_a_round: int = 20
    sent_a_fault: int = 3
    """Things sent while a fault lasts."""
    workers: int = 2
    apis: int = 2
    mix: str = "all"
    """One of MIXES."""
    without: str = ""
    """A guard to take out of the workers: then there must be findings."""
    settle_seconds: float = 180.0
    two_at_once: float = 0.3
    """Share of faults that come in pairs."""
    quiet_first: bool = True
    """Compare results with those of a quiet run."""


@dataclass(slots=True)
class Report:
    """What a campaign did and found."""

    plan: Plan
    faults: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0
    requests: int = 0
    runs: int = 0
    attempts: int = 0
    posted: int = 0
    """Answers 202."""
    followed: int = 0
    """Streams of runs and searches, from their POST to their end."""

    def __str__(self) -> str:
        return (
            f"seed {self.plan.seed}: {len(self.faults)} faults in {self.seconds:.0f} s, {self.requests} requests,"
            f" {self.posted} accepted over HTTP, {self.followed} followed,"
            f" {self.runs} runs in {self.attempts} attempts, {len(self.findings)} findings"
        )


async def run_campaign(plan: Plan, directory: Path, say: Callable[[str], None] = print) -> Report:
    """Run one, on servers of its own; it ends at the first round with findings."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # brokers come and go here, and it tells each time
    report = Report(plan)
    started = time.monotonic()
    async with open_field(directory, Orders(without=plan.without)) as place:
        load = Load(random.Random(plan.seed), kinds=of_mix({**KINDS, **POSTED_KINDS}, plan.mix))
        trouble = Trouble(place, random.Random(plan.seed + 1))
        await load.prepare(place)
        quiet = await quiet_digests(place, load, plan.mix) if plan.quiet_first else None
        say(f"{len(quiet or ())} kinds of runs in quiet, {time.monotonic() - started:.0f} s")
        while (left := plan.faults - len(report.faults)) > 0 and time.monotonic() - started < plan.minutes * 60:
            count = min(left, plan.faults_a_round)
            report.findings += await one_round(plan, place, load, trouble, quiet, count, report)
            report.seconds = time.monotonic() - started
            say(f"{report}; last: {', '.join(report.faults[-count:])}")
            if report.findings:
                break
        if not report.findings:
            report.findings += await replay(place)
        report.seconds = time.monotonic() - started
    return report


async def quiet_digests(place: Field, load: Load, mix: str) -> dict[str, str]:
    """What each kind of run results in, with one worker and nothing going wrong."""
    await place.start_worker()
    await load.quiet(place)
    if mix in {"all", "searches"}:
        await load.quiet_searches(place)
    if mix in {"all", "models"}:
        await load.quiet_models(place)
    evidence = await place.settle()
    return {**digests(evidence), **search_digests(evidence)}


async def one_round(
    plan: Plan, place: Field, load: Load, trouble: Trouble, quiet: dict[str, str] | None, count: int, report: Report
) -> list[Finding]:
    """Load and faults together, then peace; what the checker says."""
    await place.heal(workers=plan.workers, apis=plan.apis)
    moments: list[Finding] = []
    for group in draw(trouble.random, count, plan.two_at_once, of_mix({**FAULTS, **API_FAULTS}, plan.mix)):
        report.faults.append(" + ".join(name_of(fault) for fault in group))
        await asyncio.gather(load.wave(place, plan.sent_a_fault), *(fault(trouble) for fault in group))
        if trouble.random.random() < 0.2:
            moments += check_while_running(await place.evidence())
        if moments or trouble.findings or place.posts.findings:
            break
    await place.heal(workers=plan.workers, apis=plan.apis)
    await load.end_endless(place)
    await place.settle(seconds=plan.settle_seconds)
    await place.posts.hear_all_ends()
    evidence = await place.evidence()
    report.requests, report.runs = len(evidence.requests), len(evidence.executions)
    report.followed = len(evidence.followed)
    report.posted = sum(len(each.accepted) for each in evidence.posted.values())
    report.attempts = sum(row["attempts"] for row in evidence.executions.values())
    return [*moments, *trouble.findings, *place.posts.findings, *judge(evidence, quiet)]


def judge(evidence: Evidence, quiet: dict[str, str] | None) -> list[Finding]:
    """All that can be said of a campaign at rest. A full disk that lasts fails a run, and says so."""
    return [
        *check(evidence),
        *(results_equal_a_quiet_run(evidence, quiet) if quiet is not None else ()),
        *(searches_equal_a_quiet_one(evidence, quiet) if quiet is not None else ()),
        *failures_are_expected(evidence, {"artifacts_unavailable"}),
    ]


def draw(source: random.Random, count: int, two_at_once: float, faults: Mapping[Fault, int]) -> list[tuple[Fault, ...]]:
    """Faults to make, one entry after the other; two in an entry happen at once, and count as one."""
    kinds, weights = list(faults), list(faults.values())
    drawn: list[tuple[Fault, ...]] = []
    for _ in range(count):
        first, second = source.choices(kinds, weights=weights, k=2)
        both = source.random() < two_at_once and first is not second and not of_one_server(first, second)
        drawn.append((first, second) if both else (first,))
    return drawn


async def replay(place: Field) -> list[Finding]:
    """Read all input again in another group, and end; nothing may change, no process may be left."""
    statuses = [*await place.stop_apis(), *await place.stop_workers()]
    # One that has only just been started ends by the signal itself, as any program does.
    is_well = set(statuses) <= {0, -signal.SIGTERM}
    found = [] if is_well else [Finding("a_worker_told_to_stop_stops", f"exit statuses {statuses}")]
    before = await place.evidence()
    await place.start_worker(kafka_group_id=REPLAY_GROUP)
    ends = {(record.topic, record.partition): record.offset + 1 for record in before.inputs}

    async def everything_read() -> bool:
        async def attempt() -> bool:
            committed = await read_committed(place.stack.kafka_bootstrap_servers, REPLAY_GROUP)
            return all(committed.get(place_) == end for place_, end in ends.items())

        return await persistently(attempt)

    try:
        await eventually(everything_read, "all input read again", seconds=120)
    except AssertionError as error:
        found.append(Finding(replay_changed_nothing.__name__, str(error)))
    await place.stop_workers()
    found += replay_changed_nothing(before, await place.evidence())

    async def nobody_left() -> bool:
        return not processes_with(place.marker)

    with suppress(AssertionError):
        await eventually(nobody_left, "no process left", seconds=10)
    return [*found, *no_process_left_over(place.marker)]


def main(arguments: Sequence[str] | None = None) -> int:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--mix", choices=list(MIXES), default="all", help="runs, with more of one subject and no other")
    parser.add_argument("--without", choices=list(GUARDS), default="", help="take a guard out: the checker must notice")
    options = parser.parse_args(arguments)
    plan = Plan(options.seed, options.faults, options.minutes, mix=options.mix, without=options.without)
    directory = Path(tempfile.mkdtemp(prefix="backtest-faults-"))
    report = asyncio.run(run_campaign(plan, directory, lambda line: print(line, flush=True)))
    for finding in report.findings:
        print(finding)
    print(report)
    if report.findings:
        print(f"the workers' logs are in {directory}")
        return 1
    shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
