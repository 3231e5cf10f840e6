"""What the report says of each meter beside its energy: its record, its data quality, demand and power factor; and its events."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import isqrt
from zoneinfo import ZoneInfo

from metering.intervals import MINUTE_MS, iso
from metering.registry import Meter
from storage.facts.kinds import MeterFact
from storage.ledger import EventRow
from verification.accounting.books import Books
from verification.completeness import MonthTotal
from verification.document import ratio_text
from verification.lines import EventLine, MeterFacts
from verification.ratios import ratios_of

_QUARTERS_PER_HOUR = 4
IMPORTED = ("energy_import_total", "reactive_import_total")
EVENTS = {
    "pending_fall": ("表底下降待判", "fall, pending"),
    "pending_rise": ("异常上升待判", "rise, pending"),
    "transient_dropped": ("瞬时异常读数已剔除", "transient dropped"),
    "conflicting_reading": ("同一时刻读数矛盾", "conflicting readings"),
    "late_reading": ("迟到读数", "late reading"),
    "rollover": ("翻转", "roll-over"),
    "reset": ("表计清零", "reset"),
    "step_back": ("表底回退", "step back"),
    "exchange": ("换表", "meter exchanged"),
    "ratio_change": ("变比变更", "ratio changed"),
    "frozen": ("表计数据冻结", "registers frozen"),
    "frozen_ended": ("数据冻结结束", "registers move again"),
    "power_gap": ("功率缺测，未积分", "power not read, not integrated"),
    "power_implausible": ("功率超限已剔除", "implausible power left out"),
    "power_reversed": ("功率反向，按零计", "power reversed, counted as zero"),
    "missing_factor": ("排放因子缺失", "no emission factor"),
    "declared_factor_missing": ("申报因子缺失", "no declared factor"),
    "restated": ("区间已重算（迟到或更正的读数）", "intervals computed again"),
    "unexplained": ("换表待确认", "exchange to be confirmed"),
    "serial_changed": ("换表待确认（出厂编号变化）", "serial number changed, exchange to be confirmed"),
}
"""Kinds of ledger events that a report names → (Chinese, English); others are shown by their kind."""


def meter_facts(books: Books, totals: Sequence[MonthTotal], zone: ZoneInfo) -> tuple[MeterFacts, ...]:
    """One line per meter, in the registry's order."""
    by_meter: dict[str, list[MonthTotal]] = defaultdict(list)
    for total in totals:
        by_meter[total.meter.id].append(total)
    plans = {plan.parameter: plan.missing_data for e in books.enterprises for plan in books.plan(e)}
    return tuple(
        _of_meter(books, meter, mine, plans.get(meter, ""), zone) for meter, mine in by_meter.items()
    )


def _of_meter(
    books: Books, meter: str, totals: Sequence[MonthTotal], method: str, zone: ZoneInfo
) -> MeterFacts:
    record = books.meter(meter)
    by_type = {total.reading_type: total for total in totals}
    active, reactive = (by_type.get(name) for name in IMPORTED)
    peak = active.summary.peak if active else None
    gaps = [total.summary.longest_gap for total in totals]
    longest = max((gap.end_ms - gap.start_ms for gap in gaps if gap is not None), default=0)
    return MeterFacts(
        meter=meter,
        serial=record.serial if record else "",
        model=record.model if record else "",
        accuracy_class=record.accuracy_class if record else "",
        calibrated_on=_day(record.calibrated_on if record else None),
        calibrated_until=_day(record.calibrated_until if record else None),
        ratio_proof=_proof(record, totals[0].meter),
        applied_ratios=_ratios(totals, zone),
        longest_gap_minutes=longest // MINUTE_MS,
        missing_method=method,
        max_demand_w=None if peak is None else str(peak.energy * _QUARTERS_PER_HOUR),
        max_demand_at="" if peak is None else iso(peak.start_ms, zone),
        power_factor=power_factor(active.energy, reactive.energy) if active and reactive else None,
    )


def _proof(record: MeterFact | None, meter: Meter) -> str:
    """By the record, or where it has no ratio by what the commissioning sheet put into the park's file (as V09)."""
    if record is not None and (record.ct is not None or record.pt is not None):
        return record.ratio_proof
    return meter.ratio_proof or ""


def _ratios(totals: Sequence[MonthTotal], zone: ZoneInfo) -> tuple[str, ...]:
    electric = next((total for total in totals if total.electric), None)
    if electric is None:
        return ()
    return tuple(
        ratio_text(ratio) for ratio in ratios_of(electric.meter, electric.reading_type, electric.span, zone)
    )


def _day(day: object) -> str:
    return "" if day is None else str(day)


def power_factor(active: int | None, reactive: int | None) -> str | None:
    """|P|/√(P²+Q²) of the month, 2 places half up, exactly; (83)水电财字第215号."""
    if active is None or reactive is None or (active, reactive) == (0, 0):
        return None
    square = active * active + reactive * reactive
    # Half up is ⌊(x + 1) / 2⌋ of x = 200 cos φ, and only ⌊x⌋ counts.
    n = (isqrt((200 * abs(active)) ** 2 // square) + 1) // 2
    return f"{n // 100}.{n % 100:02d}"


def event_lines(events: Iterable[EventRow], zone: ZoneInfo) -> tuple[EventLine, ...]:
    """Events by meter and kind."""
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for event in events:
        groups[event.meter, event.kind].append(event.t_ms)
    return tuple(_event_line(meter, kind, times, zone) for (meter, kind), times in sorted(groups.items()))


def _event_line(meter: str, kind: str, times: list[int], zone: ZoneInfo) -> EventLine:
    zh, en = EVENTS.get(kind, (kind, kind))
    return EventLine(
        id=f"{meter}/{kind}",
        meter=meter,
        kind=kind,
        label_zh=zh,
        label_en=en,
        count=len(times),
        first_at=iso(min(times), zone),
        last_at=iso(max(times), zone),
    )
