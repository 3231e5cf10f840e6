"""The balance of a total that is integrated from power: the month's integral straight from the journal, in fractions.

Independent of `stream/` like the rest of the balance. The ledger carries the parts of a Wh from before the month on, so its
figure may lie on either side of the exact one by less than a Wh; anything further is a difference.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor
from typing import NamedTuple
from zoneinfo import ZoneInfo

from metering.dated import DeclaredTotal, declared_total
from metering.frames import PROPERTY_SIGN
from metering.intervals import Span
from metering.reading_types import INTEGRATED
from metering.registry import Meter
from metering.sparkplug import decode
from storage.journal import StoredFrame
from verification.balance import Declared, Frames, JournalMonth, declared_of, is_said, raw_value, read_edge
from verification.intervals import Summary, on_quarters

_GAUGE = {total: gauge for gauge, total in INTEGRATED.items()}
_MW_MS_PER_WH = 3_600_000_000
_MARGIN = Fraction(11, 10)
_FRAME_MS = 60_000
"""A frame bears the time of its last block; its other blocks are no more than this older (ours)."""


@dataclass(frozen=True, slots=True)
class IntegralMonth(JournalMonth):
    """A month of an integrated total. Its edges show the powers read around them."""

    opened: int = 0
    """Where the ledger stood at the month's start: powers alone do not tell."""
    measured: int = 0
    """Wh of all that was integrated."""
    gaps: tuple[Span, ...] = ()
    """Between powers too far apart: nobody knows what flowed there."""
    holes: tuple[Span, ...] = ()
    """The quarter hours of the month that gaps reach into."""

    def lacks(self, span: Span) -> bool:
        """Whether a gap reaches into a span."""
        return any(gap.start_ms < span.end_ms and gap.end_ms > span.start_ms for gap in self.gaps)

    def unmeasured(self, holes: Sequence[Span]) -> Sequence[Span]:  # noqa: ARG002  gaps tell, not intervals
        """The quarter hours that gaps reach into. What was integrated of these is measured, and not the substitution's."""
        return self.holes

    @property
    def opening_position(self) -> int | None:
        """Base units at the month's start."""
        return None if self.opening is None else self.opened

    @property
    def closing_position(self) -> int | None:
        """Base units at the month's end."""
        return None if self.closing is None or self.gaps else self.opened + self.measured


class _Power(NamedTuple):
    t_ms: int
    mw: int
    """As the meter says it, under the ratio of its time."""
    sign: int
    grain: int
    """One count, rounded up."""


def read_integral(
    journal: Frames, meter: Meter, reading_type: str, month: Span, zone: ZoneInfo, stored: Summary
) -> IntegralMonth:
    """The powers around both edges of a month, and the integral between the edges beside what the ledger has of it."""
    opening, closing = (read_edge(journal, meter, _GAUGE[reading_type], at, zone) for at in month)
    dated = declared_total(meter, _GAUGE[reading_type], zone)
    exact, gaps = integral(sorted(_powers(journal, meter, _GAUGE[reading_type], dated, month)), meter, month)
    measured = stored.energy if abs(exact - stored.energy) < 1 else floor(exact)
    told = sorted(gaps)
    holes = tuple(on_quarters(told, month))
    return IntegralMonth(
        opening, closing, opened=stored.opening, measured=measured, gaps=tuple(told), holes=holes
    )


def integral(powers: list[_Power], meter: Meter, span: Span) -> tuple[Fraction, list[Span]]:
    """(Wh between the edges of a span, gaps in it): the mean of two powers × time, of those that lie close enough together."""
    counting = [(p.t_ms, max(p.mw * p.sign, 0)) for p in _counting(powers, meter)]
    found = Fraction(0)
    first, last = (counting[0][0], counting[-1][0]) if counting else (span.end_ms, span.end_ms)
    outside = [Span(span.start_ms, first), Span(last, span.end_ms)]
    gaps = [part for part in outside if part.start_ms < part.end_ms]
    for (t0, before), (t1, after) in pairwise(counting):
        within = min(t1, span.end_ms) - max(t0, span.start_ms)
        if within <= 0:
            continue
        if t1 - t0 <= meter.power_gap_s * 1000:
            found += Fraction(before + after, 2) * within
        else:
            gaps.append(Span(t0, t1))
    return found / _MW_MS_PER_WH, gaps


def _counting(powers: list[_Power], meter: Meter) -> Iterator[_Power]:
    """Of several at one time the smallest, unless the meter cannot carry it."""
    last = -1
    for power in powers:
        if power.t_ms == last:
            continue
        last = power.t_ms
        most = None if meter.max_power_w is None else _MARGIN * meter.max_power_w * 1000 + power.grain
        if most is None or abs(power.mw) <= most:
            yield power


def _powers(journal: Frames, meter: Meter, gauge: str, dated: DeclaredTotal, span: Span) -> Iterator[_Power]:
    """Every power read in a span and shortly around it."""
    declared: dict[int, tuple[tuple[Declared, int], ...]] = {}
    around = meter.power_gap_s * 1000 + _FRAME_MS
    for frame in journal.frames(meter.gateway, meter.id, span.start_ms - around, span.end_ms + around):
        if frame.epoch not in declared:
            births = journal.births(meter.gateway, meter.id, frame.epoch)
            known = ((declared_of(birth, gauge), _sign(birth, gauge)) for birth in births)
            declared[frame.epoch] = tuple(
                dict.fromkeys((item, sign) for item, sign in known if item is not None)
            )
        yield from _in_frame(frame, declared[frame.epoch], gauge, dated)


def _in_frame(
    frame: StoredFrame, known: tuple[tuple[Declared, int], ...], gauge: str, dated: DeclaredTotal
) -> Iterator[_Power]:
    for metric in decode(frame.payload).metrics:
        for declared, sign in known:
            if not is_said(metric, declared, gauge):
                continue
            raw = raw_value(metric, declared.datatype)
            if raw is not None:
                t_ms = frame.t_ms if metric.timestamp is None else metric.timestamp
                yield _power(t_ms, raw, declared, sign, dated.ratio_at(t_ms))
            break


def _power(t_ms: int, raw: float, declared: Declared, sign: int, ratio: Fraction) -> _Power:
    """A float is rounded to whole mW on the meter's own side, then the ratio applies."""
    milliwatts = 1000 * declared.base_per_raw
    if isinstance(raw, int):
        return _Power(t_ms, floor(raw * milliwatts * ratio), sign, ceil(milliwatts * ratio))
    return _Power(t_ms, floor(round(raw * float(milliwatts)) * ratio), sign, ceil(ratio))


def _sign(birth: StoredFrame, gauge: str) -> int:
    said = (m.properties or {} for m in decode(birth.payload).metrics if m.name == gauge)
    return -1 if next(said, {}).get(PROPERTY_SIGN) == -1 else 1
