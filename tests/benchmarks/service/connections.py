"""What a statement, a transaction and a new connection cost a worker, straight to Postgres and through PgBouncer.

python -m tests.benchmarks.service.connections --rounds 5
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable

from consumer.adapters.postgres.pool import SessionPool, open_pool, transaction
from consumer.devstack import devstack
from tests.benchmarks.service.report import table
from tests.support.pooler import PROGRAM, open_pooler

STRAIGHT, POOLER = "straight", "PgBouncer, by transaction"
REPEATS = 400


async def statement(pool: SessionPool) -> None:
    await pool.fetch("SELECT $1::int", 3)


async def two_in_a_transaction(pool: SessionPool) -> None:
    async with transaction(pool) as connection:
        await connection.fetch("SELECT $1::int", 3)
        await connection.fetch("SELECT 1 WHERE 3 = ANY($1::int[])", [3])


async def connection(pool: SessionPool) -> None:
    await pool.pool.expire_connections()
    await pool.fetch("SELECT 1")


STEPS: dict[Callable[[SessionPool], Awaitable[None]], int] = {
    statement: REPEATS,
    two_in_a_transaction: REPEATS,
    connection: REPEATS // 10,
}


async def measure(rounds: int) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """(way, step) -> (milliseconds, CPU milliseconds of this process) of each round; ways alternate."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    async with devstack(kafka=False) as stack, open_pooler(stack.database_url) as pooler:
        ways = {STRAIGHT: stack.database_url, POOLER: pooler.in_front_of(stack.database_url)}
        for number in range(rounds):
            for way in list(ways) if number % 2 else list(reversed(ways)):
                async with open_pool(ways[way], max_connections=1, name="bench") as pool:
                    for step, repeats in STEPS.items():
                        await step(pool)
                        began, cpu = time.perf_counter(), time.process_time()
                        for _ in range(repeats):
                            await step(pool)
                        cost = (time.perf_counter() - began, time.process_time() - cpu)
                        found.setdefault((way, step.__name__), []).append(
                            (1000 * cost[0] / repeats, 1000 * cost[1] / repeats)
                        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if PROGRAM is None:
        raise SystemExit("there is no pgbouncer (Debian has it)")
    rows = [
        (way, step.replace("_", " "), *(f"{statistics.median(values):.3f}" for values in zip(*costs, strict=True)))
        for (way, step), costs in asyncio.run(measure(options.rounds)).items()
    ]
    print(table(("way", "step", "ms", "CPU ms of the worker"), sorted(rows)))


if __name__ == "__main__":
    main()
