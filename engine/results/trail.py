"""What a simulation leaves behind, as the kernel wrote it; apart from what is made of it, which all reads this."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.kernel.layout import ROW


@dataclass(frozen=True, slots=True, eq=False)
class Trail:
    """What one simulation wrote, as arrays; bars are counted from the run's first.

    equity: one value a simulated bar (fewer than the run's bars after a stop-out). time_us: of each bar of the run.
    rows: kernel.layout.ROW records, an exit each, in the order they happened. balances: kernel.layout.BALANCE records.
    """

    time_us: NDArray[np.int64]
    equity: NDArray[np.float64]
    rows: NDArray[Any]
    balances: NDArray[Any]

    def column(self, name: str) -> NDArray[Any]:
        """Return one column of the rows, contiguous."""
        return np.ascontiguousarray(self.rows[name])

    def columns(self) -> list[NDArray[Any]]:
        """Return every column of the rows, contiguous, in their order: all in one go."""
        width = len(ROW.names or ())
        turned = np.ascontiguousarray(self.rows.view(np.int64).reshape(-1, width).T)
        return [turned[place].view(ROW[place]) for place in range(width)]

    @property
    def bars_in_position(self) -> int:
        """Closes at which a position was open: over positions, the sum of exit bar - entry bar."""
        closes_position = np.diff(self.column("position_id"), append=-1) != 0
        return int((self.column("exit_bar") - self.column("entry_bar"))[closes_position].sum())
