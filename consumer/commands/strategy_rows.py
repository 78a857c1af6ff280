"""`backtest strategy add`, `edit` and `rows`: rows of `strategies`, which requests name by their id."""

import asyncio
import json
import sys
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from consumer.commands.connections import database_settings
from consumer.commands.display.columns import text_columns
from consumer.ports.history import Row
from consumer.settings import DatabaseSettings, ModelSettings, StoreSettings, StrategySettings, load_settings
from engine.errors import InputRefused
from schemas.json_text import printable
from schemas.problems import InvalidRequestError

# What reaches the database and asks strategies' code is imported where it is used: `strategy list` needs neither.

_WHAT, _TRADES, _WHEN = "What decides", "Trades", "When it decides"
Result = TypeVar("Result")
_Text = str | None
_Number = float | None

KeyOption = Annotated[_Text, typer.Option(help="Registered strategy (`strategy list`).", rich_help_panel=_WHAT)]
ParamsOption = Annotated[
    _Text,
    typer.Option(
        help="All its parameters, a JSON object that takes the place of the one before.", rich_help_panel=_WHAT
    ),
]
RulesOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Rules, a .toml or .json file as `run --rules` takes it: --key rules, and its document for --params.",
        rich_help_panel=_WHAT,
    ),
]
DecidedByOption = Annotated[
    _Text,
    typer.Option(
        metavar="MODE",
        help="rule_only, llm_only, rule_then_llm, hybrid_validator or multi_agent (docs/models.md).",
        rich_help_panel=_WHAT,
    ),
]
CustomPromptOption = Annotated[_Text, typer.Option(help="For modes that ask a model.", rich_help_panel=_WHAT)]
DescriptionOption = Annotated[_Text, typer.Option(help="For people.", rich_help_panel=_WHAT)]
ActiveOption = Annotated[
    bool | None,
    typer.Option("--active/--inactive", help="Requests for an inactive one are rejected.", rich_help_panel=_WHAT),
]
SymbolsOption = Annotated[
    _Text, typer.Option(help='It may trade, e.g. EURUSD,GBPUSD; "" is any.', rich_help_panel=_TRADES)
]
LotSizeOption = Annotated[_Number, typer.Option(help="Lots a trade.", rich_help_panel=_TRADES)]
RiskPctOption = Annotated[
    _Number, typer.Option(help="Fraction of equity risked a trade, 0.01 is 1 %.", rich_help_panel=_TRADES)
]
SlPipsOption = Annotated[_Number, typer.Option(help="Stop of decisions that bring none.", rich_help_panel=_TRADES)]
TpPipsOption = Annotated[_Number, typer.Option(help="Target of decisions that bring none.", rich_help_panel=_TRADES)]
OnOppositeOption = Annotated[_Text, typer.Option(help="reverse, close or ignore.", rich_help_panel=_TRADES)]
StopToEntryOption = Annotated[
    bool | None,
    typer.Option("--stop-to-entry/--keep-stop", help="Move the stop after a target.", rich_help_panel=_TRADES),
]
PrimaryTfOption = Annotated[_Text, typer.Option(help="Of requests that name no timeframe.", rich_help_panel=_WHEN)]
ContextTfsOption = Annotated[
    _Text, typer.Option(help='Of requests that name none, e.g. H4,D1; "" is none.', rich_help_panel=_WHEN)
]
SkipHoursOption = Annotated[
    _Text, typer.Option(help="Hours without decisions, e.g. 22,23, of the decision's close.", rich_help_panel=_WHEN)
]
SkipWeekdaysOption = Annotated[_Text, typer.Option(help="E.g. 4 for Fridays; 0 is Monday.", rich_help_panel=_WHEN)]
SkipHoursTimezoneOption = Annotated[
    _Text, typer.Option(help="Zone of those, e.g. Europe/Athens. Default: UTC.", rich_help_panel=_WHEN)
]


