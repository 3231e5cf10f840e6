"""Readings and intervals of single meters."""

from typing import Annotated

from fastapi import APIRouter, Query

from api.access import require
from api.errors import invalid
from api.frames import FrameOut, frames_of
from api.models import IntervalOut, IntervalsOut, ReadingOut
from api.queries import group
from api.rights import Permission
from api.sources import Sources, SourcesDep
from api.times import DAY_MS, FromQuery, Size, SizeQuery, ToQuery, buckets, parse_range
from metering.i18n import _
from metering.intervals import QUARTER_MS, Span, iso
from metering.quality import Quality
from metering.reading_types import READING_TYPES, Kind, ReadingType
from storage.ledger import IntervalRow, LatestRow

router = APIRouter(tags=["readings"])

MeterQuery = Annotated[str, Query(description="Meter id.")]


def total_type(reading_type: str) -> ReadingType:
    """The total of that name, or 422."""
    found = READING_TYPES.get(reading_type)
    if found is None or found.kind is not Kind.TOTAL:
        names = ", ".join(name for name, item in READING_TYPES.items() if item.kind is Kind.TOTAL)
        raise invalid(
            "reading_type", _("{name!r} is not a total: use {names}").format(name=reading_type, names=names)
        )
    return found


@router.get("/readings/latest", summary="Latest readings", dependencies=[require(Permission.DATA_VIEW)])
def latest(
    sources: SourcesDep, meter: Annotated[str | None, Query(description="Only this meter.")] = None
) -> list[ReadingOut]:
    """The newest reading of every type, of all meters or one."""
    if meter is not None:
        sources.meter(meter)
    with sources.ledger() as ledger:
        rows = ledger.latest()
    if meter is not None or not sources.scope.park:
        shown = {item.id for item in sources.park.meters if meter in (None, item.id)}
        rows = [row for row in rows if row.meter in shown]
    return [_reading(sources, row) for row in rows if row.reading_type in READING_TYPES]


def _reading(sources: Sources, row: LatestRow) -> ReadingOut:
    kind = READING_TYPES[row.reading_type]
    return ReadingOut(
        meter=row.meter, reading_type=kind.name, label_zh=kind.label_zh, label_en=kind.label_en, t_ms=row.t_ms,
        t=iso(row.t_ms, sources.zone), value=row.value, unit=kind.unit, received_ms=row.received_ms,
    )  # fmt: skip


@router.get("/frames", summary="Readings as they were received", dependencies=[require(Permission.DATA_VIEW)])
def frames(
    sources: SourcesDep, *, meter: MeterQuery, start: FromQuery = None, end: ToQuery = None
) -> list[FrameOut]:
    """A meter's frames of at most a day, straight from the journal: raw values as the meter said them, at most 2,000 frames.

    No ratio is applied and nothing is judged: these are the readings that every figure is made of, each with its place in the journal.
    """
    found = sources.meter(meter)
    span = parse_range(start, end, Size.QUARTER, sources.zone, sources.clock())
    if span.end_ms - span.start_ms > DAY_MS:
        raise invalid("to", _("frames of at most one day are returned at once"))
    with sources.journal() as journal:
        return frames_of(journal, found, span, sources.zone)


@router.get("/intervals", summary="Intervals of a meter", dependencies=[require(Permission.DATA_VIEW)])
def intervals(
    sources: SourcesDep,
    *,
    meter: MeterQuery,
    reading_type: Annotated[str, Query(description="A total.")] = "energy_import_total",
    start: FromQuery = None,
    end: ToQuery = None,
    size: SizeQuery = Size.QUARTER,
) -> IntervalsOut:
    """Energy, emission and coverage per interval, newest revision. At most 10 000 intervals at once."""
    sources.meter(meter)
    kind = total_type(reading_type)
    span = parse_range(start, end, size, sources.zone, sources.clock())
    with sources.ledger() as ledger:
        rows = ledger.intervals(meter, reading_type, *span)
    found = _quarters(sources, rows) if size is Size.QUARTER else _sums(sources, rows, span, size)
    return IntervalsOut(
        meter=meter, reading_type=reading_type, unit=kind.unit, size=size.value, zone=sources.park.zone,
        start=iso(span.start_ms, sources.zone), end=iso(span.end_ms, sources.zone),
        missing=_missing(rows, span, sources.clock()), intervals=found,
    )  # fmt: skip


def _quarters(sources: Sources, rows: list[IntervalRow]) -> list[IntervalOut]:
    return [_interval(sources, [row], Span(row.start_ms, row.end_ms), missing=0) for row in rows]


def _sums(sources: Sources, rows: list[IntervalRow], span: Span, size: Size) -> list[IntervalOut]:
    spans = buckets(span, size, sources.zone)
    now_ms = sources.clock()
    return [
        _interval(sources, found, spans[index], _missing(found, spans[index], now_ms))
        for index, found in group(rows, spans).items()
    ]


def _missing(rows: list[IntervalRow], span: Span, now_ms: int) -> int:
    expected = max(min(span.end_ms, now_ms) - span.start_ms + QUARTER_MS - 1, 0) // QUARTER_MS
    stored = len({row.start_ms // QUARTER_MS for row in rows})
    return max(expected - stored, 0)


def _interval(sources: Sources, rows: list[IntervalRow], span: Span, missing: int) -> IntervalOut:
    emissions = [row.emission_ug for row in rows if row.emission_ug is not None]
    return IntervalOut(
        start=iso(span.start_ms, sources.zone), end=iso(span.end_ms, sources.zone),
        start_ms=span.start_ms, end_ms=span.end_ms, part=rows[0].part,
        revision=max(row.revision for row in rows),
        opening=rows[0].opening, closing=rows[-1].closing, energy=sum(row.energy for row in rows),
        emission_ug=sum(emissions) if len(emissions) == len(rows) else None,
        factor_ids=sorted({row.factor_id for row in rows if row.factor_id is not None}),
        coverage_ms=sum(row.coverage_ms for row in rows), edge_reads=sum(row.edge_read for row in rows),
        rows=len(rows), missing=missing,
        quality=Quality(max(row.quality for row in rows)).name.lower(),
        closed=all(row.closed for row in rows),
    )  # fmt: skip
