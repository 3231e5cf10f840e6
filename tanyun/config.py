"""Configuration of the server roles: one TOML file names the registry, the data folder, the broker and the API."""

from ipaddress import ip_address
from pathlib import Path

from pydantic import Field, model_validator

from metering.config import ConfigPath, Id, Strict, load_toml
from metering.mqtt import BrokerSettings


class ApiSection(Strict):
    """Where the API and the page listen. Beyond this machine they need a token."""

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    token_file: ConfigPath | None = None

    @model_validator(mode="after")
    def _token_beyond_loopback(self) -> "ApiSection":
        if self.token_file is None and not ip_address(self.host).is_loopback:
            msg = f"token_file is needed: {self.host} can be reached from other machines"
            raise ValueError(msg)
        return self


class ServerConfig(Strict):
    """All server roles of one park."""

    registry: ConfigPath
    data: ConfigPath
    reports: ConfigPath
    broker: BrokerSettings
    host_id: Id = "tanyun"
    """Our name as the Sparkplug host; gateways wait for it."""
    api: ApiSection = ApiSection()

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


def load_server_config(path: Path) -> ServerConfig:
    """The configuration in a TOML file; ConfigError with all mistakes, OSError when it cannot be read."""
    return load_toml(path, ServerConfig)
