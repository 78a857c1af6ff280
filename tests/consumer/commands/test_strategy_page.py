"""The bar strategy of docs/strategies.md is one to begin with: it runs as it stands there."""

from pathlib import Path

import pytest

from consumer.demo_data import EURUSD_H1
from tests.consumer.commands.test_run import Program

PAGE = Path(__file__).parents[3] / "docs" / "strategies.md"


def test_the_bar_strategy_of_the_page_runs_and_trades(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    block = PAGE.read_text(encoding="utf-8").partition("<!-- bar strategy -->")[2].partition("<!-- end -->")[0]
    file = tmp_path / "opening_range.py"
    file.write_text(block.strip().removeprefix("```python").removesuffix("```"), encoding="utf-8")
    ended = Program(capsys)(
        "run", "--bars", EURUSD_H1, "--symbol", "EURUSD", "--timeframe", "H1", "--end", "2015-06-01",
        "--strategy", f"{file}:OpeningRange", "--json",
    )  # fmt: skip
    assert ended.status == 0, ended.err
    assert ended.figures["total_trades"] > 5
