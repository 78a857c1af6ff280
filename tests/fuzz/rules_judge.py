"""What must hold of any document whatever: it is refused in bounded words, or it is computed to the end."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from engine.errors import InvalidParams
from engine.expressions.document import check_document
from engine.expressions.evaluation import evaluate
from engine.expressions.operations import Source
from engine.expressions.program import program_of
from engine.market.timeframes import HOUR_US

_BARS = 60
_LONGEST_ANSWER = 60_000
"""Characters."""


def judge(document: Mapping[str, Any]) -> str:
    """Check the document and, where it is one, compute all of it; what became of it. AssertionError: it broke out."""
    try:
        rules = check_document(document)
    except InvalidParams as error:
        return _refused(error)
    canonical = rules.canonical()
    assert check_document(json.loads(json.dumps(canonical))).canonical() == canonical
    program = program_of(rules)
    places = [*program.results.values(), *program.take_profit]
    columns = evaluate(program, places, _source, 0.0001)
    for place, column in zip(places, columns, strict=True):
        assert column.shape == (_BARS,)
        assert column.dtype == (bool if program.steps[place].gives == "condition" else np.float64)
        assert not np.isinf(column).any()
    return "computed"


def _refused(error: InvalidParams) -> str:
    assert error.problems
    assert len(str(error)) < _LONGEST_ANSWER
    return "refused"


def _source(timeframe: str | None) -> Source:
    closes = 1.0 + np.arange(_BARS) * 7919 % 101 / 1000
    spans = {"open": closes - 0.001, "high": closes + 0.003, "low": closes - 0.004, "close": closes}
    columns = {name: np.ascontiguousarray(values) for name, values in spans.items()} | {"volume": np.ones(_BARS)}
    rows = np.arange(_BARS) // 4 - 1
    return Source(columns, np.arange(1, _BARS + 1) * HOUR_US, 1.5, None if timeframe is None else rows)
