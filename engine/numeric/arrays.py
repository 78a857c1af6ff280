"""Arrays as they are handed around: apart from `compiled` so that naming one loads no compiler."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Element = TypeVar("Element", bound=np.generic)


def read_only(values: NDArray[Element]) -> NDArray[Element]:
    """Return a contiguous read-only view, a copy only where it must be one.

    Numba compiles a function anew for writable and for read-only arguments; passing them in one way costs one compile.
    """
    view = np.ascontiguousarray(values).view()
    view.flags.writeable = False
    return view
