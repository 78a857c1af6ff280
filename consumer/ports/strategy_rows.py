"""The rows of `strategies`, as whoever makes and changes them sees them."""

from collections.abc import Mapping
from typing import Any, Protocol


class StrategyRows(Protocol):
    """Writes rows whose columns have been checked; what the caller leaves out takes the table's defaults.

    Raises NameTaken where another row has the name, StoreUnavailable where trying again may help.
    """

    async def add(self, columns: Mapping[str, Any]) -> int:
        """Add a row; its id."""
        ...

    async def change(self, strategy_id: int, columns: Mapping[str, Any], seen: Mapping[str, Any] | None = None) -> bool:
        """Set columns of a row; False: there is no such row. Runs keep the row as it was at their intake.

        seen: the row as it must still be, by column. False as well where it is not.
        """
        ...
