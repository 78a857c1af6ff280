"""A checker, `python -P -m consumer.adapters.engine_pool.checker SOCKET_FD WORKER_PID`: says what strategies' code has
to say to requests. checker_handle starts it.

    worker -> checker   settings (once) · check
    checker -> worker   ready (once) · imported · verdict · changed

Users' modules are imported here and their Params validate, so this process may hang, end or be killed at any step: what
it told before shows the worker at which.
"""

from dataclasses import asdict
from typing import Any, Final

from consumer.adapters.engine_pool.child import Channel, attach, set_title

TITLE: Final = "backtest-checker"


def main() -> None:
    """Serve the worker until it goes away."""
    channel, _ = attach(TITLE)
    # Imported late, as in an engine child, and before the first check, whose time is limited.
    from consumer.preparation import strategy_verdict  # noqa: F401
    from engine import strategy  # noqa: F401

    channel.send({"type": "ready"})
    while True:
        message = channel.receive()
        set_title(f"{TITLE} {message['key']}")
        answer = _answer(message, channel)
        set_title(f"{TITLE} idle")
        channel.send({**answer, "task": message["task"]})


def _answer(message: dict[str, Any], channel: Channel) -> dict[str, Any]:
    from consumer.installed.strategy_code import CodeChanged, load_current
    from consumer.ports.strategies import StrategyCheck
    from consumer.preparation.strategy_verdict import unknown_strategy, verdict_of
    from engine.errors import EngineError

    check = StrategyCheck(message["key"], message["params"], message["space"])
    try:
        load_current(check.key)
    except CodeChanged:
        return {"type": "changed"}
    except EngineError as error:
        return {"type": "verdict", "problems": [asdict(unknown_strategy(str(error)))]}
    channel.send({"type": "imported", "task": message["task"]})
    return {"type": "verdict", "problems": [asdict(problem) for problem in verdict_of(check)]}


if __name__ == "__main__":
    main()
