"""The same job as a plain FastStream handler: what a good engineer writes in a day, for the comparison only.

    python faststream_handler.py         settings in the environment: PEER_...

Each message is one run, handled to its end before its offset is committed (at least once), partitions side by side. The
handler makes the writes that a subscriber or a user of our worker sees: the run's row (running, then completed with
its metrics), its trades, the OHLCV file, trades, equity and ledger as Parquet, a started and a completed event. It has
none of our guarantees: no outbox (a crash between commit and publish loses the event), no lease, no duplicate check, no
cancel, no memory limit, no deadline.

PEER_VARIANT says how much care went into it:
    plain   SQLAlchemy 2 (Core, bulk insert) on asyncpg; reads its bars for each run and writes a file of them each time
    tuned   asyncpg alone, trades by COPY; bars kept in memory, one file of them for all runs (our engine's own program)
PEER_ENGINE says where the engine runs:
    thread   in a thread of the handler's process; one such process for each core
    process  in a pool of warm processes, one for each core, behind one handler process
"""

import asyncio
import json
import multiprocessing
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import polars as pl
import uvloop
from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker
from pydantic import BaseModel
from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from consumer.adapters.engine_pool.settings import EngineProcessSettings
from consumer.adapters.engine_pool.warm_up import warm_up
from consumer.adapters.postgres.schema.tables import BacktestRun, BacktestTrade, Strategy
from consumer.installed.registry import load_strategy
from consumer.ports import EngineTask
from consumer.ports.outcomes import Completed
from consumer.preparation.snapshot import specification_from_json, specification_to_json
from consumer.rules.columns import METRIC_COLUMNS, TRADE_COLUMNS
from consumer.wiring.engine_program import open_engine
from engine.deciders.chosen import choose_strategy
from engine.market.bars import bars_from_frame
from engine.market.instruments import packaged_instruments
from engine.market.timeframes import timeframe
from engine.prepared import RunData
from engine.simulate import run_backtest
from engine.specification import Specification

PARTITIONS_AT_ONCE = int(os.environ.get("PEER_PARTITIONS_AT_ONCE", "3"))
MARKET_DATA = Path(os.environ["PEER_MARKET_DATA"])
ARTIFACTS = Path(os.environ["PEER_ARTIFACTS"])
DATABASE_URL = os.environ["PEER_DATABASE_URL"]
IS_TUNED = os.environ["PEER_VARIANT"] == "tuned"
IN_PROCESSES = os.environ["PEER_ENGINE"] == "process"


class RunRequest(BaseModel):
    strategy_id: int
    symbol: str
    timeframe: str = "H1"
    start_date: datetime
    end_date: datetime
    initial_balance: float = 10_000.0
    spread_pips: float = 1.5
    execution_mode: str = "close_price"


class Envelope(BaseModel):
    id: str
    data: RunRequest


broker = KafkaBroker(os.environ["PEER_KAFKA"], enable_idempotence=True, acks="all", logger=None)
app = FastStream(broker, logger=None)


@dataclass
class Parts:
    """What the process opens at its start."""

    store: Any
    executor: Executor


parts: Parts


@app.on_startup
async def open_parts() -> None:
    global parts
    store = await _open_store()
    if IN_PROCESSES:
        cores = len(os.sched_getaffinity(0))
        executor: Executor = ProcessPoolExecutor(
            cores, multiprocessing.get_context("spawn"), initializer=open_simulator
        )
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(executor, os.getpid) for _ in range(cores)))
    else:
        executor = ThreadPoolExecutor(1)
        open_simulator()
    parts = Parts(store, executor)


@broker.subscriber(
    os.environ["PEER_REQUESTED"],
    group_id="faststream-peer",
    auto_offset_reset="earliest",
    ack_policy=AckPolicy.NACK_ON_ERROR,
    max_workers=PARTITIONS_AT_ONCE,
)
async def handle(event: Envelope) -> None:
    run_id, specification = await parts.store.begin(event.data)
    await publish("started", event, run_id)
    loop = asyncio.get_running_loop()
    result = await loop.run_in_executor(parts.executor, simulate, run_id, specification)
    await parts.store.finish(run_id, result)
    await publish("completed", event, run_id, metrics=result["metrics"], data_file_path=result["data_file_path"])


