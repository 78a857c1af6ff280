"""The processor's hint that memory will be read soon; apart because numba has no word for it and LLVM's is needed."""

from typing import Any

import numba
from numba.core import cgutils, config
from numba.extending import intrinsic

# Untyped all three: numba has no stubs for them.
_generator: Any = cgutils
_ir: Any = _generator.ir
_settings: Any = config


def _prefetch(_: Any, array: Any, index: Any) -> tuple[Any, Any]:
    """Type and generate prefetch(array, index) for a one-dimensional array of numbers."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        place = builder.bitcast(builder.gep(data, [arguments[1]]), _generator.voidptr_t)
        number = _ir.IntType(32)
        kind = _ir.FunctionType(_ir.VoidType(), [place.type, number, number, number])
        hint = _generator.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        to_read, to_keep, data_cache = (_ir.Constant(number, value) for value in (0, 3, 1))
        builder.call(hint, [place, to_read, to_keep, data_cache])
        return context.get_dummy_value()

    return numba.types.void(array, index), generate


def _nothing(array: Any, index: Any) -> None:
    """Stand in where compiled code runs as plain Python."""


prefetch: Any = _nothing if _settings.DISABLE_JIT else intrinsic(_prefetch)
"""prefetch(array, index): begin to fetch array[index], for which nothing waits. Any index is harmless."""
