"""Mutation testing of the fill kernel, money and metrics: how many small mistakes do the tests notice? `make mutants`.

    python -m tests.mutation.campaign --sample 110 --module kernel.levels
    python -m tests.mutation.campaign --again mutants/verdicts.jsonl --thorough --runs 1000 --out mutants/again.jsonl

Each mutant is tried in a forked process and gets one line of JSON in `--out`; what is there already is not tried again,
so that a campaign may be stopped, and continued with a larger sample. docs/mutation.md says what came of it.
"""

import argparse
import json
import math
import os
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.mutation.checks import Checks, Killer, killer_of, prepare, put_in
from tests.mutation.mutants import Mutant, Place, mutate, places, sample_of
from tests.mutation.targets import MODULES

EXIT_CODES: dict[Killer | None, int] = {None: 0, "golden": 11, "reference": 12, "unit test": 13, "import": 14}


@dataclass(frozen=True, slots=True)
class Verdict:
    """killed_by: the first kind of check that noticed the mutant, "time" when it did not end; None for a survivor."""

    module: str
    operator: str
    occurrence: int
    line: int
    killed_by: str | None
    change: str

    @property
    def place(self) -> Place:
        return Place(self.module, self.operator, self.occurrence, self.line)


def main() -> None:
    options = _options()
    checks = prepare(options.seed, options.runs)
    if (failing := _judge(checks, "results.metrics", options.thorough, None)) is not None:
        sys.exit(f"the checks fail without any mutant: {failing}")
    verdicts = read_verdicts(options.out)
    tried = {verdict.place for verdict in verdicts}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("a", encoding="utf-8") as out:
        for place in _chosen(options):
            mutant = None if place in tried else mutate(place)
            if mutant is None:
                continue
            killed_by = _judge(checks, place.module, options.thorough, mutant)
            verdict = Verdict(**asdict(place), killed_by=killed_by, change=mutant.change)
            verdicts.append(verdict)
            print(json.dumps(asdict(verdict)), file=out, flush=True)
    print("\n".join(summary(verdicts)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--module", action="append", choices=MODULES, help="may be repeated; all by default")
    parser.add_argument("--sample", type=int, default=sys.maxsize, help="mutants of each module; all by default")
    parser.add_argument("--seed", type=int, default=1, help="of the sample and of the random runs")
    parser.add_argument("--runs", type=int, default=150, help="random runs that a mutant has to get through")
    parser.add_argument("--thorough", action="store_true", help="the slow unit tests too")
    parser.add_argument("--again", type=Path, help="try the survivors among these verdicts")
    parser.add_argument("--out", type=Path, default=Path("mutants/verdicts.jsonl"))
    return parser.parse_args()


def read_verdicts(path: Path) -> list[Verdict]:
    """Return what was written before, nothing without a file."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [Verdict(**json.loads(line)) for line in lines]


def _chosen(options: argparse.Namespace) -> Iterator[Place]:
    if options.again:
        yield from (verdict.place for verdict in read_verdicts(options.again) if verdict.killed_by is None)
    else:
        for module in options.module or MODULES:
            yield from sample_of(places(module), options.sample, options.seed)


def _judge(checks: Checks, module: str, thorough: bool, mutant: Mutant | None) -> str | None:
    """Try a mutant (None: the engine as it is) in a forked process; return what noticed it."""
    child = os.fork()
    if child == 0:
        killer: Killer | None = "import"
        try:
            if mutant is not None:
                put_in(mutant)
            killer = killer_of(checks, module, thorough)
        except BaseException:
            if mutant is None:
                traceback.print_exc()
        finally:
            # Not sys.exit: the parent's cleaning up is not the child's.
            os._exit(EXIT_CODES[killer])
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "time" if os.WTERMSIG(status) == signal.SIGPROF else f"signal {os.WTERMSIG(status)}"
    return next(killer for killer, code in EXIT_CODES.items() if code == os.WEXITSTATUS(status))


def summary(verdicts: list[Verdict]) -> Iterator[str]:
    """Yield a table: mutants and killed of each module, and the score with its 95 % interval."""
    yield "| module | mutants | killed | score | 95 % |"
    yield "|---|---|---|---|---|"
    for module in (*MODULES, "all"):
        counts = Counter(each.killed_by is not None for each in verdicts if module in (each.module, "all"))
        if counts.total():
            low, high = _wilson(counts[True], counts.total())
            score = counts[True] / counts.total()
            yield f"| {module} | {counts.total()} | {counts[True]} | {score:.1%} | {low:.1%} to {high:.1%} |"


def _wilson(hits: int, count: int) -> tuple[float, float]:
    """Source: Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927."""
    z, share = 1.959964, hits / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    reach = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return middle - reach, middle + reach


if __name__ == "__main__":
    main()
