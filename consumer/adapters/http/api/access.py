"""Who may ask: tokens compared in constant time, and sessions of the page, which are signatures and kept nowhere."""

import hashlib
import hmac
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

COOKIE: Final = "backtest_session"
SESSION_SECONDS: Final = 7 * 86_400


@dataclass(frozen=True, slots=True)
class Access:
    """tokens: name -> token; none: everybody on this machine may do everything. root_path: "" or "/prefix"."""

    tokens: Mapping[str, str] = field(repr=False)
    root_path: str = ""
    now: Callable[[], float] = time.time

    @property
    def is_open(self) -> bool:
        return not self.tokens

    @property
    def cookie_path(self) -> str:
        return self.root_path or "/"

    def name_of_token(self, token: str) -> str | None:
        """Whose token it is. Takes as long whichever it is: each is looked at, as a digest of one length."""
        given = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        found: str | None = None
        for name, each in self.tokens.items():
            if hmac.compare_digest(hashlib.sha256(each.encode()).digest(), given):
                found = name
        return found

    def new_session(self, name: str) -> str:
        """The cookie's value: who, until when, and a signature that needs his token."""
        expires = int(self.now()) + SESSION_SECONDS
        return f"{name}.{expires}.{self._signature(name, expires)}"

    def name_of_session(self, value: str) -> str | None:
        """Whose session it is; None for one that is over, forged, or of a token that is gone."""
        name, _, rest = value.rpartition(".")
        name, _, until = name.rpartition(".")
        if name not in self.tokens or not (until.isascii() and until.isdigit()) or len(until) > 12:
            return None
        expected = self._signature(name, int(until))
        if not hmac.compare_digest(expected.encode(), rest.encode("utf-8", "surrogatepass")):
            return None
        return name if self.now() < int(until) else None

    def _signature(self, name: str, expires: int) -> str:
        key = hashlib.sha256(b"backtest session\n" + self.tokens[name].encode()).digest()
        signed = hmac.new(key, f"{name}\n{expires}".encode(), hashlib.sha256).digest()
        return urlsafe_b64encode(signed).decode("ascii").rstrip("=")
