"""The lines of a month document beyond metered electricity: what tables T0 to T11 of the monthly report need.

Amounts are exact text as in `verification.document`. None is "not determined" or "not given", never zero.
A line's emission is rounded down to the µg once; every total is the sum of its lines, so a spreadsheet finds the same.
"""

from typing import Annotated, Literal

import msgspec

Count = Annotated[str, msgspec.Meta(pattern=r"^-?[0-9]+$", description="An integer as text.")]
Ratio = Annotated[str, msgspec.Meta(pattern=r"^-?[0-9]+(/[0-9]+)?$", description="An integer or a fraction.")]
Amount = Annotated[str, msgspec.Meta(pattern=r"^-?[0-9]+(\.[0-9]+)?$", description="An exact decimal.")]
Month = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$")]
Severity = Literal["blocking", "major", "minor"]
"""What a check that does not pass does: blocks *verified*, wants an answer, or is only shown."""


class EnterpriseFacts(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """T0: what the registry says of the scope, as of the month's end; an empty text is "not given"."""

    short_name: str = ""
    industry: str = ""
    """Code of GB/T 4754."""
    standard: str = ""
    """Accounting standard and edition, e.g. GB/T 32151.34-2024."""
    factor_set: str = ""
    """Whose fuel and heat factors are used."""
    boundary: str = ""
    """The boundary, in the enterprise's own words."""
    contact: str = ""
    phone: str = ""
    energy_manager: str = ""
    legal_representative: str = ""


class RegistryState(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Which state of the registry of facts the document was made from; revision 0 is an empty one."""

    revision: int
    digest: str
    """SHA-256 over all facts up to that revision, hex."""


class EnergyLine(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """T1: one kind of energy, in its own unit (kWh, t, 1e4Nm3, GJ, …)."""

    id: str
    label_zh: str
    label_en: str
    unit: str
    purchased: Amount | None
    consumed: Amount | None
    production_use: Amount | None = None
    other_use: Amount | None = None
    feedstock_use: Amount | None = None
    transport_use: Amount | None = None
    opening_stock: Amount | None = None
    closing_stock: Amount | None = None
    basis: Literal["metered", "bill", "estimated"]
    """Where the consumption comes from; where several suppliers differ, the weakest."""
    in_total: bool
    """False for an energy-carrying medium (water, compressed air): shown, never in the total."""
    coefficient_kgce: Amount | None
    """Printed coefficient (当量值), kgce per `unit`."""
    coefficient_source: str = ""
    coefficient_verified: str = ""
    standard_coal_kgce: Amount | None
    equal_value_coefficient_kgce: Amount | None = None
    """等价值, kgce per `unit`; only where the registry gives one for the year."""
    equal_value_kgce: Amount | None = None


class EnergyTotal(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The sum of the lines that count; None when one of them has no figure."""

    standard_coal_kgce: Amount | None
    equal_value_kgce: Amount | None
    nonfossil_kgce: Amount | None
    """Self-used PV and evidenced green power, by the electricity coefficient. Green power is within the total, PV is not."""


class FuelLine(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """T3: AD × NCV × CC × OF × 44/12 of one fuel, with the source of each parameter by itself."""

    id: str
    label_zh: str
    label_en: str
    unit: str
    activity: Amount
    path: Literal["mass", "volume", "heat"]
    factor_set: str
    ncv_gj_per_unit: str
    ncv_source: str
    carbon_tc_per_gj: str
    carbon_source: str
    oxidation_pct: str
    oxidation_source: str
    t_co2_per_unit: Ratio
    verified: str
    emission_ug: Count | None
    missing_zh: str = ""
    missing_en: str = ""


class HeatLine(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """T4: purchased heat of one supplier or meter."""

    id: str
    label_zh: str
    label_en: str
    basis: Literal["metered", "bill", "estimated"]
    heat_kj: Count | None
    t_co2_per_gj: Ratio | None
    factor_id: str
    factor_source: str
    verified: str
    emission_ug: Count | None


class PowerLine(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """T2/T7: electricity by source, each kWh in one line (GB/T 32151.34-2024 table B.8)."""

    id: Literal["ordinary", "green_power", "certificates", "self_generated", "exported"]
    direction: Literal["in", "out"]
    label_zh: str
    label_en: str
    energy_wh: Count | None
    factor_ug_per_wh: Ratio | None
    factor_id: str | None
    emission_ug: Count | None
    """None for exported power: it is listed, and nothing is taken off."""
    evidence: tuple[str, ...] = ()
    """Ids of contracts and certificates."""


class EmissionTotals(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """T5: direct, indirect and both totals under one method. Excluding and including electricity and heat."""

    use: Literal["standard", "location_national", "location_provincial", "market"]
    """standard: evidenced non-fossil power at 0, the rest at the national average (GB/T 32151.34-2024 5.2.6.1)."""
    primary: bool
    label_zh: str
    label_en: str
    factor_id: str | None
    factor_ug_per_wh: Ratio | None
    direct_ug: Count | None
    electricity_ug: Count | None
    heat_ug: Count | None
    excluding_ug: Count | None
    """Total without purchased electricity and heat."""
    including_ug: Count | None
    missing_zh: str = ""
    missing_en: str = ""


class ProductLine(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """T6: output of the month: 万元 of output and value added, or a product in its own unit."""

    id: str
    label_zh: str
    label_en: str
    unit: str
    amount: Amount | None


class IntensityLine(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """T6: standard coal or emission per output, value added or product."""

    id: str
    label_zh: str
    label_en: str
    unit: str
    numerator: Amount | None
    denominator: Amount | None
    value: Ratio | None
    target: Ratio | None = None
    previous_month: Ratio | None = None
    last_year: Ratio | None = None


class GradeLine(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """T6: a grade by rules that are data (碳效)."""

    id: str
    label_zh: str
    label_en: str
    value: Ratio | None
    grade_zh: str
    grade_en: str
    rule: str
    """The bounds, as text."""
    source: str
    official: bool


class CertificateLine(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """T7: a green contract's delivery or a batch of certificates claimed for this month."""

    id: str
    kind: Literal["green_power", "gec"]
    label: str
    """Contract number, or first and last certificate."""
    production_month: Month
    retired_on: str
    energy_wh: Count
    accepted_wh: Count
    """What counts for this month; 0 when refused."""
    evidence_sha256: str
    refused_zh: str = ""
    refused_en: str = ""


class RenewableLine(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """T7: what of the electricity consumed was renewable."""

    consumed_wh: Count | None
    """Purchased plus self-used PV."""
    renewable_wh: Count | None
    share: Ratio | None


class BillLine(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A utility's bill against our meter, over the bill's own reading dates, metering point and multiplier."""

    id: str
    energy: str
    meter: str
    start: str
    end: str
    """Reading dates; the readings of both days' 00:00."""
    opening: str
    closing: str
    multiplier: str
    billed: Amount
    unit: str
    loss: Amount
    """变损 and 线损 within the billed amount."""
    adjusted: Amount
    """退补电量 within the billed amount; negative when refunded."""
    expected: Amount | None
    """Billed less loss and adjustment: what the metering point itself went through."""
    metered: Amount | None
    difference: Amount | None
    share: Ratio | None
    """|difference| ÷ expected."""


class BudgetLine(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """An energy or carbon budget of the year, and where the year is heading."""

    id: Literal["energy", "carbon"]
    year: int
    unit: str
    """kgce or ug."""
    budget: Amount
    used: Amount | None
    """This year's closed months up to this one."""
    months_used: int
    budget_to_date: Ratio
    """The year's budget up to this month, by last year's profile where there is one, else in twelfths."""
    forecast: Ratio | None
    """Used plus what the months to come take, by last year's profile where there is one, else by the mean."""
    method: Literal["last_year_profile", "mean_of_months", "none"]
    state: Literal["green", "yellow", "red", "forecast_over", "unknown"]


class Comparison(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The month before, or the same month last year, as closed."""

    id: Literal["previous_month", "last_year"]
    month: Month
    revision: int | None
    """None: not closed here; then nothing below is known."""
    digest: str = ""
    purchased_wh: Count | None = None
    standard_coal_kgce: Amount | None = None
    emission_ug: Count | None = None
    """Primary total including electricity and heat."""


class YearMonth(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One month of the document's year. A month not closed yet has no figures: shown as —, never 0."""

    month: Month
    revision: int | None
    purchased_wh: Count | None
    standard_coal_kgce: Amount | None
    emission_ug: Count | None
    """As closed."""
    restated_emission_ug: Count | None
    """Under this document's factor: the annual view."""


class MeterFacts(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """T8: a meter's record and the month's data quality."""

    meter: str
    serial: str
    model: str
    accuracy_class: str
    calibrated_on: str
    calibrated_until: str
    """Empty: not in the registry."""
    ratio_proof: str
    """What proves the transformer ratios; empty: 变比未证实."""
    applied_ratios: tuple[Ratio, ...] = ()
    """CT × PT that the month's energies were multiplied by, in time order; several where it changed within the month."""
    longest_gap_minutes: int | None
    missing_method: str
    """Of the data-quality control plan."""
    max_demand_w: Count | None = None
    """Largest 15-minute energy × 4: the block method, never above the sliding one."""
    max_demand_at: str = ""
    power_factor: Amount | None = None
    """P/√(P²+Q²) of the month, 2 places half up; None without reactive energy."""


class EventLine(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """T9: events of one kind of one meter."""

    id: str
    meter: str
    kind: str
    label_zh: str
    label_en: str
    count: int
    first_at: str
    last_at: str


class Named(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """An input of a check."""

    name: str
    value: str


class Threshold(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A limit of a check: official with its source, or ours."""

    id: str
    value: str
    unit: str
    official: bool
    source: str


class Evidence(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A row of proof: which total and when, and what was found there. Leads to intervals and, by offset, to frames."""

    meter: str = ""
    reading_type: str = ""
    start_ms: int | None = None
    end_ms: int | None = None
    segment: int | None = None
    index: int | None = None
    found: str = ""
    expected: str = ""


class LedgerEnd(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Which state of the ledger the document was made from: what was restated since does not belong to it."""

    id: str
    change_seq: int
    last_event: int


class RatioLine(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """After `since_ms` a total's readings are multiplied by `ratio`."""

    since_ms: int
    ratio: Ratio


class ExchangeLine(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A declared exchange of a total, in base units on the meter's own side."""

    at_ms: int
    closing: Ratio
    opening: Ratio


class DatedLine(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What the registry declared of a total at the close: ratios and exchanges, in time order."""

    ratios: tuple[RatioLine, ...]
    exchanges: tuple[ExchangeLine, ...] = ()