def add_row(
    name: Annotated[str, typer.Argument(help="What people call it; only one row may have it.")],
    key: KeyOption = None,
    params: ParamsOption = None,
    rules: RulesOption = None,
    decided_by: DecidedByOption = None,
    custom_prompt: CustomPromptOption = None,
    description: DescriptionOption = None,
    active: ActiveOption = None,
    symbols: SymbolsOption = None,
    lot_size: LotSizeOption = None,
    risk_pct: RiskPctOption = None,
    sl_pips: SlPipsOption = None,
    tp_pips: TpPipsOption = None,
    on_opposite: OnOppositeOption = None,
    stop_to_entry: StopToEntryOption = None,
    primary_tf: PrimaryTfOption = None,
    context_tfs: ContextTfsOption = None,
    skip_hours: SkipHoursOption = None,
    skip_weekdays: SkipWeekdaysOption = None,
    skip_hours_timezone: SkipHoursTimezoneOption = None,
) -> None:
    """Add a row of `strategies` and print its id, for `submit --strategy-id`.

    It is held to what a request for it would be held to; exit status 2, and nothing added, where it could not run.
    """
    given = _given(locals())

    async def add(settings: DatabaseSettings) -> int:
        from consumer.requests.strategy_rows import add_strategy
        from consumer.wiring.database import open_instrument_rows, open_strategies
        from consumer.wiring.strategies import open_row_judge

        async with (
            open_instrument_rows(settings) as instruments,
            open_row_judge(
                load_settings(StoreSettings), load_settings(StrategySettings), load_settings(ModelSettings), instruments
            ) as judge,
            open_strategies(settings) as rows,
        ):
            return await add_strategy(rows, given, judge)

    typer.echo(_told(add(database_settings()), "not added"))


def edit_row(
    strategy_id: Annotated[int, typer.Argument(metavar="ID", help="The row (`strategy rows`).")],
    name: Annotated[_Text, typer.Option(help="A new name.")] = None,
    key: KeyOption = None,
    params: ParamsOption = None,
    rules: RulesOption = None,
    decided_by: DecidedByOption = None,
    custom_prompt: CustomPromptOption = None,
    description: DescriptionOption = None,
    active: ActiveOption = None,
    symbols: SymbolsOption = None,
    lot_size: LotSizeOption = None,
    risk_pct: RiskPctOption = None,
    sl_pips: SlPipsOption = None,
    tp_pips: TpPipsOption = None,
    on_opposite: OnOppositeOption = None,
    stop_to_entry: StopToEntryOption = None,
    primary_tf: PrimaryTfOption = None,
    context_tfs: ContextTfsOption = None,
    skip_hours: SkipHoursOption = None,
    skip_weekdays: SkipWeekdaysOption = None,
    skip_hours_timezone: SkipHoursTimezoneOption = None,
    clear: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="Set a column to null, e.g. risk_pct. Repeatable.")
    ] = None,
) -> None:
    """Change columns of a row of `strategies`; a column that is not named stays, one that is named is replaced whole:
    --params too, which leaves no parameter of before. Runs accepted before keep the row as it was.
    """
    given = _given({column: value for column, value in locals().items() if column not in {"strategy_id", "clear"}})
    cleared = dict.fromkeys(clear or ())
    if not given and not cleared:
        raise typer.BadParameter("say what to change", param_hint="'--help'")

    async def edit(settings: DatabaseSettings) -> Row | None:
        from consumer.requests.strategy_rows import edit_strategy
        from consumer.wiring.database import open_history, open_instrument_rows, open_strategies
        from consumer.wiring.strategies import open_row_judge

        async with (
            open_instrument_rows(settings) as instruments,
            open_row_judge(
                load_settings(StoreSettings), load_settings(StrategySettings), load_settings(ModelSettings), instruments
            ) as judge,
            open_history(settings) as history,
            open_strategies(settings) as rows,
        ):
            await edit_strategy(history, rows, strategy_id, {**given, **cleared}, judge)
            return await history.strategy(strategy_id)

    row = _told(edit(database_settings()), "not changed")
    params = f"; its parameters are now {printable(row['strategy_params'])}" if row is not None else ""
    typer.echo(f"strategy {strategy_id} is changed{params}", err=True)


