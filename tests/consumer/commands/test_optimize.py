"""`backtest optimize` as a person or a program calls it: one object, files, pictures, one line for a mistake."""

import json
import pickle
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import polars as pl
import pytest

from consumer.demo_data import EURUSD_H1
from engine.search.figures import FIGURES
from tests.consumer.commands.test_run import Ended, Program
from tests.consumer.commands.test_strategy_file import TEXT as MINE

GRID = '{"fast": [5, 10, 20], "slow": {"from": 10, "to": 40, "step": 10}}'
DRAWN = '{"fast": [3, 9], "slow": {"low": 12, "high": 90, "log": true, "int": true}}'
GRID_OF_RULES = '{"fast": [5, 10], "slow": [20, 40]}'
KEYS = {
    "total_combinations", "completed_combinations", "failed_combinations", "best_params", "best_value", "robust_params",
    "results", "statistics", "result_digest", "warnings", "duration_seconds",
}  # fmt: skip


class InThisProcess:
    """Stands for the processes of a search, which take a second each to start; what they simulate is the same."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def open(self, open_search: Any) -> None:
        self._simulate = pickle.loads(pickle.dumps(open_search))()  # as it travels to a process

    def simulate(self, works: Any) -> Iterator[Any]:
        for fold, part in works:
            yield from ((fold, self._simulate(fold, piece, lambda _: None)) for piece in part.cut(7))


@pytest.fixture
def program(capsys: pytest.CaptureFixture[str]) -> Program:
    return Program(capsys)


@pytest.fixture(name="optimize")
def optimize_(program: Program, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("consumer.commands.optimize.start_search_processes", lambda *_: InThisProcess())
    return called_by(program)


def called_by(program: Program) -> Any:
    def called(*arguments: object) -> Ended:
        given = {str(each) for each in arguments}
        strategy = () if {"--strategy", "--rules"} & given else ("--strategy", "sma_cross")
        grid = () if "--grid" in given else ("--grid", GRID)
        bars = ("--bars", EURUSD_H1, "--symbol", "EURUSD", "--timeframe", "H1", "--end", "2015-06-01")
        return program("optimize", *bars, *strategy, *grid, "--workers", "1", *arguments)

    return called


def test_one_object_has_the_best_and_what_it_is_worth(optimize: Any, program: Program) -> None:
    found = optimize("--json", "--min-trades", "10").figures
    assert found.keys() == KEYS
    assert (found["total_combinations"], found["completed_combinations"], found["failed_combinations"]) == (9, 9, 0)
    assert found["statistics"]["left_out"] == 3
    assert len(found["results"]) == 9
    assert found["results"][0].keys() == {"params", "metrics", "rank"}
    alone = program(
        "run", "--bars", EURUSD_H1, "--symbol", "EURUSD", "--timeframe", "H1", "--end", "2015-06-01",
        "--strategy", "sma_cross", "--params", json.dumps(found["best_params"]), "--json",
    ).figures  # fmt: skip
    assert found["results"][0]["metrics"] == {name: alone[name] for name in FIGURES}
    assert found["best_value"] == alone["sharpe_ratio"]


def test_a_person_is_told_the_verdict_before_the_best(optimize: Any) -> None:
    ended = optimize("--min-trades", "10")
    assert ended.status == 0
    assert ended.out == ""
    assert ended.err.startswith("verdict: ")
    assert ended.err.index("verdict") < ended.err.index("the best 9 by sharpe_ratio")
    assert "9 combinations" in ended.err
    assert "3 left out by the strategy" in ended.err
    told = next(line for line in ended.err.splitlines() if line.startswith("best together with its neighbours: "))
    assert re.search(r"fast \d+, slow \d+ \(median sharpe_ratio of it and its \d neighbours -?\d.*, alone -?\d", told)


def test_every_combination_is_in_the_file_and_returns_beside_it(optimize: Any, tmp_path: Path) -> None:
    file = tmp_path / "results.parquet"
    grid = '{"fast": [5, 10], "slow": [10, 20, 30], "stop_loss_pips": [null, 20]}'
    found = optimize("--json", "--results", file, "--grid", grid).figures
    rows = pl.read_parquet(file)
    assert rows.columns == ["fast", "slow", "stop_loss_pips", *FIGURES, "fold", "error"]
    assert rows["slow"].to_list() == [10, 10, 20, 20, 30, 30, 20, 20, 30, 30]
    assert rows["stop_loss_pips"].to_list() == [None, 20] * 5
    assert rows["fold"].null_count() == rows["error"].null_count() == 10
    best = found["results"][0]
    metric = rows.filter(pl.col("sharpe_ratio") == best["metrics"]["sharpe_ratio"])
    assert [metric[name][0] for name in best["params"]] == list(best["params"].values())
    returns = pl.read_parquet(found["statistics"]["returns_file_path"])
    assert returns.columns == ["day", *(f"c{number}" for number in range(10))]
    assert returns["day"].dtype == pl.Date
    assert returns["day"].is_sorted()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["results.parquet", "results.returns.parquet"]


def test_a_walk_forward_has_its_folds_in_the_file_and_one_curve(optimize: Any, tmp_path: Path) -> None:
    file, picture = tmp_path / "results.csv", tmp_path / "walk.png"
    split = '{"train_days": 60, "test_days": 30}'
    found = optimize(
        "--json", "--walk-forward", split, "--min-trades", "3", "--results", file, "--plot", picture
    ).figures
    folds = found["statistics"]["folds"]
    assert len(folds) == 4
    assert found["total_combinations"] == 36
    assert pl.read_csv(file)["fold"].to_list() == [fold for fold in range(4) for _ in range(9)]
    assert found["results"] == []
    assert found["best_value"] == found["statistics"]["walk_forward"]["sharpe_ratio"]
    assert found["statistics"]["returns_file_path"] is None
    assert is_picture(picture)


def test_a_narrow_terminal_cuts_no_number_and_a_walk_forward_tells_its_money(
    optimize: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    ended = optimize("--walk-forward", '{"train_days": 60, "test_days": 30}', "--min-trades", "3")
    assert ended.status == 0, ended.err
    table = ended.err.partition("each fold trades")[2].partition("all folds on one account")[0]
    assert "sharpe_ratio in training" in table
    assert "…" not in table
    assert "9 combinations in each of 4 folds" in ended.err
    rows = [line.split("│")[1:-1] for line in table.splitlines() if line.startswith("│")]
    *folds, joined = [float(row[-2].replace(",", "")) for row in rows]
    assert sum(folds) == pytest.approx(joined, abs=0.03)
    assert "all folds on one account: net profit " in ended.err
    assert "none: walk_forward" not in ended.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("--plot", "map.png"),
        ("--plot", "one.png", "--grid", '{"fast": [3, 5, 9]}'),
        ("--plot", "many.png", "--grid", '{"fast": [5, 9], "slow": [20, 30], "take_profit_pips": [null, 20]}'),
        ("--plot", "none.png", "--min-trades", "100000"),
        ("--plot", "drawn.png", "--random", "12", "--grid", DRAWN),
    ],
)  # fmt: skip
def test_each_kind_of_space_has_its_picture(optimize: Any, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    picture = tmp_path / arguments[1]
    ended = optimize(arguments[0], picture, *arguments[2:])
    assert ended.status == 0, ended.err
    assert is_picture(picture)


def test_processes_of_their_own_find_the_same(program: Program, optimize: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    here = optimize("--json").figures
    monkeypatch.undo()
    there = called_by(program)("--json", "--workers", "2").figures
    for name in KEYS - {"duration_seconds"}:
        assert there[name] == here[name], name


def test_random_and_tpe_draw_the_same_for_their_seed(optimize: Any) -> None:
    grid = '{"fast": {"low": 2, "high": 30, "int": true}, "slow": {"low": 35, "high": 200, "int": true}}'
    for way in ("--random", "--tpe"):
        one, two = (optimize("--json", "--grid", grid, way, "20", "--seed", "3").figures for _ in range(2))
        assert one["result_digest"] == two["result_digest"]
        assert one["total_combinations"] == 20
        assert one["robust_params"] is None


def test_none_with_trades_enough_is_a_warning_and_no_failure(optimize: Any) -> None:
    ended = optimize("--json", "--min-trades", "100000")
    assert ended.status == 0
    assert ended.figures["best_params"] is None
    assert any("there is no best" in warning for warning in ended.figures["warnings"])


def test_the_params_of_rules_are_what_a_search_of_them_varies(optimize: Any, tmp_path: Path) -> None:
    rules = tmp_path / "cross.json"
    document = {
        "params": {"fast": 10, "slow": 30},
        "buy": "crosses_above(sma(close, fast), sma(close, slow))",
        "sell": "crosses_below(sma(close, fast), sma(close, slow))",
    }
    rules.write_text(json.dumps(document))
    grid = ("--grid", GRID_OF_RULES, "--min-trades", "10", "--json")
    of_rules, of_code = optimize("--rules", rules, *grid).figures, optimize(*grid).figures
    assert [(each["params"], each["metrics"]) for each in of_rules["results"]] == [
        (each["params"], each["metrics"]) for each in of_code["results"]
    ]
    ended = optimize("--rules", rules, *grid, "--params", '{"fast": 7}')
    assert (ended.status, "has fast, which --grid varies" in ended.err) == (2, True)
    ended = optimize("--rules", rules, "--grid", '{"slo": [20, 40]}')
    assert ended.status == 2
    assert "param_grid.slo: is no name of its params; did you mean 'slow'? It has fast, slow" in ended.err
    ended = optimize("--rules", rules, "--grid", '{"fast": [5, 2.5]}')
    assert (ended.status, "param_grid.fast: 2.5: is a whole number from 1" in ended.err) == (2, True)


def test_a_strategy_in_a_file_of_ones_own_is_searched_as_it_is_run(program: Program, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MINE.format(imports=""))
    named = ("--strategy", f"{file}:Mine")
    found = called_by(program)(*named, "--grid", '{"length": [10, 20, 40]}', "--min-trades", "1", "--json").figures
    assert found["completed_combinations"] == 3
    params = json.dumps(found["best_params"])
    bars = ("--bars", EURUSD_H1, "--symbol", "EURUSD", "--timeframe", "H1", "--end", "2015-06-01")
    alone = program("run", *bars, *named, "--params", params, "--json").figures
    assert found["best_value"] == alone["sharpe_ratio"]
    refused = called_by(program)(*named, "--grid", '{"width": [10]}')
    assert (refused.status, "param_grid.width: is no parameter of it" in refused.err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--grid", '{"fats": [3]}'), "param_grid.fats: is no parameter of it; did you mean 'fast'? It has fast, slow"),
        (("--grid", '{"fast": []}'), "param_grid.fast: is empty"),
        (("--grid", '{"fast": [0]}'), "param_grid.fast"),
        (("--grid", '{"fast": [50], "slow": [10]}'), "refuses every combination"),
        (("--grid", '{"fast": {"low": 3, "high": 5}}'), "is an interval"),
        (("--grid", "[]"), "--grid"),
        (("--grid", '{"fast": {"from": 1, "to": 5000000, "step": 1}}'), "more than the 1,000,000"),
        (("--params", '{"fast": 3}'), "param_grid.fast: is among the fixed"),
        (("--metric", "sharp"), "optimize_metric: 'sharp'"),
        (("--random", "5", "--tpe", "5"), "--random or --tpe"),
        (("--tpe", "10001"), "samples: must be at most 10,000"),
        (("--walk-forward", '{"train_days": 300, "test_days": 10}'), "walk_forward: no fold fits"),
        (("--walk-forward", '{"test_days": 10}'), "training and purge take 365 days"),
        (("--walk-forward", '{"train_days": 0}'), "train_days: must be a whole number from 1"),
        (("--plot", "x.pdf"), "pictures are written as .png"),
        (("--results", "x.txt"), "tables are written as"),
        (("--strategy", "smacross"), "unknown strategy 'smacross' (did you mean 'sma_cross'?)"),
        (("--spread-source", "bars"), "no recorded spread"),
        (("--spread-source", "bars", "--walk-forward", '{"train_days": 60, "test_days": 30}'), "no recorded spread"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_searched(optimize: Any, arguments: tuple[str, ...], said: str) -> None:
    ended = optimize(*arguments)
    assert ended.status == 2
    assert ended.out == ""
    assert said in ended.err
    assert ended.err.count("\n") == 1


def is_picture(file: Path) -> bool:
    """A PNG of some size that is not all of one colour."""
    data = file.read_bytes()
    width, height = struct.unpack(">II", data[16:24])
    at, pixels = 8, b""
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        if kind == b"IDAT":
            pixels += data[at + 8 : at + 8 + length]
        at += 12 + length
    return width > 800 and height > 400 and len(set(zlib.decompress(pixels)[::97])) > 20
