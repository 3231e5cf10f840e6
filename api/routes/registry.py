"""Registry routes: who is metered, by what, and in which state."""

from collections.abc import Iterable

from fastapi import APIRouter

from api import queries
from api.access import require
from api.errors import unknown
from api.models import EnterpriseOut, GatewayOut, MeterOut, ParkOut, SiteOut, TermOut
from api.rights import Permission
from api.sources import Sources, SourcesDep
from metering.intervals import month_of
from metering.registry import Term
from metering.roles import ROLE_LABELS

router = APIRouter(tags=["registry"])


def terms_out(formula: Iterable[Term]) -> list[TermOut]:
    """A boundary formula with its labels."""
    labels = [(term, *ROLE_LABELS[term.role]) for term in formula]
    return [TermOut(role=t.role.value, sign=t.sign, label_zh=zh, label_en=en) for t, zh, en in labels]


def _this_month(sources: Sources) -> str:
    return month_of(sources.clock(), sources.zone)


@router.get("/park", summary="The park", dependencies=[require(Permission.REGISTRY_VIEW)])
def park(sources: SourcesDep) -> ParkOut:
    """Name, zone, provincial factor scope and boundary formula of the park."""
    found = sources.park_in(_this_month(sources))
    return ParkOut(
        id=found.id, name=found.name, name_en=found.name_en, zone=found.zone,
        grid_scope=found.grid_scope, formula=terms_out(found.formula),
    )  # fmt: skip


@router.get("/enterprises", summary="Enterprises", dependencies=[require(Permission.REGISTRY_VIEW)])
def enterprises(sources: SourcesDep) -> list[EnterpriseOut]:
    """All enterprises, with the formula of their boundary."""
    return [
        EnterpriseOut(
            id=e.id, name=e.name, name_en=e.name_en, credit_code=e.credit_code,
            industry=e.industry, formula=terms_out(e.formula),
        )
        for e in sources.park_in(_this_month(sources)).enterprises
    ]  # fmt: skip


@router.get("/sites", summary="Sites", dependencies=[require(Permission.REGISTRY_VIEW)])
def sites(sources: SourcesDep) -> list[SiteOut]:
    """All sites."""
    return [SiteOut(id=site.id, enterprise=site.enterprise, name=site.name) for site in sources.park.sites]


@router.get("/gateways", summary="Gateways", dependencies=[require(Permission.REGISTRY_VIEW)])
def gateways(sources: SourcesDep) -> list[GatewayOut]:
    """All gateways: online or not, when last heard, how far their newest reading lay behind."""
    return queries.gateways(sources)


@router.get("/meters", summary="Meters", dependencies=[require(Permission.REGISTRY_VIEW)])
def meters(sources: SourcesDep, enterprise: str | None = None, gateway: str | None = None) -> list[MeterOut]:
    """All meters, of one enterprise or of one gateway: roles, profile, ratios, state."""
    if enterprise is not None:
        sources.enterprise(enterprise)
    if gateway is not None and gateway not in {item.id for item in sources.park.gateways}:
        raise unknown("gateway", gateway)
    return [
        meter
        for meter in _all_meters(sources)
        if enterprise in (None, meter.enterprise) and gateway in (None, meter.gateway)
    ]


@router.get("/meters/{meter}", summary="One meter", dependencies=[require(Permission.REGISTRY_VIEW)])
def meter(sources: SourcesDep, meter: str) -> MeterOut:
    """One meter."""
    sources.meter(meter)
    return next(found for found in _all_meters(sources) if found.id == meter)


def _all_meters(sources: Sources) -> list[MeterOut]:
    with sources.ledger() as ledger:
        readings = queries.newest(ledger)
    return queries.meters(sources.park, readings, queries.moment(sources, readings.latest.values()))
