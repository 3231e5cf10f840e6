"""The month document: what a closed month says, as typed values, canonical JSON and a JSON Schema.

Amounts in base units and micrograms are integers as text, because a JSON number is exact only below 2^53.
None is "not determined", never zero.
"""

from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Annotated, Any, Literal

import msgspec

from factors.series import Series
from verification.declared_lines import DeclaredLine
from verification.lines import (
    Amount,
    BillLine,
    BudgetLine,
    CertificateLine,
    Comparison,
    Count,
    DatedLine,
    EmissionTotals,
    EnergyLine,
    EnergyTotal,
    EnterpriseFacts,
    EventLine,
    Evidence,
    FuelLine,
    GradeLine,
    HeatLine,
    IntensityLine,
    LedgerEnd,
    MeterFacts,
    Month,
    Named,
    PowerLine,
    ProductLine,
    Ratio,
    RegistryState,
    RenewableLine,
    Severity,
    Threshold,
    YearMonth,
)
from verification.substitution_line import ReportedLine, SubstitutionLine
from verification.tariff_lines import PeriodLine, TariffLine

SCHEMA: Literal["tanyun-month/2"] = "tanyun-month/2"
SCHEMA_ID = "https://json-schema.org/draft/2020-12/schema"
_DIGITS = 60
"""More than any figure here has: 128-bit products have 39."""

Use = Literal["enterprise", "park", "pv_generation", "export"]
Outcome = Literal["PASS", "PASS_WITH_FINDINGS", "FAIL", "INSUFFICIENT_DATA"]
CheckOutcome = Literal["PASS", "FINDING", "FAIL", "INSUFFICIENT_DATA", "NOT_DUE"]
"""NOT_DUE: the data's own date has not come yet; it says nothing against the month."""


