"""Measurements, tags and their bounds. Tag values are ids of the registry and fixed words, so the number of series is bounded."""

from collections.abc import Sequence
from functools import cache
from typing import Protocol

from factors.table import FactorTable
from metering.intervals import QUARTER_MS
from metering.periods import Period
from metering.reading_types import READING_TYPES, Kind
from metering.registry import Enterprise, Meter, Park, Term
from storage.ledger import QuarterRow
from storage.line_protocol import series, single

SIZES = ("15m", "hour", "day", "month")
"""Sizes of a boundary's buckets."""
METHODS = ("national", "provincial")
"""By the nation's average factor (enterprises report it), by the province's (the park's inventory)."""
EVENT_KINDS = (
    "late_reading", "conflicting_reading", "pending_fall", "pending_rise", "transient_dropped", "rollover", "reset", "step_back",
    "last_digit", "exchange", "frozen", "frozen_ended", "ratio_change", "unexplained", "restated",
    "power_gap", "power_implausible", "power_reversed",
)  # fmt: skip
ROLES = ("ingest", "stream", "projector", "api")
ACCOUNTS = ("standard", "location_national", "location_provincial", "market")
"""Methods of a closed month's account."""
MOST_KINDS = 64
"""Kinds of energy, and of intensities, of one month."""
NO_CALENDAR = "none"
"""Instead of a time-of-use period: days without a calendar."""
REMOVED = "removed"
"""Instead of a gateway, enterprise or role: results of a meter that the registry no longer has."""
GRAM = 1_000_000
"""Micrograms."""
GRAMS_PER_TONNE = 1_000_000
Flow = tuple[str, str, int]
"""(meter, reading type, sign): what one total adds to a formula."""


class Piece(Protocol):
    """What a minute is added up from."""

    @property
    def energy(self) -> int:
        """Base units."""
        ...

    @property
    def emission_ug(self) -> int | None:
        """None without a factor."""
        ...

    @property
    def estimated(self) -> int:
        """Of the energy, what has an estimated shape."""
        ...


class Tags:
    """The series of one park, escaped once."""

    def __init__(self, park: Park) -> None:
        self.park = park
        self._meters = {meter.id: meter for meter in park.meters}
        self._enterprise = {meter.id: park.enterprise_of(meter) for meter in park.meters}
        self.reading = cache(self._reading)
        self.interval = cache(self._interval)
        self.boundary = cache(self._boundary)

    def place(self, meter_id: str) -> dict[str, str]:
        """Enterprise, gateway and meter."""
        meter = self._meters.get(meter_id)
        if meter is None:
            return {"enterprise": REMOVED, "gateway": REMOVED, "meter": meter_id}
        return {"enterprise": self._enterprise[meter_id], "gateway": meter.gateway, "meter": meter_id}

    def _reading(self, meter_id: str, reading_type: str) -> str:
        """The head of a reading's line."""
        return single(series("reading", self.place(meter_id) | {"reading_type": reading_type}), "value")

    def _interval(self, meter_id: str, reading_type: str, size: str = "15m") -> str:
        meter = self._meters.get(meter_id)
        role = meter.roles.get(reading_type, REMOVED) if meter is not None else REMOVED
        return series(
            "interval", self.place(meter_id) | {"role": role, "reading_type": reading_type, "size": size}
        )

    def event(self, meter_id: str, kind: str) -> str:
        """An event's series."""
        place = self.place(meter_id)
        return series("event", {"meter": meter_id, "gateway": place["gateway"], "kind": kind})

    def factor(self, tags: dict[str, str]) -> str:
        """A factor's series."""
        return series("factor", tags)

    def _boundary(self, measurement: str, scope_kind: str, scope: str, method: str, size: str = "") -> str:
        """A series of a scope; `boundary` has a size, the others have none."""
        return series(measurement, {"scope_kind": scope_kind, "scope": scope, "method": method, "size": size})

    def minute_line(self, key: tuple[str, str], start_ms: int, pieces: Sequence[Piece]) -> str:
        """A minute of a total, from one piece or two."""
        energy, estimated = sum(piece.energy for piece in pieces), sum(piece.estimated for piece in pieces)
        emissions = [piece.emission_ug for piece in pieces if piece.emission_ug is not None]
        emission = f",emission_g={sum(emissions) / GRAM!r}" if len(emissions) == len(pieces) else ""
        head = self.interval(*key, "1m")
        return f"{head} energy={float(energy)!r}{emission},estimated={float(estimated)!r} {start_ms}"

    def interval_line(self, row: QuarterRow) -> str:
        """Written by hand: it is the bulk of the history. All numbers are integers below 2^62, so all are finite."""
        emission = "" if row.emission_ug is None else f",emission_g={row.emission_ug / GRAM!r}"
        return (
            f"{self.interval(row.meter, row.reading_type)} energy={float(row.energy)!r}{emission},"
            f"coverage={row.coverage_ms / QUARTER_MS!r},estimated={float(row.estimated)!r},edge_read={float(row.edge_read)!r},"
            f"quality={float(row.quality)!r},revision={float(row.revision)!r} {row.start_ms}"
        )


