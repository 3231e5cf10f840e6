"""Emissions of a meter, site, enterprise or the park over a range."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal

from fastapi import APIRouter, Query

from api.access import require
from api.errors import invalid, unknown
from api.inventory import NO_READINGS, Flow, flows, tally
from api.models import EmissionFigure, EmissionRow, EmissionsOut
from api.queries import group, scope_sums, today
from api.rights import Permission
from api.routes.readings import total_type
from api.routes.registry import terms_out
from api.sources import Sources, SourcesDep
from api.times import FromQuery, Size, SizeQuery, ToQuery, buckets, check_cost, parse_range
from factors.policy import MissingFactor, factor_for
from metering.i18n import _
from metering.intervals import Span, iso, month_of
from metering.registry import Enterprise, Meter, Park, Term
from metering.roles import Role
from storage.ledger import IntervalRow

router = APIRouter(tags=["emissions"])

WRITTEN_BEFORE = {
    "reason": "the ledger was written before a factor was known",
    "reason_zh": "账本写入时尚无排放因子",
}


class By(StrEnum):
    """What emissions are summed by."""

    METER = "meter"
    SITE = "site"
    ENTERPRISE = "enterprise"
    PARK = "park"


@dataclass(frozen=True, slots=True)
class Scope:
    """A site, enterprise or park: its formula's terms, its inventory, and whose closed months it belongs to."""

    id: str
    name: str
    use: Literal["enterprise", "park"]
    formula: tuple[Term, ...]
    terms: tuple[Flow, ...]
    month_scope: tuple[str, str]


@router.get("/emissions", summary="Emissions", dependencies=[require(Permission.DATA_VIEW)])
def emissions(
    sources: SourcesDep,
    *,
    by: Annotated[By, Query(description="What to sum by.")],
    id: Annotated[str | None, Query(description="Its id; may be left out for the park.")] = None,
    start: FromQuery = None,
    end: ToQuery = None,
    size: SizeQuery = Size.DAY,
    reading_type: Annotated[
        str | None, Query(description="For a meter: the total; default its first.")
    ] = None,
) -> EmissionsOut:
    """Energy and emission per interval, at most 10 000.

    An enterprise follows its boundary formula and takes the national factor; a site is the part of it that its
    meters make; the park follows its own formula and shows the provincial and the national figure. A meter shows what
    the ledger holds. Without a factor or a reading the emission is null, with the reason.
    """
    span = parse_range(start, end, size, sources.zone, sources.clock())
    spans = [found for found in buckets(span, size, sources.zone) if found.start_ms < sources.clock()]
    if by is By.METER:
        meter = sources.meter(_given(id), "id")
        total = _electricity_total(meter, reading_type)
        return _meter_emissions(sources, meter, total, span=span, spans=spans, size=size)
    scopes = _scopes(sources, by, id, [*spans, span])
    scope = scopes[month_of(span.end_ms - 1, sources.zone)]
    check_cost(span, len({flow.key for found in scopes.values() for flow in found.terms}))
    return EmissionsOut(
        by=by.value, id=scope.id, name=scope.name, size=size.value, zone=sources.park.zone,
        start=iso(span.start_ms, sources.zone), end=iso(span.end_ms, sources.zone),
        formula=terms_out(scope.formula), rows=_scope_rows(sources, scopes, spans),
    )  # fmt: skip


def _given(id: str | None) -> str:
    if id is None:
        raise invalid("id", _("which one? give its id"))
    return id


def _scopes(sources: Sources, by: By, id: str | None, spans: Iterable[Span]) -> dict[str, Scope]:
    """The scope in every month that is asked about: its formula belongs to the month."""
    months = {month_of(ms, sources.zone) for span in spans for ms in (span.start_ms, span.end_ms - 1)}
    return {month: _scope(sources, sources.park_in(month), by, id) for month in sorted(months)}


def _scope(sources: Sources, park: Park, by: By, id: str | None) -> Scope:
    if by is By.PARK:
        sources.whole_park()
        if id not in (None, park.id):
            raise unknown("id", str(id), by.value)
        return Scope(
            park.id, park.name, "park", park.formula, flows(park.meters, park.formula), ("park", park.id)
        )
    if by is By.ENTERPRISE:
        owner = _enterprise(park, sources.enterprise(_given(id), "id").id)
        terms = flows(park.meters_of(owner.id), owner.formula)
        return Scope(owner.id, owner.name, "enterprise", owner.formula, terms, ("enterprise", owner.id))
    site = next((site for site in park.sites if site.id == _given(id)), None)
    if site is None:
        raise unknown("id", str(id), by.value)
    owner = _enterprise(park, site.enterprise)
    own = {gateway.id for gateway in park.gateways if gateway.site == site.id}
    terms = flows((meter for meter in park.meters if meter.gateway in own), owner.formula)
    return Scope(site.id, site.name, "enterprise", owner.formula, terms, ("enterprise", owner.id))


