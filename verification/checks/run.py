"""All checks, in their order."""

from collections.abc import Callable

from verification.checks import (
    v01_completeness,
    v02_daily,
    v03_edges,
    v04_monotonic,
    v05_plausible,
    v06_parents,
    v07_bills,
    v08_calibration,
    v09_ratios,
    v10_factors,
    v11_zero_power,
    v12_estimated,
    v13_jump,
    v14_production,
    v15_deposit,
    v16_recomputed,
    v17_inspection,
)
from verification.checks.case import Case
from verification.document import CheckLine

CHECKS: tuple[Callable[[Case], CheckLine], ...] = (
    v01_completeness.check, v02_daily.check, v03_edges.check, v04_monotonic.check, v05_plausible.check, v06_parents.check,
    v07_bills.check, v08_calibration.check, v09_ratios.check, v10_factors.check, v11_zero_power.check, v12_estimated.check,
    v13_jump.check, v14_production.check, v15_deposit.check, v16_recomputed.check, v17_inspection.check,
)  # fmt: skip


def run_checks(case: Case) -> tuple[CheckLine, ...]:
    """What every check found."""
    return tuple(check(case) for check in CHECKS)
