"""The code behind a registered strategy: which files it is, which version they make, and whether they changed since
this process imported them.

The files are those of the top-level packages and modules of the distribution that registers the strategy, looked for
where they are imported from: an editable install lists none of its own.
"""

import ast
import hashlib
import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any, Final

from consumer.installed.registry import Installed, entry_point_of, installed, load_strategy
from consumer.installed.search_path import is_search_path_stale
from engine.errors import UnknownStrategy

OWN_DISTRIBUTION: Final = "backtest-consumer"
OWN_PACKAGES: Final = ("consumer", "engine", "migrations", "schemas")

Fingerprint = tuple[tuple[str, int, int, int], ...]
"""Name, nanosecond of the last change, size and inode of each file: cheap to take, and another one after any edit."""


class CodeChanged(UnknownStrategy):
    """The strategy's code is not what this process imported, or was installed after it began: only a fresh process can
    run what it is now.
    """

    def __init__(self, key: str) -> None:
        super().__init__(f"strategy {key!r}: its code changed since this process began; run it again")


def load_current(key: str) -> tuple[type[Any], str]:
    """Return the strategy class as its files are now, and their version. Raises UnknownStrategy, CodeChanged."""
    own = _own.get(key)
    if own is not None and own[0] == installed():
        return own[1]
    loaded = _load_current(key)
    if is_own(key):
        _own[key] = (installed(), loaded)
    return loaded


_own: Final[dict[str, tuple[Installed, tuple[type[Any], str]]]] = {}
"""What this program brings along does not change under it, and small runs would notice the look-ups."""


def _load_current(key: str) -> tuple[type[Any], str]:
    package, now = package_of(key), fingerprint(key)
    if package not in _imported:
        _imported[package] = (now, strategy_version(key))
        _drop_stale_bytecode(key)
        _load(key)
        now = fingerprint(key)
    state, version = _imported[package]
    if state != now:
        if strategy_version(key) != version:
            raise CodeChanged(key)
        _imported[package] = (now, version)  # touched, with the same text
    return _load(key), version


def _load(key: str) -> type[Any]:
    try:
        return load_strategy(key)
    except UnknownStrategy as error:
        if is_search_path_stale():
            raise CodeChanged(key) from error
        raise


_imported: Final[dict[str, tuple[Fingerprint, str]]] = {}
"""By package: what its code was when this process first imported some of it."""


def package_of(key: str) -> str:
    """What shares its code with the strategy: its distribution's name, else its top-level module.

    Raises UnknownStrategy.
    """
    return _code_of(key, installed()).package


def is_own(key: str) -> bool:
    """Whether this program brings the strategy along. Raises UnknownStrategy."""
    return package_of(key) == OWN_DISTRIBUTION


def fingerprint(key: str) -> Fingerprint:
    """Tells whether the code changed since. Constant for what this program brings along: who updates that starts its
    processes anew. Raises UnknownStrategy.
    """
    code = _code_of(key, installed())
    return () if code.package == OWN_DISTRIBUTION else tuple(_states(code))


def strategy_version(key: str) -> str:
    """SHA-256 in hex over path and bytes of every .py file of the code, sorted by path. Paths count from where the
    package lies, so a release is one version on every machine. Files are read again only when one changed.

    Raises UnknownStrategy.
    """
    while True:
        before = fingerprint(key)
        version = _version(_code_of(key, installed()), before)
        if fingerprint(key) == before:
            return version
        _version.cache_clear()  # edited while it was read


def version_of_file(path: Path, source: bytes) -> str:
    """The version of a strategy in a file that nobody installed: as strategy_version, over the file, whose text is
    given as it runs and whose name is none of it, and over all that it imports from beside it.
    """
    names, places = _neighbours(str(path), Path()), set[str]()
    while names:
        for place in set(located(names.pop())) - places:
            places.add(place)
            names |= _neighbours(place, Path())
    beside = _Code("", tuple(sorted(place for place in places if not Path(place).samefile(path))))
    return _hash([("", source), *((name, Path(each).read_bytes()) for name, each in _files(beside))])


@dataclass(frozen=True, slots=True)
class _Code:
    """A distribution's code. places: folders of its top-level packages, files of its top-level modules."""

    package: str
    places: tuple[str, ...]


@lru_cache(maxsize=256)
def _version(code: _Code, state: Fingerprint) -> str:  # a key of the cache
    return _hash((name, Path(path).read_bytes()) for name, path in _files(code))


def _hash(files: Iterable[tuple[str, bytes]]) -> str:
    hasher = hashlib.sha256()
    for name, content in files:
        for part in (name.encode("utf-8", "surrogateescape"), content):
            hasher.update(len(part).to_bytes(8, "little"))
            hasher.update(part)
    return hasher.hexdigest()


def _states(code: _Code) -> Iterator[tuple[str, int, int, int]]:
    for name, path in _files(code):
        with suppress(OSError):
            state = os.stat(path)  # noqa: PTH116  # before each run: pathlib would double it
            yield name, state.st_mtime_ns, state.st_size, state.st_ino


