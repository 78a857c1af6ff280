"""A folder that may be a local directory or a place in an object store; apart so that bars and artefacts share it.

    files = open_file_store("/data/bars")           # also file:///data/bars, s3://bucket/bars, gs://..., az://...

Credentials of object stores come from the environment, as the store's own tools read them. Names are relative,
with forward slashes.
"""

# ruff: noqa: PTH102, PTH103, PTH104, PTH105, PTH108, PTH113, PTH116, PTH118, PTH123  # see LocalFiles
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol
from urllib.parse import unquote, urlsplit

from consumer.adapters.files.store_locks import Lock, directory_lock, object_lock

if TYPE_CHECKING:
    from obstore.store import ObjectStore


class FileStoreError(Exception):
    """The store cannot be read or written now: a full disk, no permission, no network. Callers translate it."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """name: relative; version: changes when the content does (size with mtime or ETag); size in bytes; written_at:
    by the store's clock, in seconds since 1970."""

    name: str
    version: str
    size: int
    written_at: float


class FileStore(Protocol):
    """Whole files by name. Every method raises FileStoreError; a name that is not there is no error in lists."""

    def read(self, name: str) -> bytes: ...

    def write(self, name: str, content: bytes, *, durable: bool) -> None:
        """Put a whole file under a name: readers see the old one, the new one, or none, never a part.

        durable: survives a power loss once this returns (object stores always do).
        """
        ...

    def write_folder(self, folder: str, contents: Mapping[str, bytes]) -> None:
        """Put files into a folder of their own, by the last parts of their names; whole files only, as `write` does.
        Not durable.
        """
        ...

    def exists(self, name: str) -> bool: ...

    def written_at(self, name: str) -> float | None:
        """When the file was last written, by the store's clock, in seconds since 1970; None: there is no such file."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        ...

    def remove_folder(self, folder: str) -> None:
        """Remove a folder with all below it, if it is there."""
        ...

    def files(self, folder: str) -> list[StoredFile]:
        """The files directly in a folder, by name; none when there is no such folder."""
        ...

    def folders(self, folder: str) -> list[str]:
        """The last parts of the folders directly in a folder ("" is the root), by name; none that begins with a dot."""
        ...

    def location(self, name: str) -> str:
        """A path or URL that opens as it stands."""
        ...

    def path_of(self, name: str) -> Path | None:
        """Where parts of a file can be read on this machine; None: only whole files can."""
        ...

    def locked(self, name: str, wait_seconds: float) -> AbstractContextManager[Lock]:
        """Hold a lock of this name, waiting for another holder to end. It does not outlive this process."""
        ...


def open_file_store(url: str) -> FileStore:
    """Open the store at a path, a file:// URL or an object store's URL. Nothing is created or contacted yet."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        if parts.netloc not in {"", "localhost"}:
            raise FileStoreError(f"{url}: a file URL names no host; write file:///path")
        return LocalFiles(Path(unquote(parts.path)))
    if "://" not in url:
        return LocalFiles(Path(url).expanduser())
    import obstore.store  # here: a local store need not pay its 40 ms
    from obstore.exceptions import BaseError

    try:
        return ObjectFiles(obstore.store.from_url(url), url.rstrip("/"))
    except (BaseError, ValueError) as error:
        raise FileStoreError(f"{parts.scheme}://{parts.hostname or ''}: {_first_line(error)}") from error


class LocalFiles:
    """A local directory, made when first written to. Paths are text: of the thirty that a small run makes each takes
    pathlib some microseconds.
    """

    def __init__(self, root: Path) -> None:
        self._root = str(root.absolute())

    def read(self, name: str) -> bytes:
        with _translated(self.location(name)):
            return Path(self.location(name)).read_bytes()

    def write(self, name: str, content: bytes, *, durable: bool) -> None:
        target = self.location(name)
        folder, last = os.path.split(target)
        with _translated(target):
            part = f"{folder}/.{last}.{secrets.token_hex(8)}.part"
            try:
                with _open_new(part, folder) as file:
                    file.write(content)
                    if durable:
                        file.flush()
                        os.fsync(file.fileno())
                os.replace(part, target)
            except BaseException:
                with suppress(OSError):
                    os.unlink(part)
                raise
            if durable:
                _sync_directory(folder)

    def write_folder(self, folder: str, contents: Mapping[str, bytes]) -> None:
        """Under another name until all is written: one rename, where each file would need its own."""
        target = self.location(folder)
        around, last = os.path.split(target)
        part = f"{around}/.{last}.{secrets.token_hex(8)}.part"
        with _translated(target):
            _make_new(part, around)
        try:
            for name, content in contents.items():
                with _translated(f"{target}/{name}"):
                    _write_new(f"{part}/{name}", content)
            os.rename(part, target)
        except FileStoreError:
            shutil.rmtree(part, ignore_errors=True)
            raise
        except OSError:  # the folder is there already
            shutil.rmtree(part, ignore_errors=True)
            for name, content in contents.items():
                self.write(f"{folder}/{name}", content, durable=False)

    def exists(self, name: str) -> bool:
        with _translated(self.location(name)):
            return os.path.isfile(self.location(name))

    def written_at(self, name: str) -> float | None:
        with _translated(self.location(name)):
            try:
                return os.stat(self.location(name)).st_mtime
            except FileNotFoundError:
                return None

    def remove(self, name: str) -> None:
        with _translated(self.location(name)), suppress(FileNotFoundError):
            os.unlink(self.location(name))

    def remove_folder(self, folder: str) -> None:
        with _translated(self.location(folder)), suppress(FileNotFoundError):
            shutil.rmtree(self.location(folder))

    def files(self, folder: str) -> list[StoredFile]:
        prefix = f"{folder}/" if folder else ""
        found = []
        with (
            _translated(self.location(folder)),
            suppress(FileNotFoundError),
            os.scandir(self.location(folder)) as entries,
        ):
            for entry in entries:
                if entry.is_file() and not entry.name.startswith("."):
                    status = entry.stat()
                    version = f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"
                    found.append(StoredFile(prefix + entry.name, version, status.st_size, status.st_mtime))
        return sorted(found, key=lambda each: each.name)

    def folders(self, folder: str) -> list[str]:
        with (
            _translated(self.location(folder)),
            suppress(FileNotFoundError),
            os.scandir(self.location(folder)) as entries,
        ):
            return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
        return []

    def location(self, name: str) -> str:
        return os.path.join(self._root, name) if name else self._root

    def path_of(self, name: str) -> Path | None:
        return Path(self.location(name))

    @contextmanager
    def locked(self, name: str, wait_seconds: float) -> Iterator[Lock]:
        with _translated(self.location(name)), directory_lock(Path(self.location(name)), wait_seconds) as lock:
            yield lock


