"""An MQTT broker for one machine: loopback only, generated credentials, each user confined to its own topics.

Mosquitto where it can be found, else the pure-Python one in `broker_fallback`. Both read the same password and ACL files.
The broker keeps nothing over a restart: gateways hold every frame until ingest has stored it.
"""

import base64
import hashlib
import os
import pwd
import secrets
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from metering.i18n import _
from metering.mqtt import MESSAGE_BYTES
from metering.registry import Park
from metering.topics import NAMESPACE, MessageType, configuration_topic, configured_topic

SERVER_USER: Final = "host"
LOOPBACK: Final = "127.0.0.1"
_PLACES: Final = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")
_ITERATIONS: Final = 101
"""What mosquitto_passwd uses. The passwords are 256 random bits, so stretching adds nothing."""

Kind = Literal["mosquitto", "amqtt"]


class BrokerError(ValueError):
    """No broker can be planned (the operator's fault): the message says what to change."""


@dataclass(frozen=True, slots=True)
class BrokerPlan:
    """How to start the broker. `users` maps a user to the file that holds its password."""

    argv: tuple[str, ...]
    port: int
    kind: Kind
    users: Mapping[str, Path]

    def password(self, user: str) -> str:
        """The password of a user."""
        return read_password(self.users[user])


def plan_broker(data: Path, park: Park, port: int | None = None, prefer: str | None = None) -> BrokerPlan:
    """Write the broker's files under `data` and say how to start it. BrokerError, OSError.

    Args:
        data: The data folder. Passwords in `secrets/` and the port in `broker/` outlive restarts.
        park: Its gateways are the broker's users, besides the server's own.
        port: A fixed port, or None for a free one.
        prefer: "mosquitto" or "amqtt"; None takes Mosquitto where it can be found.
    """
    names = [SERVER_USER, *(gateway.id for gateway in park.gateways)]
    if len(set(names)) < len(names):
        raise BrokerError(
            _("a gateway may not be called {name!r}: that is the server's own MQTT user").format(
                name=SERVER_USER
            )
        )
    kind, program = _choose(prefer)
    folder = data / "broker"
    for private in (folder, data / "secrets"):
        private.mkdir(parents=True, exist_ok=True)
        private.chmod(0o700)
    users = {name: _kept_password(data / "secrets" / f"mqtt-{name}") for name in names}
    chosen = _port(folder / "port", port)
    passwords = [password_line(name, read_password(file)) for name, file in users.items()]
    write_private(folder / "passwords", "".join(passwords))
    write_private(folder / "acl", acl_text(park))
    argv: tuple[str, ...]
    if kind == "amqtt":
        argv = (sys.executable, "-m", "tanyun.broker_fallback", str(folder), str(chosen))
    else:
        write_private(folder / "mosquitto.conf", mosquitto_config(folder, chosen))
        argv = (program, "-c", str(folder / "mosquitto.conf"))
    return BrokerPlan(argv, chosen, kind, users)


def user_names(park: Park) -> list[str]:
    """The broker's users: the server first, then the gateways. BrokerError when two have one name."""
    names = [SERVER_USER, *(gateway.id for gateway in park.gateways)]
    if len(set(names)) < len(names):
        raise BrokerError(
            _("a gateway may not be called {name!r}: that is the server's own MQTT user").format(
                name=SERVER_USER
            )
        )
    return names


def find_mosquitto() -> str | None:
    """Path of the mosquitto program. Debian puts it in /usr/sbin, which is on no ordinary user's PATH."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path=os.pathsep.join(_PLACES))


def read_password(file: Path) -> str:
    """The password in a secrets file."""
    return file.read_text(encoding="ascii").strip()


def write_private(path: Path, text: str) -> None:
    """Replace a file that only its owner may read. Root writes it for the owner of the folder, whose program reads it."""
    scratch = path.with_name(path.name + ".tmp")
    scratch.unlink(missing_ok=True)
    with os.fdopen(
        os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
    ) as file:
        if os.geteuid() == 0:
            folder = path.parent.stat()
            os.fchown(file.fileno(), folder.st_uid, folder.st_gid)
        file.write(text)
    scratch.replace(path)


def password_line(user: str, password: str) -> str:
    """A line of Mosquitto's password file: PBKDF2-HMAC-SHA512 (`$7$`, since 2.0)."""
    salt = secrets.token_bytes(12)
    return f"{user}:$7${_ITERATIONS}${_base64(salt)}${_base64(_pbkdf2(password, salt, _ITERATIONS))}\n"


