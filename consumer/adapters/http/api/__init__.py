"""The HTTP API: one more emitter of requests and one more subscriber. It runs no backtest and keeps no state."""
