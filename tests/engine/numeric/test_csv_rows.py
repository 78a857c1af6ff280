"""Rows as CSV text: what polars would have written, and every number back to the bit."""

import math
import struct
from datetime import UTC, datetime
from io import BytesIO, StringIO

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.numeric import csv_rows as module
from engine.numeric.columns import columns_of
from engine.numeric.csv_rows import csv_rows

TIME = pl.Datetime("us", "UTC")
MOMENTS = st.datetimes(timezones=st.just(UTC))
DECIMALS = st.builds(lambda digits, places: digits / 10**places, st.integers(-(10**15), 10**15), st.integers(0, 15))
TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"]))


def by_polars(table: pl.DataFrame) -> bytes:
    buffer = BytesIO()
    table.write_csv(buffer, include_header=False, datetime_format="%Y-%m-%d %H:%M:%S%.6f+00")
    return buffer.getvalue()


@given(value=DECIMALS | st.floats())
@example(value=0.1 + 0.2)
@example(value=-0.0)
@example(value=1e-5)
@example(value=9.999999e-6)
@example(value=999_999_999_999_999.0)
@example(value=1e15)
@example(value=1e22)
@example(value=5e-324)
def test_a_float_is_written_as_polars_does_and_reads_back_to_the_bit(value: float) -> None:
    table = pl.DataFrame({"a": [value, 1.5, value]})
    text = csv_rows(table, "sql")
    assert text == by_polars(table)
    read = float(text.split(b"\n")[0])
    assert struct.pack("<d", read) == struct.pack("<d", value) or (math.isnan(read) and math.isnan(value))


@given(
    rows=st.lists(
        st.tuples(
            st.integers(-(2**63), 2**63 - 1), st.none() | DECIMALS, st.none() | TEXTS, MOMENTS, DECIMALS, st.none()
        ),
        max_size=20,
    )
)
def test_rows_of_every_kind_are_those_of_polars(rows: list[tuple[object, ...]]) -> None:
    kinds = (("id", pl.Int64), ("level", pl.Float64), ("name", pl.String), ("at", TIME), ("price", pl.Float64))
    table = pl.DataFrame(rows, schema=[*kinds, ("none", pl.String)], orient="row")
    assert csv_rows(table, "sql") == by_polars(table)


@given(moment=MOMENTS)
@example(moment=datetime(1, 1, 1, tzinfo=UTC))
@example(moment=datetime(2000, 2, 29, 23, 59, 59, 1, tzinfo=UTC))
@example(moment=datetime(1900, 3, 1, tzinfo=UTC))
@example(moment=datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC))
def test_a_moment_has_microseconds_only_where_there_are_any(moment: datetime) -> None:
    text = csv_rows(pl.DataFrame({"at": [moment]}, schema={"at": TIME}), "iso").decode()
    assert text == moment.isoformat().replace("+00:00", "Z\n")


@pytest.mark.parametrize("rows", [0, 1, 511, 512, 513, 1_300])
def test_no_row_is_lost_where_parts_meet(rows: int) -> None:
    table = pl.DataFrame({"number": pl.Series(range(rows), dtype=pl.Int64), "half": [each / 2 for each in range(rows)]})
    assert csv_rows(table, "iso") == by_polars(table)


@pytest.mark.parametrize(
    "column",
    [
        pl.Series("a", [1.1, 0.1 + 0.2]),
        pl.Series("a", [1, None], dtype=pl.Int64),
        pl.Series("a", [1.5], dtype=pl.Float32),
        pl.Series("a", [float("nan"), None], dtype=pl.Float64),
    ],
)
def test_what_is_not_rendered_here_is_rendered_by_polars(column: pl.Series) -> None:
    table = column.to_frame()
    columns = columns_of(table)
    assert columns is None or module._rendered(columns, "sql") is None
    assert csv_rows(table, "sql") == by_polars(table)


def test_usual_prices_and_money_are_rendered_here() -> None:
    table = pl.DataFrame({"price": [1.31927, 156.4, 2035.12345], "money": [-26.1, 0.0, 123_456.12345678]})
    columns = columns_of(table)
    assert columns is not None
    rendered = module._rendered(columns, "sql")
    assert rendered is not None
    assert pl.read_csv(StringIO(rendered.decode()), has_header=False).rows() == table.rows()
