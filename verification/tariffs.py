"""Which calendar a meter's quarters follow in a month: from the registry of facts when it is closed, from the document afterwards."""

from collections.abc import Iterator, Sequence
from datetime import date
from itertools import groupby
from zoneinfo import ZoneInfo

from factors.table import VERIFIED_MARKS
from factors.tariffs import day_kinds, holidays, in_force, parsed, tariff_of
from metering.intervals import Span
from metering.periods import DayKind, Periods
from metering.tariff import Tariff, local_dates, period_codes
from storage.facts.state import Facts
from storage.facts.tariff import TariffFact
from verification.tariff_lines import TariffDay, TariffLine


def tariff_lines(
    facts: Facts, enterprises: Sequence[str], span: Span, zone: ZoneInfo
) -> tuple[TariffLine, ...]:
    """Every calendar in force on some day of a span, by enterprise, meter and day."""
    days = list(local_dates(span, zone))
    lines: list[TariffLine] = []
    for enterprise in enterprises:
        known = {fact.meter for fact in facts.of(TariffFact, enterprise)}
        for meter in sorted(known):
            lines += _lines(facts, enterprise, meter, days)
    return tuple(lines)


def _lines(facts: Facts, enterprise: str, meter: str, days: Sequence[date]) -> Iterator[TariffLine]:
    """Runs of days under one fact."""

    def chosen(day: date) -> TariffFact | None:
        fact = facts.in_force(TariffFact, enterprise, day, meter)
        return None if in_force(fact, day) is None else fact

    for fact, run in groupby(days, chosen):
        if fact is not None and (tariff := tariff_of(fact)) is not None:
            yield _line(fact, tariff, list(run))


def _line(fact: TariffFact, tariff: Tariff, days: Sequence[date]) -> TariffLine:
    kinds = tuple(_day(fact, tariff, day) for day in days) if tariff.periods.by_day else ()
    years = sorted({day.year for day in days}) if kinds else ()
    notices = [holidays().notices[year] for year in years if holidays().known(year)]
    return TariffLine(
        id=f"{fact.enterprise}/{fact.meter or '*'}/{days[0]}",
        enterprise=fact.enterprise,
        meter=fact.meter,
        first_day=days[0].isoformat(),
        last_day=days[-1].isoformat(),
        calendar=tariff.id,
        name_zh=tariff.name_zh,
        name_en=tariff.name_en,
        notice=tariff.notice,
        source=tariff.source,
        verified=tariff.verified,
        note=tariff.note,
        periods=tariff.periods.text,
        days=kinds,
        holiday_notice="；".join(source for source, _mark in notices),
        holiday_verified=max((mark for _source, mark in notices), key=VERIFIED_MARKS.index, default=""),
        holidays_known=not kinds or all(holidays().known(day.year) for day in days),
    )


def _day(fact: TariffFact, tariff: Tariff, day: date) -> TariffDay:
    kinds = day_kinds(fact, tariff, day)
    return TariffDay(day=day.isoformat(), kinds=tuple(kind.value for kind in kinds))


class Calendars:
    """The calendars of a month, asked by meter. A meter's own comes before that of its enterprise."""

    def __init__(self, lines: Sequence[TariffLine], span: Span, zone: ZoneInfo) -> None:
        self._span, self._zone = span, zone
        self._by_place: dict[tuple[str, str], list[TariffLine]] = {}
        for line in lines:
            self._by_place.setdefault((line.enterprise, line.meter), []).append(line)
        self._codes: dict[tuple[str, str], bytes | None] = {}

    def codes(self, enterprise: str, meter: str) -> bytes | None:
        """The code (metering.periods.CODES) of every quarter of the span; None without any calendar.

        ValueError, KeyError when a line is not what `tariff_lines` makes.
        """
        key = enterprise, meter if (enterprise, meter) in self._by_place else ""
        if key not in self._codes:
            self._codes[key] = self._drawn(key)
        return self._codes[key]

    def _drawn(self, key: tuple[str, str]) -> bytes | None:
        enterprise, meter = key
        found = [*self._by_place.get(key, ()), *(self._by_place.get((enterprise, ""), ()) if meter else ())]
        if not found:
            return None
        kinds = {line.id: {day.day: day.kinds for day in line.days} for line in found}

        def day_codes(day: date) -> bytes | None:
            name = day.isoformat()
            line = next((line for line in found if line.first_day <= name <= line.last_day), None)
            return None if line is None else _codes_of(parsed(line.periods), kinds[line.id], day)

        return period_codes(self._span, self._zone, day_codes)


def _codes_of(periods: Periods, kinds: dict[str, tuple[str, ...]], day: date) -> bytes:
    of_day = kinds[day.isoformat()] if periods.by_day else ()
    return periods.day(day.month, [DayKind(kind) for kind in of_day])
