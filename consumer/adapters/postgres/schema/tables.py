"""The tables in Postgres: four shared with other services, the rest this program's own; searches' lie beside.

Apart from the queries so that models, migrations and `backtest migrate` are held to one definition. Defaults are given
twice, in Python and in the database: other services insert rows too. No table of this program's own has a foreign key
into the shared ones, so that deleting a run never deletes the memory of its request.
"""

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
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    func,
    text,
    true,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from consumer.adapters.postgres.schema.base import Base, metadata, now_utc
from consumer.adapters.postgres.schema.llm_tables import backtest_llm_calls, backtest_llm_limits
from consumer.adapters.postgres.schema.search_tables import (
    backtest_search_shards,
    backtest_searches,
    optimization_runs,
)

VERSION_TABLE: Final = "backtest_consumer_version"
"""Where Alembic keeps the revision; named so that another service's Alembic in the same database is not disturbed."""


class Strategy(Base):
    """How trades are decided: a row that requests and runs refer to."""

    __tablename__ = "strategies"
    __table_args__ = (
        PrimaryKeyConstraint("id", name="pk_strategies"),
        UniqueConstraint("name", name="uq_strategies_name"),
    )

    id: Mapped[int] = mapped_column(Integer)
    name: Mapped[str] = mapped_column(String(255))
    description: Mapped[str | None] = mapped_column(Text)
    #: Who decides: rule_only, llm_only, rule_then_llm, hybrid_validator, multi_agent.
    execution_mode: Mapped[str] = mapped_column(String(30), default="rule_only", server_default="rule_only")
    #: Name of a registered strategy; needed unless execution_mode is llm_only or multi_agent.
    strategy_key: Mapped[str | None] = mapped_column(String(100))
    #: JSON object.
    strategy_params: Mapped[str] = mapped_column(Text, default="{}", server_default="{}")
    #: Timeframe of a request that names none.
    primary_tf: Mapped[str] = mapped_column(String(10), default="M15", server_default="M15")
    #: JSON list of timeframes, of a request that names none.
    context_tfs: Mapped[str] = mapped_column(Text, default="[]", server_default="[]")
    #: JSON list of the symbols it may trade; empty: any.
    symbols: Mapped[str] = mapped_column(Text, default="[]", server_default="[]")
    #: Lots a trade; 0.1 when this and risk_pct are null.
    lot_size: Mapped[float | None] = mapped_column(Float)
    #: Fraction of equity risked a trade, 0.01 = 1 %; wins over lot_size.
    risk_pct: Mapped[float | None] = mapped_column(Float)
    #: Stop distance in pips, for decisions that bring no stop.
    sl_pips: Mapped[float | None] = mapped_column(Float)
    #: Target distance in pips, for decisions that bring no target.
    tp_pips: Mapped[float | None] = mapped_column(Float)
    #: What an opposite signal does: reverse, close, ignore.
    on_opposite: Mapped[str] = mapped_column(String(10), default="reverse", server_default="reverse")
    #: Whether the stop moves to the entry price after a partial close.
    stop_to_entry: Mapped[bool] = mapped_column(Boolean, default=True, server_default=true())
    custom_prompt: Mapped[str | None] = mapped_column(Text)
    #: JSON list of hours 0-23 of the decision's close at which nothing is decided.
    skip_hours: Mapped[str | None] = mapped_column(Text)
    #: JSON list of weekdays, 0 = Monday, of the decision's close.
    skip_weekdays: Mapped[str | None] = mapped_column(Text)
    #: IANA name for skip_hours and skip_weekdays; null: UTC.
    skip_hours_timezone: Mapped[str | None] = mapped_column(String(60))
    is_active: Mapped[bool] = mapped_column(Boolean, default=True, server_default=true())
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=now_utc, server_default=func.now())


