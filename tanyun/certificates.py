"""A private certificate authority for the broker, made with the openssl program: one CA, and what it signs.

Gateways trust this CA and nothing else, so no public authority, and no network, is involved.
"""

import re
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from metering.i18n import _
from tanyun.broker import BrokerError, write_private

CA_DAYS: Final = 30 * 365
"""A gateway's trust outlives its hardware: nobody visits it to renew a CA."""
SERVER_DAYS: Final = 10 * 365
RENEW_BEFORE_S: Final = 365 * 86_400
"""A server certificate that ends within a year is replaced whenever the files are brought up to date."""
_LABEL: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
"""RFC 1123, 2.1."""
_NEW_KEY: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def make_ca(folder: Path, common_name: str) -> bool:
    """Make `ca.key` and `ca.crt` unless they are there; True when made. BrokerError, OSError."""
    key, certificate = folder / "ca.key", folder / "ca.crt"
    if key.exists() and certificate.exists():
        return False
    if key.exists() or certificate.exists():
        text = _(
            "{folder} has only one of ca.key and ca.crt: put the other back from the backup, or move this one away"
        )
        raise BrokerError(text.format(folder=folder))
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        _openssl("req", "-x509", "-new", *_NEW_KEY, "-sha256", "-days", str(CA_DAYS), "-config", _ca_config(scratch, common_name),
                 "-set_serial", _serial(), "-keyout", scratch / "key", "-out", scratch / "crt")  # fmt: skip
        write_private(key, (scratch / "key").read_text(encoding="ascii"))
        write_public(certificate, (scratch / "crt").read_text(encoding="ascii"))
    return True


def make_server_certificate(ca: Path, folder: Path, names: list[str]) -> bool:
    """Make `server.key` and `server.crt` unless a good one is there; True when made. BrokerError, OSError."""
    if _is_good(ca, folder / "server.crt", folder / "server.key") and _names(folder / "server.crt") == set(
        _alternatives(names)
    ):
        return False
    _sign(ca, folder, "server", lambda scratch: _server_config(scratch, names))
    return True


def make_client_certificate(ca: Path, folder: Path, user: str) -> bool:
    """Make `client.key` and `client.crt` of a user unless a good one is there; True when made. BrokerError, OSError."""
    if _is_good(ca, folder / "client.crt", folder / "client.key"):
        return False
    _sign(ca, folder, "client", lambda scratch: _client_config(scratch, user))
    return True


def _sign(ca: Path, folder: Path, kind: str, configure: Callable[[Path], Path]) -> None:
    """A new key and its certificate, as the section `kind` of a configuration says."""
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        config = configure(scratch)
        _openssl(
            "req",
            "-new",
            *_NEW_KEY,
            "-sha256",
            "-config",
            config,
            "-keyout",
            scratch / "key",
            "-out",
            scratch / "csr",
        )
        _openssl("x509", "-req", "-sha256", "-days", str(SERVER_DAYS), "-in", scratch / "csr", "-CA", ca / "ca.crt",
                 "-CAkey", ca / "ca.key", "-set_serial", _serial(), "-extfile", config, "-extensions", kind,
                 "-out", scratch / "crt")  # fmt: skip
        write_private(folder / f"{kind}.key", (scratch / "key").read_text(encoding="ascii"))
        write_private(folder / f"{kind}.crt", (scratch / "crt").read_text(encoding="ascii"))


def write_public(path: Path, text: str) -> None:
    """A file that everybody may read."""
    write_private(path, text)
    path.chmod(0o644)


def is_host(name: str) -> bool:
    """True for an IP address or a host name that can stand in a certificate."""
    return _is_ip(name) or all(_LABEL.fullmatch(label) for label in name.split("."))


def _is_good(ca: Path, certificate: Path, key: Path) -> bool:
    """Signed by this CA, long enough to go, and its key is there."""
    if not (certificate.exists() and key.exists()):
        return False
    verified = _answer("verify", "-x509_strict", "-CAfile", ca / "ca.crt", certificate)
    lasting = _answer("x509", "-in", certificate, "-noout", "-checkend", str(RENEW_BEFORE_S))
    return verified is not None and lasting is not None


def _names(certificate: Path) -> set[str]:
    """The names that a certificate is for."""
    found = _answer("x509", "-in", certificate, "-noout", "-ext", "subjectAltName") or ""
    return {part.strip().replace("IP Address:", "IP:") for part in found.partition("\n")[2].split(",")}


def _alternatives(names: list[str]) -> list[str]:
    return [f"{'IP' if _is_ip(name) else 'DNS'}:{name}" for name in names]


def _is_ip(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _ca_config(scratch: Path, common_name: str) -> Path:
    """Our own configuration, so that the machine's openssl.cnf decides nothing."""
    return _config(scratch, common_name, "x509_extensions = ca", [
        "[ca]", "basicConstraints = critical, CA:true, pathlen:0", "keyUsage = critical, keyCertSign, cRLSign",
        "subjectKeyIdentifier = hash",
    ])  # fmt: skip


def _server_config(scratch: Path, names: list[str]) -> Path:
    return _config(scratch, "tanyun broker", "", [
        "[server]", "basicConstraints = critical, CA:false", "keyUsage = critical, digitalSignature",
        "extendedKeyUsage = serverAuth", "subjectKeyIdentifier = hash", "authorityKeyIdentifier = keyid:always",
        f"subjectAltName = {', '.join(_alternatives(names))}",
    ])  # fmt: skip


def _client_config(scratch: Path, user: str) -> Path:
    return _config(scratch, user, "", [
        "[client]", "basicConstraints = critical, CA:false", "keyUsage = critical, digitalSignature",
        "extendedKeyUsage = clientAuth", "subjectKeyIdentifier = hash", "authorityKeyIdentifier = keyid:always",
    ])  # fmt: skip


def _config(scratch: Path, common_name: str, more: str, sections: list[str]) -> Path:
    lines = [
        "[req]",
        "prompt = no",
        "distinguished_name = name",
        more,
        "[name]",
        f"CN = {common_name}",
        *sections,
    ]
    file = scratch / "openssl.cnf"
    file.write_text("\n".join(lines) + "\n", encoding="ascii")
    return file


def _serial() -> str:
    return hex(secrets.randbits(127) | 1 << 126)


def _answer(*arguments: str | Path) -> str | None:
    """What openssl prints, or None when it says no."""
    done = subprocess.run((_program(), *arguments), capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else None


def _openssl(*arguments: str | Path) -> None:
    done = subprocess.run((_program(), *arguments), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BrokerError(
            _("openssl {command} failed: {error}").format(
                command=arguments[0], error=done.stderr.strip()[-500:]
            )
        )


def _program() -> str:
    program = shutil.which("openssl")
    if program is None:
        raise BrokerError(_("openssl is not on PATH: sudo apt install openssl"))
    return program
