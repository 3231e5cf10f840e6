"""The enterprise's monthly form: at most ten fields, prefilled, turned into facts of the registry."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field

from metering.dated import declared_total, moment_ms
from metering.i18n import _
from metering.registry import Meter
from metering.roles import Role
from storage.facts.fact import Fact
from storage.facts.kinds import BillFact, EnergyFact, ProductionFact
from storage.facts.state import Facts

FUELS = {"natural_gas_1e4nm3": ("natural_gas", "1e4Nm3"), "diesel_t": ("diesel", "t")}
"""Field → energy code and unit. Other fuels go through the registry's sheets."""
_HOLDS = {("t", "kg"): Decimal(1000), ("1e4Nm3", "Nm3"): Decimal(10_000)}
"""(unit of a field, unit of the registry) → how many of the latter the former holds."""
_IMPORT = str(BillFact.model_fields["reading_type"].default)
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


def prefilled(facts: Facts, enterprise: str, month: str, meter: Meter | None) -> dict[str, Any]:
    """What is known: this month's values, and for the bill of `meter` that its readings go on where the last one ended."""
    found: dict[str, Any] = dict.fromkeys(MonthForm.model_fields)
    for production in facts.of(ProductionFact, enterprise):
        if production.month == month:
            found |= {
                "output_10k_cny": production.output_10k_cny,
                "value_added_10k_cny": production.value_added_10k_cny,
            }
    for field in FUELS:
        known = _known_fuel(facts, enterprise, month, field)
        scale = _scale(field, known) if known is not None else None
        found[field] = known.consumed / scale if known is not None and scale is not None else None
    return found | _bill(facts, enterprise, month, meter)


def _known_fuel(facts: Facts, enterprise: str, month: str, field: str) -> EnergyFact | None:
    code, _unit = FUELS[field]
    found = (e for e in facts.of(EnergyFact, enterprise) if (e.month, e.energy) == (month, code))
    return next(found, None)


def _scale(field: str, known: EnergyFact) -> Decimal | None:
    """How many of the registry's unit the field's unit holds; None where one is no multiple of the other."""
    unit = FUELS[field][1]
    return Decimal(1) if unit == known.unit else _HOLDS.get((unit, known.unit))


def _bills(facts: Facts, enterprise: str, meter: Meter | None) -> list[BillFact]:
    """Those of the boundary meter's import, oldest first: a gas bill is none that the form is about."""
    found = facts.of(BillFact, enterprise) if meter is not None else ()
    own = (b for b in found if meter is not None and (b.meter, b.reading_type) == (meter.id, _IMPORT))
    return sorted(own, key=lambda bill: bill.end)


def _bill(facts: Facts, enterprise: str, month: str, meter: Meter | None) -> dict[str, Any]:
    bills = _bills(facts, enterprise, meter)
    own = next((bill for bill in bills if bill.end.isoformat()[:7] == month), None)
    if own is not None:
        return {
            "bill_number": own.number, "bill_start": own.start, "bill_end": own.end, "bill_opening": own.opening,
            "bill_closing": own.closing, "bill_kwh": own.billed,
        }  # fmt: skip
    before = [bill for bill in bills if bill.end.isoformat()[:7] < month]
    return {"bill_start": before[-1].end, "bill_opening": before[-1].closing} if before else {}


