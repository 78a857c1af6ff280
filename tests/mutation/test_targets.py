"""A campaign's modules and tests are where it looks for them: it runs too rarely to notice that one has moved."""

import pytest

from tests.mutation.targets import (
    FIGURES_TESTS,
    MODULES,
    NOT_WITHOUT_COMPILER,
    ROOT,
    RUNS_TESTS,
    TOO_SLOW_WITHOUT_COMPILER,
    source_of,
)

TESTS = ROOT / "tests" / "engine"


@pytest.mark.parametrize("module", MODULES)
def test_a_mutated_module_is_there(module: str) -> None:
    assert "def " in source_of(module)


@pytest.mark.parametrize("test", sorted({*FIGURES_TESTS, *RUNS_TESTS}))
def test_a_test_that_judges_mutants_is_there(test: str) -> None:
    file, _, name = test.partition("::")
    assert f"def {name or 'test_'}" in (TESTS / file).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [*NOT_WITHOUT_COMPILER, *TOO_SLOW_WITHOUT_COMPILER])
def test_a_test_left_out_without_compiler_has_kept_its_name(name: str) -> None:
    assert any(f"def {name}(" in path.read_text(encoding="utf-8") for path in TESTS.rglob("test_*.py"))
