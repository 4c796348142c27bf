"""Numba's decorators with types, in the one place that knows Numba has none. Knows nothing of noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba  # type: ignore[import-untyped]
import numba.extending  # type: ignore[import-untyped]

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile on first call, keep on disk, and let go of the interpreter lock while running.

    No fast-math: LLVM may then neither fuse nor reorder floating-point operations.
    """
    decorated: F = numba.njit(nogil=True, cache=True, error_model="numpy")(function)
    return decorated


def inlined(function: F) -> F:
    """A piece of a `compiled` function, always inlined by LLVM, so that the loop around it can be vectorised."""
    decorated: F = numba.njit(forceinline=True, nogil=True, error_model="numpy")(function)
    return decorated


def chosen_by_type(generic: Callable[..., Any]) -> Callable[[F], F]:
    """Register the decorated function: given Numba types, it returns the implementation of `generic` for them."""
    decorator: Callable[[F], F] = numba.extending.overload(generic, jit_options={"forceinline": True, "error_model": "numpy"})
    return decorator