async def publish(kind: str, event: Envelope, run_id: int, **data: Any) -> None:
    """One event to the progress topic; the terminal one to both, as our worker does."""
    key = str(run_id).encode()
    message = {
        "specversion": "1.0",
        "id": f"{run_id}-{kind}",
        "source": "faststream-peer",
        "type": f"backtest.{kind}",
        "time": datetime.now(UTC).isoformat(),
        "data": {"run_id": run_id, "request_id": event.id, "strategy_id": event.data.strategy_id, **data},
    }
    topics = [os.environ["PEER_PROGRESS"], *([os.environ["PEER_COMPLETED"]] if kind == "completed" else [])]
    await asyncio.gather(*(broker.publish(message, topic=topic, key=key) for topic in topics))


# --- the tables ---------------------------------------------------------------------------------------------------


async def _open_store() -> Any:
    if IS_TUNED:
        dsn = DATABASE_URL.replace("+asyncpg", "")
        return DriverStore(await asyncpg.create_pool(dsn, min_size=2, max_size=10))
    return SqlAlchemyStore(create_async_engine(DATABASE_URL, pool_size=10))


@dataclass
class SqlAlchemyStore:
    engine: AsyncEngine

    async def begin(self, request: RunRequest) -> tuple[int, dict[str, Any]]:
        async with self.engine.begin() as connection:
            found = await connection.execute(
                select(Strategy.strategy_key, Strategy.strategy_params).where(Strategy.id == request.strategy_id)
            )
            key, params = found.one()
            made = await connection.execute(insert(BacktestRun).values(**_row(request)).returning(BacktestRun.id))
            return made.scalar_one(), _specification(request, key, params)

    async def finish(self, run_id: int, result: dict[str, Any]) -> None:
        async with self.engine.begin() as connection:
            await connection.execute(
                update(BacktestRun)
                .where(BacktestRun.id == run_id)
                .values(
                    status="completed",
                    progress_pct=100,
                    data_file_path=result["data_file_path"],
                    **{name: result["metrics"][name] for name in METRIC_COLUMNS},
                )
            )
            if result["trades"]:
                await connection.execute(insert(BacktestTrade), result["trades"])


@dataclass
class DriverStore:
    pool: Any

    async def begin(self, request: RunRequest) -> tuple[int, dict[str, Any]]:
        row = _row(request)
        names, places = ", ".join(row), ", ".join(f"${place}" for place in range(2, len(row) + 2))
        found = await self.pool.fetchrow(
            f"WITH made AS (INSERT INTO backtest_runs ({names}) VALUES ({places}) RETURNING id)"
            " SELECT made.id, s.strategy_key, s.strategy_params FROM made, strategies s WHERE s.id = $1",
            request.strategy_id,
            *row.values(),
        )
        return found["id"], _specification(request, found["strategy_key"], found["strategy_params"])

    async def finish(self, run_id: int, result: dict[str, Any]) -> None:
        assignments = ", ".join(f"{name} = ${place}" for place, name in enumerate(METRIC_COLUMNS, start=3))
        async with self.pool.acquire() as connection, connection.transaction():
            await connection.execute(
                "UPDATE backtest_runs SET status = 'completed', progress_pct = 100, data_file_path = $2,"
                f" {assignments} WHERE id = $1",
                run_id,
                result["data_file_path"],
                *(result["metrics"][name] for name in METRIC_COLUMNS),
            )
            if result["trades"]:
                await connection.copy_to_table(
                    "backtest_trades", source=_source(result["trades"]), columns=TRADE_COLUMNS, format="csv"
                )


