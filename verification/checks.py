"""The checks of a month: each is a rule with a threshold, where the threshold comes from, and what was found."""

from collections.abc import Iterable, Sequence
from fractions import Fraction

from metering.intervals import MINUTE_MS
from metering.roles import Role
from storage.ledger import EventRow
from verification.completeness import MonthTotal, completeness, total_of
from verification.document import (
    CheckLine,
    CheckOutcome,
    EmissionLine,
    FactorLine,
    Outcome,
    ParentLine,
    count_text,
    half_up,
)

COMPLETE_OFFICIAL = Fraction(90, 100)
COMPLETE_TARGET = Fraction(98, 100)
EDGE_TOLERANCE_MS = MINUTE_MS
EDGE_LIMIT_MS = 24 * 60 * MINUTE_MS
UNMETERED_SHARE = Fraction(5, 100)
EVENTS_TO_EXPLAIN = frozenset({"pending_fall", "pending_rise", "transient_dropped", "conflicting_reading"})
"""Kinds of ledger events that a person has to explain; a late reading is none of them."""

_SOURCES = frozenset({Role.PV_GENERATION})
_WORST_FIRST: tuple[CheckOutcome, ...] = ("FAIL", "INSUFFICIENT_DATA", "FINDING", "PASS")
_MONTH: dict[CheckOutcome, Outcome] = {
    "FAIL": "FAIL", "INSUFFICIENT_DATA": "INSUFFICIENT_DATA", "FINDING": "PASS_WITH_FINDINGS", "PASS": "PASS",
    "NOT_DUE": "PASS",
}  # fmt: skip
_ONLINE_RULE = "重点用能单位能耗在线监测（完整率 ≥ 90%）；内部目标 98% ours"
_TIME_RULE = "在线监测时间边界：日 00:00 ± 1 min，月 1日 00:00 ± 1 d"
_OURS = "本系统规则 ours"


def worst(outcomes: Iterable[CheckOutcome]) -> CheckOutcome:
    """The outcome that decides; PASS when there is none. What is not due yet decides nothing."""
    found = set(outcomes)
    return next((outcome for outcome in _WORST_FIRST if outcome in found), "PASS")


def outcome_of(checks: Iterable[CheckLine]) -> Outcome:
    """What the checks together say about the month."""
    return _MONTH[worst(check.outcome for check in checks)]


def check_completeness(totals: Sequence[MonthTotal]) -> CheckLine:
    """V01: grid points read per meter; interpolated ones never count."""
    found = {total: completeness(total.rows, total.span) for total in totals}
    shares = {t: Fraction(c.points_read, c.points_expected) for t, c in found.items()}
    low = [t for t, share in shares.items() if share < COMPLETE_TARGET]
    lowest = min(shares.values(), default=Fraction(0))
    outcome: CheckOutcome = "FINDING" if low else "PASS"
    if not totals or any(total.behind for total in totals):
        outcome = "INSUFFICIENT_DATA"
    # A total that has not been read to the end may still become complete: it does not fail yet.
    if any(share < COMPLETE_OFFICIAL for total, share in shares.items() if not total.behind):
        outcome = "FAIL"
    return CheckLine(
        id="V01",
        title_zh="数据完整率（15分钟点）",
        title_en="Completeness of the 15-minute points",
        outcome=outcome,
        value=f"{_down(lowest * 100)} %",
        threshold="≥ 90 %；≥ 98 %",
        threshold_source=_ONLINE_RULE,
        detail_zh=f"{len(totals)} 个计量量，最低 {_down(lowest * 100)} %，{len(low)} 个低于 98 %；插补点不计入",
        detail_en=f"{len(totals)} totals, {len(low)} below 98 %; interpolated points never count",
        meters=_ids(low),
    )


