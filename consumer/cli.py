"""The `backtest` program: which commands there are, and how every one of them ends.

Command modules are imported when their command is called and not before: `backtest run` must not pay for Kafka and
Postgres clients. Errors are one line on stderr. Exit status: 0 done, 1 failed, 2 bad input.
"""

import inspect
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from consumer.errors import ConsumerError, LedgerUnusable, NameTaken, NotCompleted, NotThere, SettingsInvalid
from consumer.first_process import open_standard_streams, stand_apart_from_first_process
from engine.errors import InputRefused, RunFailed

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("consumer.commands.demo", "See the whole system at work, on real servers that it starts itself."),
    "devstack": ("consumer.commands.devstack", "Keep a real Postgres, a real Kafka and the API up for local work."),
    "worker": ("consumer.commands.worker", "Take requests from Kafka and run them, until told to stop."),
    "api": ("consumer.commands.api", "Serve the HTTP API and its page, until told to stop."),
    "migrate": ("consumer.commands.migrate", "Bring the database to this release's tables."),
    "submit": ("consumer.commands.submit", "Emit a request, and follow it to its end."),
    "submit-optimization": ("consumer.commands.submit_optimization", "Emit a request for a search of parameters."),
    "follow": ("consumer.commands.follow", "Watch runs and searches live, or replay what became of them."),
    "cancel": ("consumer.commands.cancel", "Ask for the end of a run or a search."),
    "rerun": ("consumer.commands.rerun", "Run again what a run was, as a new request."),
    "replay": ("consumer.commands.replay", "Emit requests of the past again, as new ones."),
    "run": ("consumer.commands.run", "Run one backtest here and now, without any server."),
    "estimate": ("consumer.commands.estimate", "Say what asking a language model in a run would cost at most."),
    "optimize": ("consumer.commands.optimize", "Search a strategy's parameters, and say how much of the best is luck."),
    "data": ("consumer.commands.data", "Import, list, check and remove market data."),
    "strategy": ("consumer.commands.strategy", "List, show and start strategies; add and edit their rows."),
    "audit": ("consumer.commands.audit", "Find out whether a strategy looks ahead."),
    "report": ("consumer.commands.report", "Say how a run went: figures, trades and drawdowns."),
    "runs": ("consumer.commands.runs", "List the runs in the database; `runs prune` removes files of old ones."),
    "doctor": ("consumer.commands.doctor", "Check settings, servers, market data and strategies."),
}
"""Name -> module with a Typer called `app`, and the line of `backtest --help`."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program and exit; `arguments` default to the process's own."""
    open_standard_streams()
    stand_apart_from_first_process()
    sys.exit(run_program(sys.argv[1:] if arguments is None else arguments))


def run_program(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit status. Unforeseen errors pass through, with their traceback."""
    try:
        status = typer.main.get_command(app).main(args=list(arguments), prog_name="backtest", standalone_mode=False)
        sys.stdout.flush()
    except typer.TyperException as error:
        return _report_usage(error)
    except typer.Abort:
        return _report("stopped", 1)
    except (InputRefused, LedgerUnusable, SettingsInvalid, NotThere, NotCompleted, NameTaken) as error:
        return _report(str(error), 2)
    except (RunFailed, ConsumerError) as error:
        return _report(str(error), 1)
    except BrokenPipeError:
        # The reader of our output has gone; the interpreter would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status if isinstance(status, int) else 0


class LazyCommands(TyperGroup):
    """A group that imports a command's module when it is called; help lists the table's lines instead."""

    def list_commands(self, ctx: Any) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        del ctx
        if cmd_name in COMMANDS and cmd_name not in self.commands:
            return TyperCommand(cmd_name, help=COMMANDS[cmd_name][1])
        return self.commands.get(cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] in COMMANDS:
            module = import_module(COMMANDS[args[0]][0])
            self.commands[args[0]] = with_flowing_help(typer.main.get_command(module.app))
        return super().resolve_command(ctx, args)


def with_flowing_help(command: Any) -> Any:
    """Let the terminal break each paragraph of the help, of subcommands too; docstrings are broken at 120."""
    if command.help:
        paragraphs = inspect.cleandoc(command.help).split("\n\n")
        command.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    for each in getattr(command, "commands", {}).values():
        with_flowing_help(each)
    return command


app = typer.Typer(cls=LazyCommands, no_args_is_help=True, pretty_exceptions_enable=False)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("backtest-consumer"))
        raise typer.Exit


@app.callback()
def backtest(
    _: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Run backtests of trading strategies, here or as a durable service on Kafka and Postgres."""


def _report_usage(error: typer.TyperException) -> int:
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(message, err=True)
        return 2
    return _report(message, 2)


def _report(message: str, status: int) -> int:
    typer.echo(f"backtest: {' '.join(message.split())}", err=True)
    return status
