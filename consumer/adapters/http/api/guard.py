"""Stands before every route: who asks, from where, and the headers that every answer has."""

import ipaddress
import re
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from consumer.adapters.http.api.access import COOKIE, Access
from consumer.adapters.http.api.page import is_address_of_page
from consumer.adapters.http.api.problems import Problem, respond

log = structlog.get_logger(__name__)

PUBLIC: Final = frozenset({"/healthz", "/readyz", "/v1/session"})
"""Beside the page and its assets: answered without a token."""
CHANGES_NOTHING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
POLICY: Final = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'self'; form-action 'self';"
    " frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every answer that does not say otherwise."""


@dataclass(slots=True)
class Guard:
    """ASGI middleware. `scope["state"]` of what passes has `caller`, the token's name ("" where there are no tokens),
    and `is_head`.
    """

    app: ASGIApp
    access: Access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        is_head = scope["method"] == "HEAD"
        send = _with_headers(_without_body(send) if is_head else send)
        try:
            caller = self._admit(scope)
        except Problem as problem:
            await respond(problem)(scope, receive, send)
            return
        state = {**scope.get("state", {}), "caller": caller, "is_head": is_head}
        method = "GET" if is_head else scope["method"]
        began = _Began(send)
        try:
            await self.app({**scope, "method": method, "state": state}, receive, began)
        except Exception:
            log.exception("request_failed", method=scope["method"], path=scope["path"], caller=caller)
            if began.is_true:
                raise  # the client sees that the answer is cut off
            await respond(Problem(500, "internal", "a defect of this program; its log says more"))(scope, receive, send)

    def _admit(self, scope: Scope) -> str:
        """Who asks; raises Problem."""
        headers = Headers(scope=scope)
        if self.access.is_open and not _is_loopback(headers.getlist("host")):
            raise Problem(
                421, "wrong_host", "without tokens only this machine's own names are answered, as localhost:8080"
            )
        caller = self._caller(headers)
        if caller is None and not _is_public(scope["path"]):
            raise unauthorized()
        if scope["method"] not in CHANGES_NOTHING and _is_foreign(headers):
            raise Problem(403, "foreign_origin", "a page of another origin may not change anything here")
        return caller or ""

    def _caller(self, headers: Headers) -> str | None:
        """None: nobody that is known. A header that names a token decides, whatever the cookie says."""
        if self.access.is_open:
            return ""
        given = headers.getlist("authorization")
        if given:
            scheme, _, token = given[0].strip().partition(" ")
            if len(given) > 1 or scheme.lower() != "bearer":
                return None
            return self.access.name_of_token(token.strip())
        for value in headers.getlist("cookie"):
            if (session := _session_in(value)) is not None:
                return self.access.name_of_session(session)
        return None


@dataclass(slots=True)
class _Began:
    """Whether an answer has begun: then it cannot be another one."""

    send: Send
    is_true: bool = False

    async def __call__(self, message: Message) -> None:
        self.is_true = True
        await self.send(message)


def unauthorized() -> Problem:
    """The same for whatever was wrong: nobody learns what came near."""
    return Problem(401, "unauthorized", "a valid token is needed", headers={"WWW-Authenticate": "Bearer"})


def _session_in(cookie: str) -> str | None:
    try:
        found = SimpleCookie(cookie).get(COOKIE)
    except CookieError:
        return None
    return None if found is None else found.value


def _is_public(path: str) -> bool:
    return path in PUBLIC or is_address_of_page(path)


def _is_loopback(hosts: list[str]) -> bool:
    """Whether the one Host header names this machine to itself: another name may be a foreign page's, bound anew."""
    if len(hosts) != 1:
        return False
    found = re.fullmatch(r"(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(:[0-9]{1,5})?", hosts[0].strip().lower())
    if found is None:
        return False
    name = found[1].strip("[]")
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _is_foreign(headers: Headers) -> bool:
    """Whether a browser says that a page of another origin asks. Other programs send no Origin."""
    if headers.get("sec-fetch-site", "same-origin").lower() in {"cross-site", "same-site"}:
        return True
    origins = headers.getlist("origin")
    return any(_place_of(origin) != _place_of(f"//{headers.get('host', '')}") for origin in origins)


def _place_of(origin: str) -> tuple[str, int | None] | None:
    """Host and port; the scheme is not compared, since a proxy may have taken TLS off, and with it its port."""
    try:
        parts = urlsplit(origin.strip().lower())
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname or parts.scheme not in {"", "http", "https"}:
        return ("", None) if not parts.scheme else None
    return parts.hostname, None if port in {80, 443} else port


def _with_headers(send: Send) -> Send:
    async def told(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=message["headers"])
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return told


def _without_body(send: Send) -> Send:
    async def told(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return told
