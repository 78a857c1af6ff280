"""The checker is shown to work: a campaign for each guard that is taken out, which must fail, naming the invariant.

    make guards        or        python -m tests.faults.guards --seed 1 [--guard fencing]

prints the table that stands in docs/guarantees.md: guard, invariant, faults until caught.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.faults.campaign import Plan, Report, run_campaign
from tests.faults.guards_removed import GUARDS

MOST_FAULTS = 80
EXPECTED = {
    "fencing": {"no_write_below_the_highest_epoch", "attempts_never_fall"},
    "shard fencing": {"no_combination_is_counted_twice", "no_search_is_left_undone", "one_end_of_search"},
    "outbox": {"one_terminal_event", "no_write_below_the_highest_epoch", "every_poison_record_is_kept"},
    "idempotent insert": {"a_request_has_one_run", "committed_offsets_are_durable", "no_record_is_lost"},
    "offset after durability": {"committed_offsets_are_durable", "no_record_is_lost"},
    "terminal once": {"one_terminal_event", "one_terminal_row"},
    "child clean-up": {"no_process_left_over"},
    "call before sending": {"every_call_to_a_model_is_in_the_ledger"},
    "budget of all attempts": {"no_run_calls_beyond_its_budget"},
    "posted record": {"every_posted_request_went_out"},
    "known record": {"every_poison_record_is_kept"},
    "commit before answer": {"no_accepted_post_is_lost"},
    "key as id": {"a_key_has_one_run", "no_accepted_post_is_lost"},
}
"""By guard, the invariants that say what is missing; others may break besides."""
OF_POSTS = {"posted record", "known record", "commit before answer", "key as id"}


async def until_caught(guard: str, seed: int, directory: Path) -> Report:
    """Run a campaign without the guard, in small rounds, until the checker notices."""
    plan = Plan(
        seed,
        MOST_FAULTS,
        minutes=20,
        faults_a_round=4,
        sent_a_fault=6,
        mix="posts" if guard in OF_POSTS else "all",
        without=guard,
        settle_seconds=60,
        two_at_once=0.6,  # what a guard is for often takes two
        quiet_first=False,
    )
    return await run_campaign(plan, directory, lambda line: print(line, file=sys.stderr, flush=True))


def names(report: Report) -> list[str]:
    """The invariants that were found broken, each once, in the checker's order."""
    return list(dict.fromkeys(finding.invariant for finding in report.findings))


def main(arguments: Sequence[str] | None = None) -> int:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--guard", choices=list(GUARDS), action="append", help="only this one; repeatable")
    options = parser.parse_args(arguments)
    unseen = []
    print("| guard taken out | invariant that names it | faults until caught |\n|---|---|---|", flush=True)
    for guard in options.guard or list(GUARDS):
        directory = Path(tempfile.mkdtemp(prefix="backtest-guards-"))
        report = asyncio.run(until_caught(guard, options.seed, directory))
        shutil.rmtree(directory)
        found = names(report)
        if not EXPECTED[guard] & set(found):
            unseen.append(guard)
        print(f"| {guard} | {', '.join(f'`{name}`' for name in found) or 'none'} | {len(report.faults)} |", flush=True)
        for finding in report.findings[:5]:
            print(f"    {finding}", file=sys.stderr, flush=True)
    if unseen:
        print(f"not noticed: {', '.join(unseen)}", file=sys.stderr)
    return 1 if unseen else 0


if __name__ == "__main__":
    raise SystemExit(main())
