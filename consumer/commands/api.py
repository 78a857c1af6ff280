"""`backtest api`: serve the HTTP API and its page, until told to stop."""

import asyncio

import structlog
import typer

from consumer.commands.worker import loop_factory
from consumer.logging_setup import set_up_logging
from consumer.settings import ApiSettings, load_settings, unknown_variables

app = typer.Typer(add_completion=False)
log = structlog.get_logger(__name__)


@app.command()
def api() -> None:
    """Serve the HTTP API, configured by BACKTEST_... variables alone; workers run what it takes.

    SIGTERM or Ctrl-C: it answers what is under way, ends open streams and exits 0. Exit status 1: Postgres did not
    answer in time, is not fit, or the address is taken; 2: a setting is wrong. Kafka may be away.
    """
    settings = load_settings(ApiSettings)
    set_up_logging(settings)
    for name, meant in unknown_variables().items():
        log.warning("unknown_setting", variable=name, perhaps=meant)
    from consumer.wiring.api import run_api  # here: it loads everything, and a wrong setting shows without that

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(run_api(settings))
