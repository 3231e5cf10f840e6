"""Energy by time-of-use period (尖峰平谷深谷) of a meter or an enterprise."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from itertools import groupby
from typing import Annotated

from fastapi import APIRouter, Query

from api.access import require
from api.errors import invalid
from api.inventory import Flow, Key, flows
from api.period_models import CalendarOut, PeriodEnergyOut, PeriodsOut
from api.rights import Permission
from api.routes.readings import total_type
from api.sources import Sources, SourcesDep
from api.times import FromQuery, Size, ToQuery, check_cost, parse_range
from factors.tariffs import day_kinds, in_force
from metering.i18n import _
from metering.intervals import HOUR_MS, QUARTER_MS, Span, iso, local_month, month_of
from metering.periods import CODES, NONE, PERIOD_LABELS
from metering.quality import Quality
from metering.registry import Enterprise, Meter
from metering.tariff import local_dates, period_codes
from storage.facts.formulas import formula_of
from storage.facts.state import Facts
from storage.facts.tariff import TariffFact
from storage.ledger import IntervalRow

router = APIRouter(tags=["readings"])
_NO_CALENDAR = ("无日历", "no calendar")
_ORDER = (*range(1, len(CODES)), NONE)


class Whose(StrEnum):
    """What a sum is over."""

    METER = "meter"
    ENTERPRISE = "enterprise"


@router.get("/periods", summary="Energy by time-of-use period", dependencies=[require(Permission.DATA_VIEW)])
def periods(
    sources: SourcesDep,
    *,
    by: Annotated[Whose, Query(description="What to sum by.")],
    id: Annotated[str, Query(max_length=64, description="Its id.")],
    start: FromQuery = None,
    end: ToQuery = None,
    reading_type: Annotated[str, Query(description="For a meter: the total.")] = "energy_import_total",
) -> PeriodsOut:
    """Energy, share and largest demand by period over whole local days, by the calendars declared in the registry of facts.

    The periods add up to the energy. An enterprise follows its boundary formula; its demand is measured by metering point, so it
    is given for meters only.
    """
    span = parse_range(start, end, Size.DAY, sources.zone, sources.clock())
    name, owner, parts = terms_of(sources, by, id, reading_type, span)
    terms = tuple(dict.fromkeys(flow for _part, found in parts for flow in found))
    check_cost(span, len(terms))
    facts = sources.facts()
    sums = _Sums(with_demand=by is Whose.METER)
    named = {fact.meter for fact in facts.of(TariffFact, owner)}
    codes = {key: _codes(sources, facts, owner, key, span) for key in {"", *named}}
    with sources.ledger() as ledger:
        for part, found in parts:
            for flow in found:
                of = codes[flow.meter if flow.meter in named else ""]
                sums.take(ledger.intervals(*flow.key, *part), flow, of, span)
    return PeriodsOut(
        by=by.value, id=id, name=name, zone=sources.park.zone,
        start=iso(span.start_ms, sources.zone), end=iso(span.end_ms, sources.zone),
        calendars=list(_calendars(sources, facts, owner, terms, span)), periods=list(sums.lines(sources)),
        missing_meters=sorted(sums.missing),
    )  # fmt: skip


def terms_of(
    sources: Sources, by: Whose, id: str, reading_type: str, span: Span
) -> tuple[str, str, list[tuple[Span, tuple[Flow, ...]]]]:
    """(name, owning enterprise, what is counted in which part of the span) of a meter or an enterprise that the caller may see."""
    if by is Whose.METER:
        meter = sources.meter(id, "id")
        owner = sources.park.enterprise_of(meter)
        return meter.name, owner, [(span, (_flow(meter, reading_type),))]
    enterprise = sources.enterprise(id, "id")
    return enterprise.name, enterprise.id, list(_by_month(sources, enterprise, span))


def _flow(meter: Meter, reading_type: str) -> Flow:
    if reading_type not in meter.roles or total_type(reading_type).unit != "Wh":
        text = _("meter {meter} has no electricity total {name!r} with a role")
        raise invalid("reading_type", text.format(meter=meter.id, name=reading_type))
    return Flow(meter.id, reading_type, meter.roles[reading_type], 1)


def _by_month(
    sources: Sources, enterprise: Enterprise, span: Span
) -> Iterator[tuple[Span, tuple[Flow, ...]]]:
    """The months of a span, each with the totals that the enterprise's formula takes then."""
    meters, at = sources.park.meters_of(enterprise.id), span.start_ms
    while at < span.end_ms:
        month = month_of(at, sources.zone)
        end = min(local_month(month, sources.zone).end_ms, span.end_ms)
        formula = formula_of(sources.facts(), enterprise.id, enterprise.formula, month)
        yield Span(at, end), flows(meters, formula)
        at = end


