from datetime import datetime
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest

from metering.intervals import local_month
from metering.registry import Meter
from verification.ratios import ratios_in

ZONE = ZoneInfo("Asia/Shanghai")


@pytest.mark.parametrize(
    ("changed", "applied"),
    [
        ("2026-11-01T00:00:00", {60}),
        ("2026-10-15T03:00:00", {60, 80}),
        ("2026-10-01T00:00:00", {80}),
        ("2026-09-30T23:59:00", {80}),
    ],
)
def test_a_month_has_the_ratios_of_its_own_days(changed: str, applied: set[int]) -> None:
    meter = Meter.model_validate(
        {
            "id": "m", "gateway": "g", "roles": {"energy_import_total": "grid_boundary"}, "ct": 60,
            "ratio_changes": [{"at": datetime.fromisoformat(changed), "ct": 80}],
        }
    )  # fmt: skip
    month = local_month("2026-10", ZONE)
    assert ratios_in(meter, "energy_import_total", month, ZONE) == {Fraction(ratio) for ratio in applied}
    assert ratios_in(meter, "volume_total", month, ZONE) == {1}
