"""What is wrong with an installation, and how to cure it. Each check gives one diagnosis; none changes anything."""

import importlib.util
import json
import os
import shutil
import socket
import sqlite3
import ssl
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from metering.i18n import _
from tanyun.broker import find_mosquitto, is_free

OLDEST_PYTHON: Final = (3, 11)
NEWEST_PYTHON: Final = (3, 14)
"""What the locked numba supports; scripts/_setup says the same."""
NOT_BEFORE_MS: Final = 1_735_689_600_000
"""2025-01-01: this program did not exist earlier, so a clock that says so is wrong."""
BEHIND_MS: Final = 60_000
"""The newest frame may be so far ahead of the clock: clocks of one machine are adjusted, not turned back."""
FREE_BYTES: Final = 1024**3
TIMEOUT_S: Final = 3.0
QUICK_CHECK_S: Final = 20.0
_CONNACK: Final = 0x20
_REFUSED_LOGIN: Final = frozenset({4, 5})
"""MQTT 3.1.1, table 3.1: bad user name or password, not authorized."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Result of one check. With `ok`, `fault` is empty or a remark."""

    id: str
    ok: bool
    fault: str = ""
    cure: str = ""


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A configuration file and what loads it: raises ValueError (perhaps with `mistakes`) or OSError."""

    path: Path
    load: Callable[[Path], object]


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where a role expects its broker, and as whom. The password never shows."""

    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True)
class Installation:
    """What to look at. What is None or empty is not checked."""

    data: Path
    configs: tuple[ConfigFile, ...] = ()
    broker: BrokerAddress | None = None
    stores: tuple[Path, ...] = ()
    """SQLite files; one that does not exist yet is fine."""
    newest_ms: int | None = None
    """Receive time of the newest frame in the journal."""
    numba_cache: Path | None = None
    ports: Mapping[str, int] = field(default_factory=dict)
    """Ports that a role will listen on."""
    server: bool = True
    """False on a gateway, which needs no numba, fonts or broker program."""


def diagnose(
    what: Installation, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
) -> list[Diagnosis]:
    """All checks, in the order in which faults are best cured."""
    return list(_checks(what, now_ms()))


def _checks(what: Installation, now_ms: int) -> Iterator[Diagnosis]:
    yield check_clock(now_ms, what.newest_ms)
    yield check_python(sys.version_info[:2])
    yield from (check_config(config) for config in what.configs)
    yield check_data_folder(what.data)
    yield check_disk(what.data)
    yield from (check_store(store) for store in what.stores)
    if what.server:
        yield check_package("numba", _("compiles the stream"))
        yield check_package("noto_cjk_sans_otc", _("holds the fonts of the reports"))
        yield check_broker_program()
    if what.numba_cache is not None:
        yield check_numba_cache(what.numba_cache)
    if what.broker is not None:
        yield from check_broker(what.broker)
    if not is_running(what.data / "run" / "processes.json"):
        yield from (check_port(name, port) for name, port in what.ports.items())


def check_clock(now_ms: int, newest_ms: int | None = None) -> Diagnosis:
    """Is the time possible, and not before what is stored already?"""
    cure = _("set the clock: sudo timedatectl set-ntp true (no network: sudo date -s 'YYYY-MM-DD hh:mm:ss')")
    if now_ms < NOT_BEFORE_MS:
        fault = _("the clock says {now}, which cannot be; readings would be stored under a wrong time")
        return Diagnosis("clock", ok=False, fault=fault.format(now=_iso(now_ms)), cure=cure)
    if newest_ms is not None and now_ms < newest_ms - BEHIND_MS:
        fault = _("the clock says {now}, but the newest stored frame came at {newest}")
        return Diagnosis(
            "clock", ok=False, fault=fault.format(now=_iso(now_ms), newest=_iso(newest_ms)), cure=cure
        )
    return Diagnosis("clock", ok=True)


def check_python(version: tuple[int, int]) -> Diagnosis:
    """Does numba support this Python?"""
    oldest, newest = (".".join(map(str, bound)) for bound in (OLDEST_PYTHON, NEWEST_PYTHON))
    if OLDEST_PYTHON <= version <= NEWEST_PYTHON:
        return Diagnosis("python", ok=True)
    fault = _("this is Python {version}; numba needs {oldest} to {newest}")
    cure = _("install such a Python, remove the folder .venv and run scripts/demo or scripts/test again")
    running = ".".join(map(str, version))
    return Diagnosis(
        "python", ok=False, fault=fault.format(version=running, oldest=oldest, newest=newest), cure=cure
    )


