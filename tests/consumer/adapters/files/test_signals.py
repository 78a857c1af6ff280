"""Signal files: read into the types the engine checks, mistakes with their row; also through the engine's own check."""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from consumer.adapters.files.signals import read_signals
from engine.errors import BadSignals


def read(folder: Path, content: str, zone: str = "UTC") -> pl.DataFrame:
    path = folder / "signals.csv"
    path.write_text(content)
    return read_signals(path, zone)


def test_levels_may_be_left_out_row_by_row(tmp_path: Path) -> None:
    frame = read(
        tmp_path,
        "Time,action,volume,stop_loss,take_profit,take_profit_2\n"
        "2024-01-02T00:00:00Z,BUY,0.5,1.05,1.2,1.3\n2024-01-02T05:00:00Z, CLOSE ,,,,\n",
    )
    assert frame.rows() == [
        (datetime(2024, 1, 2, tzinfo=UTC), "BUY", 0.5, 1.05, 1.2, 1.3),
        (datetime(2024, 1, 2, 5, tzinfo=UTC), "CLOSE", None, None, None, None),
    ]
    assert frame.schema["take_profit_2"] == pl.Float64


def test_times_without_offset_are_in_the_named_zone(tmp_path: Path) -> None:
    frame = read(tmp_path, "time,action\n2024-07-02 03:00,BUY\n", "Europe/Athens")
    assert frame["time"].to_list() == [datetime(2024, 7, 2, tzinfo=UTC)]


def test_csv_and_parquet_of_the_same_signals_are_the_same_frame(tmp_path: Path) -> None:
    frame = read(tmp_path, "time,action,stop_loss\n2024-01-02,BUY,1.05\n2024-01-03,CLOSE,\n")
    frame.write_parquet(tmp_path / "signals.parquet")
    assert read_signals(tmp_path / "signals.parquet").equals(frame)


def test_a_file_without_rows_has_no_signals(tmp_path: Path) -> None:
    assert read(tmp_path, "time,action,stop_loss\n").height == 0


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "the file is empty"),
        ("time,action\nyesterday,BUY\n", "row 1 (time yesterday): time is not ISO 8601, "),
        (
            "time,action,stop_loss\n2024-01-02,BUY,1.0\n2024-01-03,SELL,x\n",
            "row 2 (time 2024-01-03T00:00:00Z): stop_loss 'x' is not a number",
        ),
    ],
)
def test_a_mistake_is_named_with_its_row_and_time(tmp_path: Path, content: str, what: str) -> None:
    with pytest.raises(BadSignals) as caught:
        read(tmp_path, content)
    assert str(caught.value).startswith(f"{tmp_path / 'signals.csv'}: {what}")
