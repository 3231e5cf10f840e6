"""The supervisor with real child processes and a clock that is moved by hand."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tanyun.supervisor import EX_CONFIG, Child, ChildConfigError, Supervisor

FOREVER = "import signal; print('up', flush=True); signal.pause()"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True)\nwhile 1: signal.pause()"


class Clock:
    """A clock that is moved."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def python(name: str, code: str, folder: Path, env: dict[str, str] | None = None) -> Child:
    return Child(name, (sys.executable, "-S", "-c", code), folder / "logs" / f"{name}.log", env)


def until(true: Callable[[], bool], within_s: float = 20.0) -> None:
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """False also for a zombie that nobody has reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def said(child: Child) -> str:
    return child.log_file.read_text() if child.log_file.exists() else ""


def processes(supervisor: Supervisor) -> dict[str, dict[str, int | None]]:
    table: dict[str, dict[str, int | None]] = json.loads(supervisor.processes_file.read_text())
    return table


def test_children_run_and_are_stopped_in_reverse_order(tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    code = (
        "import signal, sys\n"
        f"def end(*_): open({str(diary)!r}, 'a').write(sys.argv[1] + ' '); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end); print('up', flush=True); signal.pause()"
    )
    children = [
        Child(name, (sys.executable, "-S", "-c", code, name), tmp_path / f"{name}.log")
        for name in ("first", "second")
    ]
    with Supervisor(children, tmp_path / "run" / "processes.json") as supervisor:
        until(lambda: all("up" in said(child) for child in children))
        assert {name: row["pid"] for name, row in processes(supervisor).items()} == {
            "first": supervisor.pid("first"),
            "second": supervisor.pid("second"),
        }
    assert diary.read_text() == "second first "
    assert processes(supervisor) == {
        "first": {"pid": None, "restarts": 0},
        "second": {"pid": None, "restarts": 0},
    }


def test_killed_child_is_started_again_after_a_delay(tmp_path: Path) -> None:
    clock = Clock()
    with Supervisor([python("stream", FOREVER, tmp_path)], tmp_path / "processes.json", clock) as supervisor:
        first = supervisor.pid("stream")
        assert first is not None
        os.kill(first, signal.SIGKILL)
        until(lambda: _polled(supervisor).pid("stream") is None)
        assert processes(supervisor)["stream"] == {"pid": None, "restarts": 0}
        clock.now_s += 0.19
        assert _polled(supervisor).pid("stream") is None
        clock.now_s += 0.02
        second = _polled(supervisor).pid("stream")
        assert second not in {None, first}
        assert processes(supervisor)["stream"] == {"pid": second, "restarts": 1}


def test_children_that_are_renewed_have_other_pids_and_go_on(tmp_path: Path) -> None:
    children = [python(name, FOREVER, tmp_path) for name in ("ingest", "stream")]
    with Supervisor(children, tmp_path / "processes.json") as supervisor:
        first = {child.name: supervisor.pid(child.name) for child in children}
        supervisor.renew()
        second = {child.name: supervisor.pid(child.name) for child in children}
        assert not set(first.values()) & {*second.values(), None}
        assert None not in second.values()
        assert not any(alive(pid) for pid in first.values() if pid is not None)
        assert {row["restarts"] for row in processes(supervisor).values()} == {1}


def test_delay_doubles_up_to_five_seconds_and_starts_over_after_ten_seconds_of_life(tmp_path: Path) -> None:
    clock = Clock()
    with Supervisor([python("x", FOREVER, tmp_path)], tmp_path / "processes.json", clock) as supervisor:
        delays = [_delay_after_death(supervisor, clock) for _ in range(7)]
        assert delays == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0], abs=0.11)
        clock.now_s += 10
        assert _delay_after_death(supervisor, clock) == pytest.approx(0.2, abs=0.11)


def test_configuration_error_stops_everything_and_is_shown(tmp_path: Path) -> None:
    wrong = python("edge", f"print('modbus.toml: port: is missing'); raise SystemExit({EX_CONFIG})", tmp_path)
    supervisor = Supervisor([python("fine", FOREVER, tmp_path), wrong], tmp_path / "processes.json")
    supervisor.start()
    fine = supervisor.pid("fine")
    with pytest.raises(ChildConfigError, match=r"edge: modbus\.toml: port: is missing"):
        until(lambda: _polled(supervisor) is None)
    assert fine is not None
    assert not alive(fine)


def test_only_the_last_run_is_quoted_after_a_configuration_error(tmp_path: Path) -> None:
    wrong = python("edge", f"print('new'); raise SystemExit({EX_CONFIG})", tmp_path)
    wrong.log_file.parent.mkdir()
    wrong.log_file.write_text("old\n")
    with (
        pytest.raises(ChildConfigError) as caught,
        Supervisor([wrong], tmp_path / "processes.json") as supervisor,
    ):
        until(lambda: _polled(supervisor) is None)
    assert caught.value.message == "new"
    assert said(wrong) == "old\nnew\n"


def test_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    child = python("stubborn", STUBBORN, tmp_path)
    with Supervisor([child], tmp_path / "processes.json", grace_s=0.1) as supervisor:
        until(lambda: "up" in said(child))
        pid = supervisor.pid("stubborn")
    assert pid is not None
    assert not alive(pid)


def test_program_that_does_not_exist_leaves_nothing_running(tmp_path: Path) -> None:
    missing = Child("broker", (str(tmp_path / "no-such-program"),), tmp_path / "broker.log")
    supervisor = Supervisor([python("fine", FOREVER, tmp_path), missing], tmp_path / "processes.json")
    with pytest.raises(FileNotFoundError):
        supervisor.start()
    assert processes(supervisor)["fine"]["pid"] is None


def test_child_gets_exactly_the_environment_it_is_given(tmp_path: Path) -> None:
    child = python("env", "import os; print(sorted(os.environ), flush=True)", tmp_path, {"LC_ALL": "C.UTF-8"})
    with Supervisor([child], tmp_path / "processes.json"):
        until(lambda: "\n" in said(child))
    assert said(child).splitlines()[0] == "['LC_ALL']"


def test_large_log_is_set_aside_at_the_next_start(tmp_path: Path) -> None:
    child = python("x", FOREVER, tmp_path)
    child.log_file.parent.mkdir()
    with child.log_file.open("wb") as file:
        file.truncate(17 * 1024 * 1024)
    with Supervisor([child], tmp_path / "processes.json"):
        until(lambda: said(child) == "up\n")
    assert (tmp_path / "logs" / "x.log.1").stat().st_size == 17 * 1024 * 1024


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="PR_SET_PDEATHSIG is Linux's")
def test_nothing_is_left_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    program = (
        "import signal, sys; from pathlib import Path; from tanyun.supervisor import Child, Supervisor\n"
        f"folder = Path({str(tmp_path)!r})\n"
        f"child = Child('x', (sys.executable, '-S', '-c', {STUBBORN!r}), folder / 'x.log')\n"
        "Supervisor([child], folder / 'processes.json').start(); signal.pause()"
    )
    parent = subprocess.Popen((sys.executable, "-c", program), cwd=Path(__file__).parents[2])
    log = tmp_path / "x.log"
    until(lambda: log.exists() and "up" in log.read_text())
    child = json.loads((tmp_path / "processes.json").read_text())["x"]["pid"]
    assert alive(child)
    parent.kill()
    parent.wait()
    until(lambda: not alive(child))


def _polled(supervisor: Supervisor) -> Supervisor:
    supervisor.poll()
    return supervisor


def _delay_after_death(supervisor: Supervisor, clock: Clock) -> float:
    pid = supervisor.pid("x")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: _polled(supervisor).pid("x") is None)
    died_s = clock.now_s
    while _polled(supervisor).pid("x") is None:
        clock.now_s += 0.1
    return clock.now_s - died_s