class BacktestRun(Base):
    """One run: configuration, progress and, once completed, figures; they stay null when it failed or was cancelled."""

    __tablename__ = "backtest_runs"
    __table_args__ = (
        PrimaryKeyConstraint("id", name="pk_backtest_runs"),
        ForeignKeyConstraint(["strategy_id"], ["strategies.id"], name="fk_backtest_strategy", ondelete="CASCADE"),
        Index("idx_backtest_strategy", "strategy_id"),
        Index("idx_backtest_symbol", "symbol"),
        Index("idx_backtest_created", "created_at"),
    )

    id: Mapped[int] = mapped_column(Integer)
    strategy_id: Mapped[int] = mapped_column(Integer)
    symbol: Mapped[str] = mapped_column(String(20))
    #: Candle timeframe of the run, e.g. M15.
    timeframe: Mapped[str] = mapped_column(String(10))
    #: Inclusive.
    start_date: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    #: Exclusive.
    end_date: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    #: Account currency.
    initial_balance: Mapped[float] = mapped_column(Float, default=10000.0, server_default=text("10000.0"))
    #: Simulated spread.
    spread_pips: Mapped[float] = mapped_column(Float, default=1.5, server_default=text("1.5"))
    #: Fill mode: close_price, intra_candle, next_open.
    execution_mode: Mapped[str] = mapped_column(String(20), default="close_price", server_default="close_price")
    #: Never read (`timeframe` decides); written equal to it at intake.
    primary_tf: Mapped[str] = mapped_column(String(10), default="M15", server_default="M15")
    #: JSON list of timeframes.
    context_tfs: Mapped[str] = mapped_column(Text, default="[]", server_default="[]")
    #: Budget of this run.
    max_llm_calls: Mapped[int] = mapped_column(Integer, default=100, server_default=text("100"))
    #: pending, running, completed, failed, cancelled.
    status: Mapped[str] = mapped_column(String(20), default="pending", server_default="pending")
    #: 0 to 100, never falls within an attempt; 100 when completed.
    progress_pct: Mapped[int] = mapped_column(Integer, default=0, server_default=text("0"))
    #: Why it failed.
    error_message: Mapped[str | None] = mapped_column(Text)
    total_trades: Mapped[int | None] = mapped_column(Integer)
    #: 0.0 to 1.0.
    win_rate: Mapped[float | None] = mapped_column(Float)
    #: Gross profit / gross loss.
    profit_factor: Mapped[float | None] = mapped_column(Float)
    #: Expected P&L per trade.
    expectancy: Mapped[float | None] = mapped_column(Float)
    #: Percent of peak equity, positive.
    max_drawdown_pct: Mapped[float | None] = mapped_column(Float)
    #: Net profit / max drawdown.
    recovery_factor: Mapped[float | None] = mapped_column(Float)
    #: Annualised.
    sharpe_ratio: Mapped[float | None] = mapped_column(Float)
    #: Annualised.
    sortino_ratio: Mapped[float | None] = mapped_column(Float)
    total_return_pct: Mapped[float | None] = mapped_column(Float)
    avg_win: Mapped[float | None] = mapped_column(Float)
    #: Negative.
    avg_loss: Mapped[float | None] = mapped_column(Float)
    max_consec_wins: Mapped[int | None] = mapped_column(Integer)
    max_consec_losses: Mapped[int | None] = mapped_column(Integer)
    #: Pips, over the test period.
    avg_spread: Mapped[float | None] = mapped_column(Float)
    #: Account currency, round trip.
    commission_per_lot: Mapped[float] = mapped_column(Float, default=0.0, server_default=text("0.0"))
    #: Share of the remaining volume that closes at each target but the last (docs/engine-rules.md).
    tp_partial_close_ratio: Mapped[float] = mapped_column(Float, default=0.5, server_default=text("0.5"))
    #: OHLCV CSV of the run, for chart replay.
    data_file_path: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=now_utc, server_default=func.now())

    #: Deleting a run leaves its trades, maybe 100 000 of them, to the database's cascade and does not load them.
    trades: Mapped[list["BacktestTrade"]] = relationship(
        cascade="all, delete-orphan", passive_deletes=True, order_by="BacktestTrade.id"
    )


