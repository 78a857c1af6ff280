"""The tables of calls to language models; only this program uses them. See `schema.tables`."""

from typing import Final

from sqlalchemy import (
    CheckConstraint,
    Column,
    DateTime,
    Float,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    func,
    text,
)

from consumer.adapters.postgres.schema.base import metadata

# One row a call, there before the call is sent. Kept whatever becomes of its run: the answer was paid for.
backtest_llm_calls: Final = Table(
    "backtest_llm_calls",
    metadata,
    Column("run_id", Integer, nullable=False, autoincrement=False),
    # From 1 within the run, over all its attempts; never above its max_llm_calls.
    Column("number", Integer, nullable=False, autoincrement=False),
    # Of the claim under which it was sent.
    Column("epoch", Integer, nullable=False),
    # Open time of the deciding bar.
    Column("bar_time", DateTime(timezone=True), nullable=False),
    # Of multi_agent; '' for the other modes.
    Column("role", Text, nullable=False, default="", server_default=""),
    # SHA-256 over model, settings and messages, which lie in an artefact of that name.
    Column("key", String(64), nullable=False),
    # provider:name.
    Column("model", Text, nullable=False),
    # asked (its answer is lost where nobody waits for it any more), answered, failed.
    Column("state", String(20), nullable=False, default="asked", server_default="asked"),
    # As the model gave it.
    Column("answer", Text),
    # Why it failed.
    Column("error", Text),
    Column("input_tokens", Integer),
    Column("output_tokens", Integer),
    # Account currency; null where no price is known.
    Column("cost", Float),
    Column("latency_ms", Integer),
    Column("asked_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    # When it was answered or failed: of several answers for one key the first counts.
    Column("settled_at", DateTime(timezone=True)),
    PrimaryKeyConstraint("run_id", "number", name="pk_backtest_llm_calls"),
    CheckConstraint("state IN ('asked', 'answered', 'failed')", name="ck_backtest_llm_calls_state"),
    CheckConstraint("number >= 1", name="ck_backtest_llm_calls_number"),
    CheckConstraint("(state = 'answered') = (answer IS NOT NULL)", name="ck_backtest_llm_calls_answer"),
    Index("idx_backtest_llm_calls_key", "key", postgresql_where=text("state = 'answered'")),
)

# Where runs of a specification ended their asking for want of budget though every call was answered: a repetition,
# whose answers cost nothing, stops at the same question.
backtest_llm_limits: Final = Table(
    "backtest_llm_limits",
    metadata,
    # SHA-256 of what the runs execute.
    Column("specification", String(64), nullable=False),
    # Of the question that did not fit any more.
    Column("key", String(64), nullable=False),
    PrimaryKeyConstraint("specification", "key", name="pk_backtest_llm_limits"),
)
