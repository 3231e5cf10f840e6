"""The real chain in separate processes, wired through links and disks that a schedule of faults can reach.

Simulated meters with known registers → edge agents → Mosquitto → ingest → stream → ledger, and projector → InfluxDB where
there is one. The demo's layout, with each gateway's outbox and the server's data on a disk of its own.
"""

import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Final, Self

import msgspec

from storage.ledger import LedgerReader
from tanyun.demo.layout import Layout, Options, claim, prepare
from tests.chaos.cable import Cable, can_lay
from tests.chaos.disk import Disk, Folder, LoopDisk, can_mount
from tests.chaos.slow import build_shim
from tests.chaos.wire import Wires
from tests.fakes.influx import Influxd

FAKETIME: Final = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
SERVER: Final = "server"
"""Name of the server's disk; a gateway's disk bears its id."""
CLOCK: Final = "clock"
ON_SERVER: Final = ("ingest", "stream", "projector")
_RESTART_S: Final = (0.1, 1.0)


class Child:
    """One process, started again whenever it ends, unless held."""

    def __init__(self, name: str, argv: tuple[str, ...], log: Path, environment: Mapping[str, str]) -> None:
        self.name, self.argv, self.log = name, argv, log
        self.environment = dict(environment)
        self.process: subprocess.Popen[bytes] | None = None
        self.held, self.due_s, self.deaths = False, 0.0, 0

    def start(self) -> None:
        """Start it."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=self.environment, start_new_session=True
            )  # fmt: skip

    def end(self, number: int = signal.SIGKILL) -> int | None:
        """Send a signal and wait; the exit code, None when it did not run."""
        process = self.process
        if process is None:
            return None
        with suppress(ProcessLookupError):
            process.send_signal(number)
        try:
            code = process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
            if number != signal.SIGKILL:
                msg = f"{self.name} did not stop within 20 s of signal {number}"
                raise AssertionError(msg) from None
        return code


class Chain:
    """All processes, links and disks of one run. A context manager."""

    def __init__(self, folder: Path, seed: int, start_ms: int, pace_s: float) -> None:
        self.folder, self.seed = folder, seed
        self.mounts = can_mount(folder)
        self.wires = Wires(seed)
        self.cables: dict[str, Cable] = {}
        self._far_ends: dict[str, Wires] = {}
        self.clock_ports: dict[str, int] = {}
        """Where each gateway finds the accelerated clock: no fault is played on that link, but a pulled cable cuts it."""
        self.disks: dict[str, Disk] = {}
        self.children: dict[str, Child] = {}
        self.shim, self._lock, self._stop = build_shim(folder), threading.RLock(), threading.Event()
        self._dice = random.Random(f"restarts {seed}")
        self._start_ms, self._pace_s = start_ms, pace_s
        self.influx: Influxd | None = None

    @property
    def data(self) -> Path:
        """Where the server's stores are."""
        return self.disks[SERVER].path

    @property
    def gateways(self) -> list[str]:
        """Their ids."""
        return [gateway.id for gateway in self.layout.park.gateways]

    def __enter__(self) -> Self:
        base = self.folder / "demo"
        claim(base, fresh=True)
        self.layout: Layout = prepare(Options(base, None, None, None, None, None, self._start_ms))
        self.wires.__enter__()
        if can_lay():  # The last gateway stays on this machine, as a server's own gateway does.
            self.cables = {gateway: Cable(number) for number, gateway in enumerate(self.gateways[:-1])}
        for gateway, cable in self.cables.items():
            self._far_ends[gateway] = Wires(self.seed, cable.enter).__enter__()
        for name in (SERVER, *self.gateways):
            self.disks[name] = self._disk(name)
        self._rewire(base)
        self._start_influx()
        children = [child for child in self.layout.children if child.name != "api"]
        for child in children:
            self._add(child.name, tuple(child.argv))
        if self.influx is not None:
            config = ("--config", str(base / "server.toml"))
            self._add("projector", (sys.executable, "-m", "tanyun", "projector", "run", *config))
        self._thread = threading.Thread(target=self._keep, name="keeper", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        for child in self.children.values():
            child.end()
        if self.influx is not None:
            self.influx.kill()
        for wires in (*self._far_ends.values(), self.wires):
            wires.__exit__()
        for cable in self.cables.values():
            cable.close()
        for name, disk in self.disks.items():
            if error and error[0] is not None:
                shutil.copytree(
                    disk.path,
                    self.folder / "stores" / name,
                    ignore=shutil.ignore_patterns("lost+found", "ballast", "*.sock"),
                )
            disk.close()

    def _disk(self, name: str) -> Disk:
        path = self.folder / "disks" / name
        return LoopDisk(path) if self.mounts else Folder(path, lambda: self._pids_on(name))

    def _pids_on(self, disk: str) -> list[int]:
        return [c.process.pid for c in self.on(disk) if c.process is not None]

    def on(self, disk: str) -> list[Child]:
        """The processes that write on a disk."""
        names = ON_SERVER if disk == SERVER else (f"edge {disk}",)
        return [self.children[name] for name in names if name in self.children]

    def _rewire(self, base: Path) -> None:
        """Every connection through a link of its own, every store on a disk of its own."""
        broker = self.layout.broker.port
        meters = {server.gateway: server.port for server in self.layout.simulator.servers}
        for gateway in self.gateways:
            file = base / f"edge-{gateway}.toml"
            text = file.read_text(encoding="utf-8")
            text = _port(text, broker, self._lead(gateway, f"mqtt {gateway}", broker, mqtt=True))
            text = _port(text, meters[gateway], self._lead(gateway, f"bus {gateway}", meters[gateway]))
            self.clock_ports[gateway] = self._lead(gateway, f"{CLOCK} {gateway}", self.layout.clock_port)
            text = _port(text, self.layout.clock_port, self.clock_ports[gateway])
            text = re.sub(r'path = "[^"]*"', f'path = "{self.disks[gateway].path / "outbox.db"}"', text)
            file.write_text(text, encoding="utf-8")
        file = base / "server.toml"
        text = file.read_text(encoding="utf-8")
        text = _port(text, broker, self.wires.add("mqtt server", broker, mqtt=True))
        text = text.replace('data = "."', f'data = "{self.data}"')
        file.write_text(text, encoding="utf-8")

    def _lead(self, gateway: str, name: str, port: int, *, mqtt: bool = False) -> int:
        """A link of that name to a port here, and where the gateway's machine finds its near end."""
        cable = self.cables.get(gateway)
        if cable is None:
            return self.wires.add(name, port, mqtt=mqtt)
        near = self.wires.add(name, port, mqtt=mqtt, bind=cable.address)
        return self._far_ends[gateway].add(name, near, host=cable.address)

    def _start_influx(self) -> None:
        if shutil.which("influxd") is None:
            return
        self.influx = Influxd(self.folder / "influx")
        self.influx.folder.mkdir()
        self.influx.start()
        link = self.wires.add("influx", self.influx.port, mqtt=False)
        with (self.folder / "demo" / "server.toml").open("a", encoding="utf-8") as file:
            file.write(f'\n[influx]\nurl = "http://127.0.0.1:{link}"\n')
        config = ("--config", str(self.folder / "demo" / "server.toml"))
        subprocess.run(
            (sys.executable, "-m", "tanyun", "influx", "init", *config), check=True, capture_output=True
        )

    def stop_influx(self) -> None:
        """SIGTERM."""
        if self.influx is not None and self.influx._process is not None:
            self.influx._process.terminate()
            self.influx._process.wait(30)
            self.influx.kill()

    def _add(self, name: str, argv: tuple[str, ...]) -> None:
        if name == "meters":
            base, port = self.folder / "demo", str(self.layout.clock_port)
            argv = (sys.executable, "-m", "tests.chaos.meters", str(base / "simulator.toml"), str(self._start_ms), port,
                    str(base / "clock.json"), str(self._pace_s))  # fmt: skip
        environment = {**os.environ, "LANGUAGE": "en"}
        disk = next(
            (d for d in self.disks if d != SERVER and name == f"edge {d}"),
            SERVER if name in ON_SERVER else "",
        )
        if self.shim is not None and disk:
            environment |= {
                "LD_PRELOAD": str(self.shim),
                "TANYUN_CHAOS_SLOW": str(self.folder / f"slow-{disk}"),
            }
        cable = self.cables.get(name.removeprefix("edge "))
        if cable is not None:
            argv = cable.inside(argv)
        child = self.children[name] = Child(name, argv, self.folder / "log" / f"{name}.log", environment)
        child.start()

    def _keep(self) -> None:
        """Start again what has ended."""
        while not self._stop.wait(0.05):
            with self._lock:
                for child in self.children.values():
                    self._look_after(child)

    def _look_after(self, child: Child) -> None:
        now = time.monotonic()
        if child.process is not None and child.process.poll() is not None:
            child.process = None
            child.deaths += 1
            child.due_s = now + self._dice.uniform(*_RESTART_S)
        if child.process is None and not child.held and now >= child.due_s:
            child.start()

    def kill(self, name: str) -> None:
        """SIGKILL; the keeper starts it again."""
        with self._lock:
            self.children[name].end()

    def hold(self, *names: str, number: int = signal.SIGKILL) -> None:
        """End processes, and keep them ended until released."""
        with self._lock:
            for name in names:
                self.children[name].held = True
                self.children[name].end(number)
                self.children[name].process = None

    def release(self, *names: str) -> None:
        """Let them be started."""
        for name in names:
            self.children[name].held = False

    def pause(self, name: str, seconds: float) -> None:
        """SIGSTOP for a while: a machine that hangs."""
        process = self.children[name].process
        with suppress(ProcessLookupError, AttributeError):
            os.kill(process.pid, signal.SIGSTOP)  # type: ignore[union-attr]
            time.sleep(seconds)
            os.kill(process.pid, signal.SIGCONT)  # type: ignore[union-attr]

    def heal(self) -> None:
        """Everything works again; nothing that happened is undone."""
        self.wires.clear()
        for cable in self.cables.values():
            cable.plug()
        for name, disk in self.disks.items():
            disk.drain()
            (self.folder / f"slow-{name}").unlink(missing_ok=True)
        self.release(*self.children)

    def tick_ms(self) -> int:
        """Where the accelerated clock stands; -1 once live."""
        try:
            state = msgspec.json.decode((self.folder / "demo" / "clock.json").read_bytes())
        except FileNotFoundError:
            return 0
        return -1 if state["live"] else int(state["tick"])

    def backlog(self, gateway: str) -> int:
        """Frames at a gateway that it has no ack for, as its disk has it."""
        path = self.disks[gateway].path / "outbox.db"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as db:
            meta = dict(db.execute("SELECT key, value FROM meta").fetchall())
        return int(meta.get("last", 0)) - int(meta.get("acked", 0))

    def progress_ms(self) -> int:
        """Up to where every total with a role is accounted."""
        wanted = {(meter.id, kind) for meter in self.layout.park.meters for kind in meter.roles}
        with suppress(FileNotFoundError, sqlite3.Error), LedgerReader(self.data / "ledger.db") as ledger:
            known = {(row.meter, row.reading_type): row.t_ms for row in ledger.progress()}
            return min((known.get(key, 0) for key in wanted), default=0)
        return 0

    def until(self, done: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait; AssertionError with the newest words of every process when it does not come."""
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end:
                logs = "\n".join(
                    f"--- {c.name} ({c.deaths} deaths)\n{_tail(c.log)}" for c in self.children.values()
                )
                msg = f"seed {self.seed}: no {what} within {seconds} s\n{logs}"
                raise AssertionError(msg)
            time.sleep(0.1)


def _port(text: str, known: int, link: int) -> str:
    found = text.replace(f"port = {known}\n", f"port = {link}\n", 1)
    assert found != text, known
    return found


def _tail(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")[-1200:] if path.exists() else ""


def scratch() -> Path:
    """A folder for one run."""
    return Path(tempfile.mkdtemp(prefix="tanyun-chaos-"))
