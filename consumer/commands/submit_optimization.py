"""`backtest submit-optimization`: emit one request for a search, from flags or a file, and follow it where asked to."""

import asyncio
import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import typer

from consumer.clock import SystemClock
from consumer.commands.connections import kafka_settings
from consumer.commands.display.live_searches import search_bar
from consumer.commands.options import values as options
from consumer.commands.submit import read_file
from consumer.commands.submitting import SOURCE, report_end, say_nobody_answers
from consumer.ports import Record
from consumer.requests.search_watching import follow_searches, refusal_of
from consumer.requests.sending import send_search
from consumer.requests.watching import DeadLettered, deadline_after
from consumer.wiring.broker import open_topics
from engine.errors import InputRefused
from schemas.optimization_requested import OptimizationRequested, parse_optimization_requested
from schemas.outgoing import SearchEventData
from schemas.problems import InvalidRequestError
from schemas.topics import EventType, Topic

app = typer.Typer(add_completion=False)

_WHAT, _SEARCH, _MONEY, _FILLS, _SENDING = "What to run", "What to search", "Money", "Fills", "Sending"
_Text = str | None
_Number = float | None
_Whole = int | None


@app.command()
def submit_optimization(
    file: Annotated[
        Path | None,
        typer.Option(
            help="JSON object with the request, or a CloudEvent; - reads stdin. Flags win over it.",
            allow_dash=True,
            rich_help_panel=_WHAT,
        ),
    ] = None,
    strategy_id: Annotated[_Whole, typer.Option(help="Row of `strategies`.", rich_help_panel=_WHAT)] = None,
    symbol: Annotated[_Text, typer.Option(help="Instrument, e.g. EURUSD.", rich_help_panel=_WHAT)] = None,
    start_date: Annotated[
        _Text, typer.Option("--start", "--start-date", help="Inclusive; UTC without an offset.", rich_help_panel=_WHAT)
    ] = None,
    end_date: Annotated[
        _Text, typer.Option("--end", "--end-date", help="Exclusive; UTC without an offset.", rich_help_panel=_WHAT)
    ] = None,
    timeframe: Annotated[_Text, typer.Option(help="Default: the strategy's.", rich_help_panel=_WHAT)] = None,
    context_tfs: Annotated[_Text, typer.Option(help='E.g. H4,D1; "" for none.', rich_help_panel=_WHAT)] = None,
    strategy_params: Annotated[
        _Text,
        typer.Option("--params", "--strategy-params", help="JSON object: what is not varied.", rich_help_panel=_WHAT),
    ] = None,
    optimization_id: Annotated[
        _Whole, typer.Option(help="A pending row that holds the configuration.", rich_help_panel=_WHAT)
    ] = None,
    param_grid: Annotated[
        _Text, typer.Option("--grid", "--param-grid", help="JSON object: the space.", rich_help_panel=_SEARCH)
    ] = None,
    random: Annotated[_Whole, typer.Option(min=1, help="Draw so many combinations.", rich_help_panel=_SEARCH)] = None,
    tpe: Annotated[
        _Whole, typer.Option(min=1, help="Draw so many, learning from those before.", rich_help_panel=_SEARCH)
    ] = None,
    seed: Annotated[_Whole, typer.Option(min=0, help="Of the draws.", rich_help_panel=_SEARCH)] = None,
    metric: Annotated[_Text, typer.Option(help="Default: sharpe_ratio.", rich_help_panel=_SEARCH)] = None,
    min_trades: Annotated[
        _Whole, typer.Option(min=0, help="Fewer are never the best. Default: 30.", rich_help_panel=_SEARCH)
    ] = None,
    max_workers: Annotated[
        _Whole, typer.Option(min=1, help="Slots that work on it at once.", rich_help_panel=_SEARCH)
    ] = None,
    walk_forward: Annotated[
        _Text,
        typer.Option(help='JSON object, e.g. {"train_days": 365, "test_days": 90}.', rich_help_panel=_SEARCH),
    ] = None,
    initial_balance: Annotated[_Number, typer.Option(help="Deposit.", rich_help_panel=_MONEY)] = None,
    account_currency: Annotated[_Text, typer.Option(help="E.g. USD.", rich_help_panel=_MONEY)] = None,
    volume: Annotated[_Number, typer.Option(help="Lots a trade.", rich_help_panel=_MONEY)] = None,
    risk_pct: Annotated[
        _Number, typer.Option(help="Fraction of equity risked a trade, 0.01 is 1 %.", rich_help_panel=_MONEY)
    ] = None,
    commission_per_lot: Annotated[_Number, typer.Option(help="Round trip.", rich_help_panel=_MONEY)] = None,
    spread_pips: Annotated[_Number, typer.Option(help="Simulated spread.", rich_help_panel=_MONEY)] = None,
    spread_source: Annotated[_Text, typer.Option(help="fixed or bars.", rich_help_panel=_MONEY)] = None,
    slippage_pips: Annotated[_Number, typer.Option(help="Against each market fill.", rich_help_panel=_MONEY)] = None,
    commission_pct: Annotated[_Number, typer.Option(help="Of the notional, each side.", rich_help_panel=_MONEY)] = None,
    leverage: Annotated[_Number, typer.Option(help="E.g. 30; default: no margin.", rich_help_panel=_MONEY)] = None,
    stop_out_pct: Annotated[
        _Number, typer.Option(help="Of the margin; needs leverage.", rich_help_panel=_MONEY)
    ] = None,
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
    request_id: Annotated[
        _Text, typer.Option(help="Default: a new one. The same one again runs nothing twice.", rich_help_panel=_SENDING)
    ] = None,
    wait: Annotated[
        bool,
        typer.Option("--wait", help="Follow the search to its end and exit by its outcome.", rich_help_panel=_SENDING),
    ] = False,
    wait_timeout: Annotated[
        _Number, typer.Option(min=0, help="Seconds to wait at most.", rich_help_panel=_SENDING)
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print one JSON object, with --wait the last event's data.", rich_help_panel=_SENDING
        ),
    ] = False,
) -> None:
    """Emit a request for a search of parameters and print its request id.

    Exit status: 0 sent (with --wait: completed), 1 not sent (with --wait: failed, cancelled, rejected, or not ended in
    time), 2 the request breaks the schema and was not sent.
    """
    if random is not None and tpe is not None:
        raise typer.BadParameter("give --random or --tpe", param_hint="'--tpe'")
    given: dict[str, Any] = {
        "strategy_id": strategy_id,
        "symbol": symbol,
        "start_date": options.utc_moment(start_date, "--start"),
        "end_date": options.utc_moment(end_date, "--end"),
        "timeframe": timeframe,
        "context_tfs": None if context_tfs is None else [name for name in context_tfs.split(",") if name],
        "strategy_params": None if strategy_params is None else options.json_object(strategy_params, "--params"),
        "optimization_id": optimization_id,
        "param_grid": None if param_grid is None else options.json_object(param_grid, "--grid"),
        "method": "random" if random is not None else "tpe" if tpe is not None else None,
        "samples": random if random is not None else tpe,
        "seed": seed,
        "optimize_metric": metric,
        "min_trades": min_trades,
        "max_workers": max_workers,
        "walk_forward": None if walk_forward is None else options.json_object(walk_forward, "--walk-forward"),
        "initial_balance": initial_balance,
        "account_currency": account_currency,
        "volume": volume,
        "risk_pct": risk_pct,
        "commission_per_lot": commission_per_lot,
        "spread_pips": spread_pips,
        "spread_source": spread_source,
        "slippage_pips": slippage_pips,
        "commission_pct": commission_pct,
        "leverage": leverage,
        "stop_out_pct": stop_out_pct,
        "execution_mode": execution_mode,
        "on_opposite": on_opposite,
        "stop_to_entry": stop_to_entry,
        "tp_partial_close_ratio": tp_partial_close_ratio,
        "request_id": request_id,
    }
    request, identity, source = _read_request(file, {name: each for name, each in given.items() if each is not None})
    waiting = wait or wait_timeout is not None
    sending = _send(request, identity or str(uuid4()), source, waiting, wait_timeout, identity is not None, as_json)
    raise typer.Exit(asyncio.run(sending))


