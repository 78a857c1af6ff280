"""Searches by coverage for a document of rules that breaks out of its language, or never ends: `make fuzz OF=rules`."""

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

atheris: Any = import_module("atheris")
"""By name: it is not among what the type checkers see (requirements.in)."""

import_module("engine.indicators")
import_module("engine.expressions.windows")
# Before: what numba compiles must not be instrumented.
with atheris.instrument_imports(include=["engine.expressions"]):
    from schemas.json_text import JsonTextError, strict_json
    from tests.fuzz.rules_judge import judge

_PARAM = {"params": {"n": 3}, "indicators": {"a": "sma(close, n)"}, "buy": "close > a", "max_bars": "n"}
_OF_H4 = {"timeframe": "H4", "value": "obv()"}
SEEDS = (
    b"crosses_above(sma(close, 10), ema(close, 30)) and rsi(close, 14) < 70",
    b"any(rising(close > open), 3) or not all(candle('doji') != 0, 2)[1]",
    b"-min(high, low[3]) * 2 % 1e3 >= bars_since(hour == 8) / spread",
    json.dumps(_PARAM).encode(),
    json.dumps({"indicators": {"a": _OF_H4}, "sell": "a > 1", "take_profit": [1, "2"]}).encode(),
)


def answer(content: bytes) -> None:
    """A document where it is JSON, else the text of a condition."""
    text = content.decode("utf-8", "surrogateescape")
    try:
        document = strict_json(text)
    except JsonTextError:
        document = None
    judge(document if isinstance(document, dict) else {"params": {"n": 3}, "buy": text, "stop_loss": text})


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS):
        (folder / f"seed-{number}").write_bytes(seed)
    atheris.Setup(sys.argv, answer)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
