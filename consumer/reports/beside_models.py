"""What stands beside a run that a language model had a say in: the same rule alone, where it was run."""

from typing import Any

from consumer.ports.history import History, Row


async def run_of_rule_alone(history: History, row: Row, specification: Row | None) -> Row | None:
    """The newest completed run of the same rule without the model. specification: of the run, as it was admitted."""
    if specification is None or specification.get("advice") is None or specification["strategy_key"] is None:
        return None
    asked = {name: value for name, value in specification.items() if name != "advice"}
    return await history.run_of_specification(row["strategy_id"], asked)


def net_profit_of(row: Row) -> float:
    """Of a completed run, account currency, by its row alone."""
    return (row["total_return_pct"] or 0.0) * float(row["initial_balance"]) / 100


def told_alone(row: Row | None) -> dict[str, Any] | None:
    """The run of the rule alone, as the API and the report file tell it."""
    if row is None:
        return None
    figures = {name: row[name] for name in ("total_trades", "result_digest")}
    return {"run_id": row["id"], "net_profit": net_profit_of(row), **figures}
