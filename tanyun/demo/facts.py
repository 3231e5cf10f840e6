"""What the demo's registry of facts holds: invented enterprises, meters' records, output, fuels, certificates, and bills.

The simulated utility reads our own meters, so its bills agree; everything else is made up.
"""

from collections.abc import Iterator
from fractions import Fraction

from metering.intervals import local_month, next_month
from metering.registry import Meter, Park
from metering.roles import Role
from storage.facts.fact import Fact
from storage.facts.kinds import KINDS
from storage.ledger import LedgerReader

_FROM = "2020-01-01"
_PROOF = "0" * 64
_STANDARD = {"standard": "GB/T 32151.34-2024", "factor_set": "GBT32151.34-2024-C1"}
_CALENDARS = {
    "hengjing": "cn-ah-2025-302-industry",
    "yuntu": "cn-ah-2025-302",
    "lvcai": "cn-ah-2025-302",
}
_ENTERPRISES = {
    "hengjing": ("恒精", "91340100MA8HJ0001C", "3464", ("1850", "430"), (("natural_gas", "1e4Nm3", "3.2"),)),
    "yuntu": ("云图", "91340100MA8YT0001U", "6510", ("2600", "980"), ()),
    "lvcai": ("绿材", "91340100MA8LC0001M", "3099", ("720", "150"), (("diesel", "t", "4.5"),)),
}
"""Enterprise → short name, credit code, GB/T 4754 code, (output, value added) in 万元, fuels."""


def facts(park: Park, month: str, ledger: LedgerReader) -> list[Fact]:
    """Everything that the month's close asks for."""
    return [*_lasting(park), *_of_month(park, month), *_bills(park, month, ledger)]


def _lasting(park: Park) -> Iterator[Fact]:
    for enterprise in park.enterprises:
        short, code, industry, _output, _fuels = _ENTERPRISES[enterprise.id]
        yield _fact(
            "enterprise", enterprise=enterprise.id, name=enterprise.name, short_name=short, credit_code=code, industry=industry,
            valid_from=_FROM, boundary="厂区围墙以内，外购电力、燃料与自发自用光伏", contact="演示联系人", phone="0551-00000000",
            energy_manager="演示能源管理员", legal_representative="演示法定代表人", **_STANDARD,
        )  # fmt: skip
        yield _fact(
            "tariff", enterprise=enterprise.id, calendar=_CALENDARS[enterprise.id], valid_from="2025-07-01"
        )
    for number, meter in enumerate(park.meters, 1):
        yield _fact(
            "meter", meter=meter.id, serial=f"DEMO{number:06}", model=meter.profile, accuracy_class="0.5S", calibrated_on=_FROM,
            calibrated_until="2035-12-31", ct=str(meter.ct), pt=str(meter.pt), ratio_proof="演示铭牌照片", valid_from=_FROM,
        )  # fmt: skip


def _of_month(park: Park, month: str) -> Iterator[Fact]:
    year = month[:4]
    yield _fact("budget", scope=park.id, year=year, energy_tce="9000", carbon_t="30000")
    for enterprise in park.enterprises:
        _short, _code, _industry, (output, added), fuels = _ENTERPRISES[enterprise.id]
        yield _fact("budget", scope=enterprise.id, year=year, energy_tce="3000", carbon_t="10000")
        yield _fact(
            "production",
            enterprise=enterprise.id,
            month=month,
            output_10k_cny=output,
            value_added_10k_cny=added,
        )
        for energy, unit, amount in fuels:
            yield _fact(
                "energy", enterprise=enterprise.id, month=month, energy=energy, unit=unit, purchased=amount, consumed=amount,
                production_use=amount, other_use="0", feedstock_use="0",
            )  # fmt: skip
    tag = month.replace("-", "")
    yield _fact(
        "certificate", enterprise="yuntu", first=f"DEMO-{tag}001", last=f"DEMO-{tag}010", production_month=month, status="retired",
        retired_on=f"{next_month(month)}-01", month=month, evidence_sha256=_PROOF,
    )  # fmt: skip


def _bills(park: Park, month: str, ledger: LedgerReader) -> Iterator[Fact]:
    span = local_month(month, park.tz)
    for meter in park.meters:
        if meter.roles.get("energy_import_total") is Role.GRID_BOUNDARY:
            rows = ledger.intervals(meter.id, "energy_import_total", *span)
            yield _bill(park, meter, month, Fraction(sum(row.energy for row in rows), 1000))


def _bill(park: Park, meter: Meter, month: str, kwh: Fraction) -> Fact:
    ratio = meter.ct * meter.pt
    return _fact(
        "bill", enterprise=park.enterprise_of(meter), number=f"DEMO-{month}-{meter.id}", meter=meter.id, start=f"{month}-01",
        end=f"{next_month(month)}-01", opening="0", closing=f"{float(kwh / ratio):.6f}", multiplier=str(ratio), billed=str(round(kwh)),
    )  # fmt: skip


def _fact(kind: str, **given: str) -> Fact:
    return KINDS[kind].model_validate(given)
