"""`backtest data`: import, list and check."""

import json
from pathlib import Path

import polars as pl
import pytest

from consumer.cli import run_program
from consumer.demo_data import EURUSD_H1

EURUSD = ("--symbol", "EURUSD", "--timeframe", "H1")


def run(*arguments: object) -> int:
    return run_program(["data", *(str(each) for each in arguments)])


def test_what_was_imported_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("import", EURUSD_H1, *EURUSD, "--market-data", tmp_path) == 0
    imported = capsys.readouterr()
    assert [line.split()[1:] for line in imported.out.splitlines()[1:]] == [
        ["6201", "6201", "0"],
        ["6109", "6109", "0"],
        ["6155", "6155", "0"],
    ]
    assert run("list", "--market-data", tmp_path, "--json") == 0
    assert json.loads(capsys.readouterr().out) == [
        {
            "symbol": "EURUSD",
            "timeframe": "H1",
            "first": "2015-01-01T22:00:00Z",
            "last": "2017-12-29T21:00:00Z",
            "bars": 18465,
            "zone": None,
            "gaps": 9,
            "missing_bars": 279,
        }
    ]
    assert run("list", "--market-data", tmp_path) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == [
        "EURUSD",
        "H1",
        "2015-01-01T22:00:00Z",
        "2017-12-29T21:00:00Z",
        "18465",
        "-",
        "9",
        "279",
    ]


def test_the_place_may_come_from_the_environment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKTEST_MARKET_DATA_URL", str(tmp_path))
    assert run("import", EURUSD_H1, *EURUSD) == 0
    assert run("list", "--json") == 0
    assert '"EURUSD"' in capsys.readouterr().out


def test_several_files_are_imported_as_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bars = pl.read_parquet(EURUSD_H1)
    bars.slice(4000, 6000).write_csv(tmp_path / "second.csv")
    bars.slice(0, 5000).write_parquet(tmp_path / "first.parquet")
    files = (tmp_path / "second.csv", tmp_path / "first.parquet")
    assert run("import", *files, *EURUSD, "--market-data", tmp_path / "market") == 0
    assert run("list", "--market-data", tmp_path / "market", "--json") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])[0]["bars"] == 10_000


def test_a_bar_that_differs_is_refused_until_replacing_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.csv"
    pl.read_parquet(EURUSD_H1).head(10).with_columns(pl.col("high") + 1).write_csv(other)
    assert run("import", EURUSD_H1, *EURUSD, "--market-data", tmp_path / "market") == 0
    capsys.readouterr()
    assert run("import", other, *EURUSD, "--market-data", tmp_path / "market") == 2
    error = capsys.readouterr().err
    assert error.startswith(f"backtest: {other}: row 1 (time 2015-01-01T22:00:00Z): high ")
    assert error.count("\n") == 1
    assert run("import", other, *EURUSD, "--market-data", tmp_path / "market", "--replace") == 0


def test_hourly_bars_are_not_taken_for_half_hourly_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("import", EURUSD_H1, "--symbol", "EURUSD", "--timeframe", "M30", "--market-data", tmp_path) == 2
    error = capsys.readouterr().err
    assert "these are H1 bars, not M30" in error
    assert "--timeframe H1" in error
    assert error.count("\n") == 1
    assert not list(tmp_path.rglob("*.parquet"))


def test_bars_of_an_odd_distance_bring_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f"2024-01-02T{hour:02d}:{minute:02d},1,1,1,1" for hour in range(10) for minute in (0, 25)]
    (tmp_path / "bars.csv").write_text("\n".join(["time,open,high,low,close", *lines]) + "\n")
    command = ("import", tmp_path / "bars.csv", "--symbol", "EURUSD", "--timeframe", "M15", "--market-data", tmp_path)
    assert run(*command) == 0
    assert "bars are mostly 0:25:00 apart, which is more than M15" in capsys.readouterr().err


