"""What registered strategies say of themselves, read from their files: a list must import nobody's code."""

import ast
from pathlib import Path
from typing import Final

from consumer.installed.strategy_code import located

_SHORTEST: Final = 20
_LONGEST: Final = 120
"""Characters of a description; what is shorter says too little."""


def description_of(target: str) -> str:
    """Return the first sentence of a class's docstring. target: module:Class. "" where it has none, or no file is found
    or can be read.
    """
    module, _, name = target.partition(":")
    top, *inner = module.split(".")
    for place in located(top):
        path = Path(place, *inner)
        for file in (path, path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                return _first_sentence(_docstring(file, name))
    return ""


def _docstring(file: Path, name: str) -> str:
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return ""
    found = next((each for each in tree.body if isinstance(each, ast.ClassDef) and each.name == name), None)
    return (ast.get_docstring(found) or "") if found is not None else ""


def _first_sentence(text: str) -> str:
    first, _, rest = " ".join(text.split("\n\n")[0].split()).partition(". ")
    if len(first) < _SHORTEST and rest:
        first = f"{first}. {rest.partition('. ')[0]}"
    sentence = (first if len(first) <= _LONGEST else first.partition("; ")[0]).removesuffix(".")
    return sentence if len(sentence) <= _LONGEST else f"{sentence[: _LONGEST - 3].rstrip()}..."
