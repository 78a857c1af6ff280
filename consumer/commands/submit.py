"""`backtest submit`: emit one request, from flags or a file, and follow it to its end where asked to."""

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import typer

from consumer.commands.options import values as options
from consumer.commands.submitting import SOURCE, submit_and_report
from engine.errors import InputRefused
from schemas.envelope import Envelope, EnvelopeError, open_envelope
from schemas.problems import InvalidRequestError
from schemas.requested import BacktestRequested, parse_requested
from schemas.topics import EventType

app = typer.Typer(add_completion=False)

_WHAT, _MONEY, _FILLS, _SENDING = "What to run", "Money", "Fills", "Sending"
_Text = str | None
_Number = float | None


@app.command()
def submit(
    file: Annotated[
        Path | None,
        typer.Option(
            help="JSON object with the request, or a CloudEvent; - reads stdin. Flags win over it.",
            allow_dash=True,
            rich_help_panel=_WHAT,
        ),
    ] = None,
    strategy_id: Annotated[int | None, typer.Option(help="Row of `strategies`.", rich_help_panel=_WHAT)] = None,
    symbol: Annotated[_Text, typer.Option(help="Instrument, e.g. EURUSD.", rich_help_panel=_WHAT)] = None,
    start_date: Annotated[
        _Text, typer.Option("--start", "--start-date", help="Inclusive; UTC without an offset.", rich_help_panel=_WHAT)
    ] = None,
    end_date: Annotated[
        _Text, typer.Option("--end", "--end-date", help="Exclusive; UTC without an offset.", rich_help_panel=_WHAT)
    ] = None,
    timeframe: Annotated[_Text, typer.Option(help="Default: the strategy's.", rich_help_panel=_WHAT)] = None,
    context_tfs: Annotated[
        _Text,
        typer.Option(help='E.g. H4,D1; "" for none. Default: the strategy\'s.', rich_help_panel=_WHAT),
    ] = None,
    primary_tf: Annotated[_Text, typer.Option(help="Only equal to the timeframe.", rich_help_panel=_WHAT)] = None,
    strategy_params: Annotated[
        _Text,
        typer.Option("--params", "--strategy-params", help="JSON object, over the strategy's.", rich_help_panel=_WHAT),
    ] = None,
    run_id: Annotated[
        int | None, typer.Option(help="A pending row that holds the configuration.", rich_help_panel=_WHAT)
    ] = None,
    max_llm_calls: Annotated[
        int | None, typer.Option(help="Calls to a language model that the run may make.", rich_help_panel=_WHAT)
    ] = None,
    skip_llm: Annotated[
        bool | None,
        typer.Option("--skip-llm", help="Let the strategy's rule decide alone.", rich_help_panel=_WHAT),
    ] = None,
    llm_replay: Annotated[
        bool | None,
        typer.Option(
            "--llm-replay", help="Ask no model: a question without a kept answer fails the run.", rich_help_panel=_WHAT
        ),
    ] = None,
    initial_balance: Annotated[_Number, typer.Option(help="Deposit.", rich_help_panel=_MONEY)] = None,
    account_currency: Annotated[_Text, typer.Option(help="E.g. USD.", rich_help_panel=_MONEY)] = None,
    volume: Annotated[_Number, typer.Option(help="Lots a trade.", rich_help_panel=_MONEY)] = None,
    risk_pct: Annotated[
        _Number, typer.Option(help="Fraction of equity risked a trade, 0.01 is 1 %.", rich_help_panel=_MONEY)
    ] = None,
    commission_per_lot: Annotated[_Number, typer.Option(help="Round trip.", rich_help_panel=_MONEY)] = None,
    slippage_pips: Annotated[
        _Number, typer.Option(help="By how much fills are worse, limits and targets aside.", rich_help_panel=_MONEY)
    ] = None,
    commission_pct: Annotated[
        _Number, typer.Option(help="Per cent of the notional on each side.", rich_help_panel=_MONEY)
    ] = None,
    leverage: Annotated[_Number, typer.Option(help="Margin is the notional over it.", rich_help_panel=_MONEY)] = None,
    stop_out_pct: Annotated[
        _Number, typer.Option(help="Per cent of the margin at which equity ends the run.", rich_help_panel=_MONEY)
    ] = None,
    spread_pips: Annotated[_Number, typer.Option(help="Simulated spread.", rich_help_panel=_MONEY)] = None,
    spread_source: Annotated[_Text, typer.Option(help="fixed or bars.", rich_help_panel=_MONEY)] = None,
    execution_mode: Annotated[
        _Text, typer.Option(help="close_price, intra_candle or next_open.", rich_help_panel=_FILLS)
    ] = None,
    on_opposite: Annotated[_Text, typer.Option(help="reverse, close or ignore.", rich_help_panel=_FILLS)] = None,
    stop_to_entry: Annotated[
        bool | None,
        typer.Option("--stop-to-entry/--keep-stop", help="Move the stop after a target.", rich_help_panel=_FILLS),
    ] = None,
    tp_partial_close_ratio: Annotated[
        _Number, typer.Option(help="Share closed at each target but the last.", rich_help_panel=_FILLS)
    ] = None,
    warm_up_bars: Annotated[
        int | None,
        typer.Option(help="Bars before the start that the strategy sees. Default: as it needs.", rich_help_panel=_WHAT),
    ] = None,
    request_id: Annotated[
        _Text, typer.Option(help="Default: a new one. The same one again runs nothing twice.", rich_help_panel=_SENDING)
    ] = None,
    wait: Annotated[
        bool,
        typer.Option("--wait", help="Follow the run to its end and exit by its outcome.", rich_help_panel=_SENDING),
    ] = False,
    wait_timeout: Annotated[
        float | None, typer.Option(min=0, help="Seconds to wait at most.", rich_help_panel=_SENDING)
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print one JSON object, with --wait the last event's data.", rich_help_panel=_SENDING
        ),
    ] = False,
) -> None:
    """Emit a request and print its request id.

    Exit status: 0 sent (with --wait: completed), 1 not sent (with --wait: failed, cancelled, rejected, or not ended in
    time), 2 the request breaks the schema and was not sent.
    """
    flags = {name: value for name, value in locals().items() if name not in NO_DATA}
    asked = read_request(file, request_data(flags))
    status = asyncio.run(
        submit_and_report(
            asked.request,
            asked.identity or str(uuid4()),
            source=asked.source,
            is_new=asked.identity is None,
            wait=wait or wait_timeout is not None,
            wait_timeout=wait_timeout,
            as_json=as_json,
        )
    )
    raise typer.Exit(status)


