"""Whether a run's row still says what was executed: the row is another service's too, and figures beside a
configuration they do not belong to are silently wrong numbers.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from consumer.ports import Claim
from consumer.ports.outcomes import Completed, Failed, TerminalOutcome
from consumer.rules.columns import COLUMN_OF_FIELD
from schemas.problems import FieldProblem


def held_to_row(outcome: TerminalOutcome, row: Mapping[str, Any] | None, claim: Claim) -> TerminalOutcome:
    """The outcome, or the failure that takes its place: no figures beside a configuration they don't belong to.

    row: EXECUTED_COLUMNS at least; None when it is gone.
    """
    if isinstance(outcome, Completed) and row is not None:
        return run_disagrees(row, claim) or outcome
    return outcome


def run_disagrees(row: Mapping[str, Any], claim: Claim) -> Failed | None:
    """The failure of a run whose row was changed after its request was accepted; None: row and run agree.

    row: EXECUTED_COLUMNS at least, as the driver reads them. Names every column that differs.
    """
    problems = [
        FieldProblem(column, "run_disagrees", f"is {_shown(row[column])} in the row, but the run used {_shown(used)}")
        for column, used in _used(claim).items()
        if not _is_same(row[column], used)
    ]
    if not problems:
        return None
    told = "; ".join(f"{problem.field} {problem.message}" for problem in problems)
    return Failed("run_disagrees", f"the run's row was changed after its request was accepted: {told}", tuple(problems))


def _used(claim: Claim) -> dict[str, Any]:
    """The configuration that was executed, by column."""
    specification = claim.specification
    used = {column: specification[name] for name, column in COLUMN_OF_FIELD.items()}
    for column in ("start_date", "end_date"):
        used[column] = datetime.fromisoformat(used[column])
    advice = specification.get("advice")
    if advice is not None:
        used["max_llm_calls"] = advice["max_calls"]
    return {"strategy_id": claim.facts.strategy_id, **used}


def _is_same(in_row: Any, used: Any) -> bool:
    if isinstance(used, list):
        try:
            return bool(json.loads(in_row) == used)
        except ValueError:
            return False
    return bool(in_row == used)


def _shown(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else repr(value)
