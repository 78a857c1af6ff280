"""What one step leaves in a file is what the next one reads, bit for bit."""

import numpy as np
import pytest

from consumer.optimization.shard_tables import (
    numbering_of_table,
    shard_of_table,
    table_of_numbering,
    table_of_shard,
)
from engine.search.figures import FIGURES
from engine.search.parts import Part, Shard
from engine.warm_up import WarmUp

RANDOM = np.random.default_rng(1)


def shard(rows: np.ndarray, kept: list[int], warm_up: WarmUp | None = None) -> Shard:
    count = len(rows)
    figures = RANDOM.normal(size=(count, len(FIGURES)))
    figures[1] = np.nan
    ratios = RANDOM.normal(size=count)
    ratios[1] = np.nan
    return Shard(
        part=Part(40, rows),
        figures=figures,
        ratios=ratios,
        errors={41: ("strategy_error", "no: really\nnot")},
        kept=np.array(kept, np.int64),
        returns=RANDOM.normal(size=(len(kept), 7)),
        warm_up=warm_up,
    )


@pytest.mark.parametrize("rows", [np.array([3, 5, 8, 9]), RANDOM.normal(size=(4, 3))], ids=["places", "drawn"])
@pytest.mark.parametrize("kept", [[], [42], [40, 42, 43]])
@pytest.mark.parametrize("fold", [None, 2])
def test_a_shard_comes_back_as_it_was(rows: np.ndarray, kept: list[int], fold: int | None) -> None:
    one = shard(rows, kept, WarmUp({"H1": 500}, {"H1": 20}))

    found_fold, found = shard_of_table(table_of_shard(fold, one))

    assert found_fold == fold
    assert found.part.first == 40
    for name in ("figures", "ratios", "kept", "returns"):
        np.testing.assert_array_equal(getattr(found, name), getattr(one, name), err_msg=name)
    np.testing.assert_array_equal(found.part.rows, rows)
    assert found.part.rows.dtype == rows.dtype
    assert (found.errors, found.warm_up) == (one.errors, one.warm_up)


@pytest.mark.parametrize("rows", [np.array([3, 5, 8, 9]), RANDOM.normal(size=(4, 3)), RANDOM.normal(size=(4, 1))])
def test_a_numbering_comes_back_as_it_was(rows: np.ndarray) -> None:
    np.testing.assert_array_equal(numbering_of_table(table_of_numbering(rows)), rows)
