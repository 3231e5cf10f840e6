"""申报电力因子序列: emission factors that a contract or a publisher of grid intensities gives for stretches of time, down to 15 minutes.

Declared, never official: the figure made with it stands beside the location-based ones and replaces none. Stretches lie on quarter
hours, so that an interval of the ledger never lies in two of them. What a stretch does not say stays unknown; it is never zero.
"""

from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, AwareDatetime, Field, model_validator

from metering.config import Id
from metering.i18n import _
from metering.intervals import MINUTE_MS, QUARTER_MS, Span, to_ms
from metering.series import parse_values
from storage.facts.fields import Digest, Required, Text
from storage.facts.substitution import Signed

_LONGEST = 32_000
"""A cell of a spreadsheet holds 32,767 characters: a month of quarter hours."""
_LONGEST_STEP = 31 * 24 * 60
_QUARTER_MINUTES = QUARTER_MS // MINUTE_MS


def _utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(_("no such time")) from error


_Moment = Annotated[AwareDatetime, AfterValidator(_utc)]
"""In UTC, so that one stretch has one key."""


class SeriesFact(Signed):
    """Factors of an enterprise's purchased electricity, or of one of its meters, one after another."""

    KIND = "factor_series"
    LABEL = ("申报因子序列", "Declared factor series")
    SUBJECT = "enterprise"
    KEY = ("meter", "start")

    enterprise: Id = Field(title="企业编号 enterprise")
    meter: Id | Literal[""] = Field(default="", title="表计编号（空：全部） meter; empty: all")
    start: _Moment = Field(title="起（含时区，整刻，如 2026-10-01T00:00+08:00） from, with its offset")
    end: _Moment = Field(title="止（不含） to, exclusive")
    step_minutes: Annotated[int, Field(ge=0, le=_LONGEST_STEP)] = Field(
        default=0, title="步长 分钟（15 的倍数；0：一个值管全段） step; 0: one value for all"
    )
    values: Annotated[str, Field(max_length=_LONGEST), AfterValidator(parse_values)] = Field(
        title="因子 kgCO2/kWh（空格分隔，- 表示无值） values"
    )
    basis: Literal["contract", "grid_intensity"] = Field(title="依据 contract/grid_intensity")
    source: Required = Field(
        title="来源（合同号、发布机构与数据集） contract number, or publisher and data set"
    )
    label: Text = Field(default="", title="名称 name")
    document_sha256: Digest = Field(default="", title="凭证文件 SHA-256 of the document")

    @model_validator(mode="after")
    def _on_the_grid(self) -> Self:
        """Every mistake at once."""
        wrong = [
            _("{name} is not on a quarter hour").format(name=name)
            for name in ("start", "end")
            if to_ms(getattr(self, name)) % QUARTER_MS or getattr(self, name).microsecond
        ]
        if self.end <= self.start:
            wrong.append(_("end is not after start"))
        elif self.step_minutes % _QUARTER_MINUTES:
            wrong.append(_("step_minutes is a multiple of 15"))
        elif len(self.words) * self.step_ms != self.span.end_ms - self.span.start_ms:
            told = _(
                "{count} values of {step} minutes are {covered} minutes, from start to end there are {long}"
            )
            long = (self.span.end_ms - self.span.start_ms) // MINUTE_MS
            step = self.step_ms // MINUTE_MS
            wrong.append(
                told.format(count=len(self.words), step=step, covered=len(self.words) * step, long=long)
            )
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    @property
    def span(self) -> Span:
        """What it speaks of."""
        return Span(to_ms(self.start), to_ms(self.end))

    @property
    def words(self) -> list[str]:
        """Its values as written, in time order."""
        return self.values.split(" ")

    @property
    def step_ms(self) -> int:
        """How long each value holds."""
        return self.step_minutes * MINUTE_MS or self.span.end_ms - self.span.start_ms
