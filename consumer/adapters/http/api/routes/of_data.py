"""The routes of data: what runs left, and what they run on."""

from typing import Final

from fastapi import APIRouter

from consumer.adapters.http.api.routes import instruments, market_data, reports, results

DATA_ROUTERS: Final[tuple[APIRouter, ...]] = (results.router, reports.router, market_data.router, instruments.router)
