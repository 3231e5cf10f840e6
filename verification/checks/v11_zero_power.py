"""V11: power accounted at factor 0 has its evidence; what has none is named and takes the grid's factor."""

from metering.roles import Role
from verification.checks.case import Case, Rule
from verification.document import CheckLine, CheckOutcome
from verification.lines import Evidence

RULE = Rule(
    "V11", "零因子电量的凭证", "Evidence of zero-factor power", "major",
    "accepted ÷ claimed; and monthly records of self-generated power", ("V11",),
)  # fmt: skip


def check(case: Case) -> CheckLine:
    """FINDING when a claim was refused, INSUFFICIENT_DATA when self-generated power was not recorded to the end."""
    refused = [line for line in case.certificates if line.refused_en]
    blind = [t.meter.id for t in case.boundary.of_role(Role.PV_GENERATION) if t.reported is None]
    outcome: CheckOutcome = "FINDING" if refused else "PASS"
    if blind:
        outcome = "INSUFFICIENT_DATA"
    accepted = len(case.certificates) - len(refused)
    zh = "；".join(f"{line.label}：{line.refused_zh}" for line in refused)
    en = "; ".join(f"{line.label}: {line.refused_en}" for line in refused)
    return RULE.line(
        outcome,
        f"{accepted} / {len(case.certificates)}" if case.certificates else "—",
        zh or f"{accepted} 项绿电、绿证全部有凭证；自发自用电量无记录的表 {len(blind)}",
        en or f"{accepted} claims all evidenced; {len(blind)} generation meters without a record",
        meters=blind,
        inputs={"claims": len(case.certificates), "refused": len(refused)},
        evidence=(
            Evidence(found=f"{line.label}: {line.refused_en}", expected=f"{line.energy_wh} Wh")
            for line in refused
        ),
    )
