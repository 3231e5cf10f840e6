"""Compiled loops over columns. They know no files, clocks or names; each has a plain twin in the tests.

No fast-math, no parallel loops: results equal those of the plain function bit for bit. None of them allocates, so none counts
references (`_nrt`). A number that a caller writes out would make numba compile one more copy of the callee for it; here it
counts as any number of its type (docs/decisions/0022). Only what Python calls is kept in the cache: it has its parts in it.
"""

from collections.abc import Callable
from operator import attrgetter
from typing import Any, TypeVar, cast

from numba import njit, types
from numba.core.targetconfig import TargetConfig

from stream.kernels.linked import PartCompiler

Function = TypeVar("Function", bound=Callable[..., Any])
_SET = "_values"
"""Where numba's options keep what was set."""


def kernel(function: Function) -> Function:
    """A loop that Python calls."""
    return _compiled(function, cache=True)


def part(function: Function, **options: Any) -> Function:
    """A function that only kernels call: there is no machine code of its own, nor anything to call it from Python."""
    return _compiled(function, no_cpython_wrapper=True, pipeline_class=PartCompiler, **options)


def inlined(function: Function) -> Function:
    """A part of an innermost loop."""
    return part(function, forceinline=True)


def _compiled(function: Function, **options: Any) -> Function:
    options |= {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True, "_nrt": False}
    made: Any = njit(**options)(function)
    if hasattr(made, "get_call_template"):  # not under NUMBA_DISABLE_JIT
        resolve = made.get_call_template
        made.get_call_template = lambda args, kws: resolve(tuple(map(types.unliteral, args)), kws)
    found: Function = made
    return found


def _compare_options_at_once() -> None:
    """Compilation options as keys of dictionaries: by what was set, not by asking for each of them in turn.

    Numba asks for them all with every operator that it types, four times and more: two fifths of a cold start.
    """
    options, what_was_set = cast("Any", TargetConfig), attrgetter(_SET)
    if not hasattr(options(), _SET):
        return

    def same(one: object, other: object) -> bool:
        return type(one) is type(other) and bool(what_was_set(one) == what_was_set(other))

    options.__eq__, options.__hash__ = same, lambda one: hash(type(one))


def _find_signatures_once() -> None:
    """What an operator gives for given types: found once, not wherever it stands.

    Numba tries one candidate after the other each time, and words why it does not fit: a tenth of a cold start.
    """
    functions, known = cast("Any", types.Function), dict[Any, Any]()
    resolve = functions.get_call_type

    def resolved(self: Any, context: Any, args: tuple[Any, ...], kws: dict[str, Any]) -> Any:
        key = self, args, tuple(kws.items())
        if key not in known:
            known[key] = resolve(self, context, args, kws)
        return known[key]

    functions.get_call_type = resolved


_compare_options_at_once()
_find_signatures_once()
