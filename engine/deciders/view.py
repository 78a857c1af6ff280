"""What a bar strategy sees: arrays that hold nothing of the future.

A strategy gets slices of buffers of its own, filled bar by bar as time passes. Whatever a slice is a view of
(`.base`), there is nothing behind the newest bar but NaN; and writing there would change the strategy's copy only.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from engine.market.bars import Bars
from engine.strategy import Position

_COLUMNS = ("time_us", "open", "high", "low", "close", "volume")
_UNSEEN = np.iinfo(np.int64).min
"""Not-a-time as microseconds."""


class SeenBars:
    """The bars of one timeframe that are known by now. Implements the series half of engine.strategy.View."""

    __slots__ = ("_close", "_count", "_high", "_low", "_open", "_time", "_volume")

    def __init__(self, buffer: NDArray[np.int64]) -> None:
        frozen = buffer.view()
        frozen.flags.writeable = False
        self._time: NDArray[np.datetime64] = frozen[0].view("datetime64[us]")
        self._open: NDArray[np.float64] = frozen[1].view(np.float64)
        self._high: NDArray[np.float64] = frozen[2].view(np.float64)
        self._low: NDArray[np.float64] = frozen[3].view(np.float64)
        self._close: NDArray[np.float64] = frozen[4].view(np.float64)
        self._volume: NDArray[np.float64] = frozen[5].view(np.float64)
        self._count = 0

    @property
    def time(self) -> NDArray[np.datetime64]:
        return self._time[: self._count]

    @property
    def open(self) -> NDArray[np.float64]:
        return self._open[: self._count]

    @property
    def high(self) -> NDArray[np.float64]:
        return self._high[: self._count]

    @property
    def low(self) -> NDArray[np.float64]:
        return self._low[: self._count]

    @property
    def close(self) -> NDArray[np.float64]:
        return self._close[: self._count]

    @property
    def volume(self) -> NDArray[np.float64]:
        return self._volume[: self._count]


class BarView(SeenBars):
    """The view at one close of the run's timeframe. Implements engine.strategy.View; one object serves all closes.

    position, balance and equity are those at the close, after levels and before the decision.
    """

    __slots__ = ("_context", "balance", "equity", "position")

    def __init__(self, buffer: NDArray[np.int64], context: Mapping[str, SeenBars]) -> None:
        super().__init__(buffer)
        self._context = context
        self.position: Position | None = None
        self.balance = 0.0
        self.equity = 0.0

    @property
    def context(self) -> Mapping[str, SeenBars]:
        return self._context


class Curtain:
    """Holds a timeframe's bars back and lets them be seen one after the other; never handed to a strategy."""

    __slots__ = ("_buffer", "_source", "seen")

    def __init__(self, bars: Bars) -> None:
        columns = (getattr(bars, name) for name in _COLUMNS)
        self._source = np.stack([np.ascontiguousarray(column).view(np.int64) for column in columns])
        self._buffer = np.full(self._source.shape, _UNSEEN, np.int64)
        self._buffer[1:].view(np.float64)[:] = np.nan
        self.seen = SeenBars(self._buffer)

    def view(self, context: Mapping[str, SeenBars]) -> BarView:
        """Replace what is seen by a view of the same bars that carries context, position and money."""
        self.seen = view = BarView(self._buffer, context)
        return view

    def open_to(self, count: int) -> None:
        """Let the first `count` bars be seen; time only goes forward."""
        seen = self.seen
        known = seen._count  # noqa: SLF001  # the pair is one thing in two halves
        if count == known + 1:
            self._buffer[:, known] = self._source[:, known]
        else:
            self._buffer[:, known:count] = self._source[:, known:count]
        seen._count = count  # noqa: SLF001
