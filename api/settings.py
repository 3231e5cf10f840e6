"""Settings of the API role: where the files of the other roles are, and its own two: users and audit log."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from api.rights import Role


class OidcSettings(BaseModel):
    """An OpenID provider at which users may sign in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    issuer: str
    name: str
    """As the login page calls it."""
    client_id: str
    client_secret: SecretStr
    public_url: str
    """Where browsers find us, e.g. `https://server.park.example:8000`; registered at the provider with the path
    `/api/v1/session/oidc/back`."""
    ca_file: Path | None = None

    @property
    def scheme(self) -> str:
        """What the provider's endpoints begin with: https, unless the issuer is on this machine."""
        return "http" if self.issuer.startswith("http:") else "https:"


class ApiSettings(BaseModel):
    """Registry, ledger, journal and months are read; users (sessions) and the audit log are written."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    park: Path
    """The registry, `park.toml`."""
    ledger: Path
    journal: Path
    months: Path
    reports: Path
    """Folder with `<scope>_<month>_r<revision>.pdf|xlsx|json`."""
    users: Path
    """Who may come in (storage.users)."""
    audit: Path
    """Who did what (storage.audit)."""
    facts: Path
    """The registry of facts (storage.registry): enterprises' monthly forms are written into it."""
    daily_checks: Path | None = None
    """What the checks of open months found (storage.daily_checks)."""
    ca: Path | None = None
    """Certificate of the private CA, for gateways that enrol."""
    oidc: OidcSettings | None = None
    second_factor_roles: frozenset[Role] = frozenset()
    """Who holds one of these signs in with a password only beside a second factor."""
    silent_after_s: int = Field(default=300, gt=0)
    """A meter without a reading for this long is shown as silent."""
    burst: float = Field(default=300, gt=0)
    """Requests that one caller may make at once …"""
    requests_per_s: float = Field(default=50, gt=0)
    """… and per second from then on."""
    streams: int = Field(default=200, gt=0)
    """Listeners of the event stream at once."""
    streams_each: int = Field(default=10, gt=0)
    """The same, of one caller."""