async def _source(content: bytes) -> AsyncIterator[bytes]:
    yield content


def _row(request: RunRequest) -> dict[str, Any]:
    return {
        "strategy_id": request.strategy_id,
        "symbol": request.symbol,
        "timeframe": request.timeframe,
        "start_date": request.start_date,
        "end_date": request.end_date,
        "initial_balance": request.initial_balance,
        "spread_pips": request.spread_pips,
        "execution_mode": request.execution_mode,
        "primary_tf": request.timeframe,
        "status": "running",
    }


def _specification(request: RunRequest, strategy_key: str, strategy_params: str) -> dict[str, Any]:
    return specification_to_json(
        Specification(
            symbol=request.symbol,
            timeframe=request.timeframe,
            start=request.start_date,
            end=request.end_date,
            strategy_key=strategy_key,
            strategy_params=json.loads(strategy_params),
            initial_balance=request.initial_balance,
            spread_pips=request.spread_pips,
            execution_mode=request.execution_mode,
        )
    )


# --- the engine ---------------------------------------------------------------------------------------------------

Simulate = Callable[[int, dict[str, Any]], dict[str, Any]]
_simulator: Simulate


def open_simulator() -> None:
    """Warm the engine of this process up: kernels compiled, modules loaded."""
    global _simulator
    if IS_TUNED:
        settings = EngineProcessSettings(slots=1, market_data_url=str(MARKET_DATA), artifacts_url=str(ARTIFACTS))
        execute = open_engine(settings)

        def simulate_with_our_program(run_id: int, specification: dict[str, Any]) -> dict[str, Any]:
            return _told(execute(EngineTask(run_id, 1, specification), _Control()))

        _simulator = simulate_with_our_program
    else:
        warm_up()
        _simulator = _simulate_plainly


def simulate(run_id: int, specification: dict[str, Any]) -> dict[str, Any]:
    return _simulator(run_id, specification)


def _simulate_plainly(run_id: int, document: dict[str, Any]) -> dict[str, Any]:
    specification = specification_from_json(document)
    folder = MARKET_DATA / specification.symbol / specification.timeframe
    year = specification.start.year
    frame = pl.concat([pl.read_parquet(folder / f"{year}.parquet") for year in range(year, specification.end.year + 1)])
    frame = frame.filter(pl.col("time") < specification.end)
    bars = bars_from_frame(frame, timeframe(specification.timeframe), str(folder))
    strategy = choose_strategy(
        load_strategy(specification.strategy_key), specification.strategy_key, specification.strategy_params
    )
    result = run_backtest(specification, packaged_instruments()[specification.symbol], RunData(bars=bars), strategy)
    data_file = _write_files(run_id, frame.filter(pl.col("time") >= specification.start), result)
    return {
        "metrics": result.to_json_dict(),
        "trades": result.trades.with_columns(pl.lit(run_id).alias("run_id")).to_dicts(),
        "data_file_path": data_file,
    }


def _write_files(run_id: int, bars: pl.DataFrame, result: Any) -> str:
    folder = ARTIFACTS / "runs" / str(run_id)
    folder.mkdir(parents=True, exist_ok=True)
    result.trades.write_parquet(folder / "trades.parquet", compression="lz4", statistics=False)
    result.equity.write_parquet(folder / "equity.parquet", compression="lz4", statistics=False)
    result.booked.write_parquet(folder / "ledger.parquet", compression="lz4", statistics=False)
    bars.write_csv(folder / "bars.csv")
    return str(folder / "bars.csv")


def _told(completed: Completed) -> dict[str, Any]:
    return {
        "metrics": completed.metrics,
        "trades": completed.trades_csv,
        "data_file_path": completed.data_file_path,
    }


class _Control:
    """Nobody listens to progress here, and nobody cancels."""

    def report(self, *_: Any) -> None:
        pass

    def pause(self, seconds: float) -> None:
        raise TimeoutError("a store is away")


if __name__ == "__main__":
    uvloop.run(app.run())