def password_matches(password: str, hashed: str) -> bool:
    """True when `hashed` (the part of a line after the user) was made from the password."""
    _, scheme, iterations, salt, key = hashed.strip().split("$")
    derived = _pbkdf2(password, base64.b64decode(salt), int(iterations))
    return scheme == "7" and secrets.compare_digest(derived, base64.b64decode(key))


def acl_text(park: Park) -> str:
    """Mosquitto's ACL file: who may write and read which topics. What is not listed is refused."""
    group = f"{NAMESPACE}/{park.id}"
    lines = [f"user {SERVER_USER}", f"topic read {group}/#", f"topic readwrite {NAMESPACE}/STATE/+"]
    lines += [f"topic write {group}/{MessageType.NCMD}/+"]
    lines += [
        f"topic write {configuration_topic(park.id, '+')}",
        f"topic read {configured_topic(park.id, '+')}",
    ]
    for gateway in park.gateways:
        lines += [f"user {gateway.id}", *(f"topic {right}" for right in _gateway_rights(park.id, gateway.id))]
    return "\n".join(lines) + "\n"


def mosquitto_config(folder: Path, port: int) -> str:
    """The configuration file of Mosquitto 2.0 and later: plain, on loopback."""
    lines = [f"listener {port} {LOOPBACK}", *_run_as(), *common_config(folder)]
    return "\n".join(lines) + "\n"


def common_config(folder: Path) -> list[str]:
    """Logins, rights and limits: what does not depend on the listener."""
    return [
        "allow_anonymous false",
        f"password_file {folder / 'passwords'}",
        f"acl_file {folder / 'acl'}",
        "persistence false",
        f"message_size_limit {MESSAGE_BYTES}",
        f"max_packet_size {MESSAGE_BYTES + 1024}",  # the topic comes on top
        "max_inflight_messages 200",
        "max_queued_messages 10000",
        "max_queued_bytes 67108864",
        "sys_interval 0",  # nothing reads $SYS
        "log_dest stderr",  # the supervisor keeps it in the log folder
        "log_type error",
        "log_type warning",
        "log_type notice",
        "log_timestamp_format %Y-%m-%dT%H:%M:%S",
    ]


def _choose(prefer: str | None) -> tuple[Kind, str]:
    if prefer not in {None, "mosquitto", "amqtt"}:
        raise BrokerError(_("broker: {name!r} is neither mosquitto nor amqtt").format(name=prefer))
    program = find_mosquitto()
    if prefer == "mosquitto" and program is None:
        raise BrokerError(_("mosquitto is not on PATH nor in /usr/sbin: sudo apt install mosquitto"))
    return ("amqtt", "") if prefer == "amqtt" or program is None else ("mosquitto", program)


def _kept_password(file: Path) -> Path:
    if not file.exists():
        write_private(file, secrets.token_urlsafe(32) + "\n")
    return file


def _port(kept: Path, wanted: int | None) -> int:
    if wanted is None:
        last = int(kept.read_text(encoding="ascii")) if kept.exists() else 0
        wanted = last if last and is_free(last) else _free_port()
    write_private(kept, f"{wanted}\n")
    return wanted


def is_free(port: int) -> bool:
    """True when a server could listen on that loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def _gateway_rights(park: str, gateway: str) -> Iterator[str]:
    group = f"{NAMESPACE}/{park}"
    for kind in (MessageType.NBIRTH, MessageType.NDATA, MessageType.NDEATH):
        yield f"write {group}/{kind}/{gateway}"
    for kind in (MessageType.DBIRTH, MessageType.DDATA, MessageType.DDEATH):
        yield f"write {group}/{kind}/{gateway}/+"
    yield f"read {group}/{MessageType.NCMD}/{gateway}"
    yield f"read {group}/{MessageType.DCMD}/{gateway}/+"
    yield f"read {NAMESPACE}/STATE/+"
    yield f"read {configuration_topic(park, gateway)}"
    yield f"write {configured_topic(park, gateway)}"


def _run_as() -> list[str]:
    """Started as root, Mosquitto would become the user `mosquitto`, who may not read our files."""
    return [f"user {pwd.getpwuid(0).pw_name}"] if os.geteuid() == 0 else []


def _pbkdf2(password: str, salt: bytes, iterations: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha512", password.encode(), salt, iterations)


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")
