"""A file of rules: a document as JSON or TOML, of which nothing is lost in silence."""

import tomllib
from pathlib import Path
from typing import Any, Final

from engine.errors import InputRefused
from schemas.json_text import JsonTextError, strict_json

_LARGEST: Final = 1 << 20
"""Bytes: comments and layout may well make a file larger than the document in it."""


def read_rules(path: Path) -> dict[str, Any]:
    """Read a document, not checked yet: TOML where the file is called .toml, else JSON where it begins as such.

    Raises InputRefused: `FILE: what is wrong`; a key that stands twice too.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise InputRefused(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(content) > _LARGEST:
        raise InputRefused(f"{path}: is larger than {_LARGEST // 1024} KiB, which no rules are")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputRefused(f"{path}: is not UTF-8 text: {error.reason} at byte {error.start}") from error
    is_toml = path.suffix.lower() == ".toml" or (path.suffix.lower() != ".json" and not text.lstrip().startswith("{"))
    try:
        document = tomllib.loads(text.replace("\r\n", "\n")) if is_toml else strict_json(text)
    except (tomllib.TOMLDecodeError, JsonTextError) as error:
        raise InputRefused(f"{path}: is not {'TOML' if is_toml else 'JSON'}: {error}") from error
    except RecursionError:
        raise InputRefused(f"{path}: is nested too deeply") from None
    if not isinstance(document, dict):
        raise InputRefused(f"{path}: must be a document of rules, an object")
    return document
