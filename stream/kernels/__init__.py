"""Compiled loops over columns. They know no files, clocks or names; each has a plain twin in the tests.

No fast-math, no parallel loops: results equal those of the plain function bit for bit. None of them allocates, so none counts
references (`_nrt`). A number that a caller writes out would make numba compile one more copy of the callee for it; here it
counts as any number of its type (docs/decisions/0022).
"""

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit, types

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """A loop that Python calls."""
    return _compiled(function)


def part(function: Function) -> Function:
    """A function that only kernels call: there is nothing to call it from Python, which costs as much to compile."""
    return _compiled(function, no_cpython_wrapper=True)


def inlined(function: Function) -> Function:
    """A part of an innermost loop."""
    return _compiled(function, no_cpython_wrapper=True, forceinline=True)


def _compiled(function: Function, **options: Any) -> Function:
    options |= {"nogil": True, "cache": True, "error_model": "numpy", "no_cfunc_wrapper": True, "_nrt": False}
    made: Any = njit(**options)(function)
    if hasattr(made, "get_call_template"):  # not under NUMBA_DISABLE_JIT
        resolve = made.get_call_template
        made.get_call_template = lambda args, kws: resolve(tuple(map(types.unliteral, args)), kws)
    found: Function = made
    return found