def _read_request(file: Path | None, given: dict[str, Any]) -> tuple[OptimizationRequested, str | None, str]:
    """The request of the file with what was given over it, its identity (None: none), and who asks."""
    envelope = None if file is None else read_file(file, EventType.OPTIMIZATION_REQUESTED)
    data = {**(envelope.data if envelope else {}), **given}
    if not data:
        raise typer.BadParameter("give a request by flags, or with --file", param_hint="'--file'")
    try:
        request = parse_optimization_requested(data, envelope.duplicate_keys if envelope else ())
    except InvalidRequestError as error:
        raise InputRefused(f"not sent: {error}") from error
    identity = request.request_id or (envelope.id if envelope else None)
    return request, identity, (envelope.source if envelope else None) or SOURCE


async def _send(
    request: OptimizationRequested,
    request_id: str,
    source: str,
    wait: bool,
    wait_timeout: float | None,
    may_be_known: bool,
    as_json: bool,
) -> int:
    clock = SystemClock()
    topics = open_topics(kafka_settings())
    await topics.prepare()
    if not wait:
        partition, offset = await send_search(topics, request, request_id, source=source, now=clock.now_utc())
        topic = str(Topic.OPTIMIZATION_REQUESTED)
        sent = {"request_id": request_id, "topic": topic, "partition": partition, "offset": offset}
        typer.echo(json.dumps(sent) if as_json else request_id)
        return 0
    ready = asyncio.Event()
    sent_to: list[tuple[int, int]] = []

    def is_refused(record: Record) -> DeadLettered | None:
        return refusal_of(sent_to[0])(record) if sent_to else None

    # stdout has the request's id, or the end as JSON; all else goes to stderr.
    with nullcontext(_unshown) if as_json else search_bar() as show:
        following = asyncio.create_task(
            follow_searches(
                topics,
                lambda event: event.request_id == request_id,
                clock,
                lambda news: show(news.event),
                from_beginning=may_be_known,
                until_end=True,
                deadline=deadline_after(wait_timeout, clock),
                on_ready=ready.set,
                on_silence=say_nobody_answers,
                is_refused=is_refused,
            )
        )
        await asyncio.wait([following, asyncio.create_task(ready.wait())], return_when=asyncio.FIRST_COMPLETED)
        if not following.done():
            sent_to.append(await send_search(topics, request, request_id, source=source, now=clock.now_utc()))
            if not as_json:
                typer.echo(request_id)
                sys.stdout.flush()
        ended = await following
    return report_end(ended, request_id, wait_timeout, as_json=as_json)


def _unshown(_event: SearchEventData) -> None:
    """A program reads the end alone."""
