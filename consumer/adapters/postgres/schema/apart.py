"""Looks at the schema in a process of its own: a worker needs SQLAlchemy and Alembic, 30 MB, at its start and never
again.

python -P -m consumer.adapters.postgres.schema.apart    on stdin a line a look, [number, URL]: nobody reads its password
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from consumer.errors import StartFailed, StoreUnavailable

MODULE: Final = "consumer.adapters.postgres.schema.apart"
_TOLD: Final = {each.__name__: each for each in (StoreUnavailable, StartFailed)}

CheckSchema = Callable[[str], Awaitable[None]]
"""As `migrating.check_schema` of a URL, whose notes are left there. Raises StoreUnavailable, StartFailed."""


@asynccontextmanager
async def looking_apart() -> AsyncIterator[CheckSchema]:
    """Begins once the process has loaded what it needs, and ends with it."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", MODULE),
        stdin=pipe,
        stdout=pipe,
        # Modules are looked for where this process finds them.
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    to_process, from_process = process.stdin, process.stdout
    looks = 0

    async def check(database_url: str) -> None:
        nonlocal looks
        looks += 1
        to_process.write(f"{json.dumps([looks, database_url])}\n".encode())
        number, kind, message = 0, "", ""
        while number != looks:  # else that of a look that was given up
            number, kind, message = json.loads(await _line(from_process))
        if kind:
            raise _TOLD[kind](message)

    try:
        await _line(from_process)
        yield check
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _line(stream: asyncio.StreamReader) -> bytes:
    line = await stream.readline()
    if not line:
        raise StartFailed("the process that looks at the tables ended")
    return line


def main() -> None:
    from consumer.adapters.postgres.schema.migrating import check_schema  # here: it is what this module is for

    _tell([0, "", ""])
    for line in sys.stdin:
        number, database_url = json.loads(line)
        try:
            asyncio.run(check_schema(database_url))
            _tell([number, "", ""])
        except StoreUnavailable as error:
            _tell([number, StoreUnavailable.__name__, str(error)])
        except StartFailed as error:
            _tell([number, StartFailed.__name__, str(error)])


def _tell(answer: list[object]) -> None:
    sys.stdout.write(f"{json.dumps(answer)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
