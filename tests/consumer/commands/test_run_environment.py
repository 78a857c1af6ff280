"""`backtest run` and `audit` take from the environment what their options leave open."""

import json
from pathlib import Path

import pytest

from consumer.cli import run_program
from consumer.demo_data import EURUSD_H1

RUN = ("run", "--symbol", "EURUSD", "--timeframe", "H1", "--strategy", "sma_cross", "--json", "--end", "2015-06-01")
BARS = ("--bars", str(EURUSD_H1))


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MARKET_DATA_URL", "INSTRUMENTS_FILE", "ACCOUNT_CURRENCY"):
        monkeypatch.delenv(f"BACKTEST_{name}", raising=False)


@pytest.fixture(scope="module")
def market_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("market-data")
    bars_of = ("--symbol", "EURUSD", "--timeframe", "H1")
    assert run_program(["data", "import", str(EURUSD_H1), *bars_of, "--market-data", str(place)]) == 0
    return place


def figures(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    capsys.readouterr()
    status = run_program(list(arguments))
    out, err = capsys.readouterr()
    assert status == 0, err
    told: dict[str, object] = json.loads(out)
    return told


def test_a_run_takes_its_bars_from_the_market_data_of_the_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, market_data: Path
) -> None:
    named = figures(capsys, *RUN, "--market-data", str(market_data))
    monkeypatch.setenv("BACKTEST_MARKET_DATA_URL", str(market_data))
    assert figures(capsys, *RUN) == named


def test_bars_that_are_named_win_over_the_market_data_of_the_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    named = figures(capsys, *RUN, *BARS)
    monkeypatch.setenv("BACKTEST_MARKET_DATA_URL", str(tmp_path / "not-there"))
    assert figures(capsys, *RUN, *BARS) == named


def test_a_run_knows_the_instruments_of_the_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = tmp_path / "instruments.toml"
    fields = ("pip = 0.0001", "digits = 5", "contract = 50000", 'base = "EUR"', 'quote = "USD"', 'session = "fx"')
    own.write_text("\n".join(("[MINE]", *fields)))
    run = tuple("MINE" if word == "EURUSD" else word for word in RUN)
    by_option = figures(capsys, *run, *BARS, "--instruments", str(own))
    monkeypatch.setenv("BACKTEST_INSTRUMENTS_FILE", str(own))
    assert figures(capsys, *run, *BARS) == by_option


def test_a_run_is_in_the_account_currency_of_the_environment_unless_an_option_says_another(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dollars = figures(capsys, *RUN, *BARS)
    monkeypatch.setenv("BACKTEST_ACCOUNT_CURRENCY", "EUR")
    assert figures(capsys, *RUN, *BARS)["net_profit"] != dollars["net_profit"]
    assert figures(capsys, *RUN, *BARS, "--account-currency", "USD") == dollars


def test_an_instruments_file_of_the_environment_that_is_not_there_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BACKTEST_INSTRUMENTS_FILE", str(tmp_path / "none.toml"))
    assert run_program([*RUN, *BARS]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "BACKTEST_INSTRUMENTS_FILE: must be" in err


@pytest.mark.parametrize("name", ["MARKET_DATA_URL", "INSTRUMENTS_FILE", "ACCOUNT_CURRENCY"])
def test_help_names_the_variables_that_stand_in_for_options(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    assert run_program(["run", "--help"]) == 0
    assert f"BACKTEST_{name}" in capsys.readouterr().out


def test_help_says_what_an_option_that_is_left_out_comes_to(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Square brackets in an option's text are markup, and vanish."""
    monkeypatch.setenv("COLUMNS", "200")
    assert run_program(["run", "--help"]) == 0
    told = {line.split()[1]: line for line in capsys.readouterr().out.splitlines() if " --" in line}
    defaults = {"--volume": "(0.1)", "--account-currency": "(USD)", "--warm-up-bars": "(as it needs)"}
    for option, default in defaults.items():
        assert f"[default: {default}]" in told[option]
