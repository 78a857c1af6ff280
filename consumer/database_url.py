"""One reading of BACKTEST_DATABASE_URL, for whatever opens the database: libpq's URL and its parameters.

Apart from what connects, since a wrong URL is a wrong setting: it is refused before anything is tried. No message of
this module shows a value that somebody wrote: a password in the wrong place would be among them.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal, get_args
from urllib.parse import unquote

TargetSession = Literal["any", "read-write", "read-only", "primary", "standby", "prefer-standby"]

WANTED: Final = "a URL such as postgresql://user:password@host:5432/database"
DEFAULT_PORT: Final = 5432
CONNECT_SECONDS: Final = 10
CONNECT_SECONDS_OF_SEVERAL: Final = 3
"""For each of several hosts: the next one should not wait long for one whose network says nothing."""


class DatabaseUrlInvalid(ValueError):
    """What is wrong with the URL and how to mend it; without any of its values."""


@dataclass(frozen=True, slots=True)
class Host:
    """Where a server listens. name: a host or address, or the directory of a socket, which begins with a slash."""

    name: str
    port: int

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """What the URL says. What it does not say is None, and then the driver's to find: libpq's variables, ~/.pgpass."""

    #: In the order in which they are tried; none: the local socket.
    hosts: tuple[Host, ...]
    database: str
    user: str | None
    password: str | None = field(repr=False)
    passfile: str | None
    application_name: str | None
    #: For each host.
    connect_seconds: int
    #: None: what the caller needs.
    target_session: TargetSession | None
    #: libpq's `ssl...` parameters by their names.
    tls: Mapping[str, str] = field(repr=False)

    @property
    def place(self) -> str:
        """Hosts, ports and database, for messages."""
        return f"{','.join(map(str, self.hosts)) or 'local socket'}/{self.database}"

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(value for value in (self.password, self.tls.get("sslpassword")) if value)


@lru_cache(maxsize=8)
def read_database_url(text: str) -> DatabaseAddress:
    """Raises DatabaseUrlInvalid."""
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in {"postgresql", "postgres", "postgresql+asyncpg"}:
        raise DatabaseUrlInvalid(f"must be {WANTED}")
    before, _, query = rest.partition("?")
    authority, _, path = before.partition("/")
    if "#" in rest or "@" in path or "@" in query:
        raise DatabaseUrlInvalid("a @ / ? or # of a user, a password or a value is written %40 %2F %3F %23")
    credentials, _, hosts = authority.rpartition("@")
    user, _, password = credentials.partition(":")
    given = _parameters(query)
    database = unquote(path) or given.get("dbname")
    if not database:
        raise DatabaseUrlInvalid(f"must be {WANTED}: it names no database")
    read_hosts = _hosts(unquote(hosts) or given.get("host", ""), given.get("port", ""))
    return DatabaseAddress(
        hosts=read_hosts,
        database=database,
        user=unquote(user) or given.get("user"),
        password=unquote(password) or given.get("password"),
        passfile=given.get("passfile"),
        application_name=given.get("application_name"),
        connect_seconds=_connect_seconds(given.get("connect_timeout"), len(read_hosts)),
        target_session=_target_session(given.get("target_session_attrs")),
        tls=_tls({name: value for name, value in given.items() if name in _TLS}),
    )


_TLS: Final = (
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslpassword",
    "sslcrl",
    "sslnegotiation",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
)
KNOWN_PARAMETERS: Final = (
    "host",
    "port",
    "dbname",
    "user",
    "password",
    "passfile",
    "application_name",
    "connect_timeout",
    "target_session_attrs",
    *_TLS,
)
_WITHOUT_EFFECT: Final[Mapping[str, tuple[str, ...]]] = {
    "gssencmode": ("disable", "prefer"),
    "channel_binding": ("disable", "prefer"),
    "load_balance_hosts": ("disable",),
    "client_encoding": ("utf8", "UTF8", "auto"),
}
"""libpq's parameters that may stand there with a value which asks for nothing that this program does not do."""

_WAYS_ON: Final[Mapping[str, str]] = {
    "ssl": "write sslmode=disable, sslmode=require or sslmode=verify-full",
    "options": "give the database's user the setting: ALTER ROLE ... SET name = value",
    "database": "write dbname",
    "server_settings": "give the database's user the setting: ALTER ROLE ... SET name = value",
    "timeout": "write connect_timeout",
    "pgbouncer": "leave it out, a pooler is noticed without being told",
    "statement_cache_size": "leave it out, a pooler is noticed without being told",
    "prepared_statement_cache_size": "leave it out, a pooler is noticed without being told",
}
_ELSEWHERE: Final = frozenset(
    [
        *("hostaddr", "require_auth", "fallback_application_name", "keepalives", "keepalives_idle", "options"),
        *("keepalives_interval", "keepalives_count", "tcp_user_timeout", "replication", "sslcompression", "sslsni"),
        *("sslcertmode", "sslcrldir", "requirepeer", "krbsrvname", "gsslib", "gssdelegation", "service"),
        *("min_protocol_version", "max_protocol_version", "scram_client_key", "scram_server_key", "servicefile"),
        *_WITHOUT_EFFECT,
    ]
)
"""What libpq has and this program has not."""