def check_config(config: ConfigFile) -> Diagnosis:
    """Does the file load? All its mistakes, with their key paths."""
    key = f"config:{config.path.name}"
    try:
        config.load(config.path)
    except FileNotFoundError:
        fault = _("{path}: there is no such file").format(path=config.path)
        return Diagnosis(key, ok=False, fault=fault, cure=_("create it, or give the right path"))
    except OSError as error:
        fault = _("{path}: cannot be read ({error})").format(path=config.path, error=error.strerror)
        return Diagnosis(key, ok=False, fault=fault, cure=f"sudo chown {_user()} '{config.path}'")
    except ValueError as error:
        mistakes: list[str] = getattr(error, "mistakes", [str(error)])
        fault = f"{config.path}: {'; '.join(mistakes)}"
        return Diagnosis(key, ok=False, fault=fault, cure=_("correct these keys in the file"))
    return Diagnosis(key, ok=True)


def check_data_folder(data: Path) -> Diagnosis:
    """Can files be created there? While it does not exist: in the folder that it will be made in."""
    folder = _existing(data)
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-"):
            return Diagnosis("data-folder", ok=True)
    except NotADirectoryError:
        fault = _("the data folder {data} cannot be used: {path} is a file").format(data=data, path=folder)
        return Diagnosis(
            "data-folder", ok=False, fault=fault, cure=_("give another data folder, or move that file away")
        )
    except OSError as error:
        fault = _("the data folder {data} cannot be written ({error})").format(
            data=data, error=error.strerror
        )
        cure = _(
            "sudo chown -R {user} '{path}' (read-only file system: mount it writable), or give another data folder"
        )
        return Diagnosis("data-folder", ok=False, fault=fault, cure=cure.format(user=_user(), path=folder))


