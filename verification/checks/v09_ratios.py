"""V09: the transformer ratios applied are those of the meter's record, and proven."""

from collections.abc import Iterable
from fractions import Fraction

from metering.registry import Meter
from verification.checks.case import Case, Rule
from verification.document import CheckLine, CheckOutcome
from verification.lines import Evidence
from verification.ratios import ratios_in

RULE = Rule(
    "V09", "互感器变比与台账一致", "Transformer ratios equal the record", "blocking",
    "CT × PT applied = CT × PT of the meter's record, over the month", ("V09",),
)  # fmt: skip


def check(case: Case) -> CheckLine:
    """FAIL when one differs, FINDING when it is not in the record or nothing proves it (变比未证实)."""
    applied = {
        t.meter.id: (t.meter, ratios_in(t.meter, t.reading_type, case.span, case.zone))
        for t in case.meters
        if t.electric
    }
    behind = {name: found for name, found in applied.items() if found[1] != {1} or _recorded(case, name)}
    differing = [
        name
        for name, (_meter, ratios) in behind.items()
        if _recorded(case, name) not in ((), tuple(sorted(ratios)))
    ]
    unproven = [
        name for name, (meter, _r) in behind.items() if name not in differing and not _proven(case, meter)
    ]
    outcome: CheckOutcome = "FINDING" if unproven else "PASS"
    if differing:
        outcome = "FAIL"
    equal = len(behind) - len(differing) - len(unproven)
    return RULE.line(
        outcome,
        f"{equal} / {len(behind)}",
        f"{len(behind)} 块表经互感器：一致且有证明 {equal}，不一致 {len(differing)}，变比未证实 {len(unproven)}",
        f"{len(behind)} meters behind transformers: {equal} equal and proven, {len(differing)} different, {len(unproven)} unproven",
        meters=[*differing, *unproven],
        inputs={"behind_transformers": len(behind)},
        evidence=[
            Evidence(meter=name, found=_shown(behind[name][1]), expected=_shown(_recorded(case, name)) or "—")
            for name in [*differing, *unproven]
        ],
    )


def _recorded(case: Case, meter: str) -> tuple[Fraction, ...]:
    """CT × PT of every record in force on some day of the month that has one."""
    states = [
        state for state in case.books.meter_states(meter) if state.ct is not None or state.pt is not None
    ]
    return tuple(sorted({Fraction(state.ct or 1) * Fraction(state.pt or 1) for state in states}))


def _proven(case: Case, meter: Meter) -> bool:
    """By the record, or where there is none by what the commissioning sheet put into the park's file."""
    if not _recorded(case, meter.id):
        return meter.ratio_proof is not None
    return all(state.ratio_proof for state in case.books.meter_states(meter.id))


def _shown(ratios: Iterable[Fraction]) -> str:
    return "；".join(str(ratio) for ratio in sorted(ratios))
