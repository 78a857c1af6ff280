"""One module a command of the `backtest` program; `consumer.cli` imports each when it is called."""
