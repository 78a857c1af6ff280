"""`backtest strategy` and the registry behind it: what is installed runs, what is not never does."""

import importlib
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumer.cli import run_program
from consumer.demo_data import EURUSD_H1
from consumer.installed import registry as strategies
from consumer.installed.descriptions import description_of
from engine.errors import UnknownStrategy
from engine.strategies.sma_cross import SmaCross

PROJECT = Path(__file__).parents[3] / "pyproject.toml"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory on the path, as site-packages is; what is registered is read anew, now and afterwards."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    modules = set(sys.modules)
    yield folder
    for name in set(sys.modules) - modules:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def register(site: Path, distribution: str, **points: str) -> None:
    """Install a distribution's metadata with these entry points."""
    folder = site / f"{distribution}-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    lines = [f"{key} = {target}" for key, target in points.items()]
    (folder / "entry_points.txt").write_text("\n".join([f"[{strategies.GROUP}]", *lines]))
    importlib.invalidate_caches()


def test_every_strategy_of_the_project_is_registered_and_loads() -> None:
    declared = tomllib.loads(PROJECT.read_text())["project"]["entry-points"][strategies.GROUP]
    found = strategies.registered_strategies()
    assert {key: found[key].target for key in declared} == declared
    for key in declared:
        strategy = strategies.load_strategy(key)
        assert hasattr(strategy, "decide_all") != hasattr(strategy, "decide")


def test_looking_keys_up_imports_nothing(site: Path) -> None:
    (site / "explosive.py").write_text("raise RuntimeError('imported')\n")
    register(site, "explosive", explosive="explosive:Strategy")
    assert strategies.registered_strategies()["explosive"].distribution == "explosive 1.0"
    assert "explosive" not in sys.modules


@pytest.mark.parametrize(
    ("target", "what"),
    [
        ("explosive:Strategy", "strategy 'broken' cannot be loaded from explosive:Strategy: RuntimeError: imported"),
        ("nowhere:Strategy", "ModuleNotFoundError"),
        ("json:loads", "json:loads is not a class"),
        ("leaver:Strategy", "strategy 'broken' cannot be loaded from leaver:Strategy: SystemExit: 0"),
        ("json:JSONDecoder", "json:JSONDecoder has no method decide_all or decide"),
        ("unfinished:NoParams", "unfinished:NoParams has no class Params made from StrategyParams"),
        ("unfinished:PlainParams", "unfinished:PlainParams has no class Params made from StrategyParams"),
    ],
)
def test_a_strategy_that_cannot_be_loaded_is_refused_with_the_reason(site: Path, target: str, what: str) -> None:
    (site / "explosive.py").write_text("raise RuntimeError('imported')\n")
    (site / "leaver.py").write_text("raise SystemExit(0)\n")
    (site / "unfinished.py").write_text(
        "class NoParams:\n    def decide(self, view): ...\nclass PlainParams(NoParams):\n    class Params: ...\n"
    )
    register(site, "broken", broken=target)
    with pytest.raises(UnknownStrategy, match=what):
        strategies.load_strategy("broken")


def test_two_packages_may_not_claim_one_key(site: Path) -> None:
    register(site, "one", mine="json:JSONDecoder")
    register(site, "two", mine="json:JSONEncoder")
    with pytest.raises(UnknownStrategy, match=r"registered more than once: .*\(one 1\.0\) and .*\(two 1\.0\)"):
        strategies.load_strategy("mine")


def test_one_package_found_twice_is_one_package(site: Path) -> None:
    register(site, "one", mine="engine.strategies.sma_cross:SmaCross")
    register(site, "copy", mine="engine.strategies.sma_cross:SmaCross")
    assert strategies.load_strategy("mine") is SmaCross


def test_a_key_that_is_not_registered_is_never_imported() -> None:
    with pytest.raises(UnknownStrategy, match=r"unknown strategy .json:JSONDecoder.; registered are: .*sma_cross"):
        strategies.load_strategy("json:JSONDecoder")


