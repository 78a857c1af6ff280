"""Names of zones, as `--bars-timezone` takes them: IANA's, or one of them with hours added to its clock.

`America/New_York+7` is the clock of most MetaTrader servers: two or three hours before UTC, changing when New York
does, so that a trading day begins at 00:00. IANA has no name for it; Europe/Athens differs from it for some weeks of
every spring and autumn.
"""

import re
from dataclasses import dataclass
from zoneinfo import ZoneInfo

_WITH_HOURS = re.compile(r"(?P<iana>.+[^+-])(?P<hours>[+-]\d{1,2})(?::?(?P<minutes>[0-5]\d))?")
_HOUR_US = 3_600_000_000


class UnknownZoneError(Exception):
    """No such zone; the message says how one is written."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name!r} is no time zone; write an IANA name such as Europe/Athens, or one with hours added, such as"
            " America/New_York+7"
        )


@dataclass(frozen=True, slots=True)
class Zone:
    """A clock: that of an IANA zone, ahead by some microseconds."""

    iana: str
    ahead_us: int


def zone_named(name: str) -> Zone:
    """Return the zone of that name. Raises UnknownZoneError."""
    if _is_iana(name):
        return Zone(name, 0)
    written = _WITH_HOURS.fullmatch(name)
    if written is None or not _is_iana(written["iana"]):
        raise UnknownZoneError(name)
    minutes = int(written["minutes"] or 0)
    ahead_us = (abs(int(written["hours"])) * 60 + minutes) * (_HOUR_US // 60)
    if ahead_us > 15 * _HOUR_US:
        raise UnknownZoneError(name)
    return Zone(written["iana"], -ahead_us if written["hours"].startswith("-") else ahead_us)


def _is_iana(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True
