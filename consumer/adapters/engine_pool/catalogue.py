"""What strategies say of themselves, asked in a process of its own. Implements `StrategyCatalogue`."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from consumer.adapters.engine_pool.settings import EngineProcessSettings
from consumer.adapters.engine_pool.spawn import child_environment
from consumer.installed.registry import Installed, installed, registered_strategies
from consumer.ports.strategies import StrategyDescription

REMEMBERED_SECONDS: Final = 30.0
LINE_BYTES: Final = 4 * 1_048_576
"""Of one description."""


@dataclass(slots=True)
class ProcessCatalogue:
    """load_seconds: for one strategy to be imported."""

    settings: EngineProcessSettings
    load_seconds: float
    known: dict[str, StrategyDescription] = field(default_factory=dict, init=False)
    known_of: tuple[Installed, float] | None = field(default=None, init=False)
    asking: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    def registered(self) -> Collection[str]:
        return registered_strategies().keys()

    async def describe(self, keys: Collection[str]) -> Sequence[StrategyDescription]:
        registered = registered_strategies()
        wanted = [key for key in registered if key in keys]
        async with self.asking:  # one process for all who ask at once
            self._forget_old()
            missing = [key for key in wanted if key not in self.known]
            while missing:
                for told in await self._ask(missing):
                    key = str(told.pop("key"))
                    self.known[key] = StrategyDescription(key, registered[key].distribution, **told)
                missing = [key for key in missing if key not in self.known]
        return [self.known[key] for key in wanted]

    def _forget_old(self) -> None:
        now = asyncio.get_running_loop().time()
        state = installed()
        if self.known_of is None or self.known_of[0] != state or now - self.known_of[1] > REMEMBERED_SECONDS:
            self.known.clear()
            self.known_of = (state, now)

    async def _ask(self, keys: Sequence[str]) -> list[dict[str, Any]]:
        """What one process tells: of all keys, or up to the first that hangs or ends it, and of that one so."""
        reading, writing = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "consumer.adapters.engine_pool.describing", str(writing), *keys),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=2,
                pass_fds=(writing,),
                start_new_session=True,
                env=child_environment(self.settings, "describing"),
            )
        finally:
            os.close(writing)
        told: list[dict[str, Any]] = []
        reader = asyncio.StreamReader(limit=LINE_BYTES)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(reading, "rb")
        )
        try:
            for key in keys:
                trouble = "its code ended the process that imported it"
                try:
                    async with asyncio.timeout(self.load_seconds):
                        line = await reader.readline()
                except TimeoutError:
                    line, trouble = b"", f"its code was not imported within {self.load_seconds:g} s"
                except ValueError:
                    line, trouble = b"", "its description is too long"
                if not line:
                    told.append({"key": key, "trouble": trouble})
                    break
                told.append(json.loads(line))
        finally:
            transport.close()
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        return told
