"""Configuration of the server roles: one TOML file names the registry, the data folder, the broker and the API."""

from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from api.rights import Role
from metering.config import ConfigPath, Id, Strict, load_toml
from metering.i18n import _
from metering.mqtt import BrokerSettings, is_loopback


class OidcSection(Strict):
    """An OpenID provider at which users may sign in; each is bound to it by `tanyun user add --subject`."""

    issuer: str = Field(pattern=r"^https?://[^?#]+$")
    name: str = "OpenID"
    client_id: str
    client_secret_file: ConfigPath
    public_url: str = Field(pattern=r"^https?://[^/?#]+$")
    """Where browsers find this server; the provider sends them back to its path /api/v1/session/oidc/back."""
    ca_file: ConfigPath | None = None

    @model_validator(mode="after")
    def _tls_to_the_provider(self) -> "OidcSection":
        host = urlsplit(self.issuer).hostname or ""
        if self.issuer.startswith("http:") and not is_loopback(host):
            raise ValueError(
                _("issuer must be https: what {host} says is believed because of TLS").format(host=host)
            )
        return self


class ApiSection(Strict):
    """Where the API and the page listen. Beyond this machine they need TLS."""

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    cert_file: ConfigPath | None = None
    """Certificate for HTTPS, e.g. the one that `tanyun broker init --api` makes; with `key_file`."""
    key_file: ConfigPath | None = None
    ca_file: ConfigPath | None = None
    """Certificate of the CA that gateways are told to trust when they enrol."""
    oidc: OidcSection | None = None
    second_factor_roles: tuple[Role, ...] = ()
    """Whoever has one of these roles and a password needs a second factor (`tanyun user second-factor`)."""
    trusted_network: bool = False
    """True: passwords may cross the network to `host` unencrypted, e.g. from a TLS proxy within one machine's containers."""
    proxies: tuple[str, ...] = ("127.0.0.1", "::1")
    """Addresses or networks of reverse proxies: what they say in X-Forwarded-For is who asks."""

    @field_validator("proxies")
    @classmethod
    def _are_networks(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            try:
                ip_network(proxy, strict=False)
            except ValueError:
                text = _("{proxy!r} is no address or network, e.g. 127.0.0.1 or 172.16.0.0/12")
                raise ValueError(text.format(proxy=proxy)) from None
        return proxies

    @model_validator(mode="before")
    @classmethod
    def _no_token(cls, given: object) -> object:
        if isinstance(given, dict) and "token_file" in given:
            text = _("token_file is gone: users sign in (`tanyun user add`), machines have keys (`tanyun key add`); "
                     "take the line out")  # fmt: skip
            raise ValueError(text)
        return given

    @model_validator(mode="after")
    def _tls_beyond_loopback(self) -> "ApiSection":
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError(_("cert_file and key_file belong together"))
        if self.cert_file is None and not self.trusted_network and not ip_address(self.host).is_loopback:
            text = _(
                "cert_file is needed: {host} can be reached from other machines, and passwords do not travel in the clear"
            )
            raise ValueError(text.format(host=self.host))
        return self


class InfluxSection(Strict):
    """The serving store that Grafana reads, and how the projector signs in there."""

    url: str = Field(pattern=r"^https?://[^/?#@]+(/[^?#]*)?$")
    version: Literal["auto", "1", "2", "3"] = "auto"
    """`auto` asks the server."""
    user: str = ""
    password_file: ConfigPath | None = None
    """InfluxDB 1.x with a login."""
    token_file: ConfigPath | None = None
    """InfluxDB 2.x and 3.x."""
    org: str = "tanyun"
    """InfluxDB 2.x: the organization that has the buckets."""
    ca_file: ConfigPath | None = None
    """CA of the server's certificate, where the system does not know it."""
    trusted_network: bool = False
    """True: password or token may cross the network to `url` unencrypted, e.g. within one machine's containers."""

    @model_validator(mode="after")
    def _one_way_to_sign_in(self) -> "InfluxSection":
        if bool(self.user) != (self.password_file is not None):
            raise ValueError(_("user and password_file belong together"))
        if self.user and self.token_file is not None:
            raise ValueError(_("give either user and password_file, or token_file"))
        secret = self.password_file is not None or self.token_file is not None
        host = urlsplit(self.url).hostname or ""
        if secret and self.url.startswith("http:") and not self.trusted_network and not is_loopback(host):
            text = _(
                "url must be https: {host} is another machine, and a password or token does not travel in the clear"
            )
            raise ValueError(text.format(host=host))
        return self

    def secret(self) -> str:
        """Password or token; OSError when its file cannot be read."""
        file = self.password_file or self.token_file
        return file.read_text(encoding="utf-8").strip() if file is not None else ""


class ServerConfig(Strict):
    """All server roles of one park."""

    registry: ConfigPath
    data: ConfigPath
    reports: ConfigPath
    broker: BrokerSettings
    host_id: Id = "tanyun"
    """Our name as the Sparkplug host; gateways wait for it."""
    api: ApiSection = ApiSection()
    influx: InfluxSection | None = None
    """Without it there is no projector."""
    delivery: ConfigPath | None = None
    """`delivery.toml`; without it nothing is delivered, and the built-in deadlines hold."""

    @property
    def journal(self) -> Path:
        """The journal's file."""
        return self.data / "journal.db"

    @property
    def ledger(self) -> Path:
        """The ledger's file."""
        return self.data / "ledger.db"

    @property
    def months(self) -> Path:
        """The closed months' file."""
        return self.data / "months.db"

    @property
    def facts(self) -> Path:
        """The file of registry facts with their history."""
        return self.data / "registry.db"

    @property
    def daily_checks(self) -> Path:
        """The file of the open months' daily checks."""
        return self.data / "checks.db"

    @property
    def lifecycle(self) -> Path:
        """The file of what was done to closed months."""
        return self.data / "lifecycle.db"

    @property
    def deliveries(self) -> Path:
        """The file of deliveries, receipts and signed chain heads."""
        return self.data / "deliveries.db"

    @property
    def attachments(self) -> Path:
        """The folder of files that people attached."""
        return self.data / "attachments"

    @property
    def users(self) -> Path:
        """Users, sessions, keys."""
        return self.data / "users.db"

    @property
    def audit(self) -> Path:
        """The audit log."""
        return self.data / "audit.db"

    @property
    def projection(self) -> Path:
        """The projector's own file."""
        return self.data / "projector.db"


def load_server_config(path: Path) -> ServerConfig:
    """The configuration in a TOML file; ConfigError with all mistakes, OSError when it cannot be read."""
    return load_toml(path, ServerConfig)
