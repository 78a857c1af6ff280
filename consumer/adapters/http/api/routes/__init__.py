"""The routes, a module a group of them. Each has a `router`; `application` joins those that ROUTERS names."""

from typing import Final

from fastapi import APIRouter

from consumer.adapters.http.api.routes import (
    backtests,
    events,
    health,
    model_calls,
    optimizations,
    searching,
    sessions,
    strategies,
    submitting,
)
from consumer.adapters.http.api.routes.of_data import DATA_ROUTERS

ROUTERS: Final[tuple[APIRouter, ...]] = (
    events.router,
    backtests.router,
    submitting.router,
    *DATA_ROUTERS,
    model_calls.router,
    optimizations.router,
    searching.router,
    strategies.router,
    strategies.keys,
    sessions.router,
    health.router,
)
