"""The service's borders: Protocols, each with the guarantees that its implementations are tested for.

A module a border; the values that cross it stand beside its Protocol. Everybody imports from here. The tests are in
tests/consumer/ports.
"""

from consumer.ports.clock import Clock
from consumer.ports.engine import EnginePool, EngineProgress, EngineTask, StopSignal
from consumer.ports.event_writer import EventWriter
from consumer.ports.events import Delivery, EventKind, Outbox, OutgoingEvent, Publisher, RunFacts, SendResult
from consumer.ports.intake import (
    Admit,
    Admitted,
    CancelToRecord,
    Decision,
    IntakeResult,
    Refused,
    RequestJournal,
    RequestToRecord,
    RunRow,
    StrategyRow,
    Unchecked,
    Undecided,
)
from consumer.ports.queue import (
    Beat,
    BeatAnswer,
    BeatResult,
    Claim,
    ClaimResult,
    EndedRun,
    FinishResult,
    LapsedLease,
    RunQueue,
)
from consumer.ports.records import Batch, Record, RecordSource
from consumer.ports.strategies import StrategyCheck, StrategyChecker, Verdict

__all__ = [
    "Admit",
    "Admitted",
    "Batch",
    "Beat",
    "BeatAnswer",
    "BeatResult",
    "CancelToRecord",
    "Claim",
    "ClaimResult",
    "Clock",
    "Decision",
    "Delivery",
    "EndedRun",
    "EnginePool",
    "EngineProgress",
    "EngineTask",
    "EventKind",
    "EventWriter",
    "FinishResult",
    "IntakeResult",
    "LapsedLease",
    "Outbox",
    "OutgoingEvent",
    "Publisher",
    "Record",
    "RecordSource",
    "Refused",
    "RequestJournal",
    "RequestToRecord",
    "RunFacts",
    "RunQueue",
    "RunRow",
    "SendResult",
    "StopSignal",
    "StrategyCheck",
    "StrategyChecker",
    "StrategyRow",
    "Unchecked",
    "Undecided",
    "Verdict",
]
