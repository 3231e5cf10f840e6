"""Substitutions (数据替代) as the month shows them: approved by a second person, and only where no meter accounts for the time.

Measured + substituted = reported (数据替代 beside 计量, each its own line). Accounts rest on what is reported; no frame, interval,
register or balance knows of a substitution.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from fractions import Fraction
from math import floor
from zoneinfo import ZoneInfo

from metering.dated import moment_ms
from metering.intervals import Span, iso, to_ms
from metering.reading_types import READING_TYPES
from metering.units import UNITS
from storage.facts.state import Facts
from storage.facts.substitution import METHODS, ApprovalFact, SubstitutionFact
from storage.registry import fact_digest
from verification.substitution_line import SubstitutionLine

Holes = Callable[[str, str], Sequence[Span] | None]
"""(meter, reading type) → what no closed interval covers; None for a total that the scope does not have."""


def substitution_lines(
    facts: Facts, span: Span, zone: ZoneInfo, holes: Holes
) -> tuple[SubstitutionLine, ...]:
    """Every substitution that begins in the span, of the totals that the scope has."""
    return tuple(_lines(facts, span, zone, holes))


def _lines(facts: Facts, span: Span, zone: ZoneInfo, holes: Holes) -> Iterator[SubstitutionLine]:
    approvals = {(a.meter, a.key): a for a in facts.of(ApprovalFact)}
    found = sorted(facts.of(SubstitutionFact), key=lambda fact: (fact.meter, fact.reading_type, fact.start))
    taken: dict[tuple[str, str], int] = {}
    for fact in found:
        key = fact.meter, fact.reading_type
        own = Span(moment_ms(fact.start, zone), moment_ms(fact.end, zone))
        unmeasured = holes(*key)
        if unmeasured is None or not span.start_ms <= own.start_ms < span.end_ms:
            continue
        refused = (
            _unsigned(fact, approvals.get((fact.meter, fact.key)))
            or _out_of_place(own, span, unmeasured, taken.get(key, span.start_ms))
            or _other_unit(fact)
        )
        if refused is None:
            taken[key] = own.end_ms
        yield _line(fact, approvals.get((fact.meter, fact.key)), own, refused, zone)


def _line(
    fact: SubstitutionFact,
    approval: ApprovalFact | None,
    own: Span,
    refused: tuple[str, str] | None,
    zone: ZoneInfo,
) -> SubstitutionLine:
    zh, en = METHODS[fact.method]
    return SubstitutionLine(
        id=f"{fact.meter}/{fact.reading_type}/{fact.start.isoformat()}",
        meter=fact.meter,
        reading_type=fact.reading_type,
        start=iso(own.start_ms, zone),
        end=iso(own.end_ms, zone),
        amount=str(floor(Fraction(fact.energy) * UNITS[fact.unit].factor)),
        unit=UNITS[fact.unit].base,
        method_zh=zh,
        method_en=en,
        reason=fact.reason,
        evidence_sha256=fact.evidence_sha256,
        author=fact.by,
        approver=approval.by if approval is not None else "",
        accepted=refused is None,
        refused_zh=refused[0] if refused else "",
        refused_en=refused[1] if refused else "",
    )


def _unsigned(fact: SubstitutionFact, approval: ApprovalFact | None) -> tuple[str, str] | None:
    if approval is None:
        return "尚未复核", "not approved yet"
    if approval.substitution_sha256 != fact_digest(fact):
        return "复核后内容有变", "changed since it was approved"
    if approval.by == fact.by:
        return "编制与复核为同一人", "approved by who wrote it"
    return None


def _out_of_place(
    own: Span, month: Span, holes: Sequence[Span], taken_until_ms: int
) -> tuple[str, str] | None:
    if own.end_ms > month.end_ms:
        return "跨月：请按月分列", "reaches beyond the month: write one for each month"
    if own.start_ms < taken_until_ms:
        return "与另一条替代重叠", "overlaps another substitution"
    if not any(hole.start_ms <= own.start_ms and own.end_ms <= hole.end_ms for hole in holes):
        # Energy from a later register reading is never estimated.
        return "该时段已有计量数据", "the time is measured"
    return None


def _other_unit(fact: SubstitutionFact) -> tuple[str, str] | None:
    if UNITS[fact.unit].base != READING_TYPES[fact.reading_type].unit:
        return "单位与计量量不符", "in a unit that the total does not have"
    return None


def accepted_amount(lines: Iterable[SubstitutionLine]) -> int:
    """Base units of those that count, of one total."""
    return sum(int(line.amount) for line in lines if line.accepted)


def fills(lines: Iterable[SubstitutionLine], holes: Sequence[Span]) -> bool:
    """Whether those of one total that count stand for every hole, and there is one. They are in order and never overlap."""
    covered: list[Span] = []
    for line in lines:
        if line.accepted:
            own = Span(*(to_ms(datetime.fromisoformat(text)) for text in (line.start, line.end)))
            if covered and covered[-1].end_ms == own.start_ms:
                own = Span(covered.pop().start_ms, own.end_ms)
            covered.append(own)
    return bool(holes) and covered == list(holes)
