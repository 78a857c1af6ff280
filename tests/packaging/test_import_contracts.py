"""The borders between the packages hold, and crossing any one of them is noticed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("consumer", "engine", "schemas", "migrations")
CONTRACTS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]

CROSSINGS = [
    # contract (its beginning), who crosses it, by what import
    ("consumer joins engine, schemas and migrations", "schemas/crossing.py", "import engine.errors"),
    ("consumer joins engine, schemas and migrations", "engine/crossing.py", "import schemas.topics"),
    ("consumer joins engine, schemas and migrations", "migrations/crossing.py", "import consumer.errors"),
    ("engine is pure", "engine/crossing.py", "import time"),
    ("engine is pure", "engine/crossing.py", "import asyncpg"),
    ("engine's rooms", "engine/numeric/crossing.py", "import engine.market.lots"),
    ("engine's rooms", "engine/market/crossing.py", "import engine.specification"),
    ("engine's rooms", "engine/market/crossing.py", "import engine.kernel.layout"),
    ("engine's rooms", "engine/prepared.py", "import engine.deciders.rules"),
    ("engine's rooms", "engine/deciders/crossing.py", "import engine.simulation"),
    ("engine's rooms", "engine/deciders/crossing.py", "import engine.results.trail"),
    ("engine's rooms", "engine/results/crossing.py", "import engine.simulation"),
    ("engine's rooms", "engine/search/crossing.py", "import engine.audit.probe"),
    ("engine's rooms", "engine/simulate.py", "import engine.search.answer"),
    ("engine's kernel", "engine/kernel/crossing.py", "import engine.numeric.times"),
    ("engine's kernel", "engine/kernel/crossing.py", "import polars"),
    ("engine's strategies", "engine/strategies/crossing.py", "import engine.kernel.layout"),
    ("engine's strategies", "engine/indicators.py", "import engine.kernel.layout"),
    ("engine: checking a request", "engine/specification.py", "import engine.market.bars"),
    ("engine: checking a request", "engine/market/timeframes.py", "import engine.numeric.compiled"),
    ("schemas is pydantic", "schemas/crossing.py", "import polars"),
    ("consumer's rooms", "consumer/ports/crossing.py", "import consumer.rules.columns"),
    ("consumer's rooms", "consumer/preparation/crossing.py", "import consumer.rules.columns"),
    ("consumer's rooms", "consumer/rules/crossing.py", "import consumer.requests.states"),
    ("consumer's rooms", "consumer/requests/crossing.py", "import consumer.reports.figures"),
    ("consumer's rooms", "consumer/reports/crossing.py", "import consumer.intake"),
    ("consumer's rooms", "consumer/optimization/crossing.py", "import consumer.reports.figures"),
    ("consumer's rooms", "consumer/adapters/crossing.py", "import consumer.wiring.database"),
    ("consumer's rooms", "consumer/wiring/crossing.py", "import consumer.commands.runs"),
    ("ports name", "consumer/ports/crossing.py", "import engine.errors"),
    ("ports name", "consumer/ports/crossing.py", "import asyncio"),
    ("rules are pure", "consumer/rules/crossing.py", "import random"),
    ("preparation asks", "consumer/preparation/crossing.py", "import socket"),
    ("use cases have no face", "consumer/requests/crossing.py", "import typer"),
    ("use cases have no face", "consumer/reports/crossing.py", "import rich"),
    ("use cases have no face", "consumer/optimization/crossing.py", "import time"),
    ("the core knows no adapter", "consumer/crossing_detour.py", "import sqlalchemy"),
    ("the core knows no adapter", "consumer/worker.py", "import consumer.adapters.memory.tables"),
    ("the core knows no adapter", "consumer/requests/crossing.py", "import consumer.adapters.memory.tables"),
    ("a run's path", "consumer/dispatch.py", "import engine.errors"),
    (
        "adapters do not know each other",
        "consumer/adapters/kafka/crossing.py",
        "import consumer.adapters.postgres.pool",
    ),
    ("third-party clients", "consumer/commands/crossing.py", "import aiokafka"),
    ("third-party clients", "consumer/wiring/crossing.py", "import obstore"),
    ("only wiring names adapters", "consumer/commands/crossing.py", "import consumer.adapters.files.bars"),
    ("only commands name wiring", "consumer/devstack/crossing.py", "import consumer.wiring.database"),
    ("a revision knows", "migrations/versions/crossing.py", "import consumer.adapters.postgres.schema.tables"),
    ("a revision knows", "migrations/crossing.py", "import asyncpg"),
    ("only migrating", "consumer/adapters/postgres/crossing.py", "import migrations"),
]

CIRCLES = [
    # who closes a circle, though for the checkers alone, by what import
    ("schemas/topics.py", "schemas.requested"),
    ("engine/numeric/arrays.py", "engine.numeric.sums"),
    ("engine/results/digest.py", "engine.results.result"),
    ("consumer/rules/columns.py", "consumer.rules.admission"),
]


def test_every_import_contract_holds() -> None:
    result = lint_imports(REPOSITORY)
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_contract_is_crossed_by_a_test() -> None:
    crossed = {contract for contract, *_ in CROSSINGS} | {"no package runs in a circle"}
    assert [each["name"] for each in CONTRACTS if not any(map(each["name"].startswith, crossed))] == []


def test_no_contract_makes_exceptions() -> None:
    assert [each["name"] for each in CONTRACTS if each.get("ignore_imports")] == []


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Contract -> what the linter says of it, where every border is crossed at once, each by its own import."""
    place = copied(tmp_path_factory.mktemp("crossed"))
    for _, module, line in CROSSINGS:
        path = place / module
        path.write_text((path.read_text() if path.exists() else "") + f"\n{line}\n")
    (place / "consumer/retries.py").write_text("import consumer.crossing_detour\n")
    for one, other in CIRCLES:
        with (place / one).open("a") as file:
            file.write(f"\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import {other}\n")
    (place / "engine/crossing_room.py").touch()
    return broken_contracts(lint_imports(place))


