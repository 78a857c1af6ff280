"""The one way in which this program connects to Postgres, whichever command asks for it.

Each new connection is looked at before it is used. Does it lead to a server that takes writes, where its caller means
to write? And is the session behind it ours, or does a pooler (PgBouncer, say) stand between, which gives each
transaction another session: settings and prepared statements of one would be lost, or met by somebody else's. Settings
are therefore made after connecting, by SET where the session is ours and by SET LOCAL in each transaction where it is
not; poolers refuse them at the door.
"""

import asyncio
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode

import asyncpg

from consumer.database_url import SYSTEM_AUTHORITIES, DatabaseAddress, Host, TargetSession
from consumer.errors import StartFailed, StoreUnavailable

STATEMENTS_KEPT: Final = 100
"""Prepared statements that a session of ours keeps."""


SILENCE_MILLISECONDS: Final = 8_000


class Session(asyncpg.Connection):  # type: ignore[misc] # asyncpg has no types
    """A connection that has been looked at."""

    __slots__ = ("settings_of_transactions",)

    settings_of_transactions: str
    """What each transaction begins with; empty where the session has it, or where nothing is wanted."""

    def __init__(self, protocol: Any, transport: asyncio.BaseTransport, *others: Any) -> None:
        super().__init__(protocol, transport, *others)
        _notice_silence(transport.get_extra_info("socket"))


def _notice_silence(connected: socket.socket) -> None:
    """Have the system break the connection once nothing on the other side has acknowledged anything for 8 s: a machine
    that is gone without a word would be waited for as long as a statement may take. A server that thinks is not silent.
    """
    if connected.family == socket.AF_UNIX or not hasattr(socket, "TCP_USER_TIMEOUT"):
        return
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 2)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE_MILLISECONDS)


@dataclass(slots=True)
class Connector:
    """Opens sessions at one address."""

    address: DatabaseAddress
    #: Shown in pg_stat_activity, unless the URL has an application_name.
    name: str
    #: Of every transaction: name -> value.
    settings: Mapping[str, str]
    #: Whether the caller writes: then only a server that takes writes will do.
    writes: bool
    #: For each statement; None: as long as it takes.
    command_seconds: float | None
    #: Whether the last look found a pooler; only the first guess at what the next one finds.
    behind_pooler: bool = field(default=False, init=False)
    _last_host: Host | None = field(default=None, init=False)

    @property
    def patience_seconds(self) -> float:
        """For a connection to be had, all hosts tried."""
        return max(1, len(self.address.hosts)) * self.address.connect_seconds

    async def connect(self, *_of_the_pool: object, **_words_of_the_pool: object) -> Session:
        """A session for transactions on a server that is fit: hosts are tried in their order, the last good one first.

        Raises StoreUnavailable, also where every host answers and none is fit; StartFailed where the URL asks for what
        cannot be; what asyncpg raises where there is one host.
        """
        wanted = self.address.target_session or "any"
        if self.writes and wanted in {"read-only", "standby"}:
            raise StartFailed(f"BACKTEST_DATABASE_URL: target_session_attrs={wanted}, and this is to write")
        hosts: Sequence[Host | None] = sorted(self.address.hosts, key=lambda host: host != self._last_host) or [None]
        refusals: list[str] = []
        for target in ("standby", "any") if wanted == "prefer-standby" and not self.writes else (wanted,):
            for host in hosts:
                try:
                    async with asyncio.timeout(self.address.connect_seconds):
                        session, server = await self._look(host)
                except _OTHER_HOSTS_MAY_DO as error:
                    if len(hosts) == 1:
                        raise
                    refusals.append(f"{host}: {str(error) or 'no answer'}")
                    continue
                if unfit := server.unfit_for(target, writes=self.writes):
                    session.terminate()
                    refusals.append(f"{host or 'local socket'} {unfit}")
                    continue
                self._last_host = host
                return session
        raise StoreUnavailable(f"Postgres: {', '.join(dict.fromkeys(refusals))}")

    async def _look(self, host: Host | None) -> "tuple[Session, _Server]":
        """Connect in the way that fits: where a pooler stands between, sessions keep no prepared statements."""
        guess = self.behind_pooler
        while True:
            session, server = await self._open(host, behind_pooler=guess)
            if server.is_behind_pooler == guess:  # not the field, which another connection may have set meanwhile
                return session, server
            guess = self.behind_pooler = server.is_behind_pooler
            session.terminate()

    async def _open(self, host: Host | None, *, behind_pooler: bool) -> "tuple[Session, _Server]":
        address = self.address
        try:
            session: Session = await asyncpg.connect(
                **(_tls_words(address.tls) if address.tls else {}),
                host=host.name if host else None,
                port=host.port if host else None,
                user=address.user,
                password=address.password,
                passfile=address.passfile,
                database=address.database,
                timeout=address.connect_seconds,
                command_timeout=self.command_seconds,
                statement_cache_size=0 if behind_pooler else STATEMENTS_KEPT,
                target_session_attrs="any",
                connection_class=Session,
                # These two a pooler takes, and keeps for each of its clients.
                server_settings={"application_name": (address.application_name or self.name)[:63], "timezone": "UTC"},
            )
        except asyncpg.ClientConfigurationError as error:  # no root certificate, say: somebody may bring it
            raise StoreUnavailable(f"BACKTEST_DATABASE_URL: {error}".partition("\n")[0]) from error
        try:
            server = await _examine(session)
            await self._settle(session, server)
        except BaseException:
            session.terminate()
            raise
        return session, server

    async def _settle(self, session: Session, server: "_Server") -> None:
        """Give the session its settings, or have each of its transactions begin with them."""
        assignments = [f"{name} = '{value}'" for name, value in self.settings.items()]
        session.settings_of_transactions = ""
        if server.is_behind_pooler:
            session.settings_of_transactions = "; ".join(f"SET LOCAL {each}" for each in assignments)
        elif assignments:
            await session.execute("; ".join(f"SET {each}" for each in assignments))


