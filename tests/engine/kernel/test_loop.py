"""The compiled loop's own guards: its roundings, and that it is compiled anew when any part of it changes."""

import os
import subprocess
import sys
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kernel import loop as kernel
from engine.kernel import money as kernel_money
from engine.kernel import orders as kernel_orders
from engine.kernel.layout import STATE
from engine.numeric.rounding import round_money

ROOT = Path(__file__).parents[3]


@given(ticks=st.integers(1, 9 * 10**14), spread=st.integers(0, 10**9))
def test_sums_of_prices_are_rounded_as_decimals(ticks: int, spread: int) -> None:
    bid, extra = ticks / 1e9, spread / 1e9
    exact = (Decimal(repr(bid)) + Decimal(repr(extra))).quantize(Decimal("1e-9"), ROUND_HALF_EVEN)
    assert kernel_money.round_sum(1e9, bid + extra) == float(exact)


@given(money=st.integers(-(10**14), 10**14).map(lambda cents: cents / 1e8))
def test_round8_leaves_rounded_money_alone(money: float) -> None:
    assert kernel_money.round8(money) == money
    assert str(kernel_money.round8(-0.0)) == "0.0"
    assert round_money(np.array([money])).tolist() == [money]


@pytest.mark.parametrize("large", [9e6, 1e12, 123456789.123456])
def test_prices_too_large_for_nine_decimals_stay_as_they_are(large: float) -> None:
    assert kernel_money.round_sum(1e9, large) == large


@pytest.mark.parametrize("steps", [1, 29, 57, 58, 99, 12345])
def test_lots_are_the_nearest_float(steps: int) -> None:
    assert kernel_money.round9(steps * 0.01) == float(Decimal(steps) / 100)


def test_a_change_in_any_part_changes_the_cache_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = kernel.fingerprint()
    assert before == kernel.fingerprint()
    monkeypatch.setattr(kernel_orders, "IGNORE", 7)
    changed = kernel.fingerprint()
    monkeypatch.undo()
    monkeypatch.setattr(kernel_money, "quote", kernel_money.lots)
    assert len({before, changed, kernel.fingerprint()}) == 3


def test_every_part_of_the_loop_is_in_the_cache_key() -> None:
    folder = ROOT / "engine" / "kernel"
    source = (folder / "loop.py").read_text(encoding="utf-8")
    # prefetch decides no figure: it is a hint to the processor.
    parts = {path.stem for path in folder.glob("*.py")} - {"__init__", "loop", "loop_with_orders", "prefetch"}
    assert parts >= {"layout", "levels", "money", "orders", "trailing", "entry_bar"}
    assert all(f"from engine.kernel.{part} import" in source for part in parts)
    fingerprint = source[source.index("def fingerprint") :]
    assert all(f"kernel_{part}" in fingerprint for part in parts)


def test_the_state_begins_at_zero_and_names_no_field_twice() -> None:
    assert len(set(STATE.names or ())) == len(STATE.names or ())


def test_compiled_code_is_kept_where_the_package_can_not_be_written(tmp_path: Path) -> None:
    """A second process must not compile again (seconds), wherever the cache had to go; shown of a short function."""
    script = (
        "import numpy as np; from engine.expressions.windows import bars_since as k; k(np.zeros(3, np.bool_)); "
        "s = k.stats; print(sum(s.cache_hits.values()), sum(s.cache_misses.values()), s.cache_path)"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    answers = [
        subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    first, second = (answer.stdout.split() for answer in answers)
    assert first[:2] == ["0", "1"]
    assert second[:2] == ["1", "0"]
    assert second[2].startswith(str(tmp_path))
