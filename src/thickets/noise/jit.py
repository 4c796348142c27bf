"""Numba's decorators, typed as leaving a function's type alone. Knows nothing of noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numba.extending

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile on first call, keep on disk, and let go of the interpreter lock while running.

    No fast-math: LLVM may then neither fuse nor reorder floating-point operations. Numba's cache watches only the
    file of the function itself: after a change to a constant of another module, touch that file.
    """
    try:
        return cast(F, numba.njit(nogil=True, cache=True, error_model="numpy")(function))
    except RuntimeError:
        # Neither the package's folder nor the user's cache can be written: compile anew in every process.
        return cast(F, numba.njit(nogil=True, error_model="numpy")(function))


def inlined(function: F) -> F:
    """A piece of a `compiled` function, always inlined by LLVM, so that the loop around it can be vectorised."""
    return cast(F, numba.njit(forceinline=True, nogil=True, error_model="numpy")(function))


def _array_at(typing: Any, address: Any, size: Any, like: Any) -> Any:
    """The memory at an address (a Python integer) as a flat array of `size` elements of `like`'s type.

    Ten times as quick as making a NumPy array of a torch tensor and passing it in. Nothing is checked or kept alive.
    """
    kind = numba.types.Array(like.dtype, 1, "C")

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits, element = context.get_value_type(numba.types.intp), context.get_data_type(like.dtype)
        array = context.make_array(kind)(context, builder)
        width = bits(context.get_abi_sizeof(element))
        context.populate_array(
            array,
            data=builder.inttoptr(arguments[0], element.as_pointer()),
            shape=[arguments[1]],
            strides=[width],
            itemsize=width,
            meminfo=None,
        )
        return array._getvalue()

    return kind(address, size, like), generate


# Untyped, as the function that it is made of has one argument more than its calls.
array_at: Any = numba.extending.intrinsic(_array_at)


def chosen_by_type(generic: Callable[..., Any]) -> Callable[[F], F]:
    """Register the decorated function: given Numba types, it returns the implementation of `generic` for them."""
    decorator = numba.extending.overload(generic, jit_options={"forceinline": True, "error_model": "numpy"})
    return cast(Callable[[F], F], decorator)
