"""Judges from outside whether anything was lost, doubled, or written by a zombie: the invariants of docs/guarantees.md.

A library, and a program: it reads the topics from offset 0 and the tables, nothing else, and changes nothing.

    python -m tests.faults.checker --database-url postgresql+asyncpg://... --kafka HOST:PORT [--group ID]

prints a line for each finding, `INVARIANT: what is wrong`, and exits 1 if there is one. From a program:

    evidence = await read_evidence(database_url, kafka_bootstrap_servers, group_id)
    findings = check(evidence)                       # once all is quiet: nothing queued, running or unsent
    findings = check_while_running(evidence)         # what must hold at every moment

The invariants stand in invariants.py. What it takes to judge beyond one look at one system, a caller hands in:
`results_equal_a_quiet_run` compares with the digests of a run without faults, `replay_changed_nothing` two looks,
`no_process_left_over` takes a marker in the environment of all workers.
"""

import argparse
import asyncio
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import psutil

from schemas.topics import OUTPUT_TOPICS, Topic
from tests.faults import invariants, model_invariants, post_invariants, search_invariants
from tests.faults.evidence import Event, Evidence, read_evidence
from tests.faults.invariants import Invariant, first_appearances
from tests.faults.model_invariants import has_lost_calls


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that must not be."""

    invariant: str
    what: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.what}"


def check(evidence: Evidence) -> list[Finding]:
    """All findings about a system at rest. Empty: every invariant holds."""
    return _findings(evidence, (*_ALWAYS, *(each for module in _MODULES for each in module.AT_REST)))


def check_while_running(evidence: Evidence) -> list[Finding]:
    """Findings about a system at work."""
    return _findings(evidence, _ALWAYS)


_MODULES = (invariants, search_invariants, model_invariants, post_invariants)
_ALWAYS = tuple(each for module in _MODULES for each in module.AT_EVERY_MOMENT)


def _findings(evidence: Evidence, judged: Iterable[Invariant]) -> list[Finding]:
    return [Finding(invariant.__name__, what) for invariant in judged for what in invariant(evidence)]


def digests(evidence: Evidence) -> dict[str, str]:
    """Result digest by what was executed (the stored specification, without the strategy's id)."""
    return {_specification(evidence, event): event.data["result_digest"] for event in _completed(evidence)}


def results_equal_a_quiet_run(evidence: Evidence, quiet: Mapping[str, str]) -> list[Finding]:
    """Each completed run's result is that of the same specification in a run without faults, digest by digest; but of
    one that asks a model within a budget from which faults have taken calls.
    """
    name = results_equal_a_quiet_run.__name__
    found = []
    for event in _completed(evidence):
        expected = quiet.get(_specification(evidence, event))
        if event.data["result_digest"] != expected and not has_lost_calls(evidence, event.data["run_id"]):
            found.append(Finding(name, f"run {event.data['run_id']}: {event.data['result_digest']}, not {expected}"))
    return found


def searches_equal_a_quiet_one(evidence: Evidence, quiet: Mapping[str, str]) -> list[Finding]:
    """Each completed search's result is that of the same search without faults, digest by digest."""
    name = searches_equal_a_quiet_one.__name__
    return [
        Finding(name, f"{digest}, not {quiet.get(asked)}: {asked}")
        for asked, digest in search_invariants.search_digests(evidence).items()
        if quiet.get(asked) != digest
    ]


def failures_are_expected(evidence: Evidence, codes: Collection[str] = ()) -> list[Finding]:
    """No run failed, but with one of these codes: none of the load's runs fails by itself."""
    ends = [*evidence.events(Topic.COMPLETED), *evidence.events(Topic.OPTIMIZATION_COMPLETED)]
    failed = [event for event in first_appearances(ends) if event.kind == "failed"]
    return [
        Finding(failures_are_expected.__name__, f"{event.id}: {event.data['error']}")
        for event in failed
        if event.data["error"]["code"] not in codes
    ]


def replay_changed_nothing(before: Evidence, after: Evidence) -> list[Finding]:
    """A second reading of all input started no run, wrote no row and emitted no event; dead letters may come again."""
    name = replay_changed_nothing.__name__
    of_searches = ("search_requests", "searches", "shards", "optimizations")
    tables = ("requests", "executions", "runs", "trades", "cancels", *of_searches)
    changed = [table for table in tables if getattr(before, table) != getattr(after, table)]
    found = [Finding(name, f"{table} changed") for table in changed]
    for topic in OUTPUT_TOPICS:
        if topic is Topic.DEAD_LETTER:
            continue
        new = len(after.records.get(topic, ())) - len(before.records.get(topic, ()))
        if new:
            found.append(Finding(name, f"{new} new events on {topic}"))
    return found


def no_process_left_over(marker: str) -> list[Finding]:
    """No process carries `marker` (NAME=value) in its environment: call it when all workers have ended, 2 s later."""
    name = no_process_left_over.__name__
    return [Finding(name, f"process {process.pid}: {process.title}") for process in processes_with(marker)]


@dataclass(frozen=True, slots=True)
class Running:
    """A process that is there."""

    pid: int
    title: str


def processes_with(marker: str) -> list[Running]:
    """Processes with this variable in their environment, this one left out; zombies have none."""
    variable, _, value = marker.partition("=")
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != psutil.Process().pid and process.environ().get(variable) == value:
                found.append(Running(process.pid, " ".join(process.cmdline())[:100]))
        except psutil.Error:
            continue
    return found


def _completed(evidence: Evidence) -> list[Event]:
    found = [event for event in evidence.events(Topic.COMPLETED) if event.kind == "completed"]
    return first_appearances(found)


def _specification(evidence: Evidence, event: Event) -> str:
    stored = json.loads(evidence.requests[event.data["request_id"]]["specification"])
    return json.dumps(stored["engine"], sort_keys=True)


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database-url", required=True)
    parser.add_argument("--kafka", required=True, help="bootstrap servers")
    parser.add_argument("--group", default="backtest-consumer")
    parser.add_argument("--running", action="store_true", help="judge a system at work")
    options = parser.parse_args()
    evidence = asyncio.run(read_evidence(options.database_url, options.kafka, options.group))
    findings = check_while_running(evidence) if options.running else check(evidence)
    for finding in findings:
        print(finding)
    print(f"{len(evidence.requests)} requests, {len(evidence.executions)} runs, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    raise SystemExit(main())
