"""The whole chain as a user starts it: `tanyun demo` in its own process, killed and looked at from outside."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


class DemoRun:
    """A running demo."""

    def __init__(self, data: Path, *arguments: str) -> None:
        self.data, self.log = data, data.with_suffix(".log")
        argv = [sys.executable, "-m", "tanyun", "--lang", "en", "demo", "--data", str(data), *arguments]
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                argv,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "LANGUAGE": "en"},
            )

    @property
    def output(self) -> str:
        """What it has printed."""
        return self.log.read_text(encoding="utf-8")

    def pids(self) -> dict[str, int]:
        """Role → pid of the children that run now."""
        try:
            table = json.loads((self.data / "run" / "processes.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return {name: row["pid"] for name, row in table.items() if row["pid"]}

    def kill(self, role: str) -> bool:
        """Send SIGKILL to a child; False when it does not run at the moment."""
        pid = self.pids().get(role)
        if pid is None:
            return False
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    def until(self, done: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait for something; fails with the demo's own words when it does not come or the demo ends."""
        deadline = time.monotonic() + seconds
        while not done():
            ended = self.process.poll()
            if ended is not None and not done():
                pytest.fail(f"the demo ended ({ended}) before {what}:\n{self.output}")
            if time.monotonic() > deadline:
                pytest.fail(f"no {what} within {seconds} s:\n{self.output}")
            time.sleep(0.05)

    def wait(self, seconds: float) -> int:
        """Its exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pytest.fail(f"the demo still runs after {seconds} s:\n{self.output}")

    def stop(self) -> int:
        """Ctrl-C, and the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.wait(40)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Callable[..., DemoRun]]:
    """Starts demos and ends them all."""
    runs: list[DemoRun] = []

    def start(*arguments: str, name: str = "demo") -> DemoRun:
        runs.append(DemoRun(tmp_path / name, *arguments))
        return runs[-1]

    yield start
    for run in runs:
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait()


def alive(pid: int) -> bool:
    """True while a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").split(")")[-1].split()[0] != "Z"
    except OSError:
        return False
