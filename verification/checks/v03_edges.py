"""V03: a reading close to both month edges."""

from fractions import Fraction

from verification.checks.case import Case, Rule, ids
from verification.checks.thresholds import limit
from verification.completeness import MonthTotal
from verification.document import CheckLine, CheckOutcome, half_up
from verification.lines import Evidence

RULE = Rule(
    "V03", "月初、月末读数时刻", "Readings at the month's edges", "major",
    "distance of the nearest reading from each edge, per total; the largest decides", ("V03_day", "V03_month"),
)  # fmt: skip
_MS = 1000


def check(case: Case) -> CheckLine:
    """FINDING beyond a minute or where a substitution reaches the edge, FAIL beyond a day, INSUFFICIENT_DATA without either."""
    distances = {total: _distance_ms(total) for total in case.meters}
    none = [t for t, distance in distances.items() if distance is None and not t.filled]
    filled = [t for t, distance in distances.items() if distance is None and t.filled]
    late = [
        t for t, distance in distances.items() if distance is not None and distance > limit("V03_day") * _MS
    ]
    furthest = max((d for d in distances.values() if d is not None), default=0)
    outcome: CheckOutcome = "FINDING" if late or filled else "PASS"
    if furthest > limit("V03_month") * _MS:
        outcome = "FAIL"
    if none or not distances:
        outcome = "INSUFFICIENT_DATA"
    return RULE.line(
        outcome,
        f"{half_up(Fraction(furthest, _MS), 1)} s",
        f"{len(late)} 个计量量的读数距月界超过 60 s，{len(none)} 个无可夹逼的读数，{len(filled)} 个的月界由数据替代补足",
        f"{len(late)} totals read more than 60 s from an edge, {len(none)} without readings around it, "
        f"{len(filled)} with a substitution there",
        meters=ids([*none, *late, *filled]),
        inputs={
            "totals": len(distances),
            "late": len(late),
            "not_enclosed": len(none),
            "substituted": len(filled),
        },
        evidence=[_evidence(total) for total in late],
    )


def _distance_ms(total: MonthTotal) -> int | None:
    opening, closing = total.journal.opening, total.journal.closing
    if opening is None or closing is None:
        return None
    return max(opening.distance_ms, closing.distance_ms)


def _evidence(total: MonthTotal) -> Evidence:
    """The edge that is further from its readings, and the frame before it."""
    edges = [edge for edge in (total.journal.opening, total.journal.closing) if edge is not None]
    worst = max(edges, key=lambda edge: edge.distance_ms)
    return Evidence(
        meter=total.meter.id,
        reading_type=total.reading_type,
        start_ms=worst.before.t_ms,
        end_ms=worst.after.t_ms,
        segment=worst.before.segment,
        index=worst.before.index,
        found=f"{worst.distance_ms} ms",
        expected="60000 ms",
    )
