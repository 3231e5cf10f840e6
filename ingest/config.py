"""Configuration of the server's MQTT session, from one TOML file; all mistakes at once."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from metering.ids import ID_PATTERN


class BrokerSettings(BaseModel):
    """Where the broker is and who we are there. The password is read from a file, never from the configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8883, ge=1, le=65535)
    user: str
    password_file: Path
    ca_file: Path | None = None
    """CA of the broker's certificate. Without it the connection is plain, which is allowed on loopback only."""

    def password(self) -> str:
        """The password; OSError when the file cannot be read."""
        return self.password_file.read_text(encoding="utf-8").strip()


class IngestConfig(BaseModel):
    """One ingest: its broker session, its name as a Sparkplug host, and its files."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    broker: BrokerSettings
    host_id: Annotated[str, Field(pattern=ID_PATTERN)] = "tanyun"
    registry: Path
    journal: Path
