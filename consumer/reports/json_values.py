"""Values of rows and figures as JSON can hold them: the same in an answer of the API and inside a report."""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from schemas.json_text import utc_text


def plain(value: Any) -> Any:
    """The value with nothing in it that JSON has no word for."""
    match value:
        case datetime():
            return utc_text(value)
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {str(name): plain(each) for name, each in value.items()}
        case list() | tuple():
            return [plain(each) for each in value]
        case _:
            return value