def _files(code: _Code) -> list[tuple[str, str]]:
    """Every .py file of the code: path from where its package lies, and path; sorted, each once."""
    found: dict[str, str] = {}
    for place in code.places:
        root = len(os.path.dirname(place)) + 1  # noqa: PTH120
        for path in _python_files(place, set()):
            found.setdefault(path[root:].replace(os.sep, "/"), path)
    return sorted(found.items())


def _python_files(place: str, seen: set[str]) -> Iterator[str]:
    """The file itself, or all below the folder, through links too, which the interpreter follows as well."""
    if place.endswith(".py"):
        yield place
        return
    real = os.path.realpath(place)
    if real in seen:
        return
    seen.add(real)
    with suppress(OSError), os.scandir(place) as entries:
        for entry in entries:
            if entry.name.endswith(".py") or (entry.name != "__pycache__" and entry.is_dir()):
                yield from _python_files(entry.path, seen)


# --- where the code lies --------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def _code_of(key: str, installed: Installed) -> _Code:  # installed: a key of the cache
    point = entry_point_of(key)
    package = point.dist.name if point.dist is not None else _top_level(point.module)
    names = set(OWN_PACKAGES) if package == OWN_DISTRIBUTION else _named(point)
    metadata = getattr(point.dist, "_path", None)
    beside_others = None if metadata is None else Path(metadata).absolute().parent
    places: dict[str, tuple[str, ...]] = {}
    while names:
        name = names.pop()
        places[name] = located(name)
        if package != OWN_DISTRIBUTION:
            for place in places[name]:
                names |= _neighbours(place, beside_others) - places.keys()
    return _Code(package, tuple(sorted({place for found in places.values() for place in found})))


def _named(point: EntryPoint) -> set[str]:
    """Top-level names that the distribution's metadata tell of: by its entry points, its list of files, and what
    setuptools notes.
    """
    names = {_top_level(point.module)}
    if point.dist is not None:
        names |= {_top_level(each.module) for each in point.dist.entry_points}
        names |= set((point.dist.read_text("top_level.txt") or "").split())
        names |= {file.parts[0].removesuffix(".py") for file in point.dist.files or () if file.suffix == ".py"}
    # Finders of editable installs are no code of anybody's.
    return {name for name in names if name.isidentifier() and not name.startswith(("__editable__", "_editable_impl"))}


def located(name: str) -> tuple[str, ...]:
    """Where the top-level name would be imported from now; empty where it is not, or not from files.

    Not by importlib.util.find_spec: of what is imported that tells where it was then.
    """
    for finder in sys.meta_path:
        with suppress(ImportError, AttributeError):
            spec = finder.find_spec(name, None)
            if spec is not None and spec.submodule_search_locations is not None:
                return tuple(os.path.abspath(each) for each in spec.submodule_search_locations)  # noqa: PTH100
            if spec is not None:
                origin = spec.origin or ""
                return (os.path.abspath(origin),) if origin.endswith(".py") else ()  # noqa: PTH100
    return ()


def _neighbours(place: str, beside_others: Path | None) -> set[str]:
    """Top-level names that the code at `place` imports and that lie beside it: other parts of an editable install,
    whose metadata name only what has entry points. None in the folder with the metadata: there everybody's lie.
    """
    root = Path(place).parent
    if beside_others is None or root == beside_others or not root.is_dir():
        return set()
    beside = {each.name.removesuffix(".py") for each in root.iterdir() if each.suffix == ".py" or each.is_dir()}
    candidates = {name for name in beside if name.isidentifier()} - {Path(place).stem}
    if not candidates:
        return set()
    mentioned = re.compile(rf"\b(?:{'|'.join(sorted(candidates))})\b")
    found: set[str] = set()
    for path in _python_files(place, set()):
        text = Path(path).read_text("utf-8", "replace")
        if mentioned.search(text):  # a cheap look first: most files need not be parsed
            found |= candidates & _imported_names(text)
    return found


def _imported_names(text: str) -> set[str]:
    """Top-level names that a module imports anywhere in its text."""
    names: set[str] = set()
    with suppress(SyntaxError, ValueError, RecursionError), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of somebody's escapes in strings
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                names |= {_top_level(each.name) for each in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module is not None and not node.level:
                names.add(_top_level(node.module))
    return names


def _drop_stale_bytecode(key: str) -> None:
    """Remove bytecode that is older than its source. The interpreter compares whole seconds and sizes, so of two edits
    within a second it would go on running the first.
    """
    code = _code_of(key, installed())
    for _, path in _files(code) if code.package != OWN_DISTRIBUTION else ():
        with suppress(OSError, NotImplementedError):
            cached = cache_from_source(path)
            if os.stat(cached).st_mtime_ns <= os.stat(path).st_mtime_ns:  # noqa: PTH116
                os.unlink(cached)  # noqa: PTH108


def _top_level(module: str) -> str:
    return module.partition(".")[0]
