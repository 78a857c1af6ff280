"""The part of docs/api.md that the OpenAPI document makes: `python -m tests.support.api_page` writes it anew."""

from pathlib import Path
from typing import Any, Final

from consumer.adapters.http.api.access import Access
from consumer.adapters.http.api.application import document_of, make_application
from consumer.adapters.http.api.docs_page import curl_of, words_on
from tests.consumer.adapters.http.api.application import services

PAGE: Final = Path(__file__).parents[2] / "docs" / "api.md"
MARK: Final = "<!-- From here on made from the OpenAPI document: python -m tests.support.api_page -->\n"


def main() -> None:
    """Write the page with its routes as they are."""
    opening, _, _ = PAGE.read_text(encoding="utf-8").partition(MARK)
    PAGE.write_text(opening + MARK + routes_text(), encoding="utf-8")


def document() -> dict[str, Any]:
    """The OpenAPI document."""
    return document_of(make_application(services(), Access({})), Access({}))


def commands() -> list[tuple[str, str, str]]:
    """Method, path, and the example as a command line, in the order of the page."""
    return [
        (method.upper(), path, curl_of(method.upper(), path, operation))
        for path, operations in document()["paths"].items()
        for method, operation in operations.items()
    ]


def routes_text() -> str:
    """Every route in the document's words."""
    parts = []
    for path, operations in document()["paths"].items():
        for method, operation in operations.items():
            parts.append(f"\n### {method.upper()} {path}\n\n{' '.join(operation.get('description', '').split())}\n")
            parts += [
                f"- `{each['name']}` ({each['in']}): {words_on(each)}\n"
                for each in operation.get("parameters", ())
                if each["in"] != "path"
            ]
            parts.append(f"\n    {curl_of(method.upper(), path, operation)}\n\n")
            parts.append(f"Answers: {', '.join(operation['responses'])}.\n")
    return "".join(parts)


if __name__ == "__main__":
    main()
