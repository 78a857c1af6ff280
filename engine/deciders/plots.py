"""What a strategy wants drawn beside the bars: columns `plot_*` of what decide_all returned, or what rules name.

Apart from decisions because nothing here moves money: no plot is ever read to decide anything, or is in the digest.
"""

import polars as pl

from engine.errors import StrategyError

PREFIX = "plot_"


def without_plots(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """Return a frame of decisions without its columns `plot_*`, and those; None where there are none."""
    names = [name for name in frame.columns if name.startswith(PREFIX)]
    return (frame.drop(names), frame.select(names)) if names else (frame, None)


def checked_plots(frame: pl.DataFrame, height: int) -> pl.DataFrame:
    """Return the columns as Float64, or Boolean where they are conditions; null where a value is not known or not
    finite. Raises StrategyError for another number of rows, and for columns of another kind.
    """
    if frame.width and frame.height != height:
        raise StrategyError(f"decide_all returned {frame.height} rows for {height} bars")
    return pl.DataFrame([_checked(column) for column in frame.iter_columns()])


def _checked(column: pl.Series) -> pl.Series:
    if column.dtype == pl.Boolean:
        return column
    if not (column.dtype.is_numeric() or column.dtype == pl.Null):
        raise StrategyError(f"decide_all: column {column.name} holds {column.dtype}, not numbers or conditions")
    numbers = column.cast(pl.Float64)
    return numbers.set(~numbers.is_finite().fill_null(value=False), None)
