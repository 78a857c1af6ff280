"""The borders between the packages hold, and crossing one of them is noticed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("consumer", "engine", "schemas", "migrations")


def test_every_import_contract_holds() -> None:
    result = lint_imports(REPOSITORY)
    assert result.returncode == 0, result.stdout + result.stderr


ENGINE_CROSSINGS = [
    ("engine/numeric/crosses_a_border.py", "import engine.market.lots", "engine's rooms stand in their order"),
    ("engine/market/crosses_a_border.py", "import engine.specification", "engine's rooms stand in their order"),
    ("engine/market/crosses_a_border.py", "import engine.kernel.layout", "engine's rooms stand in their order"),
    ("engine/prepared.py", "import engine.deciders.rules", "engine's rooms stand in their order"),
    ("engine/deciders/crosses_a_border.py", "import engine.simulation", "engine's rooms stand in their order"),
    ("engine/deciders/crosses_a_border.py", "import engine.results.trail", "engine's rooms stand in their order"),
    ("engine/results/crosses_a_border.py", "import engine.simulation", "engine's rooms stand in their order"),
    ("engine/search/crosses_a_border.py", "import engine.audit.probe", "engine's rooms stand in their order"),
    ("engine/simulate.py", "import engine.search.sweep", "engine's rooms stand in their order"),
    ("engine/a_room_without_a_place.py", "", "engine's rooms stand in their order"),
    ("engine/kernel/crosses_a_border.py", "import engine.numeric.times", "engine's kernel stands alone"),
    ("engine/kernel/crosses_a_border.py", "import polars", "engine's kernel stands alone"),
    ("engine/strategies/crosses_a_border.py", "import engine.kernel.layout", "engine's strategies and market know"),
    ("engine/indicators.py", "import engine.kernel.layout", "engine's strategies and market know"),
    ("engine/specification.py", "import engine.market.bars", "engine: checking a request needs neither"),
    ("engine/market/timeframes.py", "import engine.numeric.compiled", "engine: checking a request needs neither"),
    ("engine/numeric/arrays.py", "import engine.numeric.sums", "engine has no circles"),
    ("engine/results/digest.py", "if TYPE_CHECKING:\n    import engine.results.result", "engine has no circles"),
]


@pytest.mark.parametrize(
    ("module", "forbidden_line", "contract"),
    [
        *ENGINE_CROSSINGS,
        ("engine/crosses_a_border.py", "import time", "engine is pure"),
        ("engine/crosses_a_border.py", "import asyncpg", "engine is pure"),
        ("engine/crosses_a_border.py", "import schemas", "consumer joins engine and schemas"),
        ("schemas/crosses_a_border.py", "import engine", "consumer joins engine and schemas"),
        ("schemas/crosses_a_border.py", "import polars", "schemas is pydantic"),
        ("consumer/crosses_a_border.py", "import aiokafka", "third-party clients only in adapters and devstack"),
        ("consumer/crosses_a_border.py", "import sqlalchemy", "third-party clients only in adapters and devstack"),
        (
            "migrations/versions/crosses_a_border.py",
            "import consumer.adapters.postgres.schema.tables",
            "migrations know",
        ),
        ("migrations/crosses_a_border.py", "import asyncpg", "migrations know"),
        ("consumer/crosses_a_border.py", "import migrations", "only migrating runs migrations"),
    ],
)
def test_crossing_a_border_breaks_its_contract(tmp_path: Path, module: str, forbidden_line: str, contract: str) -> None:
    for package in PACKAGES:
        shutil.copytree(REPOSITORY / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    with (tmp_path / module).open("a") as file:
        file.write(f"\n{forbidden_line}\n")

    result = lint_imports(tmp_path)

    assert result.returncode == 1, result.stderr
    broken = [line for line in result.stdout.splitlines() if " BROKEN" in line]
    assert any(contract in line for line in broken), result.stdout


def lint_imports(directory: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter in a process of its own, so that it sees the packages of this directory and no others."""
    program = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    environment = {**os.environ, "PYTHONPATH": str(directory), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