def test_a_weekend_filled_with_flat_bars_is_told_at_its_import(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moving = [f"2024-01-12T{hour:02d}:00,1.1,1.2,1.1,1.1" for hour in range(22)]
    filler = [f"2024-01-13T{hour:02d}:00,1.1,1.1,1.1,1.1" for hour in range(24)]
    (tmp_path / "bars.csv").write_text("\n".join(["time,open,high,low,close", *moving, *filler]) + "\n")
    assert run("import", tmp_path / "bars.csv", *EURUSD, "--market-data", tmp_path / "market") == 0
    said = capsys.readouterr().err
    assert "24 bars lie in the closed part of the FX week, 24 of them flat, which is filler: ask for the export" in said
    assert run("list", "--market-data", tmp_path / "market", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["bars"] == 46


def test_bars_of_a_shorter_timeframe_than_the_stored_ones_are_refused_with_both_sides(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    h4 = ("--symbol", "EURUSD", "--timeframe", "H4", "--market-data", tmp_path / "market")
    pl.read_parquet(EURUSD_H1).head(9)[[1, 5]].write_csv(tmp_path / "h4.csv")
    assert run("import", tmp_path / "h4.csv", *h4) == 0
    capsys.readouterr()
    assert run("import", EURUSD_H1, *h4) == 2
    error = capsys.readouterr().err
    assert "row 2 (time 2015-01-01T23:00:00Z): time is closer than H4 to the row before: these are H1 bars" in error
    assert "18465 bars from 2015-01-01T22:00:00Z to 2017-12-29T21:00:00Z" in error
    assert "stored are 2 bars of EURUSD H4 from 2015-01-01T23:00:00Z to 2015-01-02T03:00:00Z" in error
    assert "--timeframe H1" in error
    assert error.count("\n") == 1


def test_a_file_in_the_clock_of_its_server_is_told_apart_at_its_import(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export, place = server_export(tmp_path / "export.csv"), ("--market-data", tmp_path / "market")
    assert run("import", export, *EURUSD, *place) == 0
    warning = capsys.readouterr().err
    assert "--bars-timezone Europe/Athens, with --replace" in warning
    assert run("import", export, *EURUSD, *place, "--bars-timezone", "Europe/Athens", "--replace") == 0
    assert "--bars-timezone" not in capsys.readouterr().err


def test_a_bar_that_a_clock_without_a_name_moved_into_the_next_month_goes_with_its_replacement(tmp_path: Path) -> None:
    """MetaTrader's clock: New York's and seven hours."""
    rows = "2024-01-31 22:00,1,2,1,1\n2024-01-31 23:00,1,2,1,2\n2024-02-01 00:00,2,2,2,2\n"
    (tmp_path / "export.csv").write_text("time,open,high,low,close\n" + rows)
    mended, fresh = tmp_path / "mended", tmp_path / "fresh"
    right = ("import", tmp_path / "export.csv", *EURUSD, "--bars-timezone", "America/New_York+7", "--market-data")
    assert run(*right, fresh) == 0
    wrong = ("import", tmp_path / "export.csv", *EURUSD, "--bars-timezone", "Etc/GMT+1", "--market-data", mended)
    assert run(*wrong) == 0
    assert run(*right, mended, "--replace") == 0
    assert stored_bytes(mended) == stored_bytes(fresh)


def server_export(path: Path, rows: int | None = None) -> Path:
    """The demo's bars as MetaTrader 5 of a server in Athens exports them: its clock, no offset."""
    bars = pl.read_parquet(EURUSD_H1).head(rows or 100_000)
    local = pl.col("time").dt.convert_time_zone("Europe/Athens")
    columns = {"<DATE>": local.dt.strftime("%Y.%m.%d"), "<TIME>": local.dt.strftime("%H:%M:%S")}
    columns |= {f"<{name.upper()}>": pl.col(name) for name in ("open", "high", "low", "close")}
    bars.select(each.alias(name) for name, each in columns.items()).write_csv(path, separator="\t")
    return path


def stored_bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("[!.]*.*") if path.is_file()}


def test_what_the_refusal_of_another_zone_advises_gives_the_store_of_a_fresh_import(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An MT5 file imported without its zone, then with it: 18 874 bars were left in place of 18 465."""
    export = server_export(tmp_path / "export.csv")
    mended, fresh = tmp_path / "mended", tmp_path / "fresh"
    athens = ("--bars-timezone", "Europe/Athens")
    assert run("import", export, *EURUSD, *athens, "--market-data", fresh) == 0
    assert run("import", export, *EURUSD, "--market-data", mended) == 0
    capsys.readouterr()
    assert run("import", export, *EURUSD, *athens, "--market-data", mended) == 2
    refusal = capsys.readouterr().err
    assert refusal.count("\n") == 1
    assert "18465 bars from 2015-01-01T22:00:00Z to 2017-12-29T21:00:00Z, read in Europe/Athens" in refusal
    assert "18465 bars of EURUSD H1 from 2015-01-02T00:00:00Z to 2017-12-29T23:00:00Z, imported in UTC" in refusal
    (advised,) = {word.strip(",;") for word in refusal.split() if word.startswith("--replace")}
    assert run("import", export, *EURUSD, *athens, "--market-data", mended, advised) == 0
    assert "18465 bars were stored in the months of these files and went" in capsys.readouterr().err
    assert stored_bytes(mended) == stored_bytes(fresh)


def test_a_bar_that_the_wrong_zone_moved_into_the_next_month_goes_with_its_replacement(tmp_path: Path) -> None:
    lines = [
        "time,open,high,low,close",
        "2024-01-31 22:00,1,2,1,1",
        "2024-01-31 23:00,1,2,1,2",
        "2024-02-01 00:00,2,2,2,2",
    ]
    (tmp_path / "export.csv").write_text("\n".join(lines) + "\n")
    mended, fresh = tmp_path / "mended", tmp_path / "fresh"
    right = ("import", tmp_path / "export.csv", *EURUSD, "--bars-timezone", "Europe/Athens", "--market-data")
    assert run(*right, fresh) == 0
    assert run("import", tmp_path / "export.csv", *EURUSD, "--market-data", mended) == 0
    assert run(*right, mended, "--replace") == 0
    assert stored_bytes(mended) == stored_bytes(fresh)


def test_another_zone_is_refused_also_where_no_stored_bar_is_touched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ("--market-data", tmp_path / "market")
    header, january, march = "time,open,high,low,close\n", "2024-01-05 10:00,1,1,1,1\n", "2024-03-05 10:00,1,1,1,1\n"
    for name, rows in (("january.csv", january), ("march.csv", march)):
        (tmp_path / name).write_text(header + rows)
    assert run("import", tmp_path / "january.csv", *EURUSD, "--bars-timezone", "Europe/Athens", *place) == 0
    capsys.readouterr()
    assert run("import", tmp_path / "march.csv", *EURUSD, *place) == 2
    refusal = capsys.readouterr().err
    assert "1 bar from 2024-03-05T10:00:00Z to 2024-03-05T10:00:00Z, read in UTC" in refusal
    assert "imported in Europe/Athens; if Europe/Athens is its zone, --bars-timezone Europe/Athens" in refusal
    assert run("import", tmp_path / "march.csv", *EURUSD, "--bars-timezone", "Europe/Athens", *place) == 0


def test_the_zone_is_kept_and_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export = server_export(tmp_path / "export.csv", 1000)
    place = ("--market-data", tmp_path / "market")
    assert run("import", export, *EURUSD, "--bars-timezone", "Europe/Athens", *place) == 0
    capsys.readouterr()
    assert run("list", *place, "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["zone"] == "Europe/Athens"


def test_a_file_whose_times_have_an_offset_fits_any_zone(tmp_path: Path) -> None:
    export = server_export(tmp_path / "export.csv", 1000)
    place = ("--market-data", tmp_path / "market")
    assert run("import", export, *EURUSD, "--bars-timezone", "Europe/Athens", *place) == 0
    assert run("import", EURUSD_H1, *EURUSD, *place) == 0


def test_removed_bars_are_counted_and_gone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ("--market-data", tmp_path)
    assert run("import", EURUSD_H1, *EURUSD, *place) == 0
    capsys.readouterr()
    assert run("remove", "eurusd", "H1", "--from", "2016-01-01", "--to", "2017-01-01", *place) == 0
    assert capsys.readouterr().out == (
        "EURUSD H1: 6109 bars from 2016-01-03T22:00:00Z to 2016-12-30T18:00:00Z went, 12356 stay\n"
    )
    assert sorted(path.name for path in (tmp_path / "EURUSD" / "H1").iterdir()) == ["2015.parquet", "2017.parquet"]
    assert run("remove", "EURUSD", *place, "--json") == 0
    assert json.loads(capsys.readouterr().out) == [
        {
            "timeframe": "H1",
            "count": 12356,
            "first": "2015-01-01T22:00:00Z",
            "last": "2017-12-29T21:00:00Z",
            "left": 0,
        }
    ]
    assert not (tmp_path / "EURUSD").exists()


def test_the_end_of_a_removal_is_exclusive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ("--market-data", tmp_path)
    assert run("import", EURUSD_H1, *EURUSD, *place) == 0
    assert run("remove", "EURUSD", "H1", "--to", "2015-01-01T23:00", *place) == 0
    assert run("remove", "EURUSD", "H1", "--to", "2015-01-01T23:00", *place) == 0
    told = capsys.readouterr()
    assert "1 bars from 2015-01-01T22:00:00Z to 2015-01-01T22:00:00Z went, 18464 stay" in told.out
    assert "no bars of EURUSD H1 in that range: nothing went" in told.err


def test_removing_what_is_not_stored_names_what_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("import", EURUSD_H1, *EURUSD, "--market-data", tmp_path) == 0
    capsys.readouterr()
    assert run("remove", "EURUSX", "--market-data", tmp_path) == 2
    assert "no bars of 'EURUSX'" in (error := capsys.readouterr().err)
    assert "(did you mean EURUSD?)" in error


def test_an_unknown_symbol_is_one_line_and_a_table_to_take(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unknown = ("--symbol", "EURUSD.m", "--timeframe", "H1")
    assert run("check", EURUSD_H1, *unknown) == 2
    told = capsys.readouterr()
    assert told.err.startswith("backtest: unknown symbol 'EURUSD.m' (did you mean EURUSD")
    assert told.err.count("\n") == 1
    assert '["EURUSD.m"]\nbase = "EUR"\nquote = "USD"\npip = 0.0001\n' in told.out
    (tmp_path / "mine.toml").write_text(told.out)
    assert run("check", EURUSD_H1, *unknown, "--instruments", tmp_path / "mine.toml") == 0
    capsys.readouterr()
    assert run("check", EURUSD_H1, *unknown, "--json") == 2
    assert capsys.readouterr().out == ""


def test_bars_of_an_unknown_symbol_are_imported_with_what_a_run_will_need(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("import", EURUSD_H1, "--symbol", "HUFEUR", "--timeframe", "H1", "--market-data", tmp_path)
    assert run(*command) == 0
    told = capsys.readouterr()
    assert "warning: HUFEUR is no known instrument" in told.err
    assert "from its name and 18465 bars" in told.out
    assert '[HUFEUR]\nbase = "HUF"\n' in told.out


def test_symbols_are_found_in_any_case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("import", EURUSD_H1, "--symbol", "eurusd", "--timeframe", "H1", "--market-data", tmp_path) == 0
    assert run("check", "--symbol", "eurUSD", "--timeframe", "H1", "--market-data", tmp_path) == 0
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["EURUSD"]
    assert "unknown" not in capsys.readouterr().err


def test_the_instruments_file_of_the_environment_holds_for_data_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = 'base = "X"\nquote = "USD"\npip = 0.0001\ncontract = 1\ndigits = 5\nsession = "fx"\n'
    (tmp_path / "mine.toml").write_text(f"[MINE]\n{values}")
    monkeypatch.setenv("BACKTEST_INSTRUMENTS_FILE", str(tmp_path / "mine.toml"))
    monkeypatch.setenv("BACKTEST_MARKET_DATA_URL", str(tmp_path / "market"))
    mine = ("--symbol", "mine", "--timeframe", "H1")
    assert run("import", EURUSD_H1, *mine) == 0
    assert run("check", *mine) == 0
    capsys.readouterr()
    assert run("list", "--json") == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["symbol"], listed["gaps"]) == ("MINE", 9)


def test_a_share_needs_no_instruments_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    share = ("--symbol", "SHARE", "--timeframe", "H1", "--instrument-class", "stock", "--quote", "eur")
    assert run("import", EURUSD_H1, *share, "--market-data", tmp_path) == 0
    assert run("check", EURUSD_H1, *share) == 0
    assert "no known instrument" not in capsys.readouterr().err


def test_a_spread_that_some_stored_bars_lack_is_refused_by_the_first_of_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file without spread could not go into a store with one."""
    bars = pl.read_parquet(EURUSD_H1)
    bars.head(100).with_columns(spread=12.0).write_csv(tmp_path / "with.csv")
    bars.slice(100, 100).write_csv(tmp_path / "without.csv")
    place = ("--market-data", tmp_path / "market")
    assert run("import", tmp_path / "with.csv", *EURUSD, *place) == 0
    assert "spread" not in capsys.readouterr().err
    assert run("import", tmp_path / "without.csv", *EURUSD, *place) == 0
    assert "warning: EURUSD H1: 100 new bars have no spread, while stored ones have one" in capsys.readouterr().err
    command = ["run", *EURUSD, *place, "--strategy", "sma_cross", "--params", '{"fast": 5, "slow": 10}', "--json"]
    command += ["--spread-source", "bars"]
    assert run_program([str(each) for each in command]) == 2
    time = bars["time"][100].isoformat().replace("+00:00", "Z")
    error = capsys.readouterr().err
    assert f"the bar at {time} has no recorded spread, 100 of 200 have none; all from 2015-01-01T22" in error
    assert f" to {time} have one (start and end), and spread_source fixed needs none (--start, --end, --spr" in error
    way_on = ["--start", "2015-01-01T22:00:00Z", "--end", time]
    assert run_program([str(each) for each in [*command, *way_on]]) == 0
    assert run_program([str(each) for each in command[:-2]]) == 0
    assert run_program([str(each) for each in [*command, "--end", "2015-01-05"]]) == 0


def test_recorded_spreads_are_not_replaced_by_none_in_silence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bars = pl.read_parquet(EURUSD_H1).head(100)
    bars.with_columns(spread=12.0).write_csv(tmp_path / "with.csv")
    bars.write_csv(tmp_path / "without.csv")
    place = ("--market-data", tmp_path / "market")
    assert run("import", tmp_path / "with.csv", *EURUSD, *place) == 0
    assert run("import", tmp_path / "without.csv", *EURUSD, *place) == 0  # the same bars: theirs stay
    assert "spread" not in capsys.readouterr().err
    assert run("import", tmp_path / "without.csv", *EURUSD, *place, "--replace") == 0
    assert "warning: EURUSD H1: 100 bars had a spread, and those in their place have none" in capsys.readouterr().err
    assert run("import", tmp_path / "without.csv", *EURUSD, *place, "--replace") == 0
    assert "spread" not in capsys.readouterr().err


def test_prices_of_another_instrument_are_doubted_at_their_import_and_their_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """EURUSD's prices went in as USDJPY's, with five decimals where there are three."""
    for command in (("import", EURUSD_H1, "--market-data", tmp_path), ("check", EURUSD_H1)):
        for symbol, doubted in (("USDJPY", True), ("EURUSD", False)):
            assert run(*command, "--symbol", symbol, "--timeframe", "H1") == 0
            said = "have more decimals than the 3 of USDJPY" in capsys.readouterr().err
            assert said == doubted


def test_check_says_what_is_odd_and_ends_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", EURUSD_H1, *EURUSD, "--json") == 0
    passport = json.loads(capsys.readouterr().out)
    assert (passport["count"], passport["timeframe"]) == (18465, "H1")
    assert passport["gaps"] > 0
    assert run("check", EURUSD_H1, *EURUSD) == 0
    assert "bars are missing" in capsys.readouterr().err
    assert run("import", EURUSD_H1, *EURUSD, "--market-data", tmp_path) == 0
    capsys.readouterr()
    assert run("check", *EURUSD, "--market-data", tmp_path, "--json") == 0
    stored = json.loads(capsys.readouterr().out)
    assert {name: passport[name] for name in stored} == stored


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("check", *EURUSD), 2, "give a FILE or --market-data URL"),
        (("check", "none.csv", *EURUSD), 2, "none.csv: there is no such file"),
        (("check", *EURUSD, "--market-data", "/no/such/place"), 2, "/no/such/place: there is no such directory"),
        (("import", "none.csv", *EURUSD, "--market-data", "x"), 2, "none.csv: there is no such file"),
        (("import", EURUSD_H1, "--symbol", "..", "--timeframe", "H1", "--market-data", "x"), 2, "cannot be a symbol"),
        (("import", EURUSD_H1, *EURUSD), 2, "Missing option '--market-data'"),
        (("list", "--market-data", "/no/such/place"), 2, "/no/such/place: there is no such directory"),
    ],
)
def test_a_mistake_is_one_clear_line(
    capsys: pytest.CaptureFixture[str], arguments: tuple[object, ...], status: int, message: str
) -> None:
    assert run(*arguments) == status
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_bad_bars_are_found_with_their_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bars.csv").write_text("time,open,high,low,close\n2024-01-02,1,1,1,-1\n")
    assert run("check", tmp_path / "bars.csv", *EURUSD) == 2
    assert "bars.csv: row 1 (time 2024-01-02T00:00:00Z): " in capsys.readouterr().err
