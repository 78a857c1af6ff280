"""PgBouncer, where it is found (Debian has it), before a Postgres server: in its defaults, but for what it is told."""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from consumer.devstack.free_ports import free_ports
from tests.support.waiting import eventually

PROGRAM = shutil.which(
    "pgbouncer", path=f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin{os.pathsep}/usr/local/sbin"
)

needs_pgbouncer = pytest.mark.skipif(PROGRAM is None, reason="there is no pgbouncer (Debian has it)")


@dataclass(slots=True)
class Pooler:
    """A PgBouncer that can be killed and started again at the same address."""

    directory: Path
    port: int
    process: asyncio.subprocess.Process | None = field(default=None)

    def in_front_of(self, database_url: str) -> str:
        """The URL by which a database of its server is reached through it."""
        parts = urlsplit(database_url)
        credentials = parts.netloc.rpartition("@")[0]
        return urlunsplit(parts._replace(netloc=f"{credentials}@127.0.0.1:{self.port}"))

    async def start(self) -> None:
        """Does nothing while it runs."""
        if self.process is not None and self.process.returncode is None:
            return
        assert PROGRAM is not None
        with (self.directory / "output.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                PROGRAM, str(self.directory / "pgbouncer.ini"), stdout=log, stderr=log
            )
        await eventually(self._listens, "PgBouncer listening", seconds=20)

    async def stop(self) -> None:
        """At once, its clients' connections with it."""
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
        if self.process is not None:
            await self.process.wait()

    async def _listens(self) -> bool:
        assert self.process is not None
        assert self.process.returncode is None, (self.directory / "output.log").read_text()
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.close()
            return True
        return False


@asynccontextmanager
async def open_pooler(
    server_url: str, *, pool_mode: str = "transaction", certificate: bytes | None = None, **settings: str
) -> AsyncIterator[Pooler]:
    """A pooler before the server of `server_url`, whose user it lets in.

    certificate: PEM with its key, to insist on TLS.
    """
    directory = Path(tempfile.mkdtemp(prefix="backtest-pooler-"))
    pooler = Pooler(directory, free_ports(1)[0])
    if certificate is not None:
        file = str(directory / "certificate.pem")
        settings |= {"client_tls_sslmode": "require", "client_tls_key_file": file, "client_tls_cert_file": file}
    _configure(pooler, server_url, {"pool_mode": pool_mode, **settings}, certificate)
    try:
        await pooler.start()
        yield pooler
    finally:
        await pooler.stop()
        shutil.rmtree(directory)


def _configure(pooler: Pooler, server_url: str, settings: Mapping[str, str], certificate: bytes | None) -> None:
    if certificate is not None:
        (pooler.directory / "certificate.pem").write_bytes(certificate)
    parts = urlsplit(server_url)
    users = pooler.directory / "users"
    users.write_text(f'"{parts.username}" "{parts.password}"\n')
    told = {
        "listen_addr": "127.0.0.1",
        "listen_port": str(pooler.port),
        "unix_socket_dir": "",
        "auth_file": str(users),
        # It refuses to be root.
        **({"user": "nobody"} if os.geteuid() == 0 else {}),
        **settings,
    }
    (pooler.directory / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={parts.hostname} port={parts.port}\n[pgbouncer]\n"
        + "".join(f"{name} = {value}\n" for name, value in told.items())
    )
    pooler.directory.chmod(0o755)
