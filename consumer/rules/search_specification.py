"""What is kept of a search that was admitted, and how it is read back."""

import json
from collections.abc import Mapping
from typing import Any

from consumer.ports.searches import SearchFacts


def stored_search(specification: Mapping[str, Any]) -> str:
    """What `facts_of_search` reads: strategy_id, `engine` (a specification) and `search` (what is varied, and how)."""
    return json.dumps(specification, sort_keys=True)


def facts_of_search(optimization_id: int, request_id: str, stored: str) -> tuple[SearchFacts, Mapping[str, Any]]:
    """What events say of the search, and all of its specification.

    Of text that `stored_search` did not write, facts without names and an empty specification, by which it fails when
    its first step is taken.
    """
    try:
        specification = json.loads(stored)
        engine = specification["engine"]
        named = specification["strategy_id"], engine["symbol"], engine["timeframe"]
        is_ours = [type(each) for each in named] == [int, str, str] and isinstance(specification["search"], dict)
    except (ValueError, TypeError, LookupError, RecursionError):
        is_ours = False
    if not is_ours:
        return SearchFacts(optimization_id, request_id, 0, "", ""), {}
    return SearchFacts(optimization_id, request_id, *named), specification
