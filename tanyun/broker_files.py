"""The files of a site's broker: certificates, logins, rights, and for each gateway a folder to carry to it.

    ca.key ca.crt names   the private CA (its key: root only)
    revoked client-certificates   gateways that are shut out; a mark: who signs in has a certificate too
    broker/               mosquitto.conf, passwords, acl, server.key, server.crt   read by Mosquitto
    host/                 password, ca.crt [client.key, client.crt]                read by ingest
    api/                  ca.crt, server.key, server.crt                           read by the API, where it has TLS
    gateways/ID/          password, ca.crt, edge.toml [client.key, client.crt]     carried to the gateway, or fetched by it

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
from tanyun.certificates import (
    is_host,
    make_ca,
    make_client_certificate,
    make_server_certificate,
    write_public,
)

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
    api: bool = False
    """A certificate for the API too; once made it is kept up to date."""
    client_certificates: bool = False
    """Who signs in needs a certificate of our CA besides the password; once wanted, always."""


def bring_up_to_date(folder: Path, park: Park, wanted: Wanted) -> Changes:
    """Make the files as the registry says. BrokerError, OSError."""
    shut_out = revoked_gateways(folder)
    users, changes = [user for user in user_names(park) if user not in shut_out], Changes()
    _check(wanted, users)
    with_certificates = _marked(folder, wanted)
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
    config = tls_config(broker, port, with_certificates) if wanted.tls else mosquitto_config(broker, port)
    if with_certificates:
        _client_certificates(folder, users, changes)
    _put(broker / "mosquitto.conf", config, folder, changes)
    kept = tuple(gateway for gateway in park.gateways if gateway.id not in shut_out)
    _put(broker / "acl", acl_text(park.model_copy(update={"gateways": kept})), folder, changes)
    _put(broker / "passwords", _password_file(broker / "passwords", passwords), folder, changes)
    for user in users:
        _fill(folder, user, park, names[0], port, wanted, changes)
    return changes


def revoked_gateways(folder: Path) -> set[str]:
    """The gateways that are shut out though the registry has them."""
    file = folder / "revoked"
    return set(file.read_text(encoding="ascii").split()) if file.exists() else set()


def set_revoked(folder: Path, gateways: set[str]) -> None:
    """Shut these gateways out, and no other; `bring_up_to_date` makes it so."""
    write_private(folder / "revoked", "".join(f"{gateway}\n" for gateway in sorted(gateways)))


def tls_config(broker: Path, port: int, client_certificates: bool = False) -> str:
    """Mosquitto's configuration of a site: TLS on every interface, nothing else listens."""
    lines = [
        "# Written by `tanyun broker init`; the next run writes it again.",
        f"listener {port}",
        f"certfile {broker / 'server.crt'}",
        f"keyfile {broker / 'server.key'}",
        "tls_version tlsv1.2",  # the lowest one
        *([f"cafile {broker / 'ca.crt'}", "require_certificate true"] if client_certificates else []),
        *common_config(broker),
    ]
    return "\n".join(lines) + "\n"


def edge_text(
    park: Park, gateway: str, host: str, port: int, *, tls: bool, client_certificate: bool = False
) -> str:
    """The start of a gateway's configuration. Buses and meters are the installer's to add."""
    ca = 'ca_file = "/etc/tanyun/edge/ca.crt"\n' if tls else ""
    if client_certificate:
        ca += 'cert_file = "/etc/tanyun/edge/client.crt"\nkey_file = "/etc/tanyun/edge/client.key"\n'
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
    if wanted.api or (folder / "api").exists():
        _api_certificate(folder, names, changes)
    _put(folder / "names", "\n".join(names) + "\n", folder, changes)
    return names


def _api_certificate(folder: Path, names: list[str], changes: Changes) -> None:
    _private_folder(folder / "api")
    made = make_server_certificate(folder, folder / "api", names)
    changes.written += ["api/server.key", "api/server.crt"] if made else []
    _put(folder / "api" / "ca.crt", (folder / "ca.crt").read_text(encoding="ascii"), folder, changes)


def _client_certificates(folder: Path, users: list[str], changes: Changes) -> None:
    _put(folder / "broker" / "ca.crt", (folder / "ca.crt").read_text(encoding="ascii"), folder, changes)
    for user in users:
        own = _of(folder, user)
        made = make_client_certificate(folder, own, user)
        names = [str((own / name).relative_to(folder)) for name in ("client.key", "client.crt")]
        changes.written += names if made else []


def _marked(folder: Path, wanted: Wanted) -> bool:
    """Whether client certificates are wanted, now or since an earlier run."""
    mark = folder / "client-certificates"
    if wanted.client_certificates and wanted.tls:
        folder.mkdir(parents=True, exist_ok=True)
        mark.touch(mode=0o600)
    return wanted.tls and mark.exists()


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
        with_certificate = (own / "client.crt").exists()
        text = edge_text(park, user, host, port, tls=wanted.tls, client_certificate=with_certificate)
        _put(own / "edge.toml", text, folder, changes)


def _put(path: Path, text: str, folder: Path, changes: Changes) -> None:
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    write = write_public if path == folder / "ca.crt" else write_private
    write(path, text)
    changes.written.append(str(path.relative_to(folder)))
