"""`backtest data`: bring bars into market data at rest, list and remove what is there, say what is odd about bars."""

import typer

from consumer.commands.data_check import check
from consumer.commands.data_store import import_files, list_stored, remove_stored

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Import, list, check and remove market data.")

app.command("import")(import_files)
app.command("list")(list_stored)
app.command("check")(check)
app.command("remove")(remove_stored)
