"""A worker that does nothing but run engine tasks: `python -m tests.consumer.adapters.engine_pool.worker TASK_JSON...`.

Prints `pid N` for each child once all tasks are under way, then each task's outcome by name as it comes.
"""

import asyncio
import json
import sys

from consumer.adapters.engine_pool.pool import EngineProcesses
from tests.consumer.pools import Started, settings, until


async def main() -> None:
    tasks = [json.loads(each) for each in sys.argv[1:]]
    async with EngineProcesses(settings(slots=len(tasks), run_timeout_seconds=5)) as pool:
        runs = [Started(pool, **each) for each in tasks]
        await until(lambda: all(each.progress or each.run.done() for each in runs))
        for pid in pool.child_pids:
            print("pid", pid, flush=True)
        for each in asyncio.as_completed([each.run for each in runs]):
            print(type(await each).__name__, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
