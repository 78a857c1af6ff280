"""Searches by coverage for a record that could stop its partition: `make fuzz FUZZ="-max_total_time=600"`.

Atheris, which is libFuzzer for Python, watches which branches of `schemas` and of intake an input takes, and goes on
from those that took a new one. It runs until it is stopped; an input that fails is written to a file named crash-...
"""

import json
import logging
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

atheris: Any = import_module("atheris")
"""By name: it is not among what the type checkers see (requirements.in)."""

with atheris.instrument_imports(include=["schemas", "consumer.decoding", "consumer.rules.admission"]):
    from consumer.ports import Record
    from schemas.topics import Topic
    from tests.fuzz.judge import judge
    from tests.support.builders import cloud_event, request_data

SEEDS = (
    json.dumps(cloud_event()).encode(),
    json.dumps(request_data()).encode(),
    b'{"run_id": 7, "spread_pips": 0.5}',
    b'{"request_id": "r", "reason": "enough"}',
)
BINARY = (("ce_specversion", b"1.0"), ("ce_id", b"i"), ("ce_source", b"s"), ("ce_type", b"backtest.requested"))


def answer(content: bytes) -> None:
    """The first byte chooses topic and mode, the rest is the value."""
    choice, value = (content[0], content[1:]) if content else (0, None)
    topic = Topic.CANCEL_REQUESTED if choice & 1 else Topic.REQUESTED
    judge(Record(topic.value, 0, 3, None, value, BINARY if choice & 2 else ()))


def main() -> None:
    logging.disable(logging.CRITICAL)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS):
        for choice in range(4):
            (folder / f"seed-{number}-{choice}").write_bytes(bytes([choice]) + seed)
    atheris.Setup(sys.argv, answer)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
