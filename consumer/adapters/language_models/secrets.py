"""Which words of a provider must not be repeated: it may quote the key that it was sent."""

import base64
import os
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

HIDDEN: Final = "[secret]"
_NAMES: Final = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS)S?$")
_SHORTEST: Final = 6
"""Characters of a variable's value that counts as a secret by its name alone."""
_BEARER: Final = re.compile(r"\b(bearer|basic)\s+[^\s\"',}]+", re.IGNORECASE)


class Redactor:
    """Takes secrets out of texts: the given ones, those of the environment, and whatever follows `Bearer`."""

    def __init__(self, secrets: Iterable[str]) -> None:
        named = [value for name, value in os.environ.items() if _NAMES.search(name) and len(value) >= _SHORTEST]
        forms = {form for secret in (*secrets, *named) if secret for form in _forms_of(secret)}
        # The longest first: one may be part of another.
        alternatives = "|".join(map(re.escape, sorted(forms, key=len, reverse=True)))
        self._pattern = re.compile(alternatives) if forms else None

    def without_secrets(self, text: str) -> str:
        hidden = self._pattern.sub(HIDDEN, text) if self._pattern is not None else text
        return _BEARER.sub(rf"\1 {HIDDEN}", hidden)


def _forms_of(secret: str) -> tuple[str, ...]:
    encoded = base64.b64encode(secret.encode()).decode().rstrip("=")
    return secret, quote(secret, safe=""), encoded, repr(secret)[1:-1]
