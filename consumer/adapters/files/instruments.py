"""The instruments registry: the packaged one, extended by a user's TOML file."""

from collections.abc import Mapping
from pathlib import Path

from engine.errors import BadInstruments
from engine.market.instruments import Instrument, packaged_instruments, parse_instruments


def read_instruments(path: Path | None) -> Mapping[str, Instrument]:
    """Return the packaged registry extended by the file, by symbol; without a file the packaged one.

    Raises BadInstruments naming file and line; also when the file is missing or is no UTF-8 text.
    """
    if path is None:
        return packaged_instruments()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise BadInstruments(f"{path}: there is no such file") from None
    except UnicodeDecodeError as error:
        raise BadInstruments(f"{path}: is not text in UTF-8: byte {error.start}") from None
    except OSError as error:
        raise BadInstruments(f"{path}: cannot be read: {error.strerror or error}") from error
    return parse_instruments(text, str(path))
