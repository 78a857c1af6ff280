"""The data inside a report, as the page reads it."""

import json
import re
from typing import Any


def embedded_in(page: str) -> Any:
    found = re.search(r'<script type="application/json" id="backtest-data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def unpacked(column: Any) -> list[Any]:
    """As `core/packed.ts` of the page unpacks a column."""
    if not isinstance(column, dict):
        return list(column)
    values, total = [], 0
    for delta in column["deltas"]:
        total += delta
        values.append(total / column["scale"])
    return values
