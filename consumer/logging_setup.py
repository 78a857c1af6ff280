"""How log events become lines on standard error: ours (structlog) and those of libraries (stdlib), in one shape."""

import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

from consumer.settings import LogSettings

NOISY_LIBRARIES = ("aiokafka", "asyncpg", "sqlalchemy", "alembic", "uvicorn", "asyncio")
SHORTEST_SECRET = 4
"""Shorter ones would be found, and cut out, all over ordinary text."""


def set_up_logging(settings: LogSettings) -> None:
    """Send every log event to standard error, from now on: `console` for people, `json` one object a line.

    Without LOG_FORMAT: console where stderr is a terminal. Times are UTC, ISO 8601. No line shows a secret of the
    settings, whoever logged it. A reader of stderr that went away never makes a call to a logger fail.
    """
    format_ = settings.log_format or ("console" if sys.stderr.isatty() else "json")
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(format_),
                _Redaction(_spellings(settings.secret_values())),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for library in NOISY_LIBRARIES:
        # Chatty at info: each rebalance, statement and connection. LOG_LEVEL=debug brings that back.
        logging.getLogger(library).setLevel(logging.INFO if level <= logging.DEBUG else max(level, logging.WARNING))
    logging.captureWarnings(True)
    logging.raiseExceptions = False


_SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    structlog.processors.StackInfoRenderer(),
]


def _renderers(format_: str) -> list[Processor]:
    if format_ == "json":
        # Tracebacks as plain text: the ones with local variables would show connections and their passwords.
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    return [
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback, timestamp_key="time"
        )
    ]


def _spellings(secrets: Sequence[str]) -> tuple[str, ...]:
    """Each secret as it may stand in a line: as it is, in a URL, in JSON; longest first."""
    forms = {
        form
        for secret in secrets
        if len(secret) >= SHORTEST_SECRET
        for form in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1])
    }
    return tuple(sorted(forms, key=len, reverse=True))


@dataclass(frozen=True, slots=True)
class _Redaction:
    """The last step: works on the finished line, so that nothing gets around it."""

    spellings: tuple[str, ...]

    def __call__(self, _logger: WrappedLogger, _method: str, line: EventDict | str) -> str:
        text = str(line)
        for secret in self.spellings:
            text = text.replace(secret, "***")
        return text
