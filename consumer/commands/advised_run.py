"""A run of `backtest run` in which a language model has a say: asked here, and set beside the rule alone."""

from dataclasses import asdict, replace
from typing import Any

import typer

from consumer.commands.options.ready_run import ReadyRun
from consumer.commands.options.run_request import RunRequest
from consumer.settings import ModelSettings, load_settings
from consumer.wiring.local_advice import open_local_advisor
from engine.deciders.advised.decider import advised
from engine.results.result import BacktestResult
from engine.simulate import run_backtest
from engine.watch import OnProgress


def run_advised(ready: ReadyRun, request: RunRequest, show: OnProgress | None) -> tuple[BacktestResult, dict[str, Any]]:
    """Run it; the result, and what it cost beside what the rule alone earns (rule_only), where there is one."""
    if request.llm_ledger is None and request.strategy_id is None:
        raise typer.BadParameter(
            "is needed in every mode but rule_only: calls are paid for, and kept in it", param_hint="'--llm-ledger'"
        )
    settings = load_settings(ModelSettings)
    specification = ready.specification
    with open_local_advisor(specification, request.llm_ledger, settings, replays=request.llm_replay) as advisor:
        decider = advised(specification, ready.rule, advisor)
        result = run_backtest(specification, ready.instrument, ready.data, decider, on_progress=show)
        result = replace(result, run_warnings=(*result.run_warnings, *advisor.warnings))
        figures = asdict(advisor.figures())
    if ready.rule is not None:
        alone = replace(specification, advice=None)
        rule = run_backtest(alone, ready.instrument, ready.data, ready.rule)
        figures["rule_only"] = {
            "net_profit": rule.net_profit,
            "total_trades": rule.metrics.total_trades,
            "result_digest": rule.result_digest,
        }
    return result, figures
