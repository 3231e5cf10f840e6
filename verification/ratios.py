"""Which transformer ratios were applied to a total over a span of time."""

from fractions import Fraction
from zoneinfo import ZoneInfo

from metering.dated import declared_total
from metering.intervals import Span
from metering.registry import Meter


def ratios_in(meter: Meter, reading_type: str, span: Span, zone: ZoneInfo) -> frozenset[Fraction]:
    """Every ratio (CT × PT) that a reading of the span is multiplied by."""
    return frozenset(ratios_of(meter, reading_type, span, zone))


def ratios_of(meter: Meter, reading_type: str, span: Span, zone: ZoneInfo) -> tuple[Fraction, ...]:
    """The same in time order."""
    segments = declared_total(meter, reading_type, zone).segments
    ends = [segment.since_ms for segment in segments[1:]]
    return tuple(
        segment.ratio
        for segment, end in zip(segments, [*ends, span.end_ms], strict=True)
        if segment.since_ms < span.end_ms and end > span.start_ms
    )
