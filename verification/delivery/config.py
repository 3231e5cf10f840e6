"""`delivery.toml`: who gets what, when and how; deadlines; the time-stamping authority."""

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from metering.config import ConfigPath, Id, Strict, load_toml
from metering.i18n import _
from metering.mqtt import is_loopback
from verification.deadlines import DEADLINES, Deadline

Content = Literal["pdf", "xlsx", "csv", "json", "evidence", "head", "reminder"]


class _Target(Strict):
    name: Id
    content: tuple[Content, ...] = ("pdf", "xlsx", "json")
    """`head`: the daily signed chain head; `reminder`: of deadlines; the others belong to months."""
    scopes: tuple[Id, ...] = ()
    """Enterprises or the park by id; all when empty."""
    status: Literal["provisional", "verified", "submitted"] = "verified"
    """The status from which on a revision is sent."""
    day: int = Field(default=1, ge=1, le=28)
    """Not before this day of the following month …"""
    hour: int = Field(default=8, ge=0, le=23)
    """… and this local hour; a head is sent from this hour on, every day."""
    workdays_only: bool = False

    def secret_in(self, file: Path | None) -> str:
        """A password or token; OSError when its file cannot be read."""
        return file.read_text(encoding="utf-8").strip() if file is not None else ""


class SmtpTarget(_Target):
    """E-mail."""

    kind: Literal["smtp"]
    host: str
    port: int = Field(default=465, ge=1, le=65535)
    security: Literal["tls", "starttls", "none"] = "tls"
    user: str = ""
    password_file: ConfigPath | None = None
    sender: str = Field(pattern=r"^[^@\s]+@[^@\s]+$")
    to: tuple[Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")], ...] = Field(min_length=1)
    ca_file: ConfigPath | None = None

    @model_validator(mode="after")
    def _encrypted(self) -> "SmtpTarget":
        if self.security == "none" and not is_loopback(self.host):
            raise ValueError(
                _("security none is for this machine only: {host} is another").format(host=self.host)
            )
        if bool(self.user) != (self.password_file is not None):
            raise ValueError(_("user and password_file belong together"))
        return self


class HttpsTarget(_Target):
    """HTTPS push, signed (RFC 9421)."""

    kind: Literal["https"]
    url: str = Field(pattern=r"^https?://[^/?#@]+(/[^#]*)?$")
    ca_file: ConfigPath | None = None
    token_file: ConfigPath | None = None

    @model_validator(mode="after")
    def _encrypted(self) -> "HttpsTarget":
        host = urlsplit(self.url).hostname or ""
        if self.url.startswith("http:") and not is_loopback(host):
            raise ValueError(_("url must be https: {host} is another machine").format(host=host))
        return self


class SftpTarget(_Target):
    """Files over SFTP; the server's key is pinned."""

    kind: Literal["sftp"]
    host: str
    port: int = Field(default=22, ge=1, le=65535)
    user: str
    key_file: ConfigPath | None = None
    password_file: ConfigPath | None = None
    known_hosts: ConfigPath
    """The server's public key, as in OpenSSH's known_hosts; there is no way around it."""
    folder: str = "."

    @model_validator(mode="after")
    def _one_way_to_sign_in(self) -> "SftpTarget":
        if (self.key_file is None) == (self.password_file is None):
            raise ValueError(_("give either key_file or password_file"))
        return self


Target = Annotated[SmtpTarget | HttpsTarget | SftpTarget, Field(discriminator="kind")]


class Tsa(Strict):
    """A time-stamping authority (RFC 3161)."""

    url: str = Field(pattern=r"^https?://[^/?#@]+(/[^#]*)?$")
    roots_file: ConfigPath
    """Its root certificates, PEM: a stamp that does not lead to one of them is no stamp."""


class DeliveryConfig(Strict):
    """The whole file."""

    signing_key: ConfigPath
    """Ed25519, as `tanyun evidence keygen` makes it."""
    target: tuple[Target, ...] = ()
    deadline: tuple[Deadline, ...] = DEADLINES
    tsa: Tsa | None = None

    @model_validator(mode="after")
    def _named_once(self) -> "DeliveryConfig":
        names = [target.name for target in self.target]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(_("targets with the same name: {names}").format(names=", ".join(twice)))
        return self


def load_delivery(path: Path) -> DeliveryConfig:
    """The configuration in a TOML file; ConfigError with all mistakes, OSError when it cannot be read."""
    return load_toml(path, DeliveryConfig)
