"""V09: the transformer ratios applied are those of the meter's record, and proven."""

from collections.abc import Iterator
from fractions import Fraction

from metering.registry import Meter
from verification.checks.case import Case, Rule
from verification.document import CheckLine, CheckOutcome
from verification.lines import Evidence

RULE = Rule(
    "V09", "互感器变比与台账一致", "Transformer ratios equal the record", "blocking",
    "CT and PT applied = CT and PT of the meter's record, every day of the month", ("V09",),
)  # fmt: skip


def check(case: Case) -> CheckLine:
    """FAIL when one differs, FINDING when it is not in the record or nothing proves it (变比未证实)."""
    meters = {total.meter.id: total.meter for total in case.meters if total.electric}
    behind = {
        name: meter for name, meter in meters.items() if meter.ct * meter.pt != 1 or _recorded(case, meter)
    }
    differing = [name for name, meter in behind.items() if _differs(case, meter)]
    unproven = [name for name, meter in behind.items() if name not in differing and not _proven(case, meter)]
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
        evidence=_evidence(case, [*differing, *unproven], meters),
    )


def _recorded(case: Case, meter: Meter) -> list[tuple[Fraction, Fraction]]:
    states = case.books.meter_states(meter.id)
    return [
        (Fraction(state.ct or 1), Fraction(state.pt or 1))
        for state in states if state.ct is not None or state.pt is not None
    ]  # fmt: skip


def _differs(case: Case, meter: Meter) -> bool:
    return any(pair != (meter.ct, meter.pt) for pair in _recorded(case, meter))


def _proven(case: Case, meter: Meter) -> bool:
    states = case.books.meter_states(meter.id)
    return bool(_recorded(case, meter)) and all(state.ratio_proof for state in states)


def _evidence(case: Case, names: list[str], meters: dict[str, Meter]) -> Iterator[Evidence]:
    for name in names:
        applied = f"{meters[name].ct} × {meters[name].pt}"
        recorded = "；".join(f"{ct} × {pt}" for ct, pt in _recorded(case, meters[name]))
        yield Evidence(meter=name, found=applied, expected=recorded or "—")