class BacktestTrade(Base):
    """One exit: a partial close is a row. The rows of a run stand or fall with its `completed` status."""

    __tablename__ = "backtest_trades"
    __table_args__ = (
        PrimaryKeyConstraint("id", name="pk_backtest_trades"),
        ForeignKeyConstraint(["run_id"], ["backtest_runs.id"], name="fk_backtest_trades_run", ondelete="CASCADE"),
        Index("idx_backtest_trades_run", "run_id"),
    )

    id: Mapped[int] = mapped_column(Integer)
    run_id: Mapped[int] = mapped_column(Integer)
    #: From 1 within the run; rows of one position share it.
    position_id: Mapped[int] = mapped_column(Integer)
    symbol: Mapped[str] = mapped_column(String(20))
    #: BUY, SELL.
    direction: Mapped[str] = mapped_column(String(4))
    #: Open time of the bar of the entry's fill.
    entry_time: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    #: Open time of the bar of the exit's fill.
    exit_time: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    entry_price: Mapped[float] = mapped_column(Float)
    exit_price: Mapped[float] = mapped_column(Float)
    #: Lots.
    volume: Mapped[float] = mapped_column(Float)
    #: This and the four below in account currency (docs/engine-rules.md, Money).
    profit: Mapped[float] = mapped_column(Float)
    commission: Mapped[float] = mapped_column(Float)
    spread_cost: Mapped[float] = mapped_column(Float)
    swap: Mapped[float] = mapped_column(Float)
    equity_after: Mapped[float] = mapped_column(Float)
    #: In force at the exit.
    stop_loss: Mapped[float | None] = mapped_column(Float)
    #: In force at the exit.
    take_profit: Mapped[float | None] = mapped_column(Float)
    #: stop_loss, take_profit, signal, reverse, llm_close, stop_out, end_of_data.
    exit_reason: Mapped[str] = mapped_column(String(20))
    pattern_name: Mapped[str | None] = mapped_column(String(50))
    #: JSON.
    pattern_metadata: Mapped[str | None] = mapped_column(Text)
    #: Who decided: rule, llm, signals.
    source: Mapped[str | None] = mapped_column(String(20))


strategies: Final[Table] = metadata.tables["strategies"]
backtest_runs: Final[Table] = metadata.tables["backtest_runs"]
backtest_trades: Final[Table] = metadata.tables["backtest_trades"]

