"""What the routes work with: ports and use cases, opened by `wiring.api`. No route knows what stands behind them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from prometheus_client import CollectorRegistry
from starlette.requests import Request

from consumer.adapters.http.api.data_services import DataServices
from consumer.adapters.http.server import Checks
from consumer.broadcaster import Broadcaster
from consumer.ports.history import History
from consumer.ports.removal import RowRemoval
from consumer.ports.search_files import SearchResults
from consumer.ports.search_history import SearchHistory
from consumer.ports.standings import Standings
from consumer.ports.strategies import StrategyCatalogue
from consumer.ports.strategy_rows import StrategyRows
from consumer.requests.strategy_rows import RowJudge
from consumer.submission import Submission


@dataclass(frozen=True, slots=True)
class Services:
    """history, searches: the read side. The rest writes."""

    history: History
    searches: SearchHistory
    search_results: SearchResults
    standings: Standings
    broadcaster: Broadcaster
    submission: Submission
    removal: RowRemoval
    strategy_rows: StrategyRows
    row_judge: RowJudge
    catalogue: StrategyCatalogue
    readiness: Callable[[], Awaitable[Checks]]
    registry: CollectorRegistry
    data: DataServices


async def services_of(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


ServicesNow = Annotated[Services, Depends(services_of)]