def check_disk(data: Path) -> Diagnosis:
    """Is there room for the next months?"""
    free = shutil.disk_usage(_existing(data)).free
    if free >= FREE_BYTES:
        return Diagnosis("disk", ok=True)
    fault = _("only {free} MB are free where {data} is; {wanted} MB are wanted")
    return Diagnosis(
        "disk",
        ok=False,
        fault=fault.format(free=free // 10**6, data=data, wanted=FREE_BYTES // 10**6),
        cure=_("free some space, or move the data folder to a larger disk"),
    )


def check_store(path: Path) -> Diagnosis:
    """Can the SQLite file be opened, and is it whole? A large one is looked at for QUICK_CHECK_S only."""
    key = f"store:{path.name}"
    if not os.access(path, os.F_OK):
        return Diagnosis(key, ok=True, fault=_("{path} does not exist yet").format(path=path))
    try:
        verdict = _quick_check(path)
    except sqlite3.DatabaseError as error:
        verdict = str(error)
    if verdict == "interrupted":
        remark = _("{path} is large: checked for {seconds:g} s only, no fault so far")
        return Diagnosis(key, ok=True, fault=remark.format(path=path, seconds=QUICK_CHECK_S))
    if verdict == "ok":
        return Diagnosis(key, ok=True)
    cure = _(
        "stop tanyun, move the file and its -wal away and restore them from the last backup; keep the damaged ones"
    )
    fault = _("{path} cannot be used: {verdict}").format(path=path, verdict=verdict)
    return Diagnosis(key, ok=False, fault=fault, cure=cure)


def check_package(module: str, purpose: str) -> Diagnosis:
    """Is the package installed?"""
    if importlib.util.find_spec(module) is not None:
        return Diagnosis(f"package:{module}", ok=True)
    fault = _("the Python package {module}, which {purpose}, is not installed")
    cure = _("run scripts/demo, or: .venv/bin/pip install --require-hashes -r requirements.lock")
    return Diagnosis(
        f"package:{module}", ok=False, fault=fault.format(module=module, purpose=purpose), cure=cure
    )


def check_broker_program() -> Diagnosis:
    """Is there Mosquitto, or at least amqtt?"""
    cure = _("sudo apt install mosquitto")
    if find_mosquitto() is not None:
        return Diagnosis("mosquitto", ok=True)
    if importlib.util.find_spec("amqtt") is not None:
        remark = _("mosquitto was not found; a broker written in Python is used, which is slower")
        return Diagnosis("mosquitto", ok=True, fault=remark, cure=cure)
    return Diagnosis(
        "mosquitto", ok=False, fault=_("there is no MQTT broker: neither mosquitto nor amqtt"), cure=cure
    )


def check_numba_cache(cache: Path) -> Diagnosis:
    """Can compiled code be kept, and is some there?"""
    if not os.access(_existing(cache), os.W_OK):
        fault = _("the folder of compiled code {path} cannot be written; every start would compile again")
        cure = f"sudo chown -R {_user()} '{_existing(cache)}'"
        return Diagnosis("numba-cache", ok=False, fault=fault.format(path=cache), cure=cure)
    if not any(cache.rglob("*.nbc")):
        fault = _("nothing is compiled yet in {path}; the first start takes a minute longer")
        return Diagnosis("numba-cache", ok=True, fault=fault.format(path=cache), cure="tanyun warm")
    return Diagnosis("numba-cache", ok=True)


def check_port(name: str, port: int) -> Diagnosis:
    """Can a role listen there?"""
    if is_free(port):
        return Diagnosis(f"port:{name}", ok=True)
    fault = _("port {port} for {name} is used by another program, or not allowed for this user")
    cure = _("see who has it: ss -ltnp 'sport = :{port}'; stop that program, or give another port")
    return Diagnosis(
        f"port:{name}", ok=False, fault=fault.format(port=port, name=name), cure=cure.format(port=port)
    )


def check_broker(broker: BrokerAddress) -> Iterator[Diagnosis]:
    """Does something listen, does it speak MQTT, does it accept the login? Stops at the first that fails."""
    where = f"{broker.host}:{broker.port}"
    try:
        answer = _mqtt_connect(broker)
    except _NoConnectionError as error:
        fault = _("the MQTT broker at {where} does not answer ({error})").format(where=where, error=error)
        cure = _("start the broker (sudo systemctl start mosquitto), and check host, port and firewall")
        yield Diagnosis("broker", ok=False, fault=fault, cure=cure)
        return
    yield Diagnosis("broker", ok=True)
    if len(answer) < 4 or answer[0] != _CONNACK:  # noqa: PLR2004  the length of a CONNACK
        fault = _("something listens at {where}, but it is no MQTT broker").format(where=where)
        cure = _("check the port: MQTT is usually 1883, with TLS 8883; and whether TLS is wanted there")
        yield Diagnosis("broker-mqtt", ok=False, fault=fault, cure=cure)
        return
    yield Diagnosis("broker-mqtt", ok=True)
    yield _login(broker, where, answer[3])


def is_running(processes_file: Path) -> bool:
    """True when a supervisor's processes are alive, and therefore hold their ports."""
    try:
        table = json.loads(processes_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return any(row["pid"] is not None and _alive(row["pid"]) for row in table.values())


class _NoConnectionError(OSError):
    """Nothing accepts connections there."""


def _login(broker: BrokerAddress, where: str, code: int) -> Diagnosis:
    if code == 0:
        return Diagnosis("broker-login", ok=True)
    if code in _REFUSED_LOGIN:
        fault = _("the broker at {where} refuses user {user!r}").format(where=where, user=broker.user)
        cure = _("check user and password, and that the broker's password file has this user")
    else:
        fault = _("the broker at {where} refuses the connection (code {code})").format(where=where, code=code)
        cure = _("look into the broker's log")
    return Diagnosis("broker-login", ok=False, fault=fault, cure=cure)


def _mqtt_connect(broker: BrokerAddress) -> bytes:
    """The first bytes of the answer to a CONNECT; empty when there is none. _NoConnectionError."""
    try:
        raw = socket.create_connection((broker.host, broker.port), TIMEOUT_S)
    except OSError as error:
        raise _NoConnectionError(error.strerror or str(error)) from error
    try:
        with broker.tls.wrap_socket(raw, server_hostname=broker.host) if broker.tls else raw as connection:
            connection.sendall(_connect_packet(broker.user, broker.password))
            return connection.recv(4)
    except OSError:
        return b""


def _connect_packet(user: str, password: str) -> bytes:
    """A CONNECT of MQTT 3.1.1 (section 3.1) with a clean session. Longer than 127 bytes needs a second length byte."""
    flags = 0x02 | (0xC0 if user else 0)
    fields = ["tanyun-doctor", *((user, password) if user else ())]
    payload = b"".join(struct.pack("!H", len(raw)) + raw for raw in (text.encode() for text in fields))
    body = struct.pack("!H4sBBH", 4, b"MQTT", 4, flags, 10) + payload
    low, high = len(body) % 128, len(body) // 128
    return bytes([0x10, low | 0x80, high] if high else [0x10, low]) + body


def _quick_check(path: Path) -> str:
    deadline = time.monotonic() + QUICK_CHECK_S
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=TIMEOUT_S)
    try:
        connection.set_progress_handler(lambda: int(time.monotonic() > deadline), 100_000)
        return str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    finally:
        connection.close()


def _existing(path: Path) -> Path:
    """The path or its nearest parent that exists."""
    return next(
        folder for folder in (path.absolute(), *path.absolute().parents) if os.access(folder, os.F_OK)
    )


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _user() -> str:
    return f"{os.geteuid()}:{os.getegid()}"


def _iso(t_ms: int) -> str:
    return datetime.fromtimestamp(t_ms / 1000, tz=UTC).isoformat(timespec="seconds")
