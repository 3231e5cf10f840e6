"""The files of a site's broker: certificates, logins, rights, and for each gateway a folder to carry to it.

    ca.key ca.crt names   the private CA (its key: root only)
    broker/               mosquitto.conf, passwords, acl, server.key, server.crt   read by Mosquitto
    host/                 password, ca.crt                                         read by ingest
    gateways/ID/          password, ca.crt, edge.toml                              carried to the gateway

Every file is written only when it has to change, and belongs to the owner of its folder: a folder per reader.
"""

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from metering.i18n import _
from metering.registry import Park
from tanyun.broker import (
    LOOPBACK,
    SERVER_USER,
    BrokerError,
    acl_text,
    common_config,
    mosquitto_config,
    password_line,
    password_matches,
    read_password,
    user_names,
    write_private,
)
from tanyun.certificates import is_host, make_ca, make_server_certificate, write_public

TLS_PORT: Final = 8883
PLAIN_PORT: Final = 1883
_LOCAL: Final = ("localhost", LOOPBACK)


@dataclass(slots=True)
class Changes:
    """What was written, as paths below the folder, and which logins have ended."""

    written: list[str] = field(default_factory=list)
    revoked: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the operator wants. `names` are host names and addresses that gateways connect to; earlier ones are kept."""

    tls: bool = True
    names: tuple[str, ...] = ()
    port: int | None = None
    renew: tuple[str, ...] = ()
    """Users whose password is replaced."""


def bring_up_to_date(folder: Path, park: Park, wanted: Wanted) -> Changes:
    """Make the files as the registry says. BrokerError, OSError."""
    users, changes = user_names(park), Changes()
    _check(wanted, users)
    port = wanted.port or (TLS_PORT if wanted.tls else PLAIN_PORT)
    for private in (
        folder / "broker",
        folder / "host",
        folder / "gateways",
        *(_of(folder, user) for user in users),
    ):
        _private_folder(private)
    names = _certificates(folder, park, wanted, changes) if wanted.tls else list(_LOCAL)
    passwords = {user: _password(_of(folder, user), user in wanted.renew, folder, changes) for user in users}
    changes.revoked = sorted(path.name for path in (folder / "gateways").iterdir() if path.name not in users)
    broker = folder / "broker"
    config = tls_config(broker, port) if wanted.tls else mosquitto_config(broker, port)
    _put(broker / "mosquitto.conf", config, folder, changes)
    _put(broker / "acl", acl_text(park), folder, changes)
    _put(broker / "passwords", _password_file(broker / "passwords", passwords), folder, changes)
    for user in users:
        _fill(folder, user, park, names[0], port, wanted, changes)
    return changes


def tls_config(broker: Path, port: int) -> str:
    """Mosquitto's configuration of a site: TLS on every interface, nothing else listens."""
    lines = [
        "# Written by `tanyun broker init`; the next run writes it again.",
        f"listener {port}",
        f"certfile {broker / 'server.crt'}",
        f"keyfile {broker / 'server.key'}",
        "tls_version tlsv1.2",  # the lowest one
        *common_config(broker),
    ]
    return "\n".join(lines) + "\n"


def edge_text(park: Park, gateway: str, host: str, port: int, *, tls: bool) -> str:
    """The start of a gateway's configuration. Buses and meters are the installer's to add."""
    ca = 'ca_file = "/etc/tanyun/edge/ca.crt"\n' if tls else ""
    return f"""# Gateway {gateway} of park {park.id}. Written by `tanyun broker init`.
park = "{park.id}"
gateway = "{gateway}"
poll_interval_s = 15

[broker]
host = "{host}"
port = {port}
user = "{gateway}"
password_file = "/etc/tanyun/edge/password"
{ca}
[outbox]
path = "/var/lib/tanyun-edge/outbox.db"

[metrics]
port = 9464   # Prometheus text, on this machine's loopback only

# Take configurations that the server has signed (`tanyun gateway keygen`, `tanyun gateway push`):
# [updates]
# key_file = "/etc/tanyun/edge/updates.pub.pem"

# Add what hangs on this gateway, then: tanyun edge check --config /etc/tanyun/edge.toml
#
# [[buses]]
# id = "line-1"
# host = "192.0.2.10"
#
# [[meters]]
# id = "meter-1"
# bus = "line-1"
# unit = 1
# profile = "eastron_sdm630"
"""


def _check(wanted: Wanted, users: list[str]) -> None:
    wrong = [name for name in wanted.names if not is_host(name)]
    if wrong:
        raise BrokerError(
            _("neither a host name nor an address: {names}").format(names=", ".join(map(repr, wrong)))
        )
    unknown = [user for user in wanted.renew if user not in users]
    if unknown:
        text = _("no such user: {unknown}; known are {known}")
        raise BrokerError(text.format(unknown=", ".join(unknown), known=", ".join(users)))


def _certificates(folder: Path, park: Park, wanted: Wanted, changes: Changes) -> list[str]:
    """The CA and the server's certificate; the names in it, the one that gateways use first."""
    kept = (folder / "names").read_text(encoding="ascii").split() if (folder / "names").exists() else []
    names = list(dict.fromkeys([*wanted.names, *kept, *_LOCAL]))
    if names == list(_LOCAL):
        raise BrokerError(_("name what gateways connect to: --name HOST_OR_ADDRESS"))
    changes.written += ["ca.key", "ca.crt"] if make_ca(folder, f"tanyun {park.id} CA") else []
    made = make_server_certificate(folder, folder / "broker", names)
    changes.written += ["broker/server.key", "broker/server.crt"] if made else []
    _put(folder / "names", "\n".join(names) + "\n", folder, changes)
    return names


def _of(folder: Path, user: str) -> Path:
    """The folder of a user's own files."""
    return folder / "host" if user == SERVER_USER else folder / "gateways" / user


def _private_folder(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)


def _password(own: Path, renew: bool, folder: Path, changes: Changes) -> str:
    file = own / "password"
    if renew or not file.exists():
        _put(file, secrets.token_urlsafe(32) + "\n", folder, changes)
    return read_password(file)


def _password_file(file: Path, passwords: dict[str, str]) -> str:
    """A line per user; one that fits its password is kept, so that nothing changes without a reason."""
    lines = file.read_text(encoding="ascii").splitlines(keepends=True) if file.exists() else []
    kept = {line.partition(":")[0]: line for line in lines}
    return "".join(
        kept[user]
        if user in kept and password_matches(password, kept[user].partition(":")[2])
        else password_line(user, password)
        for user, password in passwords.items()
    )


def _fill(
    folder: Path, user: str, park: Park, host: str, port: int, wanted: Wanted, changes: Changes
) -> None:
    """What belongs beside a password: the CA, and for a gateway the start of its configuration."""
    own = _of(folder, user)
    if wanted.tls:
        _put(own / "ca.crt", (folder / "ca.crt").read_text(encoding="ascii"), folder, changes)
    if user != SERVER_USER and not (own / "edge.toml").exists():
        _put(own / "edge.toml", edge_text(park, user, host, port, tls=wanted.tls), folder, changes)


def _put(path: Path, text: str, folder: Path, changes: Changes) -> None:
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    write = write_public if path == folder / "ca.crt" else write_private
    write(path, text)
    changes.written.append(str(path.relative_to(folder)))
