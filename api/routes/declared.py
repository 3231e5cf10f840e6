"""Electricity by declared factors: 15 minutes, hours, days and months, one part per factor."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Annotated

from fastapi import APIRouter, Query

from api.access import require
from api.declared_models import DeclaredOut, DeclaredPartOut, DeclaredRow, SeriesOut
from api.inventory import Flow
from api.queries import group
from api.rights import Permission
from api.routes.periods import Whose, terms_of
from api.sources import Sources, SourcesDep
from api.times import FromQuery, Size, SizeQuery, ToQuery, buckets, check_cost, parse_range
from factors.series import MISSING, Counted, Declared, Part, Series, series_of
from metering.intervals import MINUTE_MS, Span, iso
from metering.quality import Quality
from storage.facts.series import SeriesFact
from storage.ledger import IntervalRow

router = APIRouter(tags=["readings"])


@router.get(
    "/declared", summary="Electricity by declared factors", dependencies=[require(Permission.DATA_VIEW)]
)
def declared(
    sources: SourcesDep,
    *,
    by: Annotated[Whose, Query(description="What to sum by.")],
    id: Annotated[str, Query(max_length=64, description="Its id.")],
    start: FromQuery = None,
    end: ToQuery = None,
    size: SizeQuery = Size.HOUR,
    reading_type: Annotated[str, Query(description="For a meter: the total.")] = "energy_import_total",
) -> DeclaredOut:
    """Energy and emission by the factor series that the enterprise declared (contract, grid intensity), one part per factor.

    An enterprise follows its boundary formula. Where nothing is declared there is a part without a factor, and no sum.
    """
    span = parse_range(start, end, size, sources.zone, sources.clock())
    name, owner, terms = terms_of(sources, by, id, reading_type, span)
    check_cost(span, len({flow for _part, found in terms for flow in found}))
    series = series_of(sources.facts().of(SeriesFact, owner), span)
    spans = buckets(span, size, sources.zone)
    sums = _Sums(Declared(series, span), spans)
    with sources.ledger() as ledger:
        for part, found in terms:
            for flow in found:
                sums.take(ledger.intervals(*flow.key, *part), flow)
    return DeclaredOut(
        by=by.value, id=id, name=name, size=size.value, zone=sources.park.zone,
        start=iso(span.start_ms, sources.zone), end=iso(span.end_ms, sources.zone),
        series=[_series(sources, one) for one in series], rows=list(sums.rows(sources)),
    )  # fmt: skip


def _series(sources: Sources, one: Series) -> SeriesOut:
    return SeriesOut(
        id=one.id, meter=one.meter, basis=one.basis, label=one.label, source=one.source, document_sha256=one.document_sha256,
        declared_by=one.declared_by, start=iso(one.start_ms, sources.zone), end=iso(one.end_ms, sources.zone),
        step_minutes=one.step_ms // MINUTE_MS,
    )  # fmt: skip


@dataclass(slots=True)
class _Row:
    parts: dict[int, Part] = field(default_factory=dict)
    closed: bool = True
    meters: set[str] = field(default_factory=set)

    def add(self, parts: Mapping[int, Part], flow: Flow) -> None:
        """A total's parts; estimates are counted, whatever the sign."""
        self.meters.add(flow.meter)
        for code, part in parts.items():
            mine = self.parts.setdefault(code, Part())
            mine.energy += flow.sign * part.energy
            mine.estimated += part.estimated
            more = part.emission_ug
            mine.emission_ug = None if more is None else (mine.emission_ug or 0) + flow.sign * more


@dataclass(slots=True)
class _Sums:
    """What totals come to by interval and factor."""

    declared: Declared
    spans: list[Span]
    found: dict[int, _Row] = field(default_factory=lambda: defaultdict(_Row))
    """By the number of the interval."""
    meters: set[str] = field(default_factory=set)

    def take(self, rows: list[IntervalRow], flow: Flow) -> None:
        """The rows of one total."""
        self.meters.add(flow.meter)
        for index, some in group(rows, self.spans).items():
            counted = (
                Counted(r.start_ms, r.opening, r.closing, r.quality >= Quality.ESTIMATED) for r in some
            )
            self.found[index].add(self.declared.parts(counted, flow.meter), flow)
            self.found[index].closed &= all(row.closed for row in some)

    def rows(self, sources: Sources) -> Iterator[DeclaredRow]:
        """In time order; intervals without any stored row are absent."""
        for index, row in sorted(self.found.items()):
            span, emissions = self.spans[index], [part.emission_ug for part in row.parts.values()]
            known = [emission for emission in emissions if emission is not None]
            yield DeclaredRow(
                start=iso(span.start_ms, sources.zone), end=iso(span.end_ms, sources.zone), start_ms=span.start_ms,
                end_ms=span.end_ms, energy_wh=sum(part.energy for part in row.parts.values()),
                emission_ug=sum(known) if len(known) == len(emissions) else None,
                parts=[self._part(code, part) for code, part in sorted(row.parts.items())], closed=row.closed,
                missing_meters=sorted(self.meters - row.meters),
            )  # fmt: skip

    def _part(self, code: int, part: Part) -> DeclaredPartOut:
        factor = None if code == MISSING else self.declared.factors[code]
        return DeclaredPartOut(
            series=factor.series if factor else "", factor_kg_per_kwh=factor.value_text if factor else "",
            factor_ug_per_wh=str(Fraction(factor.num, factor.den)) if factor else None,
            energy_wh=part.energy, estimated_wh=part.estimated, emission_ug=part.emission_ug,
        )  # fmt: skip
