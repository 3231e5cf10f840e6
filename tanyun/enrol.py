"""On a new gateway: fetches its credentials from the server. Standard library only, like everything a gateway needs.

First the CA's certificate, over a connection that proves nothing; it has to have the fingerprint that is in the code. Then,
trusting that CA alone, the code's secret goes out and the credentials come back.
"""

import http.client
import json
import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from metering.enrolment import Code, fingerprint
from metering.i18n import _

_TIMEOUT_S: Final = 20.0
_LARGEST: Final = 1 << 20
_NAMES: Final = frozenset({"password", "ca.crt", "client.crt", "client.key", "edge.toml"})


class EnrolError(Exception):
    """The credentials could not be fetched; the message says why and what to do."""


def fetch(url: str, code: Code) -> tuple[str, Mapping[str, str]]:
    """The gateway's id and its files. EnrolError, OSError."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        raise EnrolError(
            _("{url} is no https address, e.g. https://server.park.example:8000").format(url=url)
        )
    host, port = parts.hostname, parts.port or 443
    ca = _ask(host, port, _believing_nobody(), "GET", "/api/v1/ca")
    try:
        genuine = fingerprint(ca) == code.fingerprint
    except ValueError:
        genuine = False
    if not genuine:
        raise EnrolError(
            _("the server's CA is not the one in the code: this is another server, or somebody is in between")
        )
    answer = json.loads(
        _ask(host, port, _trusting(ca), "POST", "/api/v1/enrol", {"secret": code.secret.hex()})
    )
    files = {name: text for name, text in answer["files"].items() if name in _NAMES and isinstance(text, str)}
    return str(answer["gateway"]), files


def store(files: Mapping[str, str], folder: Path, edge_toml: Path) -> list[Path]:
    """Write the files, each readable for the owner of the folder only; a configuration that is there stays. OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in sorted(files.items()):
        path = edge_toml if name == "edge.toml" else folder / name
        if name == "edge.toml" and path.exists():
            continue
        _write_private(path, text, folder)
        written.append(path)
    return written


def _ask(host: str, port: int, context: ssl.SSLContext, method: str, path: str, body: Any = None) -> str:
    connection = http.client.HTTPSConnection(host, port, timeout=_TIMEOUT_S, context=context)
    try:
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        got = answer.read(_LARGEST).decode("utf-8", "replace")
    except ssl.SSLCertVerificationError as error:
        text = _("the server's certificate is not good for {host}: {reason}")
        raise EnrolError(text.format(host=host, reason=error.verify_message)) from error
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise EnrolError(
            _("{host} answers {status}: {detail}").format(
                host=host, status=answer.status, detail=_detail(got)
            )
        )
    return got


def _detail(got: str) -> str:
    try:
        return str(json.loads(got)["detail"])
    except (ValueError, KeyError, TypeError):
        return got[:200]


def _believing_nobody() -> ssl.SSLContext:
    """For what is checked in another way, and holds no secret."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _trusting(ca: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=ca)
    return context


def _write_private(path: Path, text: str, folder: Path) -> None:
    scratch = path.with_name(path.name + ".tmp")
    scratch.unlink(missing_ok=True)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        if os.geteuid() == 0:
            owner = folder.stat()
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        file.write(text)
    scratch.replace(path)
