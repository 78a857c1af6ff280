"""Times, and formats by their names, as options have them; apart from bars, which load the engine."""

from collections.abc import Mapping

from consumer.adapters.files.times import one_utc_time
from consumer.adapters.files.unreadable_time import DayInDoubtError, UnreadableTimeError
from consumer.adapters.files.written_times import DateOrder

__all__ = ["DateOrder", "DayInDoubtError", "UnreadableTimeError", "bar_formats", "one_utc_time"]


def bar_formats() -> Mapping[str, str]:
    """The formats that files of bars are read in: what each is, by the name that `--format` takes."""
    from consumer.adapters.files.formats import FORMATS  # only for who asks: a file in our own columns needs none

    return {name: each.title for name, each in FORMATS.items()}