def _choice(facts: Facts, owner: str, meter: str, day: date) -> TariffFact | None:
    """The meter's own calendar on a day, else that of its enterprise."""
    for key in (meter, ""):
        fact = facts.in_force(TariffFact, owner, day, key)
        if in_force(fact, day) is not None:
            return fact
    return None


def _codes(sources: Sources, facts: Facts, owner: str, meter: str, span: Span) -> bytes:
    def day_codes(day: date) -> bytes | None:
        fact = _choice(facts, owner, meter, day)
        tariff = in_force(fact, day)
        if fact is None or tariff is None:
            return None
        return tariff.periods.day(day.month, day_kinds(fact, tariff, day))

    return period_codes(span, sources.zone, day_codes)


def _calendars(
    sources: Sources, facts: Facts, owner: str, terms: Sequence[Flow], span: Span
) -> Iterator[CalendarOut]:
    """Which calendar holds for which meter on which days."""
    days = list(local_dates(span, sources.zone))
    for meter in dict.fromkeys(flow.meter for flow in terms):
        for fact, run in groupby(days, lambda day, meter=meter: _choice(facts, owner, meter, day)):  # type: ignore[misc]
            found = list(run)
            tariff = in_force(fact, found[0])
            if fact is not None and tariff is not None:
                yield CalendarOut(
                    meter=meter, first_day=found[0], last_day=found[-1], calendar=tariff.id, name_zh=tariff.name_zh,
                    name_en=tariff.name_en, notice=tariff.notice, verified=tariff.verified, periods=tariff.periods.text,
                )  # fmt: skip


@dataclass(slots=True)
class _Part:
    energy: int = 0
    estimated: int = 0
    peak: tuple[int, int] | None = None
    """(base units, start)."""


@dataclass(slots=True)
class _Sums:
    """What rows add up to by period."""

    with_demand: bool
    parts: dict[int, _Part] = field(default_factory=dict)
    silent: dict[Key, bool] = field(default_factory=dict)
    """Of every total that was asked: whether it had no row in any part."""

    def take(self, rows: Sequence[IntervalRow], flow: Flow, codes: bytes, span: Span) -> None:
        """The rows of one total."""
        self.silent[flow.key] = self.silent.get(flow.key, True) and not rows
        for start, found in groupby(rows, lambda row: row.start_ms - row.start_ms % QUARTER_MS):
            quarter = list(found)
            part = self.parts.setdefault(codes[(start - span.start_ms) // QUARTER_MS], _Part())
            energy = sum(row.energy for row in quarter)
            guessed = [row.energy for row in quarter if row.quality >= Quality.ESTIMATED]
            part.energy += flow.sign * energy
            part.estimated += sum(guessed)
            measured = not guessed and all(row.closed for row in quarter)
            if measured and (part.peak is None or energy > part.peak[0]):
                part.peak = energy, start

    @property
    def missing(self) -> set[str]:
        """Meters with a total that has no row."""
        return {meter for (meter, _kind), silent in self.silent.items() if silent}

    def lines(self, sources: Sources) -> Iterator[PeriodEnergyOut]:
        """Dearest first."""
        whole = sum(part.energy for part in self.parts.values())
        for code in _ORDER:
            if (part := self.parts.get(code)) is None:
                continue
            period = CODES[code]
            zh, en = _NO_CALENDAR if period is None else PERIOD_LABELS[period]
            peak = part.peak if self.with_demand else None
            yield PeriodEnergyOut(
                period=period or "", label_zh=zh, label_en=en, energy_wh=part.energy, estimated_wh=part.estimated,
                share=part.energy / whole if whole else None,
                max_demand_w=None if peak is None else peak[0] * HOUR_MS // QUARTER_MS,
                max_demand_at=None if peak is None else iso(peak[1], sources.zone),
            )  # fmt: skip