def test_a_list_of_strategies_imports_none_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hostile_strategy.py").write_text(
        'raise SystemExit("imported")\n\n\nclass Mine:\n    """Bar by bar. Buys what falls. And more."""\n'
    )
    (tmp_path / "broken_strategy.py").write_text("class Mine(\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert description_of("hostile_strategy:Mine") == "Bar by bar. Buys what falls"
    assert description_of("hostile_strategy:Other") == ""
    assert description_of("broken_strategy:Mine") == ""
    assert description_of("not_there_at_all:Mine") == ""


def test_a_mistyped_key_is_told_the_nearest() -> None:
    with pytest.raises(UnknownStrategy, match=r"'rsi_reversio' \(did you mean 'rsi_reversion'\?\); registered are: "):
        strategies.load_strategy("rsi_reversio")


def test_list_and_show_name_what_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_program(["strategy", "list"]) == 0
    listed = capsys.readouterr()
    assert "strategy show KEY" in listed.err
    line = next(each for each in listed.out.splitlines() if each.startswith("sma_cross"))
    assert line.endswith("crosses above the slow one, SELL where it crosses below")
    assert len(listed.out.splitlines()) == 1 + len(strategies.registered_strategies())
    assert run_program(["strategy", "list", "--json"]) == 0
    assert all(each["description"] for each in json.loads(capsys.readouterr().out))
    assert run_program(["strategy", "show", "sma_cross"]) == 0
    shown = capsys.readouterr().out
    assert "fast" in shown
    assert ">= 1" in shown
    assert run_program(["strategy", "show", "sma_cross", "--json"]) == 0
    assert "fast" in json.loads(capsys.readouterr().out)["properties"]
    assert run_program(["strategy", "show", "nope"]) == 2


@pytest.mark.parametrize("options", [(), ("--bar-by-bar",)])
def test_a_new_strategy_comes_with_a_test_that_passes(tmp_path: Path, options: tuple[str, ...]) -> None:
    assert run_program(["strategy", "new", "brand_new", "--directory", str(tmp_path), *options]) == 0
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path / "brand_new")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path, check=False)
    assert ended.returncode == 0, ended.stdout
    assert "2 passed" in ended.stdout


def test_a_new_strategy_runs_as_it_stands_both_ways_alike(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As columns and bar by bar the template decides the same, so the two make the same trades."""
    registered: dict[str, str] = {}
    for name, options in (("by_columns", ()), ("by_bars", ("--bar-by-bar",))):
        assert run_program(["strategy", "new", name, "--directory", str(site), *options]) == 0
        assert f"pip install -e {site / name}" in capsys.readouterr().out
        project = tomllib.loads((site / name / "pyproject.toml").read_text())
        registered |= project["project"]["entry-points"][strategies.GROUP]
        (site / name / f"{name}.py").rename(site / f"{name}.py")
        (site / name / "pyproject.toml").unlink()
        (site / name / f"test_{name}.py").unlink()
        (site / name).rmdir()
    register(site, "mine", **registered)
    trades = []
    for name in registered:
        file = site / f"{name}.csv"
        status = run_program(
            ["run", "--bars", str(EURUSD_H1), "--symbol", "EURUSD", "--timeframe", "H1", "--strategy", name,
             "--params", '{"use_stop":true}', "--end", "2015-07-01", "--trades", str(file), "--json"]
        )  # fmt: skip
        assert status == 0, capsys.readouterr().err
        trades.append(file.read_text())
    assert trades[0].count("\n") > 50
    assert trades[0] == trades[1]


def test_new_writes_over_nothing_and_takes_only_names_that_can_be_modules(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_program(["strategy", "new", "mine", "--directory", str(tmp_path)]) == 0
    before = (tmp_path / "mine" / "mine.py").read_text()
    assert run_program(["strategy", "new", "mine", "--directory", str(tmp_path)]) == 2
    assert (tmp_path / "mine" / "mine.py").read_text() == before
    for name in ("../mine", "Mine", "1st", "a-b", "class"):
        assert run_program(["strategy", "new", name, "--directory", str(tmp_path)]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    capsys.readouterr()


TALKATIVE = """
import sys
from engine.strategy import Decision, StrategyParams

print("imported")

class Talkative:
    class Params(StrategyParams):
        leaves: bool = False
        takes_profit_at: float | None = None

    def __init__(self, params, instrument):
        self.params = params
        print("made")

    def decide(self, view):
        print("asked")
        if self.params.leaves:
            sys.exit(0)
        if self.params.takes_profit_at is not None:
            return Decision("BUY", take_profits=self.params.takes_profit_at)
        return None
"""
RUN = ("--bars", str(EURUSD_H1), "--symbol", "EURUSD", "--timeframe", "H1", "--end", "2015-01-05", "--strategy", "mine")


@pytest.fixture
def talkative(site: Path) -> None:
    (site / "talkative.py").write_text(TALKATIVE)
    register(site, "talkative", mine="talkative:Talkative")


@pytest.mark.usefixtures("talkative")
@pytest.mark.parametrize("command", ["run", "audit"])
def test_what_a_strategy_prints_stays_out_of_the_json(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_program([command, *RUN, "--json"]) == 0
    out, err = capsys.readouterr()
    assert isinstance(json.loads(out), dict)
    assert {"imported", "made", "asked"} <= set(err.split())


@pytest.mark.usefixtures("talkative")
@pytest.mark.parametrize("command", ["run", "audit"])
def test_a_strategy_that_exits_has_failed_and_not_succeeded(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_program([command, *RUN, "--json", "--params", '{"leaves":true}']) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "the strategy raised SystemExit: 0" in err


@pytest.mark.usefixtures("talkative")
def test_a_target_that_is_no_sequence_is_said_of_the_decision(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_program(["run", *RUN, "--json", "--params", '{"takes_profit_at":1.5}']) == 1
    assert "which cannot be read: 'float' object is not iterable" in capsys.readouterr().err