def _parameters(query: str) -> dict[str, str]:
    """The query's parameters, all of them known; as in libpq the last of a name counts, and + is no blank."""
    given = {}
    for pair in filter(None, query.split("&")):
        name, equals, value = pair.partition("=")
        name = unquote(name)
        _refuse_unknown(name, unquote(value))
        if not equals or not value:
            raise DatabaseUrlInvalid(f"its parameter {name} has no value")
        given[name] = unquote(value)
    return given


def _refuse_unknown(name: str, value: str) -> None:
    if name in KNOWN_PARAMETERS or value in _WITHOUT_EFFECT.get(name, ()):
        return
    told = f"its parameter {name[:40]!r}"
    if name == "ssl" and value.lower() in {"disable", "false", "off", "0", "no"}:
        raise DatabaseUrlInvalid(f"{told} is not known here: write sslmode=disable")
    if name in _WAYS_ON:
        raise DatabaseUrlInvalid(f"{told} is not known here: {_WAYS_ON[name]}")
    if name in _WITHOUT_EFFECT:
        raise DatabaseUrlInvalid(f"{told} can only be {' or '.join(_WITHOUT_EFFECT[name])} here: leave it out")
    if name in _ELSEWHERE:
        raise DatabaseUrlInvalid(f"{told} is libpq's, and this program does not have it: leave it out")
    if close := difflib.get_close_matches(name, KNOWN_PARAMETERS, n=1, cutoff=0.8):
        raise DatabaseUrlInvalid(f"{told} is not known: did you mean {close[0]}?")
    raise DatabaseUrlInvalid(
        f"{told} is not known here: a setting of the server is made by ALTER ROLE ... SET name = value"
    )


def _hosts(hosts: str, ports: str) -> tuple[Host, ...]:
    """Hosts with their ports, which stand behind them, or beside them: one for all, or one for each."""
    if not hosts:
        if ports:
            raise DatabaseUrlInvalid("its parameter port needs a host")
        return ()
    names = hosts.split(",")
    beside = [_port(port) for port in ports.split(",")] if ports else []
    if len(beside) not in {0, 1, len(names)}:
        raise DatabaseUrlInvalid(f"its parameter port has {len(beside)} numbers for {len(names)} hosts")
    found = []
    for index, name in enumerate(names):
        default = beside[index if len(beside) > 1 else 0] if beside else DEFAULT_PORT
        found.append(_host(name.strip(), default))
    return tuple(found)


def _host(text: str, default_port: int) -> Host:
    if text.startswith("/"):
        return Host(text, default_port)
    parts = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%]+)\]|([^\s:/\[\]]+))(?::([0-9]*))?", text)
    if parts is None:
        raise DatabaseUrlInvalid(f"must be {WANTED}: one of its hosts is none, or has no number for a port")
    address, name, port = parts.groups()
    return Host(address or name, _port(port) if port else default_port)


def _port(text: str) -> int:
    if not re.fullmatch(r"\s*[0-9]{1,5}\s*", text) or not 0 < int(text) < 65_536:
        raise DatabaseUrlInvalid(f"must be {WANTED}: a port is a number from 1 to 65535")
    return int(text)


def _connect_seconds(text: str | None, hosts: int) -> int:
    if text is None:
        return CONNECT_SECONDS_OF_SEVERAL if hosts > 1 else CONNECT_SECONDS
    if not re.fullmatch("[0-9]{1,4}", text) or int(text) < 1:
        raise DatabaseUrlInvalid("its parameter connect_timeout must be whole seconds, 1 to 9999")
    return int(text)


def _target_session(text: str | None) -> TargetSession | None:
    known: tuple[TargetSession, ...] = get_args(TargetSession)
    for each in known:
        if text == each:
            return each
    if text is None:
        return None
    raise DatabaseUrlInvalid(f"its parameter target_session_attrs must be one of {', '.join(known)}")


_VALUES: Final[Mapping[str, tuple[str, ...]]] = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslnegotiation": ("postgres", "direct"),
    "ssl_min_protocol_version": ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"),
    "ssl_max_protocol_version": ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"),
}
SYSTEM_AUTHORITIES: Final = "system"
"""As sslrootcert: those that the machine trusts."""


def _tls(given: Mapping[str, str]) -> Mapping[str, str]:
    for name, values in _VALUES.items():
        if name in given and given[name] not in values:
            raise DatabaseUrlInvalid(f"its parameter {name} must be one of {', '.join(values)}")
    for name in ("sslrootcert", "sslcert", "sslkey", "sslcrl"):
        is_system = name == "sslrootcert" and given.get(name) == SYSTEM_AUTHORITIES
        if name in given and not is_system and not Path(given[name]).is_file():
            raise DatabaseUrlInvalid(f"its parameter {name} must be the path of a file that is there")
    if given.get("sslrootcert") == SYSTEM_AUTHORITIES and given.get("sslmode", "verify-full") != "verify-full":
        raise DatabaseUrlInvalid("its parameter sslrootcert=system needs sslmode=verify-full")
    if given.get("sslnegotiation") == "direct" and given.get("sslmode") not in {"require", "verify-ca", "verify-full"}:
        raise DatabaseUrlInvalid("its parameter sslnegotiation=direct needs sslmode=require, verify-ca or verify-full")
    if "sslkey" in given and "sslcert" not in given:
        raise DatabaseUrlInvalid("its parameter sslkey needs sslcert")
    return dict(given)
