"""A request is checked without the compiler: a worker that only takes requests in pays neither its time nor memory."""

import subprocess
import sys

import pytest

NEEDED = (
    "engine.errors",
    "engine.specification",
    "engine.strategy",
    "engine.market.instruments",
    "engine.market.lots",
    "engine.market.timeframes",
    "schemas.requested",
    "consumer.intake",
    "consumer.rules.admission",
    "consumer.requests.strategy_rows",
    "consumer.preparation.space_verdict",
)
HEAVY = ("numba", "llvmlite", "talib", "engine.kernel")


def test_checking_a_request_loads_neither_compiler_nor_kernel() -> None:
    program = f"import sys, {', '.join(NEEDED)}; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []


def test_a_worker_leaves_data_frames_and_the_compiler_to_its_children() -> None:
    program = "import sys, consumer.wiring.worker; print(*({'polars', 'numpy', 'numba', 'talib'} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []


@pytest.mark.parametrize(
    ("command", "unneeded"),
    [
        ("cancel", {"sqlalchemy"}),
        ("follow", {"asyncpg", "sqlalchemy"}),
        ("submit", {"sqlalchemy"}),
        ("runs", {"aiokafka", "sqlalchemy"}),
        ("report", {"aiokafka", "sqlalchemy"}),
        ("replay", {"sqlalchemy"}),
        ("strategy", {"aiokafka", "asyncpg", "sqlalchemy"}),
        ("run", {"aiokafka", "asyncpg", "sqlalchemy", "optuna", "matplotlib", "engine.search"}),
        ("optimize", {"aiokafka", "asyncpg", "sqlalchemy", "optuna", "matplotlib"}),
    ],
)
def test_a_command_pays_for_no_client_that_it_does_not_use(command: str, unneeded: set[str]) -> None:
    heavy = unneeded if command in ("run", "optimize") else unneeded | set(HEAVY)
    program = f"import sys, consumer.commands.{command}; print(*({heavy!r} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []


def test_what_is_heavy_is_known_by_its_name() -> None:
    program = f"import sys, engine.simulate, engine.indicators; print(*(set({HEAVY!r}) - set(sys.modules)))"
    missing = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert missing.stdout.split() == []
