"""The tables of searches: `optimization_runs`, shared with other services, and this program's own two beside it."""

from datetime import datetime
from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Float,
    ForeignKeyConstraint,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    func,
    text,
    true,
)
from sqlalchemy.orm import Mapped, mapped_column

from consumer.adapters.postgres.schema.base import Base, metadata, now_utc


class OptimizationRun(Base):
    """One search: what is varied, how far it is and, once completed, what is best and how much of it is luck."""

    __tablename__ = "optimization_runs"
    __table_args__ = (
        PrimaryKeyConstraint("id", name="pk_optimization_runs"),
        ForeignKeyConstraint(["strategy_id"], ["strategies.id"], name="fk_optimization_strategy", ondelete="CASCADE"),
        Index("idx_optimization_strategy", "strategy_id"),
        Index("idx_optimization_created", "created_at"),
    )

    id: Mapped[int] = mapped_column(Integer)
    strategy_id: Mapped[int] = mapped_column(Integer)
    symbol: Mapped[str] = mapped_column(String(20))
    timeframe: Mapped[str] = mapped_column(String(10))
    #: Inclusive.
    start_date: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    #: Exclusive.
    end_date: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    initial_balance: Mapped[float] = mapped_column(Float, default=10000.0, server_default=text("10000.0"))
    spread_pips: Mapped[float] = mapped_column(Float, default=1.5, server_default=text("1.5"))
    execution_mode: Mapped[str] = mapped_column(String(20), default="close_price", server_default="close_price")
    commission_per_lot: Mapped[float] = mapped_column(Float, default=0.0, server_default=text("0.0"))
    tp_partial_close_ratio: Mapped[float] = mapped_column(Float, default=0.5, server_default=text("0.5"))
    context_tfs: Mapped[str] = mapped_column(Text, default="[]", server_default="[]")
    #: Lots; over the strategy's.
    volume: Mapped[float | None] = mapped_column(Float)
    #: Over the strategy's.
    risk_pct: Mapped[float | None] = mapped_column(Float)
    #: grid, random, tpe.
    method: Mapped[str] = mapped_column(String(20), default="grid", server_default="grid")
    #: JSON object: the space.
    param_grid: Mapped[str] = mapped_column(Text)
    #: Combinations of random and tpe.
    samples: Mapped[int | None] = mapped_column(Integer)
    seed: Mapped[int] = mapped_column(Integer, default=0, server_default=text("0"))
    optimize_metric: Mapped[str] = mapped_column(String(40), default="sharpe_ratio", server_default="sharpe_ratio")
    min_trades: Mapped[int] = mapped_column(Integer, default=30, server_default=text("30"))
    #: Slots of all workers together that work on it at once; null: any.
    max_workers: Mapped[int | None] = mapped_column(Integer)
    #: JSON object; null: one search over the whole range.
    walk_forward: Mapped[str | None] = mapped_column(Text)
    #: pending, running, completed, failed, cancelled.
    status: Mapped[str] = mapped_column(String(20), default="pending", server_default="pending")
    progress_pct: Mapped[int] = mapped_column(Integer, default=0, server_default=text("0"))
    error_message: Mapped[str | None] = mapped_column(Text)
    #: This and the two below: times folds, where there are any.
    total_combinations: Mapped[int] = mapped_column(Integer, default=0, server_default=text("0"))
    #: Failed ones too.
    completed_combinations: Mapped[int] = mapped_column(Integer, default=0, server_default=text("0"))
    failed_combinations: Mapped[int] = mapped_column(Integer, default=0, server_default=text("0"))
    #: JSON; null: no combination has min_trades and a value.
    best_params: Mapped[str | None] = mapped_column(Text)
    best_value: Mapped[float | None] = mapped_column(Float)
    #: A row of backtest_runs with the best parameters.
    best_run_id: Mapped[int | None] = mapped_column(Integer)
    #: JSON.
    robust_params: Mapped[str | None] = mapped_column(Text)
    #: JSON: the best 100.
    results: Mapped[str | None] = mapped_column(Text)
    #: Parquet, every combination.
    results_file_path: Mapped[str | None] = mapped_column(Text)
    #: JSON.
    statistics: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=now_utc, server_default=func.now())
    started_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    completed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


optimization_runs: Final[Table] = metadata.tables["optimization_runs"]

