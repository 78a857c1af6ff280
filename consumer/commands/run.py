"""`backtest run`: one backtest of files or of market data at rest, without Kafka and without a database."""

import sys
from contextlib import redirect_stdout
from typing import Any

import typer

from consumer.commands.display.result import print_json, print_table, progress_bar
from consumer.commands.options import run_options as given
from consumer.commands.options.ready_run import read_run, show_unknown_symbol
from consumer.commands.options.run_request import RunRequest, with_run_options
from consumer.wiring.artifacts import check_picture_path, check_table_path, write_picture, write_table
from engine.simulate import run_backtest

app = typer.Typer(add_completion=False)


@app.command()
@with_run_options()
def run(
    request: RunRequest,
    trades: given.TradesOption = None,
    png: given.PngOption = None,
    html: given.HtmlOption = None,
    as_json: given.AsJsonOption = False,
) -> None:
    """Run one backtest here and now, without any server.

    Bars before --start warm indicators up. Exit status: 0 done, 1 the run failed, 2 bad input.
    """
    if trades is not None:
        check_table_path(trades, spare=request.named_files)
    if png is not None:
        check_picture_path(png)
    if html is not None:
        from consumer.wiring.page_report import check_html_path  # late, as below: most runs write none

        check_html_path(html)
    if not as_json:
        show_unknown_symbol(request)
    # What a strategy prints is not the result: stdout holds nothing but that.
    with redirect_stdout(sys.stderr), progress_bar() as show:
        ready = read_run(request)
        if ready.specification.advice is None:
            assert ready.rule is not None
            figures: dict[str, Any] = {}
            result = run_backtest(ready.specification, ready.instrument, ready.data, ready.rule, on_progress=show)
        else:
            # Late: asking models takes modules that other runs need not wait for.
            from consumer.commands.advised_run import run_advised

            result, figures = run_advised(ready, request, show)
        params = {} if ready.rule is None else ready.rule.digest_inputs().params
    if trades is not None:
        write_table(result.filed_trades, trades)
    if png is not None:
        from consumer.commands.display.run_plot import picture_of, plot_run  # late: a second of imports

        write_picture(plot_run(picture_of(result, params)), png)
    if html is not None:
        from consumer.commands.html_report import write_report_of_result

        write_report_of_result(result, html, figures)
    if as_json:
        print_json(result, figures)
    else:
        print_table(result, params, figures)
