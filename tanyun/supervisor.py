"""Keeps child processes running: starts them in order, restarts one that died, leaves none behind.

One thread and no event loop: the caller's loop calls `poll()`.
"""

import ctypes
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

log = logging.getLogger(__name__)

EX_CONFIG: Final = 78
"""sysexits.h: a configuration error. Starting such a child again cannot help."""
FIRST_DELAY_S: Final = 0.2
LONGEST_DELAY_S: Final = 5.0
SETTLED_S: Final = 10.0
"""After this much life a death counts as the first one again."""
GRACE_S: Final = 10.0
"""From SIGTERM to SIGKILL, for each child."""
_LOG_LIMIT_BYTES: Final = 16 * 1024 * 1024
_PR_SET_PDEATHSIG: Final = 1


class ChildConfigError(Exception):
    """A child ended with EX_CONFIG (the operator's fault): everything was stopped, `message` says what it said."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name
        self.message = message


@dataclass(frozen=True, slots=True)
class Child:
    """A process to keep running. Output and errors go to `log_file`; `env` replaces the whole environment."""

    name: str
    argv: Sequence[str]
    log_file: Path
    env: Mapping[str, str] | None = None


@dataclass(slots=True)
class _Slot:
    """One child over its restarts."""

    child: Child
    process: subprocess.Popen[bytes] | None = None
    started_s: float = 0.0
    log_start: int = 0
    delay_s: float = FIRST_DELAY_S
    due_s: float = 0.0
    """When to start it again; only while `process` is None."""
    restarts: int = 0


@dataclass(slots=True)
class Supervisor:
    """Runs children until stopped. `processes_file` (run/processes.json) always says who runs under which pid.

    On Linux the kernel kills the children with the thread that started them, so nothing is left
    even after a kill -9 of the supervisor. Elsewhere only `stop()` does.
    """

    children: Sequence[Child]
    processes_file: Path
    clock: Callable[[], float] = time.monotonic
    grace_s: float = GRACE_S
    _slots: list[_Slot] = field(init=False, default_factory=list)

    def start(self) -> None:
        """Start all children in order. OSError when one cannot be started; then none is left."""
        self._slots = [_Slot(child) for child in self.children]
        try:
            for slot in self._slots:
                self._spawn(slot)
                self._write_processes()
        except OSError:
            self.stop()
            raise

    def poll(self) -> None:
        """Notice deaths and start again what is due. ChildConfigError after a configuration error, with all stopped."""
        for slot in self._slots:
            if slot.process is not None and (code := slot.process.poll()) is not None:
                self._died(slot, code)
            if slot.process is None and self.clock() >= slot.due_s:
                self._restart(slot)

    def renew(self) -> None:
        """Stop every child and start it again, one after another: what they read at their start has changed."""
        for slot in self._slots:
            if slot.process is not None:
                code = _end(slot.process, self.grace_s)
                log.info("child renewed name=%s code=%d", slot.child.name, code)
                slot.process = None
                self._restart(slot)

    def pid(self, name: str) -> int | None:
        """The process id of a child; None while it is not running."""
        return next(
            (slot.process.pid for slot in self._slots if slot.child.name == name and slot.process), None
        )

    def stop(self) -> None:
        """Stop all children, last started first: SIGTERM, then SIGKILL for whoever does not go."""
        for slot in reversed(self._slots):
            if slot.process is not None:
                code = _end(slot.process, self.grace_s)
                log.info("child stopped name=%s code=%d", slot.child.name, code)
                slot.process = None
        self._write_processes()
        self._slots = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _spawn(self, slot: _Slot) -> None:
        child = slot.child
        with _open_log(child.log_file) as output:
            slot.log_start = output.tell()
            slot.process = subprocess.Popen(
                list(child.argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if child.env is None else dict(child.env),
                start_new_session=True,
                preexec_fn=_die_with_parent(),  # noqa: PLW1509  one thread, and it only makes two system calls
            )
        slot.started_s = self.clock()
        log.info("child started name=%s pid=%d restarts=%d", child.name, slot.process.pid, slot.restarts)

    def _died(self, slot: _Slot, code: int) -> None:
        slot.process = None
        if code == EX_CONFIG:
            log.error("child has a configuration error name=%s", slot.child.name)
            message = _log_since(slot.child.log_file, slot.log_start)
            self.stop()
            raise ChildConfigError(slot.child.name, message)
        if self.clock() - slot.started_s >= SETTLED_S:
            slot.delay_s = FIRST_DELAY_S
        self._wait(slot, f"code={code}")
        self._write_processes()

    def _restart(self, slot: _Slot) -> None:
        slot.restarts += 1
        try:
            self._spawn(slot)
        except OSError as error:
            self._wait(slot, f"error={error}")
        self._write_processes()

    def _wait(self, slot: _Slot, reason: str) -> None:
        log.warning(
            "child ended name=%s %s restart_in_s=%g log=%s",
            slot.child.name,
            reason,
            slot.delay_s,
            slot.child.log_file,
        )
        slot.due_s = self.clock() + slot.delay_s
        slot.delay_s = min(slot.delay_s * 2, LONGEST_DELAY_S)

    def _write_processes(self) -> None:
        table = {
            slot.child.name: {"pid": slot.process.pid if slot.process else None, "restarts": slot.restarts}
            for slot in self._slots
        }
        self.processes_file.parent.mkdir(parents=True, exist_ok=True)
        scratch = self.processes_file.with_suffix(".tmp")
        scratch.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
        scratch.replace(self.processes_file)


def _end(process: subprocess.Popen[bytes], grace_s: float) -> int:
    process.terminate()
    try:
        process.wait(grace_s)
    except subprocess.TimeoutExpired:
        log.warning("child did not go, killing it pid=%d after_s=%g", process.pid, grace_s)
        os.killpg(process.pid, signal.SIGKILL)  # its session: whatever it started goes too
    return process.wait()


def _open_log(path: Path) -> BinaryIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > _LOG_LIMIT_BYTES:
        path.replace(path.with_name(path.name + ".1"))
    return path.open("ab")


def _log_since(path: Path, start: int) -> str:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(_LOG_LIMIT_BYTES).decode("utf-8", "replace").strip()


def _die_with_parent() -> Callable[[], None] | None:
    """What a new child does first on Linux: ask to be killed when its parent dies. None elsewhere."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def ask_kernel() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the call
            os._exit(1)

    return ask_kernel