class Scope:
    """An enterprise or the park: its formula over its meters."""

    def __init__(self, kind: str, scope: Park | Enterprise, meters: tuple[Meter, ...]) -> None:
        self.kind, self.id, self.meters = kind, scope.id, meters
        self.formula: tuple[Flow, ...] = flows(meters, scope.formula)
        self.intake: tuple[Flow, ...] = tuple(
            flow for flow in self.formula if flow[2] > 0 and _role(meters, flow) == "grid_boundary"
        )
        """What the grid company measures: demand is agreed for it."""
        budget_t = scope.monthly_carbon_budget_t if isinstance(scope, Enterprise) else None
        self.budget_g = None if budget_t is None else budget_t * GRAMS_PER_TONNE
        self.contract_demand_w = scope.contract_demand_w if isinstance(scope, Enterprise) else None


def _role(meters: tuple[Meter, ...], flow: Flow) -> str:
    return next(meter.roles[flow[1]] for meter in meters if meter.id == flow[0])


def scopes(park: Park) -> list[Scope]:
    """The enterprises, then the park."""
    enterprises = [Scope("enterprise", each, park.meters_of(each.id)) for each in park.enterprises]
    return [*enterprises, Scope("park", park, park.meters)]


def flows(meters: tuple[Meter, ...], formula: tuple[Term, ...]) -> tuple[Flow, ...]:
    """The electricity totals that a formula takes."""
    return tuple(
        (meter.id, reading_type, term.sign)
        for meter in meters
        for reading_type, role in meter.roles.items()
        for term in formula
        if role is term.role and READING_TYPES[reading_type].unit == "Wh"
    )


def series_bound(park: Park, table: FactorTable) -> dict[str, int]:
    """Measurement → the most series it can ever have for this registry. State series grow with the meters, nothing with time."""
    meters, totals = len(park.meters), sum(len(meter.roles) for meter in park.meters)
    gauges = sum(item.kind is Kind.GAUGE for item in READING_TYPES.values())
    scopes_ = len(park.enterprises) + 1
    methods = scopes_ * len(METHODS)
    return {
        "reading": meters * gauges,
        "gateway": len(park.gateways),
        "meter_state": meters,
        "meter_day": meters,
        "pipeline": len(ROLES),
        "interval": 2 * totals,
        "boundary": methods * len(SIZES),
        "forecast": methods,
        "balance": meters,
        "month": methods,
        "account": scopes_ * len(ACCOUNTS),
        "energy_type": scopes_ * MOST_KINDS,
        "intensity": scopes_ * MOST_KINDS,
        "period": scopes_ * (len(Period) + 1),
        "revision": scopes_,
        "change": scopes_,
        "factor": methods * len(table.factors),
        "event": meters * len(EVENT_KINDS),
        "projection": 3,
    }
