"""What reading a file of bars says, in the API's words: it names options of the command line, for which HTTP has names
of the query.
"""

import re
from collections.abc import Callable
from typing import Final

_TRANSLATED: Final[tuple[tuple[str, Callable[[re.Match[str]], str]], ...]] = (
    (r"--bars-timezone ([A-Z][\w/+-]*)", lambda found: f"timezone={found[1].replace('+', '%2B')} ({found[0]})"),
    (r"--bars-timezone(?! [A-Z])", lambda found: f"timezone ({found[0]})"),
    (r"--date-order (dmy|mdy|ymd)", lambda found: f"date_order={found[1]} ({found[0]})"),
    (r"--date-order(?! (?:dmy|mdy|ymd))", lambda found: f"date_order ({found[0]})"),
    (r"--format (?!out\b)([\w-]+)", lambda found: f"format={found[1]} ({found[0]})"),
    (r"--format(?= out\b)", lambda found: f"format ({found[0]})"),
    (r"--timeframe (\w+)", lambda found: f"{found[1]} as the path's timeframe ({found[0]})"),
    (r"--replace\b", lambda found: f"replace=true ({found[0]})"),
    (
        r": runs need it in an instruments file",
        lambda _: (
            ": it is in no instruments list, and no run can have it until POST /v1/instruments, or an instruments"
            " file of the workers, adds it"
        ),
    ),
)


def in_words_of_the_api(text: str) -> str:
    """The text with the name in the query before each option of the command line."""
    for pattern, told in _TRANSLATED:
        text = re.sub(pattern, told, text)
    return text