_OTHER_HOSTS_MAY_DO: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
)


@dataclass(frozen=True, slots=True)
class _Server:
    """What a look at a session tells."""

    is_behind_pooler: bool
    is_standby: bool
    is_read_only: bool

    def unfit_for(self, target: TargetSession, *, writes: bool) -> str | None:
        """Why a session here is not what is wanted, None: it is."""
        if self.is_read_only and (writes or target == "read-write"):
            return read_only_trouble(is_standby=self.is_standby)
        if target == "primary" and self.is_standby:
            return "is a standby"
        if target == "standby" and not self.is_standby:
            return "is no standby"
        if target == "read-only" and not self.is_read_only:
            return "takes writes"
        return None


def read_only_trouble(*, is_standby: bool) -> str:
    return "takes no writes: " + ("it is a standby" if is_standby else "default_transaction_read_only is on")


async def _examine(session: Session) -> _Server:
    """Ask without a named statement, which a pooler's next client would meet. A pooler makes up the number of the
    server's process that it tells its clients, since these have no process of their own.
    """
    statement = await session.prepare(_LOOK, name="")
    (row,) = await statement.fetch()
    return _Server(row["pid"] != session.get_server_pid(), row["is_standby"], row["is_read_only"])


_LOOK: Final = """
SELECT pg_backend_pid() AS pid, pg_is_in_recovery() AS is_standby,
    current_setting('transaction_read_only') = 'on' AS is_read_only
"""


def _tls_words(tls: Mapping[str, str]) -> dict[str, Any]:
    """libpq's parameters, as asyncpg takes them: in a URL only. Raises StoreUnavailable where a file is no good."""
    context = ssl.create_default_context()
    with _naming("sslrootcert"):
        if tls.get("sslrootcert", SYSTEM_AUTHORITIES) != SYSTEM_AUTHORITIES:
            context.load_verify_locations(tls["sslrootcert"])
    with _naming("sslcrl"):
        if "sslcrl" in tls:
            context.load_verify_locations(tls["sslcrl"])
    with _naming("sslcert"):
        if "sslcert" in tls:
            context.load_cert_chain(tls["sslcert"], tls.get("sslkey"), lambda: tls.get("sslpassword", ""))
    if tls.get("sslrootcert") == SYSTEM_AUTHORITIES:
        return {"ssl": context}
    return {"dsn": f"postgresql:///?{urlencode(tls, quote_via=quote)}"}


@contextmanager
def _naming(parameter: str) -> Iterator[None]:
    """Say whose file it is: OpenSSL's words name none."""
    try:
        yield
    except OSError as error:
        told = error.strerror or type(error).__name__
        raise StoreUnavailable(f"BACKTEST_DATABASE_URL: the file of its parameter {parameter}: {told}") from error
