"""A describer, `python -P -m consumer.adapters.engine_pool.describing FD KEY ...`: tells of each strategy in a line of
JSON. catalogue starts it. Users' modules are imported here, so it may hang or end at any of them.
"""

import inspect
import json
import os
import sys
from typing import Any


def main() -> None:
    """Describe the keys in their order, each as soon as it is known."""
    told = os.fdopen(int(sys.argv[1]), "w", encoding="utf-8", buffering=1)
    for key in sys.argv[2:]:
        try:
            description = _describe(key)
        except BaseException as error:  # any code may run at a user's import
            description = {"trouble": f"{type(error).__name__}: {error}".partition("\n")[0][:500]}
        told.write(json.dumps({"key": key, **description}) + "\n")
    told.close()


def _describe(key: str) -> dict[str, Any]:
    from consumer.installed.strategy_code import load_current

    strategy, version = load_current(key)
    return {
        "version": version,
        "kind": "decide_all" if hasattr(strategy, "decide_all") else "decide",
        "docstring": inspect.getdoc(strategy) or "",
        "params": strategy.Params.model_json_schema(),
    }


if __name__ == "__main__":
    main()
