"""The registry of a park: who is metered, by what, in which role, with which ratios.

Read from `park.toml`; all mistakes at once.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BeforeValidator, Field, field_validator

from metering.config import ConfigError, Id, Strict, load_toml, validate
from metering.i18n import _
from metering.intervals import DEFAULT_ZONE
from metering.reading_types import INTEGRATED, READING_TYPES, Kind
from metering.roles import Role


class RegistryError(ConfigError):
    """The registry is wrong (the operator's fault)."""


def _ratio(value: object) -> Fraction:
    msg = _('a ratio is positive, e.g. 80 or "400/5"')
    try:
        ratio = Fraction(str(value))
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(msg) from error
    if ratio <= 0:
        raise ValueError(msg)
    return ratio


LONGEST_POWER_GAP_S = 960
"""A quarter of an hour and a minute: a gateway publishes a meter whole at least every 15 minutes (ours)."""
Ratio = Annotated[Fraction, BeforeValidator(_ratio)]
"""Of a transformer: a number or a text like "400/5"."""


class Term(Strict):
    """One term of a boundary formula: all totals of a role, added or taken off."""

    role: Role
    sign: Literal[1, -1] = 1


class Enterprise(Strict):
    """An enterprise that reports. `formula` gives the purchased electricity of its boundary over roles."""

    id: Id
    name: str
    name_en: str = ""
    credit_code: str = ""
    """统一社会信用代码 (GB 32100-2015), 18 characters; empty while unknown."""
    industry: str = ""
    formula: tuple[Term, ...] = (Term(role=Role.GRID_BOUNDARY), Term(role=Role.RESOLD, sign=-1))
    contract_demand_w: int | None = Field(default=None, gt=0)
    """Demand agreed with the grid company; alerts compare the 15-minute demand with it."""
    monthly_carbon_budget_t: float | None = Field(default=None, gt=0)
    """tCO2 that the enterprise plans to stay under each month, by the enterprise's own factor."""


class Site(Strict):
    """A place whose emissions are reported."""

    id: Id
    enterprise: Id
    name: str


class Gateway(Strict):
    """A gateway (Sparkplug edge node) at a site."""

    id: Id
    site: Id


class RatioChange(Strict):
    """From a moment on, other transformers: a new CT, or a wrong ratio put right. Dated, never overwritten."""

    at: datetime
    """Local times are the park's."""
    ct: Ratio
    pt: Ratio | None = None
    """None: as before."""
    reason: str = ""


class Exchange(Strict):
    """换表: another meter takes over. Closing and opening totals as the two displays showed them."""

    at: datetime
    closing: dict[str, Decimal]
    """Reading type → the old meter's last display, in the display unit (kWh, kvarh, m3, GJ)."""
    opening: dict[str, Decimal]
    serial: str = ""
    """Of the new meter."""
    ct: Ratio | None = None
    """Of the new meter, where the transformers changed with it."""
    pt: Ratio | None = None
    reason: str = ""

    @field_validator("closing", "opening")
    @classmethod
    def _shown(cls, values: dict[str, Decimal]) -> dict[str, Decimal]:
        wrong = [name for name, value in values.items() if not value.is_finite() or value < 0]
        if wrong:
            raise ValueError(_("a display shows no such total: {names}").format(names=", ".join(wrong)))
        return values


class Meter(Strict):
    """A meter, the role of each of its totals, and its ratios as of commissioning, with what changed since."""

    id: Id
    gateway: Id
    name: str = ""
    profile: str = ""
    roles: dict[str, Role]
    """Reading type of a total → role, e.g. `{energy_import_total = "grid_boundary", energy_export_total = "export"}`.

    A meter without totals declares the role of its power: `power_active = "sub_meter"` stands here as `energy_integrated_total`.
    """
    parent: str | None = None
    ct: Ratio = Fraction(1)
    """Current transformer ratio that the server applies (I1/I2); 1 when the meter already applies it."""
    pt: Ratio = Fraction(1)
    serial: str = ""
    """As on the nameplate; a gateway that reads another one raises 换表待确认."""
    ratio_proof: str | None = None
    """What proves CT and PT (clamp reading, utility meter, nameplate photo); None: every report says 变比未证实."""
    ratio_changes: tuple[RatioChange, ...] = ()
    exchanges: tuple[Exchange, ...] = ()
    max_power_w: int | None = Field(default=None, gt=0)
    """Above this × time a rise is implausible. Without it there is no such check."""
    power_gap_s: int = Field(default=LONGEST_POWER_GAP_S, ge=1, le=LONGEST_POWER_GAP_S)
    """Powers read further apart than this are not integrated. Only for a meter whose power has a role."""

    @field_validator("roles")
    @classmethod
    def _only_totals(cls, roles: dict[str, Role]) -> dict[str, Role]:
        totals = {name for name, known in READING_TYPES.items() if known.kind is Kind.TOTAL}
        wrong = [name for name in roles if name not in (totals | set(INTEGRATED)) - set(INTEGRATED.values())]
        if wrong:
            raise ValueError(_("not a total: {names}").format(names=", ".join(wrong)))
        for power in roles.keys() & INTEGRATED.keys():
            twice = [name for name in roles if name != power and roles[name] == roles[power]]
            if twice:
                text = _(
                    "{power} and {total} are both {role}: the energy would count twice; "
                    "leave {power} out where the meter has the total"
                )
                raise ValueError(text.format(power=power, total=twice[0], role=roles[power]))
        return {INTEGRATED.get(name, name): role for name, role in roles.items()}

    @property
    def read_totals(self) -> tuple[str, ...]:
        """The totals with a role that the meter itself shows."""
        return tuple(name for name in self.roles if name not in INTEGRATED.values())


class Park(Strict):
    """The whole registry. `formula` gives the electricity that enters the park over roles of all its meters."""

    id: Id
    name: str
    name_en: str = ""
    zone: str = DEFAULT_ZONE
    """IANA time zone of intervals, days and months."""
    grid_scope: str
    """Scope code of the provincial factor, e.g. CN-AH."""
    formula: tuple[Term, ...] = (Term(role=Role.GRID_BOUNDARY),)
    enterprises: tuple[Enterprise, ...]
    sites: tuple[Site, ...]
    gateways: tuple[Gateway, ...]
    meters: tuple[Meter, ...]

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        if zone not in available_timezones():
            raise ValueError(_("unknown IANA time zone {zone!r}").format(zone=zone))
        return zone

    @property
    def tz(self) -> ZoneInfo:
        """The zone as tzinfo."""
        return ZoneInfo(self.zone)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's, without what was looked up before: a part of a park must not know the rest of it."""
        copy = super().model_copy(update=update, deep=deep)
        for name in _LOOKED_UP:
            copy.__dict__.pop(name, None)
        return copy

    def meter(self, meter_id: str) -> Meter | None:
        """The meter of that id."""
        return self._by_id.get(meter_id)

    @cached_property
    def _by_id(self) -> dict[str, Meter]:
        """Of two with one id, which no checked registry has, the first."""
        return {meter.id: meter for meter in reversed(self.meters)}

    @cached_property
    def _enterprise_of_gateway(self) -> dict[str, str]:
        owner = {site.id: site.enterprise for site in self.sites}
        return {gateway.id: owner[gateway.site] for gateway in self.gateways}

    def enterprise_of(self, meter: Meter) -> str:
        """Id of the enterprise whose site the meter's gateway stands at."""
        return self._enterprise_of_gateway[meter.gateway]

    def meters_of(self, enterprise_id: str) -> tuple[Meter, ...]:
        """The meters of an enterprise, in the registry's order."""
        return tuple(meter for meter in self.meters if self.enterprise_of(meter) == enterprise_id)


_LOOKED_UP = [name for name, value in vars(Park).items() if isinstance(value, cached_property)]


def load_registry(path: Path) -> Park:
    """The park in a TOML file; ConfigError with all mistakes, OSError when it cannot be read."""
    return _checked(load_toml(path, Park), str(path))


def parse_registry(data: dict[str, object], file: str = "registry") -> Park:
    """The park in a parsed document."""
    return _checked(validate(data, Park, file), file)


def _checked(park: Park, file: str) -> Park:
    mistakes = [*_duplicates(park), *_dangling(park), *_undated(park)]
    if mistakes:
        raise RegistryError(file, mistakes)
    return park


def _duplicates(park: Park) -> list[str]:
    mistakes, text = [], _("{table}: id {key!r} is given {count} times")
    for table in ("enterprises", "sites", "gateways", "meters"):
        counts = Counter(item.id for item in getattr(park, table))
        mistakes += [
            text.format(table=table, key=key, count=count) for key, count in counts.items() if count > 1
        ]
    return mistakes


def _dangling(park: Park) -> list[str]:
    enterprises, sites = {e.id for e in park.enterprises}, {s.id for s in park.sites}
    gateways, meters = {g.id for g in park.gateways}, {m.id for m in park.meters}
    links = [(f"sites[{i}].enterprise", site.enterprise, enterprises) for i, site in enumerate(park.sites)]
    links += [(f"gateways[{i}].site", gateway.site, sites) for i, gateway in enumerate(park.gateways)]
    links += [(f"meters[{i}].gateway", meter.gateway, gateways) for i, meter in enumerate(park.meters)]
    links += [
        (f"meters[{i}].parent", m.parent, meters) for i, m in enumerate(park.meters) if m.parent is not None
    ]
    text = _("{key}: there is no {target!r}")
    return [text.format(key=key, target=target) for key, target, known in links if target not in known]


def _undated(park: Park) -> list[str]:
    """Changes of a meter that have no clear order, or say nothing about a total that they touch."""
    mistakes = []
    for i, meter in enumerate(park.meters):
        dated: list[RatioChange | Exchange] = [*meter.ratio_changes, *meter.exchanges]
        times = Counter(change.at.isoformat() for change in dated)
        mistakes += [
            _("meters[{i}]: two changes of {meter} at {time}").format(i=i, meter=meter.id, time=time)
            for time, count in times.items()
            if count > 1
        ]
        for j, exchange in enumerate(meter.exchanges):
            for side in ("closing", "opening"):
                if set(getattr(exchange, side)) != set(meter.read_totals):
                    names = ", ".join(meter.read_totals)
                    text = _("meters[{i}].exchanges[{j}].{side}: {meter} needs exactly {names}")
                    mistakes.append(text.format(i=i, j=j, side=side, meter=meter.id, names=names))
    return mistakes
