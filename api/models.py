"""What the API answers. Energies (`*_wh`) and emissions (`*_ug`) are integers sent as text: they pass 2^53."""

from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

Exact = Annotated[int, PlainSerializer(str, return_type=str), Field(description="Integer, sent as text.")]
Use = Literal["enterprise", "park"]


class Out(BaseModel):
    """What every answer is: nothing in it that its schema does not name, and nothing changes it afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ProblemDocument(BaseModel):
    """Why a request was not answered (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    parameter: str | None = Field(default=None, description="The parameter at fault.")


class TermOut(Out):
    """One term of a boundary formula."""

    role: str
    sign: int
    label_zh: str
    label_en: str


class ParkOut(Out):
    """The park."""

    id: str
    name: str
    name_en: str
    zone: str = Field(description="IANA zone of all intervals, days and months.")
    grid_scope: str = Field(description="Scope code of the provincial factor.")
    formula: list[TermOut]


class EnterpriseOut(Out):
    """An enterprise and the formula of its boundary."""

    id: str
    name: str
    name_en: str
    credit_code: str
    industry: str
    formula: list[TermOut]


class SiteOut(Out):
    """A site."""

    id: str
    enterprise: str
    name: str


class GatewayOut(Out):
    """A gateway and what ingest knows of it."""

    id: str
    site: str
    enterprise: str
    online: bool | None = Field(description="null: never heard.")
    since_ms: int | None = Field(description="Since when it is online or offline.")
    last_seen_ms: int | None = Field(description="When its last message arrived.")
    last_reading_ms: int | None = Field(description="Time of the newest stored reading.")
    backlog_ms: int | None = Field(description="How far its newest stored reading lay behind its arrival.")
    epoch: Exact | None = Field(description="Outbox epoch; sent as text.")
    number: int | None = Field(description="Highest frame number stored of that epoch.")


class MeterState(StrEnum):
    """State of a meter as the server sees it."""

    OK = "ok"
    SILENT = "silent"
    PENDING = "pending"
    NEVER = "never"


class RoleOut(Out):
    """The role of one total."""

    reading_type: str
    role: str
    label_zh: str
    label_en: str


class RatioOut(Out):
    """Transformers from a moment on."""

    since: str | None = Field(description="null: since the commissioning.")
    since_ms: int | None
    ct: str
    pt: str
    reason: str


class MeterOut(Out):
    """A meter: registry and state."""

    id: str
    name: str
    gateway: str
    enterprise: str
    profile: str
    roles: list[RoleOut]
    parent: str | None
    ct: str = Field(description="In force now.")
    pt: str
    ratios: list[RatioOut] = Field(description="All that are declared, the oldest first.")
    state: MeterState = Field(
        description="ok; silent: no reading lately; pending: an event waits; never: no reading."
    )
    power_w: float | None = Field(description="Latest active power, if it is fresh.")
    last_reading_ms: int | None
    last_total_ms: int | None = Field(description="Time of the last good total.")


class ReadingOut(Out):
    """The latest reading of one type."""

    meter: str
    reading_type: str
    label_zh: str
    label_en: str
    t_ms: int
    t: str
    value: float = Field(description="In the base unit, primary side.")
    unit: str
    received_ms: int


class IntervalOut(Out):
    """One interval of one total. Larger sizes sum the 15-minute rows."""

    start: str
    end: str
    start_ms: int
    end_ms: int
    part: int = Field(description="0, 1, …: pieces of one 15-minute interval, cut by a factor or a ratio.")
    revision: int
    opening: Exact = Field(description="Absolute position at the start, in `unit`.")
    closing: Exact
    energy: Exact = Field(description="In `unit`; the sum of the rows it is made of.")
    emission_ug: Exact | None = Field(description="null when a factor is missing.")
    factor_ids: list[str]
    coverage_ms: int = Field(description="Measured time.")
    edge_reads: int = Field(description="15-minute edges with a valid read within tolerance.")
    rows: int = Field(description="Stored rows this one is made of.")
    missing: int = Field(description="15-minute intervals within it, up to now, that are not stored.")
    quality: str
    closed: bool = Field(description="false: it still runs, figures are provisional.")


class IntervalsOut(Out):
    """Intervals of a range. Intervals without any stored row are absent, and counted in `missing`."""

    meter: str
    reading_type: str
    unit: str
    size: str
    zone: str
    start: str
    end: str
    missing: int
    intervals: list[IntervalOut]


class EmissionFigure(Out):
    """An emission by one labelled factor, or the reason why there is none."""

    use: Use | Literal["meter"] = Field(description="enterprise: national factor; park: provincial factor.")
    primary: bool
    label_zh: str
    label_en: str
    factor_id: str | None = None
    factor_ug_per_wh: str | None = None
    emission_ug: Exact | None = None
    reason: str | None = Field(default=None, description="Why there is no emission; never 0 instead.")
    reason_zh: str | None = None


class EmissionRow(Out):
    """Energy and emission of one interval."""

    start: str
    end: str
    start_ms: int
    end_ms: int
    energy_wh: Exact | None = Field(description="null when no meter of the formula has a reading.")
    emissions: list[EmissionFigure]
    missing_meters: list[str] = Field(description="Meters without any reading here: their share is unknown.")
    provisional: bool = Field(description="false once the month is closed for this scope.")


class EmissionsOut(Out):
    """Emissions of a range."""

    by: str
    id: str
    name: str
    size: str
    zone: str
    start: str
    end: str
    formula: list[TermOut]
    rows: list[EmissionRow]


class FactorInForce(Out):
    """The factor that the open month takes today, with its source; or the reason why there is none."""

    use: Use
    policy_zh: str
    policy_en: str
    id: str | None = None
    scope_code: str | None = None
    data_year: int | None = None
    value_kg_per_kwh: str | None = None
    factor_ug_per_wh: str | None = None
    label_zh: str | None = None
    label_en: str | None = None
    notice: str | None = None
    published: date | None = None
    verified: str | None = None
    reason: str | None = None
    reason_zh: str | None = None


class PeriodOut(Out):
    """Energy by the formula, and its emissions, since the start of the day or month."""

    energy_wh: Exact | None
    emissions: list[EmissionFigure]
    missing_meters: list[str]


class FiguresOut(Out):
    """Live figures of an enterprise or the park. All provisional."""

    id: str
    name: str
    name_en: str
    power_w: float | None = Field(
        description="Imported at the grid boundary now; null when no meter is fresh."
    )
    power_missing: list[str] = Field(description="Boundary meters without fresh power.")
    export_w: float | None = Field(description="Exported at the grid boundary now.")
    pv_w: float | None = Field(description="PV generation now; null without PV or without fresh power.")
    today: PeriodOut
    month: PeriodOut
    power_15min_w: list[int | None] = Field(
        description="Mean power by the formula per 15 minutes since midnight."
    )


class LiveOut(Out):
    """The whole live picture in one document; the stream sends the same."""

    change_seq: int
    now_ms: int
    as_of_ms: int = Field(
        description="The moment the figures are for: now, or while catching up the newest reading."
    )
    mode: Literal["live", "catching_up", "idle"] = Field(
        description="catching_up: readings arrive that are older than an hour; idle: nothing arrives."
    )
    as_of: str
    zone: str
    day_start_ms: int
    day_end_ms: int
    month: str
    provisional: bool
    park: FiguresOut | None = Field(description="null for who may see single enterprises only.")
    enterprises: list[FiguresOut]
    gateways: list[GatewayOut]
    meters: list[MeterOut]
    factors: list[FactorInForce]


class ReportLink(Out):
    """A printed report."""

    format: Literal["pdf", "xlsx", "json", "csv"]
    href: str


class MonthOut(Out):
    """A closed month of one scope, one revision."""

    month: str
    scope_kind: str
    scope_id: str
    name: str
    name_en: str
    revision: int
    outcome: str
    reason: str | None
    closed_at: str
    closed_at_ms: int
    digest: str
    purchased_wh: str | None = Field(description="As measured.")
    substituted_wh: str = Field(
        description="数据替代: approved substitutions for time that nothing measured."
    )
    reported_wh: str | None = Field(description="Measured + substituted: what the emissions are of.")
    emissions: list[dict[str, Any]] = Field(description="As in the month document: all labelled.")
    findings: int = Field(description="Checks that did not pass.")
    reports: list[ReportLink]


class EventOut(Out):
    """An event of the stream (ledger) or of ingest (journal)."""

    id: int
    source: Literal["ledger", "journal"]
    t_ms: int
    t: str
    meter: str | None = None
    gateway: str | None = None
    reading_type: str | None = None
    kind: str
    detail: dict[str, Any]


class QuarantineRowOut(Out):
    """A refused message, as received."""

    id: int
    received_ms: int
    received: str
    topic: str
    gateway: str
    reason: str
    detail: str
    size: int
    payload_hex: str


class QuarantineOut(Out):
    """Refused messages: counts by reason, and rows."""

    counts: dict[str, int]
    rows: list[QuarantineRowOut]


class HealthOut(Out):
    """Whether the API runs (live), and whether it can read what it serves (ready)."""

    status: Literal["ok", "not_ready"]
    checks: dict[str, str] = {}
