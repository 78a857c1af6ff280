"""What all models of tables share; apart, so that they can lie in more than one module."""

from datetime import UTC, datetime
from typing import Final

from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase


class Base(DeclarativeBase):
    """Holds the metadata of every table this program knows."""


metadata: Final[MetaData] = Base.metadata


def now_utc() -> datetime:
    return datetime.now(UTC)