def check_edges(totals: Sequence[MonthTotal]) -> CheckLine:
    """V03: a reading close to both month edges."""
    distances = {total: _edge_distance_ms(total) for total in totals}
    none = [t for t, distance in distances.items() if distance is None]
    late = [t for t, distance in distances.items() if distance is not None and distance > EDGE_TOLERANCE_MS]
    furthest = max((d for d in distances.values() if d is not None), default=0)
    outcome: CheckOutcome = "FINDING" if late else "PASS"
    if furthest > EDGE_LIMIT_MS:
        outcome = "FAIL"
    if none or not totals:
        outcome = "INSUFFICIENT_DATA"
    return CheckLine(
        id="V03",
        title_zh="月初、月末读数时刻",
        title_en="Readings at the month's edges",
        outcome=outcome,
        value=f"{half_up(Fraction(furthest, 1000), 1)} s",
        threshold="≤ 60 s",
        threshold_source=_TIME_RULE,
        detail_zh=f"{len(late)} 个计量量的读数距月界超过 60 s，{len(none)} 个无可夹逼的读数",
        detail_en=f"{len(late)} totals read more than 60 s from an edge, {len(none)} without readings around it",
        meters=_ids([*none, *late]),
    )


def _edge_distance_ms(total: MonthTotal) -> int | None:
    opening, closing = total.journal.opening, total.journal.closing
    if opening is None or closing is None:
        return None
    return max(opening.distance_ms, closing.distance_ms)


def check_monotonic(totals: Sequence[MonthTotal], events: Sequence[EventRow]) -> CheckLine:
    """V04: totals only rise; what fell or jumped has an explanation."""
    pending = [total for total in totals if total.pending]
    falling = [total for total in totals if any(row.energy < 0 for row in total.rows)]
    told = [event for event in events if event.kind in EVENTS_TO_EXPLAIN]
    odd = sorted({event.meter for event in told})
    outcome: CheckOutcome = "FINDING" if odd else "PASS"
    if falling:
        outcome = "FAIL"
    if pending:
        outcome = "INSUFFICIENT_DATA"
    kinds = ", ".join(sorted({event.kind for event in told})) or "—"
    return CheckLine(
        id="V04",
        title_zh="表底数单调、无待判事件",
        title_en="Totals rise, no pending event",
        outcome=outcome,
        value=f"{len(pending)} / {len(falling)} / {len(odd)}",
        threshold="0 / 0 / 0",
        threshold_source=_OURS,
        detail_zh=f"待判 {len(pending)}，下降 {len(falling)}，需说明的事件涉及 {len(odd)} 块表；事件：{kinds}",
        detail_en=f"pending {len(pending)}, falling {len(falling)}, meters with events to explain {len(odd)}: {kinds}",
        meters=tuple(dict.fromkeys([*_ids([*pending, *falling]), *odd])),
    )


def parent_lines(scope: Iterable[MonthTotal], everything: Iterable[MonthTotal]) -> tuple[ParentLine, ...]:
    """Each meter of a scope that has children: the sum of what flows into its node, out of it, and the rest.

    PV generation and what a child exports flow in, like the parent's own import.
    """
    electric = [total for total in everything if total.electric]
    names = {t.meter.id: t.meter.name for t in scope if t.electric}
    parents = [parent for parent in names if any(t.meter.parent == parent for t in electric)]
    return tuple(_parent_line(parent, names[parent], electric) for parent in parents)


def _parent_line(parent: str, name: str, electric: Sequence[MonthTotal]) -> ParentLine:
    own = [(t, not _is_export(t)) for t in electric if t.meter.id == parent and t.role not in _SOURCES]
    children = [(t, _is_export(t) or t.role in _SOURCES) for t in electric if t.meter.parent == parent]
    inflow = total_of(t.energy for t, flows_in in [*own, *children] if flows_in)
    outflow = total_of(t.energy for t, flows_in in [*own, *children] if not flows_in)
    rest = None if inflow is None or outflow is None else inflow - outflow
    return ParentLine(
        parent=parent,
        name=name,
        inflow_wh=count_text(inflow),
        outflow_wh=count_text(outflow),
        unmetered_wh=count_text(rest),
    )


def _is_export(total: MonthTotal) -> bool:
    return total.role is Role.EXPORT or total.reading_type == "energy_export_total"


