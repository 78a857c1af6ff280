"""Only the intake of a worker: from Kafka into the tables, no slot, no claim. Run by `intake`, settings as a worker's.

Prints one JSON line a batch: monotonic second, records.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

import uvloop

from consumer.adapters.engine_pool.checkers import StrategyCheckers
from consumer.adapters.files.instruments import read_instruments
from consumer.adapters.kafka.connection import kafka_connection
from consumer.adapters.kafka.publisher import KafkaPublisher
from consumer.adapters.kafka.source import KafkaSource
from consumer.adapters.postgres.journal import PostgresJournal
from consumer.adapters.postgres.outbox import PostgresOutbox
from consumer.adapters.postgres.pool import open_pool
from consumer.clock import SystemClock
from consumer.intake import Intake
from consumer.logging_setup import set_up_logging
from consumer.outbox_relay import OutboxRelay
from consumer.ports import Admit, CancelToRecord, IntakeResult, OutgoingEvent, RequestToRecord
from consumer.rules.admission import Admission
from consumer.rules.events import EventRenderer
from consumer.rules.search_admission import SearchAdmission
from consumer.settings import Settings, load_settings
from consumer.telemetry import Telemetry
from consumer.wiring.searches import postgres_searches
from consumer.wiring.worker import engine_settings, keep_for_good


@dataclass(frozen=True, slots=True)
class TellingJournal:
    """Implements `RequestJournal`: the real one, telling of each batch."""

    journal: PostgresJournal

    async def record_batch(
        self,
        requests: Sequence[RequestToRecord],
        cancels: Sequence[CancelToRecord],
        dead_letters: Sequence[OutgoingEvent],
        admit: Admit,
    ) -> IntakeResult:
        result = await self.journal.record_batch(requests, cancels, dead_letters, admit)
        print(json.dumps([time.perf_counter(), len(requests)]), flush=True)
        return result

    async def record_waiting(self, admit: Admit) -> IntakeResult:
        return await self.journal.record_waiting(admit)

    async def queued_count(self) -> int:
        return await self.journal.queued_count()


async def main() -> None:
    settings = load_settings(Settings)
    set_up_logging(settings)
    clock, telemetry, connection = SystemClock(), Telemetry(), kafka_connection(settings)
    writer = EventRenderer(source=f"backtest-consumer/{settings.kafka_group_id}", clock=clock)
    async with (
        open_pool(settings.database_url.get_secret_value(), max_connections=4, name="intake") as pool,
        StrategyCheckers(engine_settings(settings), settings.strategy_load_seconds) as checkers,
    ):
        publisher = KafkaPublisher(connection, "intake", SystemClock())
        relay = OutboxRelay(PostgresOutbox(pool, "intake", 15.0), publisher, telemetry, clock, 15.0)
        _, searches = postgres_searches(pool, writer, clock, "intake", settings)
        admission = Admission(read_instruments(settings.instruments_file), settings.account_currency)
        keep_for_good()
        await Intake(
            source=KafkaSource(connection, settings.kafka_group_id),
            journal=TellingJournal(PostgresJournal(pool, writer, "intake", 15.0)),
            searches=searches,
            relay=relay,
            writer=writer,
            judge=admission,
            judge_search=SearchAdmission(admission, settings.max_combinations),
            checker=checkers,
            telemetry=telemetry,
            work_arrived=asyncio.Event(),
            max_queued=settings.max_queued,
            clock=clock,
        ).run()


if __name__ == "__main__":
    uvloop.run(main())
