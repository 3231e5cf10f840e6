"""What differs from park to park: where Grafana and InfluxDB are, who is told what and when. One TOML file, no secrets in it."""

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from metering.config import ConfigPath, Id, Strict
from metering.i18n import _
from metering.intervals import DEFAULT_ZONE

Clock = Annotated[str, Field(pattern=r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$")]
Address = Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")]
Url = Annotated[str, Field(pattern=r"^https?://")]


class Influx(Strict):
    """How Grafana reaches the serving store, by InfluxQL for every version."""

    url: Url = "http://127.0.0.1:8086"
    user: str = ""
    password_file: ConfigPath | None = None
    """For `user`: InfluxDB 1.x, or 2.x with its 1.x-compatible authorisation."""
    token_file: ConfigPath | None = None
    """Instead of a user: InfluxDB 2.x or 3.x."""

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if bool(self.user) != (self.password_file is not None):
            raise ValueError(_("user and password_file belong together"))
        if self.user and self.token_file is not None:
            raise ValueError(_("either a user or a token_file"))
        return self


class Contact(Strict):
    """People who are told together. E-mail is always among the ways, so that a failing robot loses nothing."""

    name: Id
    emails: tuple[Address, ...] = Field(min_length=1)
    webhook_file: ConfigPath | None = None
    """File with the address of a web hook; the addresses of robots are secrets."""
    wecom_file: ConfigPath | None = None
    """File with the address of a 企业微信 group robot."""
    dingding_file: ConfigPath | None = None
    """File with the address of a 钉钉 group robot."""


class Route(Strict):
    """Who is told about an enterprise. Its gateways are named, because a gateway's alerts carry no enterprise."""

    enterprise: Id
    contact: Id
    gateways: tuple[Id, ...] = ()


class Shift(Strict):
    """Who is told in addition, during some hours of every day; a night shift ends on the next day."""

    contact: Id
    start: Clock
    end: Clock
    severity: Literal["critical", "warning"] = "critical"


class Days(Strict):
    """Whole days in the park's zone, the last one included."""

    first: date
    last: date

    @model_validator(mode="after")
    def _forwards(self) -> Self:
        if self.last < self.first:
            raise ValueError(_("the last day is before the first"))
        return self


class Holiday(Days):
    """Days on which nobody works: alerts that need a working plant are muted."""

    name: str


class Shutdown(Days):
    """A declared shutdown of an enterprise: all its alerts are muted, its gateways' too."""

    enterprise: Id


class Place(Strict):
    """Where a gateway stands on a plan, in percent from the picture's upper left corner."""

    gateway: Id
    x: float = Field(ge=0, le=92)
    y: float = Field(ge=0, le=94)


class SitePlan(Strict):
    """A picture of the site with its gateways."""

    name: Id
    title: str
    image: Annotated[str, Field(pattern=r"^(https?://|public/)")]
    """As the reader's browser reaches it: an address, or a file below Grafana's own folder `public`."""
    places: tuple[Place, ...] = Field(min_length=1)


class GrafanaSettings(Strict):
    """All of it."""

    url: Url = "http://127.0.0.1:3000"
    token_file: ConfigPath
    """Token of a service account with the role Admin."""
    zone: str = DEFAULT_ZONE
    runbooks: str = "docs/runbooks"
    """Address in front of a runbook's file name, as an operator's browser reaches it."""
    influx: Influx = Influx()
    contacts: tuple[Contact, ...] = Field(min_length=1)
    """The first is told whatever no route takes."""
    routes: tuple[Route, ...] = ()
    shifts: tuple[Shift, ...] = ()
    holidays: tuple[Holiday, ...] = ()
    shutdowns: tuple[Shutdown, ...] = ()
    site_plans: tuple[SitePlan, ...] = ()

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        contacts = {contact.name for contact in self.contacts}
        enterprises = {route.enterprise for route in self.routes}
        told = [*(route.contact for route in self.routes), *(shift.contact for shift in self.shifts)]
        unknown = [name for name in told if name not in contacts]
        unrouted = [item.enterprise for item in self.shutdowns if item.enterprise not in enterprises]
        if unknown:
            raise ValueError(_("no such contact: {names}").format(names=", ".join(unknown)))
        if unrouted:
            raise ValueError(
                _("a shutdown needs a route for its enterprise: {names}").format(names=", ".join(unrouted))
            )
        return self