def list_rows(as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list on stdout.")] = False) -> None:
    """List the rows of `strategies`: the ids that requests name."""
    from consumer.commands.runs import json_text
    from consumer.rules.strategy_rows import shown_row

    found = [shown_row(row) for row in asyncio.run(_rows(database_settings()))]
    if as_json:
        sys.stdout.write(json.dumps(found, default=json_text) + "\n")
    elif found:
        typer.echo(text_columns([_HEADING, *map(_cells, found)]))
    else:
        typer.echo("none; `backtest strategy add NAME --key KEY` adds one", err=True)


async def _rows(settings: DatabaseSettings) -> Sequence[Mapping[str, Any]]:
    from consumer.wiring.database import open_history

    async with open_history(settings) as history:
        return await history.strategies()


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given, by column, lists and JSON read."""
    from consumer.commands.options import values

    columns = {**options, "strategy_key": options["key"], "execution_mode": options["decided_by"]}
    columns["strategy_params"] = values.json_object(options["params"], "--params") if options["params"] else None
    if options["rules"] is not None:
        columns |= _columns_of_rules(options)
    columns["is_active"] = options["active"]
    for name in ("symbols", "context_tfs"):
        columns[name] = None if options[name] is None else _listed(options[name])
    for name, option in (("skip_hours", "--skip-hours"), ("skip_weekdays", "--skip-weekdays")):
        columns[name] = None if options[name] is None else _numbers(options[name], option)
    no_columns = {"key", "params", "rules", "decided_by", "active"}
    return {name: value for name, value in columns.items() if name not in no_columns and value is not None}


def _columns_of_rules(options: Mapping[str, Any]) -> dict[str, Any]:
    from consumer.commands.options import values
    from consumer.wiring.files import read_rules
    from engine.expressions.document import KEY

    if options["params"] is not None or options["key"] not in {None, KEY}:
        raise typer.BadParameter("stands for --key and --params", param_hint="'--rules'")
    return {"strategy_key": KEY, "strategy_params": read_rules(values.readable_file(options["rules"]))}


def _listed(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]


def _numbers(text: str, option: str) -> list[int]:
    try:
        return [int(each) for each in _listed(text)]
    except ValueError:
        raise typer.BadParameter(f"{text!r} are no numbers, e.g. 22,23", param_hint=f"'{option}'") from None


def _told(work: Coroutine[Any, Any, Result], refusal: str) -> Result:
    """The work's result; what is wrong with the row, in one line. Raises InputRefused."""
    try:
        return asyncio.run(work)
    except InvalidRequestError as error:
        raise InputRefused(f"{refusal}: {error}") from error


_LONGEST = 80
"""Characters of params in the list."""
_HEADING = ("id", "name", "key", "params", "tf", "context", "symbols", "size", "active")


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    if row["risk_pct"] is not None:
        size = f"{row['risk_pct']:.2%} risk"
    else:
        size = f"{0.1 if row['lot_size'] is None else row['lot_size']:g} lots"
    return (
        str(row["id"]),
        printable(row["name"]),
        printable(row["strategy_key"] or f"- ({row['execution_mode']})"),
        _cut(printable(json.dumps(row["strategy_params"]))),
        row["primary_tf"],
        _joined(row["context_tfs"]) or "-",
        _joined(row["symbols"]) or "any",
        size,
        "yes" if row["is_active"] else "no",
    )


def _cut(text: str) -> str:
    """A document of rules would make every line as long as itself; --json has it whole."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _joined(value: Any) -> str:
    return ",".join(str(each) for each in value) if isinstance(value, list) else printable(str(value))
