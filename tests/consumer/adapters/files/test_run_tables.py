"""What runs left in an object store is read from a copy, and what is not there is told apart from what is away."""

from pathlib import Path

import polars as pl
import pytest
from obstore.store import MemoryStore

from consumer.adapters.files import run_tables
from consumer.adapters.files.artifacts import ArtifactFiles
from consumer.adapters.files.run_tables import RunTableFiles
from consumer.adapters.files.store import ObjectFiles
from consumer.errors import ArtifactsUnavailable, FilesGone
from tests.consumer.reports.recorded_runs import recorded, some_run


def test_tables_of_an_object_store_are_those_of_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = recorded(tmp_path, some_run())
    store = MemoryStore()
    for file in tmp_path.rglob("*"):
        if file.is_file():
            store.put(str(file.relative_to(tmp_path)), file.read_bytes())
    monkeypatch.setattr(run_tables, "open_file_store", lambda url: ObjectFiles(store, url))
    far = RunTableFiles("memory://bucket")
    with far.table(7, 1, "trades") as trades:
        assert trades.collect().equals(kept.result.recorded_trades)
    assert far.ledger(7, 1).equals(kept.result.booked)
    with far.bars(str(kept.run.bars_place)) as bars:
        assert pl.concat(bars.parts(columns=["close"]))["close"].equals(kept.result.bars.frame["close"])
    assert (far.has_table(7, 1, "equity"), far.has_table(7, 1, "indicators")) == (True, False)
    with pytest.raises(FilesGone), far.table(8, 1, "trades"):
        pass


def test_a_damaged_table_is_not_taken_for_one_that_is_gone(tmp_path: Path) -> None:
    ArtifactFiles(str(tmp_path)).save_run(7, 1, {"equity": some_run().equity})
    place = tmp_path / "runs" / "7" / "1" / "equity.parquet"
    place.write_bytes(b"PAR1 torn")
    with pytest.raises(ArtifactsUnavailable), RunTableFiles(str(tmp_path)).table(7, 1, "equity") as equity:
        equity.collect()
