"""V10: every figure has an official factor of the right scope and year; fuels and heat too."""

from verification.checks.case import Case, Rule
from verification.document import CheckLine, CheckOutcome
from verification.lines import Evidence

RULE = Rule(
    "V10", "排放因子存在且为官方发布值", "An official factor exists", "blocking",
    "a published factor for each figure, exactly as printed", ("V10",),
)  # fmt: skip


def check(case: Case) -> CheckLine:
    """INSUFFICIENT_DATA when a leading figure has none, FINDING for another figure or an unverified factor."""
    missing = [line for line in case.emissions if line.factor_id is None]
    unofficial = [line for line in case.factors if line.verified == "unverified"]
    fuels = [line for line in case.fuels if line.emission_ug is None]
    heat = [line for line in case.heat if line.emission_ug is None]
    loose = [line.id for line in case.fuels if line.verified == "unverified"]
    loose += [line.id for line in case.heat if line.verified == "unverified"]
    outcome: CheckOutcome = "FINDING" if missing or unofficial or loose else "PASS"
    if fuels or heat or any(line.primary for line in missing):
        outcome = "INSUFFICIENT_DATA"
    ids = ", ".join(line.factor_id for line in case.emissions if line.factor_id) or "—"
    zh = [*(line.missing_zh for line in missing), *(f"{line.id}：{line.missing_zh}" for line in fuels)]
    en = [*(line.missing_en for line in missing), *(f"{line.id}: {line.missing_en}" for line in fuels)]
    zh += [f"{line.id}：热量未确定" for line in heat]
    en += [f"{line.id}: heat not determined" for line in heat]
    unverified = len(unofficial) + len(loose)
    return RULE.line(
        outcome,
        ids,
        "；".join(zh) or f"{len(case.emissions)} 个口径均有因子，{unverified} 个未经核实",
        "; ".join(en) or f"a factor for each of {len(case.emissions)} figures, {unverified} unverified",
        inputs={"figures": len(case.emissions), "fuels": len(case.fuels), "unverified": unverified},
        evidence=(Evidence(found=text) for text in [*en, *(f"{name}: unverified" for name in loose)]),
    )
