"""What BACKTEST_DATABASE_URL may say, and how it is refused."""

import re
from pathlib import Path

import pytest

from consumer.database_url import DatabaseUrlInvalid, Host, read_database_url

SECRET = "hunter2hunter2"


def test_a_plain_url_is_read_whole() -> None:
    address = read_database_url("postgresql://me:p%40ss%2Fw@db.example:5433/back%20test")
    assert (address.hosts, address.database) == ((Host("db.example", 5433),), "back test")
    assert (address.user, address.password) == ("me", "p@ss/w")
    assert (address.target_session, dict(address.tls), address.connect_seconds) == (None, {}, 10.0)
    assert address.place == "db.example:5433/back test"


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("postgresql://a:1,b:2/d", (Host("a", 1), Host("b", 2))),
        ("postgresql://me@a,b:2/d", (Host("a", 5432), Host("b", 2))),
        ("postgresql://a,b/d?port=6000", (Host("a", 6000), Host("b", 6000))),
        ("postgresql:///d?host=a,b&port=1,2", (Host("a", 1), Host("b", 2))),
        ("postgresql:///d?host=/var/run/postgresql", (Host("/var/run/postgresql", 5432),)),
        ("postgresql://%2Fvar%2Frun/d", (Host("/var/run", 5432),)),
        ("postgresql://[::1]:5433,[fe80::1]/d", (Host("::1", 5433), Host("fe80::1", 5432))),
        ("postgresql:///d", ()),
    ],
)
def test_hosts_and_ports_stand_where_libpq_takes_them(url: str, hosts: tuple[Host, ...]) -> None:
    assert read_database_url(url).hosts == hosts


def test_parameters_mean_what_they_mean_to_libpq(tmp_path: Path) -> None:
    authorities = tmp_path / "root.crt"
    authorities.touch()
    address = read_database_url(
        f"postgresql+asyncpg://h/d?sslmode=verify-full&sslrootcert={authorities}&application_name=my+app&user=me"
        "&connect_timeout=4&target_session_attrs=read-write&channel_binding=prefer&password=p%26q"
    )
    assert dict(address.tls) == {"sslmode": "verify-full", "sslrootcert": str(authorities)}
    assert (address.application_name, address.connect_seconds) == ("my+app", 4.0)
    assert (address.target_session, address.user, address.password) == ("read-write", "me", "p&q")


def test_the_first_of_several_silent_hosts_does_not_take_all_the_time() -> None:
    assert read_database_url("postgresql://a,b/d").connect_seconds == 3.0


@pytest.mark.parametrize(
    ("parameter", "told"),
    [
        ("ssl=disable", "parameter 'ssl' is not known here: write sslmode=disable"),
        ("ssl=require", "write sslmode=disable, sslmode=require or sslmode=verify-full"),
        ("sslmod=require", "did you mean sslmode?"),
        ("sslmode=yes", "parameter sslmode must be one of disable, allow, prefer, require, verify-ca, verify-full"),
        ("options=-c%20jit%3Doff", "parameter 'options' is not known here: give the database's user the setting"),
        ("statement_timeout=5", "ALTER ROLE"),
        ("statement_cache_size=0", "a pooler is noticed without being told"),
        ("channel_binding=require", "can only be disable or prefer here"),
        ("keepalives=1", "is libpq's, and this program does not have it"),
        ("sslrootcert=/there/is/no/file", "parameter sslrootcert must be the path of a file that is there"),
        ("sslrootcert=system&sslmode=require", "sslrootcert=system needs sslmode=verify-full"),
        ("sslkey=/dev/null", "must be the path of a file"),
        ("sslnegotiation=direct", "needs sslmode=require"),
        ("target_session_attrs=master", "must be one of any, read-write, read-only, primary, standby, prefer-standby"),
        ("connect_timeout=soon", "whole seconds"),
        ("port=1,2", "2 numbers for 1 hosts"),
        ("port=70000", "a port is a number from 1 to 65535"),
        ("sslmode", "has no value"),
        ("a%40b=x@y", "is written %40"),
    ],
)
def test_what_is_not_known_or_wrong_is_refused_by_name_with_a_way_on(parameter: str, told: str) -> None:
    with pytest.raises(DatabaseUrlInvalid, match=re.escape(told)) as caught:
        read_database_url(f"postgresql://me:{SECRET}@host/d?{parameter}")
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://me:{SECRET}@host/d",
        f"postgresql://me:{SECRET}@host",
        f"postgresql://me:{SECRET}@host:port/d",
        f"postgresql://me:{SECRET}/x@host/d",
        f"postgresql://me:{SECRET}?x@host/d",
        f"postgresql://me:{SECRET}#x@host/d",
        f"postgresql://me:{SECRET}@ho st/d",
        f"postgresql://me:{SECRET}@host:0/d",
        f"postgresql://host/d?passwort={SECRET}",
    ],
)
def test_a_refusal_shows_nothing_that_may_be_a_password(url: str) -> None:
    with pytest.raises(DatabaseUrlInvalid) as caught:
        read_database_url(url)
    assert SECRET not in str(caught.value)


def test_an_address_shows_no_password() -> None:
    address = read_database_url(f"postgresql://me:{SECRET}@host/d?sslpassword={SECRET}")
    assert SECRET not in repr(address)
    assert SECRET not in address.place
    assert address.secrets == (SECRET, SECRET)
