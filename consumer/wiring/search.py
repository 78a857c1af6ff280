"""The processes of a search on this machine, and the file its results go to."""

import os

from consumer.adapters.engine_pool.search_messages import OnBegin, SimulatePart
from consumer.adapters.engine_pool.search_processes import SearchProcesses
from consumer.adapters.files.search_tables import SearchTable
from consumer.adapters.files.table_output import check_table_path
from consumer.settings import SearchSettings, StrategySettings

__all__ = ["OnBegin", "SearchProcesses", "SearchTable", "SimulatePart", "check_table_path", "start_search_processes"]


def start_search_processes(
    workers: int | None, search: SearchSettings, strategies: StrategySettings
) -> SearchProcesses:
    """Start processes, warm by the time they are asked. workers: how many; None: one a core."""
    return SearchProcesses(
        workers or os.cpu_count() or 1,
        strategies.engine_memory_mb,
        search.run_timeout_seconds,
        search.max_attempts,
    )