NO_DATA = frozenset({"file", "wait", "wait_timeout", "as_json"})
"""Parameters of the command that are no field of a request."""


def request_data(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a request that flags give, those that are None left out."""
    data = {name: value for name, value in flags.items() if value is not None}
    for name, option in (("start_date", "--start"), ("end_date", "--end")):
        if name in data:
            data[name] = options.utc_moment(data[name], option)
    if "context_tfs" in data:
        data["context_tfs"] = [name for name in data["context_tfs"].split(",") if name]
    if "strategy_params" in data:
        data["strategy_params"] = options.json_object(data["strategy_params"], "--params")
    return data


@dataclass(frozen=True, slots=True)
class AskedFor:
    """A request, the identity it came with (None: none), and who asks: the source of a CloudEvent is kept."""

    request: BacktestRequested
    identity: str | None
    source: str


def read_request(file: Path | None, given: dict[str, Any]) -> AskedFor:
    """The request of the file with what was given over it. Raises InputRefused with every field at fault."""
    envelope = None if file is None else read_file(file)
    data = {**(envelope.data if envelope else {}), **given}
    if not data:
        raise typer.BadParameter("give a request by flags, or with --file", param_hint="'--file'")
    try:
        request = parse_requested(data, envelope.duplicate_keys if envelope else ())
    except InvalidRequestError as error:
        raise InputRefused(f"not sent: {error}") from error
    identity = request.request_id or (envelope.id if envelope else None)
    return AskedFor(request, identity, (envelope.source if envelope else None) or SOURCE)


def read_file(file: Path, event_type: EventType = EventType.REQUESTED) -> Envelope:
    """A request from a file or stdin: an object, or a CloudEvent. Raises InputRefused."""
    name = "stdin" if str(file) == "-" else str(file)
    try:
        content = sys.stdin.buffer.read() if name == "stdin" else file.read_bytes()
        return open_envelope(content, (), event_type)
    except OSError as error:
        raise InputRefused(f"{name}: {error.strerror}") from error
    except EnvelopeError as error:
        raise InputRefused(f"{name}: {error.message}") from error