# Where an accepted search stands: one row each, locked by whoever takes or ends a step of it.
backtest_searches: Final = Table(
    "backtest_searches",
    metadata,
    Column("optimization_id", Integer, nullable=False, autoincrement=False),
    Column("request_id", String(255), nullable=False),
    Column("source", Text, nullable=False),
    # queued, running, completed, failed, cancelled.
    Column("state", String(20), nullable=False, default="queued", server_default="queued"),
    # Whether its request named the row: a cancel by number counts for it only then.
    Column("is_named", Boolean, nullable=False, default=True, server_default=true()),
    Column("max_workers", Integer),
    # Per search, strictly rising; that of its last event.
    Column("sequence", BigInteger, nullable=False, default=0, server_default=text("0")),
    Column("progress_pct", Integer, nullable=False, default=0, server_default=text("0")),
    # Shards there are; the next one's number.
    Column("shards", Integer, nullable=False, default=0, server_default=text("0")),
    # Combinations, times folds: all; those that may be given out (tpe asks batch by batch); those given out.
    Column("total", BigInteger, nullable=False, default=0, server_default=text("0")),
    Column("released", BigInteger, nullable=False, default=0, server_default=text("0")),
    Column("given", BigInteger, nullable=False, default=0, server_default=text("0")),
    # Results that count: all, failed ones among them.
    Column("done", BigInteger, nullable=False, default=0, server_default=text("0")),
    Column("failed", BigInteger, nullable=False, default=0, server_default=text("0")),
    # Of one slot, measured: seconds a combination; null: not yet.
    Column("pace_seconds", Float),
    # JSON: what the first step found out, and what later ones add to it.
    Column("plan", Text),
    # Best so far, for progress.
    Column("best_value", Float),
    Column("best_params", Text),
    Column("queued_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("started_at", DateTime(timezone=True)),
    # Of the last progress event.
    Column("reported_at", DateTime(timezone=True)),
    Column("finished_at", DateTime(timezone=True)),
    Column("result_digest", String(64)),
    Column("engine_version", String(40)),
    PrimaryKeyConstraint("optimization_id", name="pk_backtest_searches"),
    CheckConstraint(
        "state IN ('queued', 'running', 'completed', 'failed', 'cancelled')", name="ck_backtest_searches_state"
    ),
    CheckConstraint("done <= given AND given <= released AND released <= total", name="ck_backtest_searches_counts"),
    Index("idx_backtest_searches_open", "optimization_id", postgresql_where=text("state IN ('queued', 'running')")),
    Index("idx_backtest_searches_request", "request_id"),
)

# One step of a search that one slot takes: a range of its combinations, or what comes before, between and after them.
backtest_search_shards: Final = Table(
    "backtest_search_shards",
    metadata,
    Column("optimization_id", Integer, nullable=False, autoincrement=False),
    Column("number", Integer, nullable=False, autoincrement=False),
    # survey, range, ask, gather.
    Column("kind", String(10), nullable=False),
    # Of a range: the first combination, and the one after the last.
    Column("first", BigInteger, nullable=False, default=0, server_default=text("0")),
    Column("last", BigInteger, nullable=False, default=0, server_default=text("0")),
    # queued, running, done; dropped: split into others, or its search ended.
    Column("state", String(20), nullable=False, default="queued", server_default="queued"),
    # Fences: rises with every claim.
    Column("epoch", Integer, nullable=False, default=0, server_default=text("0")),
    # Of children and workers under it.
    Column("deaths", Integer, nullable=False, default=0, server_default=text("0")),
    Column("owner", Text),
    Column("lease_until", DateTime(timezone=True)),
    # Parquet.
    Column("results_file", Text),
    # Of a single combination that ended its process or took too long: `code: message`, in place of a file.
    Column("error", Text),
    PrimaryKeyConstraint("optimization_id", "number", name="pk_backtest_search_shards"),
    CheckConstraint("kind IN ('survey', 'range', 'ask', 'gather')", name="ck_backtest_search_shards_kind"),
    CheckConstraint("state IN ('queued', 'running', 'done', 'dropped')", name="ck_backtest_search_shards_state"),
    CheckConstraint(
        "state <> 'running' OR (owner IS NOT NULL AND lease_until IS NOT NULL)", name="ck_backtest_search_shards_lease"
    ),
    Index(
        "idx_backtest_search_shards_open",
        "optimization_id",
        "number",
        postgresql_where=text("state IN ('queued', 'running')"),
    ),
)