@pytest.mark.parametrize(("contract", "module", "line"), CROSSINGS)
def test_crossing_a_border_breaks_its_contract(broken: dict[str, str], contract: str, module: str, line: str) -> None:
    [told] = [told for name, told in broken.items() if name.startswith(contract)]
    importer, imported = module.removesuffix(".py").replace("/", "."), line.removeprefix("import ")
    assert re.search(rf"\b{re.escape(importer)} -> {re.escape(imported)}\b", told), told


@pytest.mark.parametrize(("module", "_imported"), CIRCLES)
def test_a_circle_is_noticed_though_it_is_for_the_checkers_alone(
    broken: dict[str, str], module: str, _imported: str
) -> None:
    package = module.rpartition("/")[0].replace("/", ".")
    assert f"No cycles are allowed in {package}." in broken["no package runs in a circle"]


@pytest.mark.parametrize(
    ("contract", "module"), [("consumer's rooms", "crossing_detour"), ("engine's rooms", "crossing_room")]
)
def test_a_module_without_a_room_is_refused(broken: dict[str, str], contract: str, module: str) -> None:
    [told] = [told for name, told in broken.items() if name.startswith(contract)]
    assert module in told


def copied(place: Path) -> Path:
    for package in PACKAGES:
        shutil.copytree(REPOSITORY / package, place / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", place)
    return place


def broken_contracts(result: subprocess.CompletedProcess[str]) -> dict[str, str]:
    assert result.returncode == 1, result.stdout + result.stderr
    _, _, told = result.stdout.partition("Broken contracts")
    sections = re.split(r"\n([^\n]+)\n-{5,}\n", told)
    return dict(zip(sections[1::2], sections[2::2], strict=True))


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
