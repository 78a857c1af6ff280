"""The outbox in memory: what `postgres.outbox` does, without a server. Implements `Outbox`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from consumer.adapters.memory.tables import MemoryTables
from consumer.ports import OutgoingEvent


@dataclass(frozen=True, slots=True)
class MemoryOutbox:
    """One worker's view of the outbox in `tables`."""

    tables: MemoryTables
    owner: str
    lease_seconds: float

    async def delete(self, events: Sequence[OutgoingEvent]) -> None:
        async with self.tables.transaction():
            for row_id in self._rows(events):
                del self.tables.outbox[row_id]

    async def renew(self, events: Sequence[OutgoingEvent]) -> None:
        await self._lease(events, self.lease_seconds)

    async def release(self, events: Sequence[OutgoingEvent]) -> None:
        await self._lease(events, -0.001)

    async def adopt(self, limit: int, max_bytes: int) -> Sequence[OutgoingEvent]:
        async with self.tables.transaction():
            outbox = self.tables.outbox
            now = self.tables.clock.now_utc()
            lapsed = sorted((row_id for row_id in outbox if outbox[row_id]["lease_until"] < now), key=self._lease_until)
            first = self._that_fit(lapsed[:limit], max_bytes)
            runs = {outbox[row_id]["event"].run_id for row_id in first} - {None}
            whole = [row_id for row_id, row in outbox.items() if row_id in first or row["event"].run_id in runs]
            return self.tables.lease_events(whole, self.owner, self.lease_seconds)

    async def take_over(self, run_ids: Sequence[int]) -> Sequence[OutgoingEvent]:
        async with self.tables.transaction():
            return self.tables.take_over(run_ids, self.owner, self.lease_seconds)

    def _that_fit(self, row_ids: Sequence[int], max_bytes: int) -> list[int]:
        fitting, size = [], 0
        for row_id in row_ids:
            if size >= max_bytes:
                break
            fitting.append(row_id)
            size += len(self.tables.outbox[row_id]["event"].value or b"")
        return fitting

    async def _lease(self, events: Sequence[OutgoingEvent], seconds: float) -> None:
        async with self.tables.transaction():
            own = [row_id for row_id in self._rows(events) if self.tables.outbox[row_id]["owner"] == self.owner]
            self.tables.lease_events(own, self.owner, seconds)

    def _rows(self, events: Iterable[OutgoingEvent]) -> list[int]:
        """Rows that still hold these very events: a progress row may hold a newer one by now."""
        outbox = self.tables.outbox
        return [
            event.row_id
            for event in events
            if event.row_id in outbox and outbox[event.row_id]["event"].sequence == event.sequence
        ]

    def _lease_until(self, row_id: int) -> float:
        return float(self.tables.outbox[row_id]["lease_until"].timestamp())
