"""Compiling what is only linked into kernels: to LLVM's language, and no further.

A kernel is optimised, and made machine code, with everything that it calls in it. Numba does the same with every function that is
called, and with all that is in that one: half of a cold start, for code that nobody runs (docs/decisions/0022).
"""

from typing import Any

from llvmlite.binding import ModuleRef
from numba.core import codegen, compiler


class _NoEnvironment:
    """In place of the engine with the machine code: there is none, so nothing of it has an environment."""

    @staticmethod
    def set_env(_name: str, _env: object) -> None:
        """Nothing to set."""


class Linked(codegen.JITCodeLibrary):
    """A function's code, to be linked into others."""

    @property
    def codegen(self) -> type[_NoEnvironment]:
        """What numba asks for to announce machine code."""
        return _NoEnvironment

    def get_pointer_to_function(self, _name: str) -> int:
        """None: it cannot be called from Python."""
        self._ensure_finalized()  # type: ignore[no-untyped-call]
        return 0

    def _optimize_functions(self, module: ModuleRef) -> None:
        module.data_layout = self._codegen._data_layout  # noqa: SLF001  numba's own way

    def _optimize_final_module(self) -> None: ...

    def _finalize_final_module(self) -> None:
        self._finalized = True


class PartCompiler(compiler.Compiler):
    """Numba's own, into such code."""

    def define_pipelines(self) -> list[Any]:
        """Numba's."""
        made: Any = Linked
        self.state.library = made(self.state.targetctx.codegen(), self.state.func_id.func_qualname)
        passes: list[Any] = super().define_pipelines()  # type: ignore[no-untyped-call]
        return passes
