"""What the worker tells of itself: Prometheus metrics, in a registry of their own, and what readiness means."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

RUN_SECONDS_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 1800, 3600)
CALL_SECONDS_BUCKETS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 30, 60, 120)


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Counters by outcome; every name starts with `backtest_`."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    _records: Counter = field(init=False)
    _removed: Counter = field(init=False)
    _runs: Counter = field(init=False)
    _seconds: Histogram = field(init=False)
    _events: Counter = field(init=False)
    _queued: Gauge = field(init=False)
    _active: Gauge = field(init=False)
    _refused: Gauge = field(init=False)
    _searches: Counter = field(init=False)
    _calls: Counter = field(init=False)
    _call_seconds: Histogram = field(init=False)
    _tokens: Counter = field(init=False)
    _cost: Counter = field(init=False)

    def __post_init__(self) -> None:
        made = {
            "_records": Counter("backtest_records", "Input records by outcome.", ["outcome"], registry=self.registry),
            "_removed": Counter(
                "backtest_records_removed_unread",
                "Input records that the topic's retention removed before they were read.",
                registry=self.registry,
            ),
            "_runs": Counter(
                "backtest_runs_finished", "Runs ended here by outcome.", ["outcome"], registry=self.registry
            ),
            "_seconds": Histogram(
                "backtest_run_seconds",
                "Seconds from claim to end.",
                registry=self.registry,
                buckets=RUN_SECONDS_BUCKETS,
            ),
            "_events": Counter("backtest_events_published", "Events by kind.", ["kind"], registry=self.registry),
            "_queued": Gauge("backtest_queued_runs", "Runs queued in the database.", registry=self.registry),
            "_active": Gauge("backtest_active_runs", "Runs held by this worker.", registry=self.registry),
            "_refused": Gauge(
                "backtest_events_refused",
                "Events that wait here because their topic does not take them.",
                ["topic"],
                registry=self.registry,
            ),
            "_searches": Counter(
                "backtest_searches_finished", "Searches ended here by outcome.", ["outcome"], registry=self.registry
            ),
            "_calls": Counter(
                "backtest_llm_calls",
                "Calls to language models that ended here: answered, failed (sent again, where the budget allows) or"
                " refused.",
                ["model", "outcome"],
                registry=self.registry,
            ),
            "_call_seconds": Histogram(
                "backtest_llm_call_seconds",
                "Seconds from sending a call to its end.",
                ["model"],
                registry=self.registry,
                buckets=CALL_SECONDS_BUCKETS,
            ),
            "_tokens": Counter(
                "backtest_llm_tokens", "Tokens of answered calls.", ["model", "direction"], registry=self.registry
            ),
            "_cost": Counter(
                "backtest_llm_cost",
                "Of answered calls whose price is known, account currency.",
                ["model"],
                registry=self.registry,
            ),
        }
        for name, metric in made.items():
            object.__setattr__(self, name, metric)

    def records_recorded(self, outcomes: Mapping[str, int]) -> None:
        for outcome, count in outcomes.items():
            self._records.labels(outcome).inc(count)

    def records_removed(self, count: int) -> None:
        self._removed.inc(count)

    def run_finished(self, outcome: str, seconds: float) -> None:
        self._runs.labels(outcome).inc()
        self._seconds.observe(seconds)

    def search_finished(self, outcome: str) -> None:
        self._searches.labels(outcome).inc()

    def call_ended(self, model: str, outcome: str, seconds: float) -> None:
        """Count a call to a language model that was sent and has ended."""
        self._calls.labels(model, outcome).inc()
        self._call_seconds.labels(model).observe(seconds)

    def call_answered(self, model: str, input_tokens: int, output_tokens: int, cost: float) -> None:
        self._tokens.labels(model, "input").inc(input_tokens)
        self._tokens.labels(model, "output").inc(output_tokens)
        self._cost.labels(model).inc(cost)

    def event_published(self, kind: str) -> None:
        self._events.labels(kind).inc()

    def events_refused(self, topic: str, count: int) -> None:
        self._refused.labels(topic).set(count)

    def queue_length(self, queued: int) -> None:
        self._queued.set(queued)

    def runs_active(self, count: int) -> None:
        self._active.set(count)