class ObjectFiles:
    """A prefix in an object store; a put there is atomic and durable by itself."""

    def __init__(self, store: "ObjectStore", url: str) -> None:
        self._store = store
        self._url = url

    def read(self, name: str) -> bytes:
        with _translated(self.location(name)):
            return bytes(self._store.get(name).bytes())

    def write(self, name: str, content: bytes, *, durable: bool) -> None:
        del durable
        with _translated(self.location(name)):
            self._store.put(name, content)

    def write_folder(self, folder: str, contents: Mapping[str, bytes]) -> None:
        for name, content in contents.items():
            self.write(f"{folder}/{name}", content, durable=False)

    def exists(self, name: str) -> bool:
        with _translated(self.location(name)):
            return self._written_at(name) is not None

    def written_at(self, name: str) -> float | None:
        with _translated(self.location(name)):
            return self._written_at(name)

    def remove(self, name: str) -> None:
        with _translated(self.location(name)), suppress(FileNotFoundError):
            self._store.delete(name)

    def remove_folder(self, folder: str) -> None:
        with _translated(self.location(folder)):
            for listed in self._store.list(folder):
                self._store.delete([each["path"] for each in listed])

    def files(self, folder: str) -> list[StoredFile]:
        with _translated(self.location(folder)):
            listed = self._store.list_with_delimiter(folder or None)["objects"]
        return sorted(
            (
                StoredFile(
                    each["path"],
                    f"{each['size']} {each['e_tag'] or each['last_modified']}",
                    each["size"],
                    each["last_modified"].timestamp(),
                )
                for each in listed
            ),
            key=lambda each: each.name,
        )

    def folders(self, folder: str) -> list[str]:
        with _translated(self.location(folder)):
            listed = self._store.list_with_delimiter(folder or None)["common_prefixes"]
        names = [each.rstrip("/").rpartition("/")[2] for each in listed]
        return sorted(name for name in names if not name.startswith("."))

    def location(self, name: str) -> str:
        return f"{self._url}/{name}" if name else self._url

    def path_of(self, name: str) -> Path | None:
        del name
        return None

    @contextmanager
    def locked(self, name: str, wait_seconds: float) -> Iterator[Lock]:
        with _translated(self.location(name)), object_lock(self._store, name, wait_seconds) as lock:
            yield lock

    def _written_at(self, name: str) -> float | None:
        try:
            return self._store.head(name)["last_modified"].timestamp()
        except FileNotFoundError:
            return None


@contextmanager
def _translated(location: str) -> Iterator[None]:
    """Any failure below becomes one FileStoreError that names the place; obstore's errors are not OSErrors."""
    try:
        yield
    except OSError as error:
        raise FileStoreError(f"{location}: {error.strerror or error}") from error
    except Exception as error:
        if not type(error).__module__.startswith("obstore"):
            raise
        raise FileStoreError(f"{location}: {_first_line(error)}") from error


def _open_new(path: str, folder: str) -> BinaryIO:
    """Create a file, and its directory only where that is missing: mostly it is there."""
    try:
        return open(path, "xb")
    except FileNotFoundError:
        os.makedirs(folder, exist_ok=True)
        return open(path, "xb")


def _make_new(directory: str, around: str) -> None:
    try:
        os.mkdir(directory)
    except FileNotFoundError:
        os.makedirs(around, exist_ok=True)
        os.mkdir(directory)


def _write_new(path: str, content: bytes) -> None:
    """As `open` would, without the four calls in which it looks at what it opened."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    finally:
        os.close(descriptor)


def _sync_directory(directory: str) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
