"""数据替代: energy written down for a stretch that no meter accounts for, and the second person's approval of it.

Never touches a frame or an interval. The order is that of our rules: the register's own difference across a gap needs no record (the
ledger has it, exactly); then a check meter or the bill; then the mean of the same weekday and time over four weeks; then the
conservative maximum. Who wrote each of the two is what the registry says, not what a sheet says.
"""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from metering.config import Id
from metering.i18n import _
from metering.intervals import QUARTER_MS
from storage.facts.fact import Fact
from storage.facts.fields import Quantity, Required, Text

Method = Literal["check_meter", "bill", "mean_of_4_weeks", "maximum"]
METHODS: dict[Method, tuple[str, str]] = {
    "check_meter": ("校核表", "check meter"),
    "bill": ("账单", "bill"),
    "mean_of_4_weeks": ("前四周同时段均值", "mean of the four weeks before"),
    "maximum": ("保守最大值", "conservative maximum"),
}
"""In the order in which they may be taken."""
_GRID_S = QUARTER_MS // 1000
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Signed(Fact):
    """A fact whose writer matters: the registry fills `by` in from its own row, whatever a sheet says."""

    by: Text = Field(default="", title="经办人（由系统填写） by, filled in by the system")


class SubstitutionFact(Signed):
    """Energy put in place of what was not measured."""

    KIND = "substitution"
    LABEL = ("数据替代", "Substitution")
    SUBJECT = "meter"
    KEY = ("reading_type", "start")

    meter: Id = Field(title="表计编号 meter")
    reading_type: Id = Field(default="energy_import_total", title="计量量 reading type")
    start: datetime = Field(title="起（当地，整刻） from, local, on a quarter hour")
    end: datetime = Field(title="止（当地，整刻） to, local, on a quarter hour")
    energy: Quantity = Field(title="替代量 energy")
    unit: Literal["kWh", "m3", "GJ"] = Field(default="kWh", title="单位 unit")
    method: Method = Field(title="方法 check_meter/bill/mean_of_4_weeks/maximum")
    reason: Required = Field(
        title="原因及前序方法不可用的说明 reason, and why the methods before do not apply"
    )
    evidence_sha256: _Sha256 = Field(title="凭证文件 SHA-256 of the evidence")

    @model_validator(mode="after")
    def _on_the_grid(self) -> Self:
        for name in ("start", "end"):
            at: datetime = getattr(self, name)
            if at.tzinfo is not None or (at.minute * 60 + at.second) % _GRID_S or at.microsecond:
                raise ValueError(_("{name} is a local time on a quarter hour").format(name=name))
        if self.end <= self.start:
            raise ValueError(_("end is not after start"))
        return self


class ApprovalFact(Signed):
    """A second person's word on exactly one wording of a substitution."""

    KIND = "substitution_approval"
    LABEL = ("数据替代复核", "Approval of a substitution")
    SUBJECT = "meter"
    KEY = ("reading_type", "start")

    meter: Id = Field(title="表计编号 meter")
    reading_type: Id = Field(default="energy_import_total", title="计量量 reading type")
    start: datetime = Field(title="起（当地） from, local")
    substitution_sha256: _Sha256 = Field(title="被复核的替代记录 SHA-256 of the substitution")
