"""`backtest strategy`: what is registered, what its parameters are, and a start for one's own."""

import inspect
import json
import keyword
import re
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from consumer.commands.display.columns import text_columns
from consumer.commands.strategy_rows import add_row, edit_row, list_rows
from consumer.commands.strategy_template import class_name, project_file, rules_file, strategy_file, test_file
from consumer.installed.descriptions import description_of
from consumer.installed.registry import load_strategy, registered_strategies
from consumer.preparation.strategy_file import class_in_file, names_a_file
from engine.deciders.advised.terms import KEY, LLM_SCHEMA
from engine.errors import InputRefused
from schemas.json_text import printable

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="List, show and start strategies; rows that use them."
)
app.command("add")(add_row)
app.command("edit")(edit_row)
app.command("rows")(list_rows)


@app.command("list")
def list_strategies(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list on stdout.")] = False,
) -> None:
    """List registered strategies by key: what each does, and the package that registered it. Imports none of them."""
    found = [(each, printable(description_of(each.target))) for each in registered_strategies().values()]
    if as_json:
        listed = [
            {"key": each.key, "target": each.target, "package": each.distribution, "description": told}
            for each, told in found
        ]
        sys.stdout.write(json.dumps(listed) + "\n")
    else:
        rows = [(each.key, each.distribution, told) for each, told in found]
        typer.echo(text_columns([("key", "package", "what it does"), *rows]))
        typer.echo("all of it, and its parameters: backtest strategy show KEY", err=True)


@app.command("show")
def show(
    key: Annotated[str, typer.Argument(help="Registered key, or path/to/file.py:Class.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the parameters' JSON schema on stdout.")] = False,
) -> None:
    """Show what a strategy does and its parameters."""
    strategy = _strategy(key)
    schema: dict[str, Any] = strategy.Params.model_json_schema()
    if as_json:
        sys.stdout.write(json.dumps(schema) + "\n")
        return
    kind = "decides all bars at once" if hasattr(strategy, "decide_all") else "decides bar by bar"
    typer.echo(f"{key}: {strategy.__module__}.{strategy.__qualname__}, {kind}")
    typer.echo(inspect.getdoc(strategy) or "(no description)")
    required = set(schema.get("required", ()))
    rows = [
        (
            name,
            _type(field),
            "required" if name in required else json.dumps(field.get("default")),
            _limits(field),
            field.get("description", ""),
        )
        for name, field in schema.get("properties", {}).items()
    ]
    if rows:
        typer.echo("\n" + text_columns([("parameter", "type", "default", "limits", "what"), *rows]))


@app.command("schema")
def schema(key: Annotated[str, typer.Argument(help="Registered key, or path/to/file.py:Class.")]) -> None:
    """Print the JSON Schema of a strategy's parameters, of `rules` that of a document, for an editor to check by.

    With `llm`, which any strategy's parameters may have beside its own.
    """
    described: dict[str, Any] = {"$schema": _DIALECT, **_strategy(key).Params.model_json_schema()}
    described["properties"] = {**described.get("properties", {}), KEY: LLM_SCHEMA}
    sys.stdout.write(json.dumps(described, indent=2) + "\n")


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="Key of the new strategy: small letters, digits and _.")],
    directory: Annotated[Path, typer.Option(help="Where to make the project's folder.")] = Path(),
    bar_by_bar: Annotated[bool, typer.Option("--bar-by-bar", help="Decide bar by bar, not all at once.")] = False,
    rules: Annotated[bool, typer.Option("--rules", help="Write a commented document of rules, no code.")] = False,
) -> None:
    """Write a small project with a working strategy to change, and say how to register it; or rules to run."""
    if re.fullmatch(r"[a-z][a-z0-9_]{0,99}", name) is None or keyword.iskeyword(name):
        raise typer.BadParameter(
            "use small letters, digits and _, beginning with a letter, and no word of the language", param_hint="'NAME'"
        )
    if rules and bar_by_bar:
        raise typer.BadParameter("is of code: rules decide all bars at once", param_hint="'--bar-by-bar'")
    if rules:
        _new_rules(name, directory)
        return
    folder = directory / name
    if folder.exists():
        raise InputRefused(f"{folder}: is there already; nothing was written")
    try:
        folder.mkdir(parents=True)
        (folder / f"{name}.py").write_text(strategy_file(name, bar_by_bar=bar_by_bar), encoding="utf-8")
        (folder / f"test_{name}.py").write_text(test_file(name), encoding="utf-8")
        (folder / "pyproject.toml").write_text(project_file(name), encoding="utf-8")
    except OSError as error:
        raise InputRefused(f"{folder}: cannot be written: {error.strerror or error}") from error
    typer.echo(f"wrote {folder / f'{name}.py'}, its test {folder / f'test_{name}.py'} and {folder / 'pyproject.toml'}")
    typer.echo(f"try it as it is:  backtest run --strategy {folder / f'{name}.py'}:{class_name(name)} ...")
    typer.echo(f"register it where backtest is installed:  python -m pip install -e {folder}")
    typer.echo(f"then:  backtest strategy show {name}")


def _strategy(key: str) -> type[Any]:
    if not names_a_file(key):
        return load_strategy(key)
    with redirect_stdout(sys.stderr):
        return class_in_file(key)[0]


def _new_rules(name: str, directory: Path) -> None:
    file = directory / f"{name}.toml"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as made:
            made.write(rules_file(name))
    except FileExistsError:
        raise InputRefused(f"{file}: is there already; nothing was written") from None
    except OSError as error:
        raise InputRefused(f"{file}: cannot be written: {error.strerror or error}") from error
    typer.echo(f"wrote {file}")
    typer.echo(f"then:  backtest run --rules {file} --bars BARS.csv --symbol EURUSD --timeframe H1")


def _type(field: dict[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_type(each) for each in field["anyOf"])
    if "enum" in field:
        return "one of " + ", ".join(json.dumps(value) for value in field["enum"])
    return str(field.get("type", "any"))


def _limits(field: dict[str, Any]) -> str:
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    places = [field, *field.get("anyOf", ())]
    return ", ".join(f"{sign} {place[key]}" for place in places for key, sign in signs.items() if key in place)
