"""What engine processes are told at their start; apart because both sides read it, plain enough to travel as JSON."""

from dataclasses import dataclass, field

ENGINE_PROGRAM = "consumer.wiring.engine_program:open_engine"
"""The function that a child calls once, with these settings; it returns the function that executes tasks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineProcessSettings:
    """Engine processes of one worker."""

    slots: int
    """Children, and so runs at a time."""
    market_data_url: str
    artifacts_url: str
    instruments_file: str | None = None
    memory_mb: int = 4096
    """Of one child with all it starts."""
    run_timeout_seconds: float = 3600.0
    advice_timeout_seconds: float = 86_400.0
    """For which a run may wait for answers of language models, in all; not counted above."""
    threads: int = 1
    """Of polars and its kind within a child: cores / slots, at least 1."""
    start_timeout_seconds: float = 120.0
    """For a child to become warm; a first start compiles the kernels."""
    store_patience_seconds: float = 30.0
    """For which a run waits for market data or artefact stores that are away, before it fails."""
    environment: dict[str, str] = field(default_factory=dict)
    """Set for the children, over the worker's own environment."""
    program: str = ENGINE_PROGRAM
