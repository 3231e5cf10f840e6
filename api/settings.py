"""Settings of the API role: where the files of the other roles are, and the token that opens it."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class ApiSettings(BaseModel):
    """The API only reads: registry, ledger, journal and months by path, and the folder of the printed reports."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    park: Path
    """The registry, `park.toml`."""
    ledger: Path
    journal: Path
    months: Path
    reports: Path
    """Folder with `<scope>_<month>_r<revision>.pdf|xlsx|json`."""
    token: SecretStr | None = None
    """Bearer token asked of every caller; None leaves the API open, which suits loopback only."""
    silent_after_s: int = Field(default=300, gt=0)
    """A meter without a reading for this long is shown as silent."""
