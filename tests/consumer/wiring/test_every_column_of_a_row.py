"""Every column of a `strategies` row does something: to the trades of a run, or to whether there is one."""

import json
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from consumer.ports import Admitted, StrategyRow
from consumer.preparation.inputs import assemble
from consumer.preparation.snapshot import specification_from_json
from consumer.preparation.strategy import decider_of
from consumer.rules.advice import ModelTerms
from consumer.wiring.files import market_data_at
from engine.deciders.advised.advisor import Answer, Question
from engine.market.instruments import packaged_instruments
from engine.results.result import BacktestResult
from engine.simulate import run_backtest
from tests.consumer.rules.test_admission import decide, refusals, strategy
from tests.support.messages import ADMISSION, AskedInPlace, requested

BARS = Path(__file__).parents[3] / "consumer" / "demo_data" / "eurusd_h1.parquet"
DOCUMENT = {
    "buy": "crosses_above(sma(close, 5), sma(close, 20))",
    "sell": "crosses_below(sma(close, 5), sma(close, 20))",
}
ROW = strategy(strategy_key="rules", strategy_params=json.dumps(DOCUMENT), lot_size=0.2, sl_pips=40.0, tp_pips=60.0)
IN_PARTS = {**DOCUMENT, "take_profit": ["pips(10)", "pips(60)"]}

BY_MODEL = {"execution_mode": "llm_only", "strategy_params": "{}"}

CHANGES: dict[str, dict[str, Any]] = {
    "strategy_key": {"strategy_key": "sma_cross", "strategy_params": "{}"},
    "strategy_params": {"strategy_params": json.dumps({**DOCUMENT, "max_bars": 5})},
    "primary_tf": {"primary_tf": "H4"},
    "lot_size": {"lot_size": 0.4},
    "risk_pct": {"risk_pct": 0.01},
    "sl_pips": {"sl_pips": 20.0},
    "tp_pips": {"tp_pips": None},
    "on_opposite": {"on_opposite": "ignore"},
    "stop_to_entry": {"stop_to_entry": False},
    "skip_hours": {"skip_hours": "[7, 8, 9, 10]"},
    "skip_weekdays": {"skip_weekdays": "[0, 4]"},
    "skip_hours_timezone": {"skip_hours_timezone": "Asia/Tokyo"},
    "execution_mode": BY_MODEL,
    "custom_prompt": {"custom_prompt": "Always SELL."},
}
"""What is changed in a row, and has to be seen in the trades."""
BEFORE: dict[str, dict[str, Any]] = {
    "stop_to_entry": {"strategy_params": json.dumps(IN_PARTS)},
    "skip_hours_timezone": {"skip_hours": "[7, 8, 9, 10]"},
    "custom_prompt": {**BY_MODEL, "custom_prompt": "Always BUY."},
}
"""What else the row has, for a change to matter."""
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "is_active": ({"is_active": False}, "strategy_inactive"),
    "symbols": ({"symbols": '["GBPUSD"]'}, "symbol_not_allowed"),
}


class Obedient:
    """A model that does what its prompt says, else BUY."""

    def ask(self, questions: Sequence[Question]) -> Sequence[Answer | None]:
        return [Answer(json.dumps({"action": self._action(each)})) for each in questions]

    def _action(self, question: Question) -> str:
        said = "".join(message.content for message in question.messages)
        return "SELL" if "Always SELL" in said else "BUY"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("market")
    frame = pl.read_parquet(BARS).filter(pl.col("time").dt.year() == pl.col("time").dt.year().max())
    year = frame["time"].dt.year().item(0)
    (root / "EURUSD" / "H1").mkdir(parents=True)
    frame.write_parquet(root / "EURUSD" / "H1" / f"{year}.parquet")
    return str(root)


def simulated(row: StrategyRow, store: str) -> BacktestResult:
    """The run that a request for this row gets, which names nothing that the row decides."""
    market_data = market_data_at(store)
    year = int(next((Path(store) / "EURUSD" / "H1").glob("*.parquet")).stem)
    dates = {"start_date": f"{year}-02-01T00:00:00Z", "end_date": f"{year}-06-01T00:00:00Z"}
    request = requested(**dates, max_llm_calls=6)
    decision = replace(ADMISSION, models=ModelTerms(("openai:test",)))(request.request, row, None, (), AskedInPlace())
    assert isinstance(decision, Admitted)
    wanted = specification_from_json(dict(decision.specification))
    chosen = decider_of(wanted, Obedient())
    registry = packaged_instruments()
    data = assemble(wanted, market_data, registry, chosen.warm_up(wanted))
    return run_backtest(wanted, registry["EURUSD"], data, chosen)


@pytest.mark.parametrize("column", CHANGES)
def test_a_column_of_the_row_changes_the_trades(column: str, store: str) -> None:
    row = replace(ROW, **BEFORE.get(column, {}))
    before, after = simulated(row, store), simulated(replace(row, **CHANGES[column]), store)
    assert before.trades.height > (0 if column == "custom_prompt" else 5)
    assert not before.trades.equals(after.trades)
    assert before.result_digest != after.result_digest


def test_context_timeframes_of_the_row_are_read_for_the_run(store: str) -> None:
    assert simulated(replace(ROW, context_tfs='["H4"]'), store).result_digest != simulated(ROW, store).result_digest


@pytest.mark.parametrize("column", REFUSED)
def test_a_column_of_the_row_decides_whether_there_is_a_run(column: str) -> None:
    changes, code = REFUSED[column]
    assert code in [found for _, found in refusals(decide(by=replace(ROW, **changes)))]


def test_no_column_is_forgotten_here() -> None:
    """id and name say which row it is."""
    columns = {field.name for field in fields(StrategyRow)} - {"id", "name"}
    assert columns == {*CHANGES, *REFUSED, "context_tfs"}
