"""What the monthly form makes of its fields."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from api.forms import FormError, MonthForm, Stated, prefilled
from metering.registry import parse_registry
from storage.facts.fact import Fact
from storage.facts.kinds import BillFact, EnergyFact
from storage.facts.state import Facts

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
GATE = parse_registry(PARK).meter("gate")
ZONE = parse_registry(PARK).tz
BILL: dict[str, Any] = {
    "bill_number": "1", "bill_start": date(2025, 12, 25), "bill_end": date(2026, 1, 25), "bill_opening": Decimal(100),
    "bill_closing": Decimal(300), "bill_kwh": Decimal(16_000),
}  # fmt: skip


def stated(known: Facts = Facts(), meter: Any = GATE, **values: Any) -> list[Fact]:  # noqa: B008  never changes
    """The facts of a form."""
    return Stated(MonthForm(**values), "e", "2026-01", meter, ZONE, known).facts()


def known_bill(**more: Any) -> BillFact:
    """The same bill as a sheet has it."""
    values: dict[str, Any] = {
        "enterprise": "e", "number": "1", "meter": "gate", "start": date(2025, 12, 25), "end": date(2026, 1, 25),
        "opening": Decimal(100), "closing": Decimal(300), "multiplier": Decimal(80), "billed": Decimal(16_000),
    }  # fmt: skip
    return BillFact(**(values | more))


@pytest.mark.parametrize(("read_on", "multiplier"), [(date(2026, 1, 12), 60), (date(2026, 1, 25), 80)])
def test_a_bill_takes_the_ratio_of_the_day_it_was_read_on(read_on: date, multiplier: int) -> None:
    (bill,) = stated(**BILL | {"bill_end": read_on})
    assert isinstance(bill, BillFact)
    assert bill.multiplier == multiplier


def test_saving_what_was_prefilled_changes_nothing_that_the_form_does_not_ask_for() -> None:
    gas = EnergyFact(
        enterprise="e", month="2026-01", energy="natural_gas", unit="Nm3", purchased=Decimal(15_000), consumed=Decimal(12_500),
        opening_stock=Decimal(10), ncv_gj_per_unit=Decimal("389.5"), ncv_source="report 7", basis="metered",
    )  # fmt: skip
    diesel = EnergyFact(
        enterprise="e",
        month="2026-01",
        energy="diesel",
        unit="t",
        consumed=Decimal(2),
        transport_use=Decimal(1),
    )
    bill = known_bill(billed=Decimal(16_170), transformer_loss=Decimal(120), line_loss=Decimal(50))
    known = Facts([gas, diesel, bill])
    shown = prefilled(known, "e", "2026-01", GATE)
    assert (shown["natural_gas_1e4nm3"], shown["diesel_t"]) == (Decimal("1.25"), Decimal(2))
    assert stated(known, **{name: value for name, value in shown.items() if value is not None}) == [
        gas,
        diesel,
        bill,
    ]
    (burnt, *_rest) = stated(known, natural_gas_1e4nm3=Decimal("1.3"))
    assert burnt == gas.model_copy(update={"consumed": Decimal(13_000)})


def test_a_bill_keeps_the_multiplier_that_it_was_printed_with_and_only_that() -> None:
    other = known_bill(multiplier=Decimal(100), billed=Decimal(20_000))
    (kept,) = stated(Facts([other]), **BILL | {"bill_kwh": Decimal(20_000)})
    assert kept == other  # the check of bills against our ratio is what tells
    typed_under_300_5 = known_bill(multiplier=Decimal(60))
    (corrected,) = stated(Facts([typed_under_300_5]), **BILL)
    assert corrected == known_bill()


def test_a_bill_of_another_meter_is_not_shown_as_that_of_electricity() -> None:
    gas = known_bill(meter="gas", number="G1", reading_type="volume_total", unit="m3")
    shown = prefilled(Facts([gas]), "e", "2026-01", GATE)
    assert {name for name, value in shown.items() if value is not None} == set()


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({**BILL, "bill_number": ""}, ["bill_number is missing"]),
        ({**BILL, "bill_start": None, "bill_kwh": None}, ["bill_start is missing", "bill_kwh is missing"]),
        ({**BILL, "bill_end": date(2026, 2, 25)}, ["2026-02-25 is not in 2026-01"]),
        ({**BILL, "meter": None}, ["no meter at the grid boundary"]),
        ({"diesel_t": Decimal(1)}, ["diesel of 2026-01 is registered in GJ, not in t"]),
    ],
)
def test_what_cannot_be_kept_is_refused_with_every_reason_and_never_left_out(
    values: dict[str, Any], told: list[str]
) -> None:
    known = EnergyFact(enterprise="e", month="2026-01", energy="diesel", unit="GJ", consumed=Decimal(3))
    with pytest.raises(FormError) as refused:
        stated(Facts([known]), **values)
    assert len(refused.value.mistakes) == len(told)
    for words, mistake in zip(told, refused.value.mistakes, strict=True):
        assert words in mistake


def test_where_the_last_bill_ended_is_prefilled_and_states_nothing_by_itself() -> None:
    known = Facts([known_bill(end=date(2025, 12, 25), start=date(2025, 11, 25))])
    shown = {k: v for k, v in prefilled(known, "e", "2026-01", GATE).items() if v is not None}
    assert shown == {"bill_start": date(2025, 12, 25), "bill_opening": Decimal(300)}
    assert stated(known, **shown) == []
