"""docs/api.md is what the OpenAPI document says."""

from tests.support.api_page import MARK, PAGE, routes_text


def test_the_page_of_the_api_is_made_from_its_document() -> None:
    _, mark, written = PAGE.read_text(encoding="utf-8").partition(MARK)
    assert mark
    assert written == routes_text(), "run: python -m tests.support.api_page"