class FormError(ValueError):
    """What the form says cannot be taken; `mistakes` are sentences in the server's language."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = tuple(mistakes)


@dataclass(frozen=True, slots=True)
class Stated:
    """A form with what it is about. Fields of a fact that the form does not have stay as they are known."""

    form: MonthForm
    enterprise: str
    month: str
    meter: Meter | None
    zone: ZoneInfo
    known: Facts

    def facts(self) -> list[Fact]:
        """The facts that it states. FormError with every mistake; pydantic.ValidationError when a fact contradicts itself."""
        if mistakes := [*self._fuel_mistakes(), *self._bill_mistakes()]:
            raise FormError(mistakes)
        fuels = [field for field in FUELS if getattr(self.form, field) is not None]
        bill = [self._bill(self.meter)] if self.form.bill_number and self.meter is not None else []
        return [*self._production(), *map(self._fuel, fuels), *bill]

    def _production(self) -> Iterator[Fact]:
        form = self.form
        if form.output_10k_cny is not None or form.value_added_10k_cny is not None:
            yield ProductionFact(
                enterprise=self.enterprise,
                month=self.month,
                output_10k_cny=form.output_10k_cny,
                value_added_10k_cny=form.value_added_10k_cny,
            )

    def _fuel_mistakes(self) -> Iterator[str]:
        for field, (code, unit) in FUELS.items():
            known = _known_fuel(self.known, self.enterprise, self.month, field)
            if getattr(self.form, field) is not None and known is not None and _scale(field, known) is None:
                text = _("{energy} of {month} is registered in {unit}, not in {own}: correct it with a sheet")
                yield text.format(energy=code, month=self.month, unit=known.unit, own=unit)

    def _fuel(self, field: str) -> Fact:
        code, unit = FUELS[field]
        known = _known_fuel(self.known, self.enterprise, self.month, field)
        values: dict[str, Any] = {
            "enterprise": self.enterprise,
            "month": self.month,
            "energy": code,
            "unit": unit,
        }
        scale = _scale(field, known) if known is not None else None
        values |= known.model_dump() if known is not None else {}
        return EnergyFact.model_validate(values | {"consumed": getattr(self.form, field) * (scale or 1)})

    def _bill_mistakes(self) -> Iterator[str]:
        form = self.form
        new = {"bill_end": form.bill_end, "bill_closing": form.bill_closing, "bill_kwh": form.bill_kwh}
        if form.bill_number and self.meter is None:
            yield _("the enterprise has no meter at the grid boundary that a bill could be about")
            return
        if not form.bill_number:  # where the last bill ended is prefilled, and states nothing
            missing = ["bill_number"] if any(value is not None for value in new.values()) else []
        else:
            old = {"bill_start": form.bill_start, "bill_opening": form.bill_opening}
            missing = [name for name, value in (old | new).items() if value is None]
        yield from (_("a bill is given whole: {name} is missing").format(name=name) for name in missing)
        if form.bill_end is not None and form.bill_end.isoformat()[:7] != self.month:
            text = _("a bill belongs to the month in which it was read: {end} is not in {month}")
            yield text.format(end=form.bill_end, month=self.month)

    def _bill(self, meter: Meter) -> Fact:
        form = self.form
        values = {
            "enterprise": self.enterprise, "number": form.bill_number, "meter": meter.id, "start": form.bill_start,
            "end": form.bill_end, "opening": form.bill_opening, "closing": form.bill_closing, "billed": form.bill_kwh,
        }  # fmt: skip
        bills = _bills(self.known, self.enterprise, meter)
        known = next((bill for bill in bills if bill.number == form.bill_number), None)
        ratio = _ratio(meter, form.bill_end, self.zone)
        bill = BillFact.model_validate((known.model_dump() if known else {}) | values | {"multiplier": ratio})
        kept = bill if known is None else bill.model_copy(update={"multiplier": known.multiplier})
        return kept if _adds_up(kept) else bill


def _adds_up(bill: BillFact) -> bool:
    """Whether the bill's readings, multiplier, losses and 退补 give its amount, within the kWh that it is rounded to."""
    rest = bill.billed - bill.transformer_loss - bill.line_loss - bill.adjusted
    return abs((bill.closing - bill.opening) * bill.multiplier - rest) <= 1


def _ratio(meter: Meter, read_on: date | None, zone: ZoneInfo) -> Decimal:
    """The boundary meter's CT × PT on the day that the bill was read."""
    at = moment_ms(datetime.combine(read_on, datetime.min.time()), zone) if read_on else 1 << 62
    ratio = declared_total(meter, _IMPORT, zone).ratio_at(at)
    return Decimal(ratio.numerator) / ratio.denominator