def check_parents(parents: Sequence[ParentLine], *, export_exceeds_generation: bool) -> CheckLine:
    """V06: what the children measured against what their parent did."""
    shares = {line.parent: _unmetered_share(line) for line in parents}
    wide = [parent for parent, share in shares.items() if share is not None and abs(share) > UNMETERED_SHARE]
    unknown = [parent for parent, share in shares.items() if share is None]
    largest = max((abs(share) for share in shares.values() if share is not None), default=Fraction(0))
    outcome: CheckOutcome = "FINDING" if wide or export_exceeds_generation else "PASS"
    if unknown:
        outcome = "INSUFFICIENT_DATA"
    extra_zh = "；上网电量大于计量的光伏发电量" if export_exceeds_generation else ""
    extra_en = "; export exceeds metered PV generation" if export_exceeds_generation else ""
    return CheckLine(
        id="V06",
        title_zh="总表与分表平衡",
        title_en="Parent meters against their children",
        outcome=outcome,
        value=f"{half_up(largest * 100, 1)} %" if parents else "—",
        threshold="≤ 5 %",
        threshold_source=_OURS,
        detail_zh=f"{len(parents)} 块总表，{len(wide)} 块的未计量/损耗超过 5 %{extra_zh}",
        detail_en=f"{len(parents)} parents, {len(wide)} with more than 5 % unmetered{extra_en}",
        meters=(*wide, *unknown),
    )


def _unmetered_share(line: ParentLine) -> Fraction | None:
    if line.inflow_wh is None or line.unmetered_wh is None:
        return None
    inflow, rest = int(line.inflow_wh), int(line.unmetered_wh)
    if inflow == 0:
        return Fraction(0) if rest == 0 else Fraction(1)
    return Fraction(rest, inflow)


def check_factors(emissions: Sequence[EmissionLine], factors: Sequence[FactorLine]) -> CheckLine:
    """V10: every figure has an official factor."""
    missing = [line for line in emissions if line.factor_id is None]
    unofficial = [line for line in factors if line.verified == "unverified"]
    outcome: CheckOutcome = "FINDING" if missing or unofficial else "PASS"
    if any(line.primary for line in missing):
        outcome = "INSUFFICIENT_DATA"
    ids = ", ".join(line.factor_id for line in emissions if line.factor_id) or "—"
    reasons_zh = "；".join(line.missing_zh for line in missing)
    reasons_en = "; ".join(line.missing_en for line in missing)
    return CheckLine(
        id="V10",
        title_zh="排放因子存在且为官方发布值",
        title_en="An official factor exists",
        outcome=outcome,
        value=ids,
        threshold="exact",
        threshold_source="生态环境部、国家统计局公告",
        detail_zh=reasons_zh or f"{len(emissions)} 个口径均有因子，{len(unofficial)} 个未经核实",
        detail_en=reasons_en
        or f"a factor for each of {len(emissions)} figures, {len(unofficial)} unverified",
    )


def check_recomputed(totals: Sequence[MonthTotal]) -> CheckLine:
    """V16: the stored intervals equal the raw frames, to the base unit."""
    unknown = [total for total in totals if total.journal.energy is None or total.behind]
    unequal = [t for t in totals if t not in unknown and t.journal.energy != t.stored]
    outcome: CheckOutcome = "INSUFFICIENT_DATA" if unknown or not totals else "PASS"
    if unequal:
        outcome = "FAIL"
    equal = len(totals) - len(unequal) - len(unknown)
    return CheckLine(
        id="V16",
        title_zh="由原始报文重算与台账一致",
        title_en="Recomputed from raw frames = ledger",
        outcome=outcome,
        value=f"{equal} / {len(totals)}",
        threshold="exact",
        threshold_source=_OURS,
        detail_zh=f"各区间之和 = 表计：一致 {equal}，不一致 {len(unequal)}，无法重算 {len(unknown)}",
        detail_en=f"sum of intervals = meter: equal {equal}, unequal {len(unequal)}, not recomputable {len(unknown)}",
        meters=_ids([*unequal, *unknown]),
    )


def _ids(totals: Iterable[MonthTotal]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(total.meter.id for total in totals))


def _down(value: Fraction) -> str:
    """Two places, rounded down: 99.999 % is not 100 %."""
    return half_up(Fraction(int(value * 100), 100), 2)
