"""Which code a strategy is: the version of a package wherever it lies, and whether it is still what was imported."""

import os
import py_compile
import shutil
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

from consumer.installed import strategy_code
from consumer.installed.registry import is_registered
from consumer.installed.strategy_code import OWN_PACKAGES, CodeChanged, fingerprint, load_current, strategy_version

REPOSITORY = Path(__file__).parents[3]
STRATEGY = """
from engine.strategy import StrategyParams

LENGTH = 10

class Mine:
    class Params(StrategyParams):
        pass

    def __init__(self, params, instrument): ...

    def decide(self, view): ...
"""


class Package:
    """A distribution that registers the strategy `mine`: its metadata in `site`, its code in `root`."""

    def __init__(self, root: Path, site: Path, module: str) -> None:
        self.root, self.site, self.module = root, site, module
        for folder in (root, site):
            folder.mkdir(parents=True, exist_ok=True)
        metadata = site / "mine-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[backtest_consumer.strategies]\nmine = {module}:Mine\n")
        self.list_files("mine.pth")

    def list_files(self, *names: str) -> None:
        (self.site / "mine-1.0.dist-info" / "RECORD").write_text("".join(f"{name},,\n" for name in names))

    def write(self, name: str, text: str) -> Path:
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
        return file


@pytest.fixture
def module(request: pytest.FixtureRequest) -> str:
    """A name that no other test has imported."""
    return "mine_" + str(abs(hash(request.node.nodeid)))


@pytest.fixture
def editable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str) -> Package:
    """An editable install: site-packages has metadata and a .pth file, the code lies in a project of its own."""
    monkeypatch.setattr(strategy_code, "_imported", {})
    package = Package(tmp_path / "project", tmp_path / "site", module)
    monkeypatch.syspath_prepend(package.root)
    monkeypatch.syspath_prepend(package.site)
    package.write(f"{module}.py", STRATEGY)
    return package


def test_a_package_has_the_same_version_wherever_it_lies(editable: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    here = strategy_version("mine")
    shutil.copytree(editable.root, editable.root.parent / "elsewhere")
    monkeypatch.syspath_prepend(editable.root.parent / "elsewhere")

    assert fingerprint("mine") != (), "the copy"
    assert strategy_version("mine") == here
    (editable.root.parent / "elsewhere" / f"{editable.module}.py").write_text(STRATEGY.replace("10", "11"))
    assert strategy_version("mine") != here


def test_the_version_is_of_every_file_of_the_package_below_and_of_no_other_kind(editable: Package, module: str) -> None:
    (editable.root / f"{module}.py").unlink()
    editable.write(f"{module}/__init__.py", STRATEGY)
    deep = editable.write(f"{module}/deep/down/levels.py", "STOP = 1\n")
    versions = [strategy_version("mine")]
    deep.write_text("STOP = 2\n")
    versions.append(strategy_version("mine"))
    deep.rename(deep.with_name("other.py"))
    versions.append(strategy_version("mine"))
    editable.write(f"{module}/notes.txt", "a note")
    editable.write(f"{module}/__pycache__/levels.py", "nothing")

    assert len(set(versions)) == 3
    assert strategy_version("mine") == versions[-1]


def test_another_module_of_an_editable_install_that_only_a_function_imports_counts_too(
    editable: Package, module: str
) -> None:
    """Its metadata name what has entry points, and nothing else of the project."""
    editable.write(f"{module}.py", f"{STRATEGY}\ndef later():\n    from {module}_helpers.levels import STOP\n")
    editable.write(f"{module}_helpers/__init__.py", "")
    helper = editable.write(f"{module}_helpers/levels.py", "STOP = 1\n")
    editable.write("tests_of_mine.py", f"import {module}\n")
    before = strategy_version("mine")

    editable.write("tests_of_mine.py", f"import {module}  # changed\n")
    assert strategy_version("mine") == before, "nothing of it imports its tests"
    helper.write_text("STOP = 2\n")
    assert strategy_version("mine") != before


def test_what_lies_beside_an_installed_package_is_no_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    site = tmp_path / "site"
    package = Package(site, site, module)
    monkeypatch.syspath_prepend(site)
    package.list_files(f"{module}.py", f"{module}_too/__init__.py", "../../bin/mine")
    package.write(f"{module}.py", f"import {module}_foreign\n{STRATEGY}")
    foreign = package.write(f"{module}_foreign.py", "X = 1\n")
    own = package.write(f"{module}_too/__init__.py", "X = 1\n")
    before = strategy_version("mine")

    foreign.write_text("X = 2\n")
    assert strategy_version("mine") == before
    own.write_text("X = 2\n")
    assert strategy_version("mine") != before


def test_code_that_is_as_it_was_imported_runs_and_code_that_is_not_wants_a_fresh_process(
    editable: Package, module: str
) -> None:
    file = editable.root / f"{module}.py"
    strategy, version = load_current("mine")
    assert load_current("mine") == (strategy, version)
    os.utime(file, (1, 1))
    assert load_current("mine") == (strategy, version), "touched, but the same text"

    file.write_text(STRATEGY.replace("10", "11"))
    with pytest.raises(CodeChanged):
        load_current("mine")
    file.write_text(STRATEGY)
    assert load_current("mine") == (strategy, version), "and back"


def test_a_module_that_edits_itself_while_it_is_imported_is_noticed(editable: Package, module: str) -> None:
    editable.write(f"{module}.py", f"with open(__file__, 'a') as own: own.write('# again')\n{STRATEGY}")

    with pytest.raises(CodeChanged):
        load_current("mine")


def test_of_two_edits_within_a_second_the_last_one_is_imported(editable: Package, module: str) -> None:
    """Bytecode is told from its source by whole seconds and size: Python itself would run the first edit."""
    file = editable.write(f"{module}.py", STRATEGY)
    py_compile.compile(str(file))
    first = file.stat()
    file.write_text(STRATEGY.replace("LENGTH = 10", "LENGTH = 11"))
    os.utime(file, (first.st_atime, int(first.st_mtime) + 0.999))

    load_current("mine")

    assert sys.modules[module].LENGTH == 11


def test_an_installed_package_that_moves_is_looked_for_where_it_is_now(
    editable: Package, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_current("mine")
    moved = editable.root.parent / "moved"
    moved.mkdir()
    (moved / f"{module}.py").write_text(STRATEGY.replace("10", "12"))
    monkeypatch.syspath_prepend(moved)

    with pytest.raises(CodeChanged):
        load_current("mine")


def test_what_this_program_brings_along_is_one_version_with_the_packages_that_its_wheel_has() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    assert sorted(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == list(OWN_PACKAGES)
    assert strategy_version("sma_cross") == strategy_version("nearest_patterns")


def test_the_version_of_this_program_does_not_depend_on_where_it_is_installed(tmp_path: Path) -> None:
    for package in OWN_PACKAGES:
        shutil.copytree(REPOSITORY / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    program = (
        "from consumer.installed import strategy_code;"
        "print(strategy_code.__file__, strategy_code.strategy_version('sma_cross'))"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    told = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout.split()

    assert told == [str(tmp_path / "consumer/installed/strategy_code.py"), strategy_version("sma_cross")]


def test_a_look_while_an_installer_writes_does_not_hide_what_it_installs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written into a package's own folder leaves no trace on the folder around it."""
    monkeypatch.syspath_prepend(tmp_path)
    metadata = tmp_path / "late-1.0.dist-info"
    metadata.mkdir()
    assert not is_registered("late")
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: late\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[backtest_consumer.strategies]\nlate = late:Late\n")
    assert is_registered("late")
