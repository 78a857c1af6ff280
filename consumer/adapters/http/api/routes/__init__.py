"""The routes, a module a group of them. Each has a `router`; `application` joins those that ROUTERS names."""

from typing import Final

from fastapi import APIRouter

from consumer.adapters.http.api.routes import backtests, health, sessions, submitting
from consumer.adapters.http.api.routes.of_data import DATA_ROUTERS

ROUTERS: Final[tuple[APIRouter, ...]] = (
    backtests.router,
    submitting.router,
    *DATA_ROUTERS,
    sessions.router,
    health.router,
)