class Scope(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Whose month it is."""

    kind: Literal["enterprise", "park"]
    id: str
    name: str
    name_en: str
    credit_code: str


class ParkHead(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The park that the scope belongs to."""

    id: str
    name: str
    name_en: str
    grid_scope: str


class JournalEnd(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Where the journal ended at the close (exclusive), and its chain digest there."""

    id: str
    segment: int
    index: int
    chain: str


class FormulaTerm(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """All totals of a role, added or taken off."""

    role: str
    sign: Literal[1, -1]
    label_zh: str
    label_en: str


class FactorLine(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A factor that a figure of this document uses, with the notice it comes from."""

    use: Use
    id: str
    scope_code: str
    data_year: int | None
    value_kg_per_kwh: str
    factor_ug_per_wh: Ratio
    notice: str
    published: str | None
    verified: str
    label_zh: str
    label_en: str


class Energy(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Electricity of the scope as measured. Imports and exports are never netted, sub-meters never added to their parent."""

    purchased_wh: Count | None
    """What the formula gives."""
    grid_import_wh: Count | None
    resold_wh: Count | None
    pv_generation_wh: Count | None
    export_wh: Count | None
    pv_self_use_wh: Count | None
    """Generation − export."""
    sub_meter_wh: Count | None
    unmetered_wh: Count | None
    """What reached the parents less what their children measured; None where no meter has children."""
    standard_coal_kgce: Amount | None
    """Of the purchased energy, by the printed coefficient."""
    standard_coal_kgce_per_kwh: Amount
    """The equivalent-value coefficient (当量值) used."""


class EmissionLine(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The purchased energy as reported, under one factor; without a factor there is no figure, and `missing_*` says why."""

    use: Literal["enterprise", "park"]
    primary: bool
    label_zh: str
    label_en: str
    factor_id: str | None
    factor_ug_per_wh: Ratio | None
    energy_wh: Count | None
    emission_ug: Count | None
    missing_zh: str = ""
    missing_en: str = ""


class DayLine(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The formula's energy of one local day and its emission under the primary factor."""

    day: str
    energy_wh: Count | None
    emission_ug: Count | None


class Bracket(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One reading beside a month edge, as the journal has it."""

    t: str
    t_ms: int
    raw: str
    """As the meter said it."""
    count: Count
    base_wh: Count
    """The count on the primary side, in base units, rounded down."""
    segment: int
    index: int


class Adjustment(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Something other than energy that changed what the meter shows; the figures count on through it."""

    kind: str
    """Kind of the ledger's event: rollover, reset, step_back, exchange, ratio_change."""
    t: str
    t_ms: int
    register_wh: Count
    """What was shown after it."""
    wh: Count
    """What the position gained over the register."""


class Balance(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The stored intervals against the readings around both month edges.

    Register at the closing edge − register at the opening edge + Σ adjustments = Σ intervals.
    """

    opening_bracket: tuple[Bracket, ...]
    closing_bracket: tuple[Bracket, ...]
    journal_opening_wh: Count | None
    journal_closing_wh: Count | None
    journal_wh: Count | None
    ledger_wh: Count | None
    rollovers: int
    """Times that the total passed its modulus between the edges."""
    adjustments: tuple[Adjustment, ...] = ()
    equal: bool


class MeterLine(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One total of one meter over the month."""

    meter: str
    name: str
    gateway: str
    profile: str
    reading_type: str
    role: str
    role_zh: str
    role_en: str
    unit: str
    """Base unit that the `_wh` fields of this line count in."""
    ct: str
    pt: str
    opening_wh: Count | None
    closing_wh: Count | None
    opening_at: str | None
    closing_at: str | None
    energy_wh: Count | None
    emission_ug: Count | None
    factor_ug_per_wh: Ratio | None
    factor_id: str | None
    completeness: float
    """Points read ÷ expected, rounded down to 4 places."""
    points_read: int
    points_expected: int
    estimated_wh: Count
    """Energy of intervals whose shape, not whose sum, is estimated."""
    pending: bool
    balance: Balance
    dated: DatedLine | None = None
    """None in documents of an older release."""


class ParentLine(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A meter with children: what flowed into the node, what its children took, and the rest; substitutions included."""

    parent: str
    name: str
    inflow_wh: Count | None
    outflow_wh: Count | None
    unmetered_wh: Count | None


class EnterpriseLine(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """An enterprise's figures within the park's document. Emissions are of the reported electricity."""

    id: str
    name: str
    purchased_wh: Count | None
    """As measured."""
    substituted_wh: Count = "0"
    reported_wh: Count | None = None
    emission_ug: Count | None
    provincial_emission_ug: Count | None
    outcome: Outcome


class CheckLine(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a check found."""

    id: str
    title_zh: str
    title_en: str
    outcome: CheckOutcome
    value: str
    threshold: str
    threshold_source: str
    detail_zh: str
    detail_en: str
    meters: tuple[str, ...] = ()
    severity: Severity = "major"
    formula: str = ""
    """How `value` comes from `inputs`."""
    inputs: tuple[Named, ...] = ()
    thresholds: tuple[Threshold, ...] = ()
    due: str = ""
    """Local date from which a missing input counts against the month."""
    evidence: tuple[Evidence, ...] = ()
    """The worst first, at most 20."""


class Change(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A figure that differs from the revision before."""

    path: str
    old: str
    new: str


class MonthDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A closed month of an enterprise or the park."""

    schema: Literal["tanyun-month/1", "tanyun-month/2"]
    """Months closed by an older release are /1: what they lack has its default."""
    scope: Scope
    park: ParkHead
    month: Month
    zone: str
    start: str
    end: str
    start_ms: int
    end_ms: int
    revision: Annotated[int, msgspec.Meta(ge=1)]
    reason: str | None
    closed_at: str
    journal: JournalEnd
    outcome: Outcome
    formula: tuple[FormulaTerm, ...]
    factors: tuple[FactorLine, ...]
    energy: Energy
    emissions: tuple[EmissionLine, ...]
    daily: tuple[DayLine, ...]
    meters: tuple[MeterLine, ...]
    parents: tuple[ParentLine, ...]
    enterprises: tuple[EnterpriseLine, ...]
    """Of the park's document only."""
    checks: tuple[CheckLine, ...]
    changes: tuple[Change, ...] = ()
    """Against the revision before; empty in the first."""
    facts: EnterpriseFacts = EnterpriseFacts()
    registry: RegistryState = RegistryState(revision=0, digest="")
    energy_types: tuple[EnergyLine, ...] = ()
    energy_total: EnergyTotal | None = None
    power: tuple[PowerLine, ...] = ()
    fuels: tuple[FuelLine, ...] = ()
    heat: tuple[HeatLine, ...] = ()
    totals: tuple[EmissionTotals, ...] = ()
    production: tuple[ProductLine, ...] = ()
    intensities: tuple[IntensityLine, ...] = ()
    grades: tuple[GradeLine, ...] = ()
    certificates: tuple[CertificateLine, ...] = ()
    renewable: RenewableLine | None = None
    bills: tuple[BillLine, ...] = ()
    budgets: tuple[BudgetLine, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    year: tuple[YearMonth, ...] = ()
    """January to December of the month's year."""
    meter_facts: tuple[MeterFacts, ...] = ()
    events: tuple[EventLine, ...] = ()
    substitutions: tuple[SubstitutionLine, ...] = ()
    reported: tuple[ReportedLine, ...] = ()
    """Measured + substituted = reported. All accounts after `energy` rest on what is reported."""
    tariffs: tuple[TariffLine, ...] = ()
    periods: tuple[PeriodLine, ...] = ()
    """Energy by time-of-use period; empty where no calendar is declared."""
    series: tuple[Series, ...] = ()
    """Factor series that the enterprise declared."""
    declared: tuple[DeclaredLine, ...] = ()
    """Electricity by declared factors, beside `totals`; empty where none is declared."""
    ledger: LedgerEnd | None = None
    """None in documents of an older release."""


def canonical(document: MonthDocument) -> bytes:
    """The document's bytes: UTF-8 JSON, keys sorted, no spaces."""
    return msgspec.json.encode(document, order="sorted")


def parse(data: bytes) -> MonthDocument:
    """The document in bytes that `canonical` made; msgspec.ValidationError when they are something else."""
    return msgspec.json.decode(data, type=MonthDocument)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the document, as kept in docs/month-document.schema.json."""
    return {"$schema": SCHEMA_ID, "title": SCHEMA, **msgspec.json.schema(MonthDocument)}


def ratio_text(ratio: Fraction) -> str:
    """`530600`, or `1/3` where it is not an integer."""
    return str(ratio)


def count_text(count: int | None) -> str | None:
    """An integer for the document."""
    return None if count is None else str(count)


def exact_decimal(value: Fraction) -> str:
    """All digits of a fraction that has finitely many."""
    with localcontext(prec=_DIGITS):
        text = format(Decimal(value.numerator) / Decimal(value.denominator), "f")
    if Fraction(text) != value:
        msg = f"{value} has no finite decimal form"
        raise ValueError(msg)
    return text


def half_up(value: Fraction, places: int) -> str:
    """The value rounded half up (away from zero), with thousands separated: for people, never for sums."""
    scaled = abs(value) * 10**places
    rounded = (2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator)
    whole, part = divmod(rounded, 10**places)
    sign = "-" if value < 0 and rounded else ""
    return f"{sign}{whole:,}" + (f".{part:0{places}d}" if places else "")
