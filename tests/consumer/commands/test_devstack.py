"""What `backtest devstack` says on the terminal is so."""

from pathlib import Path

from consumer.commands.devstack import how_to_go_on

ADDRESS, LOG = "http://127.0.0.1:8080", Path("api.log")


def test_whoever_gives_no_folder_is_told_that_all_is_forgotten(tmp_path: Path) -> None:
    assert "give --data-dir to keep it" in how_to_go_on(ADDRESS, LOG, None)
    assert "--data-dir" not in how_to_go_on(ADDRESS, LOG, tmp_path)


def test_a_page_that_was_not_built_is_not_promised(tmp_path: Path) -> None:
    page = tmp_path / "index.html"
    assert "its page was not built" in how_to_go_on(ADDRESS, LOG, None, page)
    page.touch()
    assert f"The HTTP API and its page: {ADDRESS}" in how_to_go_on(ADDRESS, LOG, None, page)
