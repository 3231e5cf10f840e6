"""Substitutions (数据替代) as the month shows them: approved by a second person, and only where no meter accounts for the time.

Their energy stands beside what was measured and is added to nothing: a month's figures stay the meters' own.
"""

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from math import floor
from zoneinfo import ZoneInfo

from metering.dated import moment_ms
from metering.intervals import Span, iso
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
    for fact in found:
        own = Span(moment_ms(fact.start, zone), moment_ms(fact.end, zone))
        unmeasured = holes(fact.meter, fact.reading_type)
        if unmeasured is not None and span.start_ms <= own.start_ms < span.end_ms:
            yield _line(fact, approvals.get((fact.meter, fact.key)), own, unmeasured, zone)


def _line(
    fact: SubstitutionFact, approval: ApprovalFact | None, own: Span, holes: Sequence[Span], zone: ZoneInfo
) -> SubstitutionLine:
    refused = _refused(fact, approval, own, holes)
    zh, en = METHODS[fact.method]
    return SubstitutionLine(
        id=f"{fact.meter}/{fact.reading_type}/{fact.start.isoformat()}",
        meter=fact.meter,
        reading_type=fact.reading_type,
        start=iso(own.start_ms, zone),
        end=iso(own.end_ms, zone),
        amount=str(floor(Fraction(fact.energy) * UNITS[fact.unit].factor)),
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


def _refused(
    fact: SubstitutionFact, approval: ApprovalFact | None, own: Span, holes: Sequence[Span]
) -> tuple[str, str] | None:
    if approval is None:
        return "尚未复核", "not approved yet"
    if approval.substitution_sha256 != fact_digest(fact):
        return "复核后内容有变", "changed since it was approved"
    if approval.by == fact.by:
        return "编制与复核为同一人", "approved by who wrote it"
    if not any(hole.start_ms <= own.start_ms and own.end_ms <= hole.end_ms for hole in holes):
        # Energy from a later register reading is never estimated.
        return "该时段已有计量数据", "the time is measured"
    return None
