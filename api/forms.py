"""The enterprise's monthly form: at most ten fields, prefilled, turned into facts of the registry."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field

from metering.dated import declared_total, moment_ms
from metering.registry import Meter
from metering.roles import Role
from storage.facts.fact import Fact
from storage.facts.kinds import BillFact, EnergyFact, ProductionFact
from storage.facts.state import Facts

FUELS = {"natural_gas_1e4nm3": ("natural_gas", "1e4Nm3"), "diesel_t": ("diesel", "t")}
"""Field → energy code and unit. Other fuels go through the registry's sheets."""
_Amount = Field(default=None, ge=0, max_digits=18, decimal_places=6)


class MonthForm(BaseModel):
    """The ten fields. None: not given; a bill is given whole or not at all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    output_10k_cny: Decimal | None = _Amount
    value_added_10k_cny: Decimal | None = Field(default=None, max_digits=18, decimal_places=6)
    natural_gas_1e4nm3: Decimal | None = _Amount
    diesel_t: Decimal | None = _Amount
    bill_number: str = Field(default="", max_length=60)
    bill_start: date | None = None
    bill_end: date | None = None
    bill_opening: Decimal | None = _Amount
    bill_closing: Decimal | None = _Amount
    bill_kwh: Decimal | None = Field(default=None, max_digits=18, decimal_places=6)


def boundary_meter(meters: Sequence[Meter]) -> Meter | None:
    """The meter that the utility's bill is about: the first at the grid boundary."""
    return next((m for m in meters if Role.GRID_BOUNDARY in m.roles.values()), None)


def prefilled(facts: Facts, enterprise: str, month: str) -> dict[str, Any]:
    """What is known: this month's values, and for the bill that its readings go on where the last one ended."""
    found: dict[str, Any] = dict.fromkeys(MonthForm.model_fields)
    for production in facts.of(ProductionFact, enterprise):
        if production.month == month:
            found |= {
                "output_10k_cny": production.output_10k_cny,
                "value_added_10k_cny": production.value_added_10k_cny,
            }
    codes = {code: field for field, (code, _unit) in FUELS.items()}
    for energy in facts.of(EnergyFact, enterprise):
        if energy.month == month and energy.energy in codes:
            found[codes[energy.energy]] = energy.consumed
    return found | _bill(facts, enterprise, month)


def _bill(facts: Facts, enterprise: str, month: str) -> dict[str, Any]:
    bills = sorted(facts.of(BillFact, enterprise), key=lambda bill: bill.end)
    own = next((bill for bill in bills if bill.end.isoformat()[:7] == month), None)
    if own is not None:
        return {
            "bill_number": own.number, "bill_start": own.start, "bill_end": own.end, "bill_opening": own.opening,
            "bill_closing": own.closing, "bill_kwh": own.billed,
        }  # fmt: skip
    before = [bill for bill in bills if bill.end.isoformat()[:7] < month]
    return {"bill_start": before[-1].end, "bill_opening": before[-1].closing} if before else {}


def facts_of(form: MonthForm, enterprise: str, month: str, meter: Meter | None, zone: ZoneInfo) -> list[Fact]:
    """The facts that a form states; pydantic.ValidationError when they contradict each other."""
    found: list[Fact] = []
    if form.output_10k_cny is not None or form.value_added_10k_cny is not None:
        found.append(
            ProductionFact(
                enterprise=enterprise,
                month=month,
                output_10k_cny=form.output_10k_cny,
                value_added_10k_cny=form.value_added_10k_cny,
            )
        )
    for field, (code, unit) in FUELS.items():
        amount = getattr(form, field)
        if amount is not None:
            values = {
                "enterprise": enterprise,
                "month": month,
                "energy": code,
                "unit": unit,
                "consumed": amount,
            }
            found.append(EnergyFact.model_validate(values))
    if form.bill_number and meter is not None:
        values = {
            "enterprise": enterprise, "number": form.bill_number, "meter": meter.id, "start": form.bill_start, "end": form.bill_end,
            "opening": form.bill_opening, "closing": form.bill_closing, "billed": form.bill_kwh,
            "multiplier": _multiplier(meter, form.bill_end, zone),
        }  # fmt: skip
        found.append(BillFact.model_validate(values))
    return found


def _multiplier(meter: Meter, read_on: date | None, zone: ZoneInfo) -> Decimal:
    """The boundary meter's CT × PT on the day that the bill was read."""
    declared = declared_total(meter, BillFact.model_fields["reading_type"].default, zone)
    at = moment_ms(datetime.combine(read_on, datetime.min.time()), zone) if read_on else 1 << 62
    ratio = declared.ratio_at(at)
    return Decimal(ratio.numerator) / ratio.denominator
