"""Lines on standard error: one shape for all loggers, and no secret in any of them."""

import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from consumer.logging_setup import set_up_logging
from consumer.settings import DatabaseSettings

SECRET = 'open "sesame"'
URL = "postgresql://me:open%20%22sesame%22@host/db"


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers, root.level, logging.raiseExceptions
    yield
    root.handlers, root.level, logging.raiseExceptions = before
    logging.captureWarnings(False)
    structlog.reset_defaults()


def test_our_events_and_those_of_libraries_have_one_shape(capsys: pytest.CaptureFixture[str]) -> None:
    set_up(log_format="json")
    structlog.get_logger("consumer.dispatch").info("run_finished", run_id=7, outcome="completed")
    logging.getLogger("somebody").warning("it is %s", "late")
    ours, theirs = lines(capsys)
    assert ours == {
        "event": "run_finished",
        "run_id": 7,
        "outcome": "completed",
        "level": "info",
        "logger": "consumer.dispatch",
        "time": ours["time"],
    }
    assert ours["time"].endswith("Z")
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("it is late", "warning", "somebody")


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_line_shows_a_secret_however_it_is_written(capsys: pytest.CaptureFixture[str], log_format: str) -> None:
    set_up(log_format=log_format)
    log = structlog.get_logger("x")
    log.info("connecting", url=URL, password=SECRET, nested={"deep": [SECRET]})
    try:
        connect(f"cannot reach {URL} with {SECRET}")
    except ValueError:
        log.exception("failed")
    logging.getLogger("asyncpg").error("bad dsn %s", URL)
    written = capsys.readouterr().err
    assert "connecting" in written
    assert "failed" in written
    assert "sesame" not in written


def test_chatty_libraries_are_heard_from_a_warning_on(capsys: pytest.CaptureFixture[str]) -> None:
    set_up(log_format="json", log_level="info")
    logging.getLogger("aiokafka.consumer").info("fetched")
    logging.getLogger("aiokafka.consumer").warning("lost")
    structlog.get_logger("x").debug("quiet")
    assert [line["event"] for line in lines(capsys)] == ["lost"]


def test_without_a_terminal_the_format_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    set_up()
    structlog.get_logger("x").info("hello")
    assert [line["event"] for line in lines(capsys)] == ["hello"]


def test_nothing_goes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    set_up()
    structlog.get_logger("x").error("hello")
    assert capsys.readouterr().out == ""


def test_a_reader_that_went_away_does_not_break_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    class ClosedPipe:
        def write(self, text: str) -> int:
            raise BrokenPipeError

        def flush(self) -> None:
            raise BrokenPipeError

        def isatty(self) -> bool:
            return False

    monkeypatch.setattr(sys, "stderr", ClosedPipe())
    set_up()
    structlog.get_logger("x").error("nobody hears this")


def connect(problem: str) -> None:
    raise ValueError(problem)


def set_up(**changes: Any) -> None:
    set_up_logging(DatabaseSettings.model_validate({"database_url": URL, **changes}))


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]
