"""What is known of stored bars beside the bars: the time zone in which each month's file was read at its import.

A zone is kept by month, because that is what replacing replaces. A month without one came from a file whose times
have an offset, so that no zone could be wrong, or by other hands than `data import`.
"""

import json
from dataclasses import dataclass, field

from consumer.adapters.files.bar_merging import Month


@dataclass(frozen=True, slots=True)
class ImportNotes:
    zones: dict[Month, str] = field(default_factory=dict)

    @property
    def named(self) -> tuple[str, ...]:
        """The zones there are, by name."""
        return tuple(sorted(set(self.zones.values())))


def notes_from_json(content: bytes | None) -> ImportNotes:
    return ImportNotes() if content is None else ImportNotes(json.loads(content)["zones"])


def notes_to_json(notes: ImportNotes) -> str | None:
    """None when there is nothing to keep."""
    return json.dumps({"zones": dict(sorted(notes.zones.items()))}) if notes.zones else None
