"""Moments as microseconds since 1970 UTC, the only form in which the engine reckons with them."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def as_us(moment: datetime) -> int:
    """Return an aware moment as microseconds since 1970 UTC."""
    return (moment - _EPOCH) // _MICROSECOND


def iso_time(time_us: int) -> str:
    """Return the moment as ISO 8601 with Z; microseconds only where there are some."""
    return (_EPOCH + time_us * _MICROSECOND).isoformat().replace("+00:00", "Z")