def _enterprise(park: Park, id: str) -> Enterprise:
    return next(enterprise for enterprise in park.enterprises if enterprise.id == id)


def _scope_rows(sources: Sources, scopes: Mapping[str, Scope], spans: list[Span]) -> list[EmissionRow]:
    if not spans:
        return []
    with sources.ledger() as ledger:
        sums = scope_sums(ledger, [flow for scope in scopes.values() for flow in scope.terms], spans)
    one = next(iter(scopes.values()))
    closed, day, rows = closed_months(sources, *one.month_scope), today(sources), []
    for span, energies in zip(spans, sums, strict=True):
        month = month_of(span.start_ms, sources.zone)
        scope = scopes[month]
        total = tally(scope.terms, energies)
        figures = sources.inventory.figures(scope.use, total.energy_wh, month, day)
        rows.append(
            _row(sources, span, total.energy_wh, figures, total.missing, provisional=month not in closed)
        )
    return rows


def _row(
    sources: Sources,
    span: Span,
    energy_wh: int | None,
    figures: list[EmissionFigure],
    missing: tuple[str, ...],
    *,
    provisional: bool,
) -> EmissionRow:
    return EmissionRow(
        start=iso(span.start_ms, sources.zone), end=iso(span.end_ms, sources.zone), start_ms=span.start_ms,
        end_ms=span.end_ms, energy_wh=energy_wh, emissions=figures, missing_meters=list(missing),
        provisional=provisional,
    )  # fmt: skip


def closed_months(sources: Sources, kind: str, scope_id: str) -> set[str]:
    """The months that are closed for a scope."""
    with sources.months() as store:
        rows = store.list() if store is not None else []
    return {row.month for row in rows if (row.scope_kind, row.scope_id) == (kind, scope_id)}


def _electricity_total(meter: Meter, reading_type: str | None) -> str:
    name = reading_type or next(iter(meter.roles), "")
    if name not in meter.roles or total_type(name).unit != "Wh":
        text = _("meter {meter} has no electricity total {name!r} with a role")
        raise invalid("reading_type", text.format(meter=meter.id, name=name))
    return name


def _meter_emissions(
    sources: Sources, meter: Meter, name: str, *, span: Span, spans: list[Span], size: Size
) -> EmissionsOut:
    with sources.ledger() as ledger:
        groups = group(ledger.intervals(meter.id, name, *span), spans) if spans else {}
    closed = closed_months(sources, "enterprise", sources.park.enterprise_of(meter))
    rows = []
    for index, found in enumerate(spans):
        part, month = groups.get(index, []), month_of(found.start_ms, sources.zone)
        energy = sum(row.energy for row in part) if part else None
        figure, missing = _meter_figure(sources, meter.roles[name], part, month), () if part else (meter.id,)
        rows.append(_row(sources, found, energy, [figure], missing, provisional=month not in closed))
    return EmissionsOut(
        by="meter", id=meter.id, name=meter.name, size=size.value, zone=sources.park.zone,
        start=iso(span.start_ms, sources.zone), end=iso(span.end_ms, sources.zone), formula=[], rows=rows,
    )  # fmt: skip


def _meter_figure(sources: Sources, role: Role, rows: list[IntervalRow], month: str) -> EmissionFigure:
    """What the ledger holds; a factor that is missing there is explained by the factor table."""
    head = {"use": "meter", "primary": True, "label_zh": "账本", "label_en": "Ledger"}
    ids = sorted({row.factor_id for row in rows if row.factor_id is not None})
    head |= {"factor_id": ", ".join(ids) or None}
    known = [row.emission_ug for row in rows if row.emission_ug is not None]
    if rows and len(known) == len(rows):
        return EmissionFigure.model_validate(head | {"emission_ug": sum(known)})
    if not rows:
        return EmissionFigure.model_validate(head | NO_READINGS)
    inventory = sources.inventory
    factor = factor_for(inventory.table, role, inventory.policies["enterprise"], month, today(sources))
    if isinstance(factor, MissingFactor):
        return EmissionFigure.model_validate(head | {"reason": factor.reason, "reason_zh": factor.reason_zh})
    return EmissionFigure.model_validate(head | WRITTEN_BEFORE)