# Memory of every request. Rows are written once and never updated, but for those that wait.
backtest_requests: Final = Table(
    "backtest_requests",
    metadata,
    Column("request_id", String(255), nullable=False),
    # Where the record lay.
    Column("topic", String(249), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("kafka_offset", BigInteger, nullable=False),
    Column("received_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    # SHA-256 of the content: same id and same content is a duplicate, other content a conflict.
    Column("content_hash", LargeBinary, nullable=False),
    # accepted, rejected; waiting: not decided yet, since a client holds a lock on the strategy's row.
    Column("outcome", String(20), nullable=False),
    # As named by the request, or the one made for it. Null where a rejected request names none the column can hold.
    Column("run_id", Integer),
    # The event's source, '' for plain JSON.
    Column("source", Text, nullable=False),
    # JSON: content as sent where it breaks the schema, else canonical.
    Column("data", Text, nullable=False),
    # JSON: what the run executes, resolved when it was accepted; later changes of the strategy do not reach it.
    Column("specification", Text),
    # JSON: why it was rejected.
    Column("error", Text),
    # Whether it asks for a search; then the row of optimization_runs, in place of run_id.
    Column("is_search", Boolean, nullable=False, default=False, server_default=false()),
    Column("optimization_id", Integer),
    # Of one that came over HTTP: SHA-256 of the content of the record that goes out for it, which names the run.
    Column("emitted_hash", LargeBinary),
    PrimaryKeyConstraint("request_id", name="pk_backtest_requests"),
    CheckConstraint("octet_length(emitted_hash) = 32", name="ck_backtest_requests_emitted_hash"),
    CheckConstraint("outcome IN ('accepted', 'rejected', 'waiting')", name="ck_backtest_requests_outcome"),
    CheckConstraint("octet_length(content_hash) = 32", name="ck_backtest_requests_content_hash"),
    Index("idx_backtest_requests_run", "run_id"),
    Index("idx_backtest_requests_waiting", "received_at", postgresql_where=text("outcome = 'waiting'")),
)

# One row a run: the queue, the lease and the fence.
backtest_executions: Final = Table(
    "backtest_executions",
    metadata,
    Column("run_id", Integer, nullable=False, autoincrement=False),
    Column("request_id", String(255), nullable=False),
    # queued, running, completed, failed, cancelled.
    Column("state", String(20), nullable=False, default="queued", server_default="queued"),
    Column("source", Text, nullable=False, default="", server_default=""),
    # Fair rotation over sources: claims go by (turn, run_id).
    Column("turn", BigInteger, nullable=False),
    # The fence: rises at every claim, and a write under a lower one changes nothing.
    Column("epoch", Integer, nullable=False, default=0, server_default=text("0")),
    Column("attempts", Integer, nullable=False, default=0, server_default=text("0")),
    # Deaths of the engine child and leases that ran out, for crash_loop.
    Column("deaths", Integer, nullable=False, default=0, server_default=text("0")),
    Column("owner", Text),
    # By the database's clock.
    Column("lease_until", DateTime(timezone=True)),
    # Of the last event made for this run; the first has 1.
    Column("sequence", BigInteger, nullable=False, default=0, server_default=text("0")),
    # What the events of this attempt have said; the run's row may lag, or be gone.
    Column("progress_pct", Integer, nullable=False, default=0, server_default=text("0")),
    # Not null: a cancel is wanted, for this reason.
    Column("cancel_reason", Text),
    Column("queued_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("started_at", DateTime(timezone=True)),
    Column("finished_at", DateTime(timezone=True)),
    # Of a completed run: the digest of its result (engine.results.digest) and the version that computed it.
    Column("result_digest", String(64)),
    Column("engine_version", String(40)),
    # Whether the request named the run: a cancel of this number that came earlier was meant for it only then.
    Column("is_named", Boolean, nullable=False, default=True, server_default=true()),
    # Of a completed run: the version of the strategy's code that decided in it.
    Column("strategy_version", String(64)),
    PrimaryKeyConstraint("run_id", name="pk_backtest_executions"),
    CheckConstraint(
        "state IN ('queued', 'running', 'completed', 'failed', 'cancelled')", name="ck_backtest_executions_state"
    ),
    CheckConstraint(
        "state <> 'running' OR (owner IS NOT NULL AND lease_until IS NOT NULL)", name="ck_backtest_executions_lease"
    ),
    CheckConstraint(
        "epoch >= 0 AND attempts >= 0 AND deaths >= 0 AND sequence >= 0", name="ck_backtest_executions_counters"
    ),
    Index("idx_backtest_executions_queue", "turn", "run_id", postgresql_where=text("state = 'queued'")),
    Index("idx_backtest_executions_source", "source", "turn", postgresql_where=text("state = 'queued'")),
    # Not on lease_until: running rows are few, and an index on a column that each heartbeat writes would deny it a HOT
    # update, so that every heartbeat would add an entry to every index.
    Index("idx_backtest_executions_running", "run_id", postgresql_where=text("state = 'running'")),
    Index(
        "idx_backtest_executions_cancel",
        "run_id",
        postgresql_where=text("cancel_reason IS NOT NULL AND state IN ('queued', 'running')"),
    ),
    Index("idx_backtest_executions_request", "request_id"),
    # Room for HOT updates in each page; vacuum once a hundredth of the table and a thousand rows are dead.
    postgresql_with={
        "fillfactor": 80,
        "autovacuum_vacuum_threshold": 1000,
        "autovacuum_vacuum_scale_factor": 0.01,
        "autovacuum_analyze_threshold": 1000,
        "autovacuum_analyze_scale_factor": 0.02,
    },
)

# Cancels, kept so that one that arrives before its request wins.
backtest_cancels: Final = Table(
    "backtest_cancels",
    metadata,
    Column("id", BigInteger, Identity(), nullable=False),
    # Exactly one of the three names the target.
    Column("run_id", Integer),
    Column("request_id", String(255)),
    # As the event gave it.
    Column("reason", Text),
    Column("topic", String(249), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("kafka_offset", BigInteger, nullable=False),
    Column("received_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("optimization_id", Integer),
    PrimaryKeyConstraint("id", name="pk_backtest_cancels"),
    CheckConstraint("num_nonnulls(run_id, request_id, optimization_id) = 1", name="ck_backtest_cancels_target"),
    Index("uq_backtest_cancels_run", "run_id", unique=True, postgresql_where=text("run_id IS NOT NULL")),
    Index("uq_backtest_cancels_request", "request_id", unique=True, postgresql_where=text("request_id IS NOT NULL")),
    Index(
        "uq_backtest_cancels_search",
        "optimization_id",
        unique=True,
        postgresql_where=text("optimization_id IS NOT NULL"),
    ),
)

# Events and dead letters that the broker has not acknowledged yet; a row goes when it has.
backtest_outbox: Final = Table(
    "backtest_outbox",
    metadata,
    Column("id", BigInteger, Identity(), nullable=False),
    # The CloudEvents id; the same for every delivery.
    Column("event_id", String(255), nullable=False),
    # started, progress, terminal, rejected, dead_letter, search_rejected, requested, search_requested.
    Column("kind", String(20), nullable=False),
    # Whose order it keeps: a run, or a search, whose number stands here below zero.
    Column("run_id", Integer),
    # Per run, strictly rising from 1.
    Column("sequence", BigInteger, nullable=False, default=0, server_default=text("0")),
    Column("message_key", LargeBinary),
    Column("value", LargeBinary),
    # JSON list of [name, base64 or null].
    Column("headers", Text),
    # The worker that is publishing it; free for another one once the lease ran out.
    Column("owner", Text, nullable=False),
    Column("lease_until", DateTime(timezone=True), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("id", name="pk_backtest_outbox"),
    CheckConstraint(
        "kind IN ('started', 'progress', 'terminal', 'rejected', 'dead_letter', 'search_rejected', 'requested',"
        " 'search_requested')",
        name="ck_backtest_outbox_kind",
    ),
    Index("idx_backtest_outbox_run", "run_id", "sequence"),
    Index("idx_backtest_outbox_lease", "lease_until"),
    Index("uq_backtest_outbox_progress", "run_id", unique=True, postgresql_where=text("kind = 'progress'")),
    # Nearly empty at all times, yet each event leaves a dead row. Truncation is off: it takes an exclusive lock.
    postgresql_with={
        "autovacuum_vacuum_threshold": 1000,
        "autovacuum_vacuum_scale_factor": 0,
        "autovacuum_vacuum_insert_threshold": 1000,
        "autovacuum_vacuum_insert_scale_factor": 0,
        "autovacuum_analyze_threshold": 5000,
        "autovacuum_analyze_scale_factor": 0,
        "vacuum_truncate": "false",
    },
)

# What a completed run printed; written once, with its terminal event, and kept whatever becomes of row and artefacts.
backtest_results: Final = Table(
    "backtest_results",
    metadata,
    Column("run_id", Integer, nullable=False, autoincrement=False),
    # JSON: what `backtest run --json` prints, the event's `metrics`.
    Column("metrics", Text, nullable=False),
    # JSON: name -> path or URL.
    Column("artifacts", Text, nullable=False),
    # From the claim to the result.
    Column("duration_seconds", Float, nullable=False),
    PrimaryKeyConstraint("run_id", name="pk_backtest_results"),
)

# Instruments that were brought over HTTP. A row never changes: runs that used it could not be computed again.
backtest_instruments: Final = Table(
    "backtest_instruments",
    metadata,
    # As it was brought; another in other case is none.
    Column("symbol", String(20), nullable=False),
    # JSON: the keys of an instruments file's table.
    Column("block", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("symbol", name="pk_backtest_instruments"),
    Index("uq_backtest_instruments_symbol", text("upper(symbol)"), unique=True),
)

# Which shared tables this program made. The others are another service's, and a downgrade leaves them alone.
backtest_created_tables: Final = Table(
    "backtest_created_tables",
    metadata,
    Column("table_name", String(63), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("table_name", name="pk_backtest_created_tables"),
)

SHARED_TABLES: Final[tuple[Table, ...]] = (strategies, backtest_runs, backtest_trades, optimization_runs)
"""Other services read and write these too; in the order in which they can be created."""

OPERATIONAL_TABLES: Final[tuple[Table, ...]] = (
    backtest_requests,
    backtest_executions,
    backtest_cancels,
    backtest_outbox,
    backtest_results,
    backtest_created_tables,
    backtest_searches,
    backtest_search_shards,
    backtest_llm_calls,
    backtest_llm_limits,
    backtest_instruments,
)
"""Only this program uses these."""
