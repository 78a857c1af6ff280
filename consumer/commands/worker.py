"""`backtest worker`: take requests from Kafka and run them, until told to stop."""

import asyncio
import sys

import structlog
import typer

from consumer.logging_setup import set_up_logging
from consumer.settings import Settings, load_settings, unknown_variables

app = typer.Typer(add_completion=False)
log = structlog.get_logger(__name__)


@app.command()
def worker() -> None:
    """Run a worker, configured by BACKTEST_... variables alone.

    SIGTERM or Ctrl-C: it claims nothing more, gives its runs back to the queue and exits 0. Exit status 1: its servers
    did not answer in time, or are not fit; 2: a setting is wrong.
    """
    settings = load_settings(Settings)
    set_up_logging(settings)
    for name, meant in unknown_variables().items():
        log.warning("unknown_setting", variable=name, perhaps=meant)
    from consumer.wiring.worker import run_worker  # here: it loads everything, and a wrong setting shows without that

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(run_worker(settings))


def loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.Loop
