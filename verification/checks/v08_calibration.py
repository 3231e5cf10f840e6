"""V08: every meter's calibration is valid on every day of the month."""

from datetime import timedelta

from verification.checks.case import Case, Rule
from verification.document import CheckLine, CheckOutcome
from verification.lines import Evidence

RULE = Rule(
    "V08", "检定有效期", "Calibration valid all month", "major", "meters with a valid calibration on every day ÷ meters", ("V08",),
)  # fmt: skip


def check(case: Case) -> CheckLine:
    """FAIL when one had expired, FINDING when the registry does not know."""
    meters = list(dict.fromkeys(total.meter.id for total in case.meters))
    until = {meter: _valid_until(case, meter) for meter in meters}
    last = min(case.books.last, case.today - timedelta(days=1))
    unknown = [meter for meter, day in until.items() if day is None]
    expired = [meter for meter, day in until.items() if day is not None and day < last.isoformat()]
    outcome: CheckOutcome = "FINDING" if unknown or not meters else "PASS"
    if expired:
        outcome = "FAIL"
    valid = len(meters) - len(unknown) - len(expired)
    taken_away = [meter for meter in unknown if _is_of_the_old_meter(case, meter)]
    return RULE.line(
        outcome,
        f"{valid} / {len(meters)}",
        f"{valid} 块表检定有效，过期 {len(expired)}，未登记 {len(unknown)}（其中换表后台账仍为旧表 {len(taken_away)}）",
        f"{valid} valid, {len(expired)} expired, {len(unknown)} not in the registry, {len(taken_away)} of them exchanged and still "
        "recorded under the old meter's serial number",
        meters=[*expired, *unknown],
        inputs={"meters": len(meters), "valid": valid},
        evidence=(
            Evidence(meter=meter, found=until[meter] or "—", expected=f"≥ {last}")
            for meter in [*expired, *unknown]
        ),
    )


def _valid_until(case: Case, meter: str) -> str | None:
    """The earliest end of the calibrations in force over the month, ISO; None unless each of them has one, and is this meter's."""
    if _is_of_the_old_meter(case, meter):
        return None
    ends = [state.calibrated_until for state in case.books.meter_states(meter)]
    known = [end.isoformat() for end in ends if end is not None]
    return min(known) if known and len(known) == len(ends) else None


def _is_of_the_old_meter(case: Case, meter: str) -> bool:
    """Whether the record at the month's end names another serial number than the meter that was put in place since."""
    found = next(total.meter for total in case.meters if total.meter.id == meter)
    placed = [e for e in found.exchanges if e.serial and e.at.date() <= case.books.last]
    record = case.books.meter(meter)
    return bool(placed) and record is not None and record.serial != max(placed, key=lambda e: e.at).serial
