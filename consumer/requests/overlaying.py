"""A request of the past with some of its fields changed, as the data of a new one."""

import json
from collections.abc import Mapping
from typing import Any

from consumer.ports.history import History
from consumer.requests.repeating import repeat_run
from schemas.identity import content_text


async def repeated_with(history: History, run_id: int, changes: Mapping[str, Any]) -> dict[str, Any]:
    """What the run was asked for, with the fields of `changes` over it; null unsets one. Nothing is checked.

    Raises NoSuchRun, InputRefused.
    """
    content = json.loads(content_text(await repeat_run(history, run_id)))
    # Written equal to timeframe at intake; a new timeframe would be refused for it.
    data = {name: value for name, value in content.items() if name != "primary_tf"}
    return {**data, **changes}
