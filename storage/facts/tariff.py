"""Which time-of-use calendar an enterprise, or one of its meters, is billed by."""

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from metering.config import Id
from metering.i18n import _
from metering.periods import parse_periods
from storage.facts.fact import State
from storage.facts.fields import Text

_LONGEST = 4_000


def _periods(value: str) -> str:
    return parse_periods(value).text if value else value


def _days(value: str) -> str:
    """Dates in order, each once. Spreadsheets give a single one as a midnight."""
    days = set()
    for word in value.replace("，", ",").replace("、", ",").replace("\n", ",").split(","):
        if word.strip():
            try:
                days.add(date.fromisoformat(word.split()[0]))
            except ValueError as error:
                raise ValueError(_("{word!r} is not a date YYYY-MM-DD").format(word=word.strip())) from error
    return ",".join(day.isoformat() for day in sorted(days))


class TariffFact(State):
    """An official calendar by its id, or the enterprise's own (a retail contract's) written out."""

    KIND = "tariff"
    LABEL = ("分时电价日历", "Time-of-use calendar")
    SUBJECT = "enterprise"
    KEY = ("meter",)

    enterprise: Id = Field(title="企业编号 enterprise")
    meter: Id | Literal[""] = Field(default="", title="表计编号（空：全部） meter; empty: all")
    calendar: Text = Field(default="", title="官方日历编号 official calendar: tanyun tariff show")
    periods: Annotated[str, Field(max_length=_LONGEST), AfterValidator(_periods)] = Field(
        default="", title="自有时段（每行一类日子，覆盖 24 小时） own periods"
    )
    holiday_days: Annotated[int, Field(ge=1, le=30)] = Field(
        default=1, title="自有：节假日至少天数 own: shortest holiday that counts, days"
    )
    notice: Text = Field(
        default="", title="自有：依据（合同号、通知文号） own: contract or notice it rests on"
    )
    hot_days: Annotated[str, Field(max_length=_LONGEST), AfterValidator(_days)] = Field(
        default="", title="高温日（YYYY-MM-DD，逗号分隔） hot days"
    )

    @model_validator(mode="after")
    def _one_calendar(self) -> Self:
        if bool(self.calendar) == bool(self.periods):
            raise ValueError(_("give either calendar (an official one) or periods (your own)"))
        if self.periods and not self.notice:
            raise ValueError(_("own periods need the contract or notice that they rest on, in notice"))
        return self

    def is_hot(self, day: date) -> bool:
        """Whether the day was declared hot."""
        return day.isoformat() in self.hot_days.split(",")
