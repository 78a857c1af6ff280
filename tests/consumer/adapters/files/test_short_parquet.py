"""Short tables as Parquet: whatever is in them, a reader finds it there again."""

from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from consumer.adapters.files.artifacts import ArtifactFiles
from consumer.adapters.files.short_parquet import MOST_ROWS, parquet_of
from engine.numeric.columns import columns_of

SCHEMA = {"number": pl.Int64(), "price": pl.Float64(), "name": pl.String(), "at": pl.Datetime("us", "UTC")}
ROWS = st.tuples(
    st.integers(-(2**63), 2**63 - 1),
    st.none() | st.floats(allow_nan=False),
    st.none() | st.text(alphabet=st.characters(exclude_categories=["Cs"])),
    st.datetimes(timezones=st.just(UTC)),
)


def written(table: pl.DataFrame) -> BytesIO:
    columns = columns_of(table)
    assert columns is not None
    return BytesIO(parquet_of(columns))


@given(rows=st.lists(ROWS, max_size=30))
def test_what_was_written_is_read_back(rows: list[tuple[object, ...]]) -> None:
    table = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    again = pl.read_parquet(written(table))
    assert again.schema == table.schema
    assert_frame_equal(again, table, check_exact=True)


@pytest.mark.parametrize("rows", [0, 1, 7, 8, 9, 127, 128, MOST_ROWS])
def test_any_number_of_rows_is_read_back(rows: int) -> None:
    there = [None if row % 3 == 0 else row / 7 for row in range(rows)]
    table = pl.DataFrame({"row": range(rows), "there": there}, schema={"row": pl.Int64, "there": pl.Float64})
    assert_frame_equal(pl.read_parquet(written(table)), table, check_exact=True)


@pytest.mark.parametrize("columns", [1, 14, 15, 16, 40])
def test_any_number_of_columns_is_read_back(columns: int) -> None:
    table = pl.DataFrame({f"column {each}": [float(each), None] for each in range(columns)})
    assert_frame_equal(pl.read_parquet(written(table)), table, check_exact=True)


def test_rows_are_found_by_their_times_without_reading_the_rest() -> None:
    times = pl.datetime_range(datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 5, tzinfo=UTC), "1h", eager=True)
    table = pl.DataFrame({"at": times, "row": pl.Series(range(times.len()), dtype=pl.Int64)})
    scanned = pl.scan_parquet(written(table)).filter(pl.col("at") >= datetime(2020, 1, 4, tzinfo=UTC))
    assert scanned.select("row").collect()["row"].to_list() == list(range(72, times.len()))


@pytest.mark.parametrize(
    "table",
    [
        pl.DataFrame({"a": [1.0] * (MOST_ROWS + 1)}),
        pl.DataFrame({"a": [True]}),
        pl.DataFrame({"a": pl.Series([0]).cast(pl.Datetime("us"))}),
        pl.DataFrame({"a": [1]}, schema={"a": pl.Int32}),
        pl.DataFrame({"a": [1, None]}),
        pl.DataFrame({"a": [float("nan"), None]}),
    ],
)
def test_what_is_long_or_cannot_be_told_by_arrays_is_written_all_the_same(table: pl.DataFrame, tmp_path: Path) -> None:
    [path] = ArtifactFiles(str(tmp_path)).save_run(1, 1, {"table": table}).values()
    assert_frame_equal(pl.read_parquet(path), table, check_exact=True)
