"""What the monthly form makes of its fields."""

from datetime import date
from decimal import Decimal

import pytest

from api.forms import MonthForm, facts_of
from metering.registry import parse_registry
from storage.facts.kinds import BillFact

PARK: dict[str, object] = {
    "id": "p", "name": "p", "grid_scope": "CN-AH", "enterprises": [{"id": "e", "name": "e"}],
    "sites": [{"id": "s", "enterprise": "e", "name": "s"}], "gateways": [{"id": "gw", "site": "s"}],
    "meters": [
        {
            "id": "gate", "gateway": "gw", "roles": {"energy_import_total": "grid_boundary"}, "ct": "300/5",
            "ratio_changes": [{"at": "2026-01-12T09:00:00", "ct": "400/5"}],
        }
    ],
}  # fmt: skip


@pytest.mark.parametrize(("read_on", "multiplier"), [(date(2026, 1, 12), 60), (date(2026, 1, 25), 80)])
def test_a_bill_takes_the_ratio_of_the_day_it_was_read_on(read_on: date, multiplier: int) -> None:
    form = MonthForm(
        bill_number="1", bill_start=date(2025, 12, 25), bill_end=read_on, bill_opening=Decimal(1),
        bill_closing=Decimal(2), bill_kwh=Decimal(multiplier),
    )  # fmt: skip
    park = parse_registry(PARK)
    (bill,) = facts_of(form, "e", "2026-01", park.meter("gate"), park.tz)
    assert isinstance(bill, BillFact)
    assert bill.multiplier == multiplier
