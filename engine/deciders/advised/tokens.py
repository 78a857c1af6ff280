"""How many tokens a text has, by a rule that no model goes by exactly."""

import re
from collections.abc import Iterable
from typing import Final

from engine.deciders.advised.advisor import Message

_PIECE: Final = re.compile(r"[A-Za-z]{1,4}|[0-9]{1,3}|[^A-Za-z0-9\s]")
_A_MESSAGE: Final = 4
"""What separates one from the next."""


def estimated_tokens(messages: Iterable[Message]) -> int:
    """Return an estimate on the high side: up to four letters, up to three digits and any other mark are a token each,
    blanks are none. Prices are mostly digits, of which the models' own counts are near; words come out too high.
    """
    return sum(_A_MESSAGE + len(_PIECE.findall(message.content)) for message in messages)
