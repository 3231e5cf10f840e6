"""When a month is due, and on which days to remind. Rules are data; each says whether it is official or ours."""

from datetime import date, timedelta
from typing import Literal

from pydantic import Field

from factors.holidays import Calendar
from metering.config import Id, Strict
from metering.i18n import N_
from metering.intervals import next_month
from verification.lifecycle import Status

_ORDER = tuple(Status)


class Deadline(Strict):
    """By when a month has to have reached a status."""

    id: Id
    label_zh: str
    label_en: str
    reached: Literal["provisional", "under_review", "verified", "submitted"]
    days: int = Field(ge=1, le=366)
    """After the month's last day."""
    count: Literal["calendar", "working"] = "calendar"
    remind_days_before: tuple[int, ...] = (7, 2)
    source: str = "本系统规则 ours"


DEADLINES: tuple[Deadline, ...] = (
    Deadline(
        id="form", label_zh="企业填报", label_en=N_("enterprise's monthly form"), reached="under_review",
        days=10, count="working", remind_days_before=(5, 1),
    ),
    Deadline(
        id="review", label_zh="核查结论", label_en=N_("verification"), reached="verified",
        days=20, count="working", remind_days_before=(5, 1),
    ),
    Deadline(
        id="deposit", label_zh="月度存证", label_en=N_("monthly deposit"), reached="submitted", days=40,
        remind_days_before=(10, 3),
        source="生态环境部：每月结束后 40 个自然日内 (40 calendar days after the month's end)",
    ),
)  # fmt: skip
"""Used where the configuration names none."""


class Due(Strict):
    """A deadline of one month."""

    rule: Deadline
    month: str
    day: date
    """The last day in time."""
    reminders: tuple[date, ...]
    """Working days on which to remind, the earliest first."""
    calendar_known: bool
    """False: the State Council's notice for that year is not in the data, weekends alone were counted."""


def due(rule: Deadline, month: str, calendar: Calendar) -> Due:
    """The deadline of a month. A calendar-day deadline is not moved by a holiday: the official rule counts every day."""
    last = date.fromisoformat(f"{next_month(month)}-01") - timedelta(days=1)
    day = last + timedelta(days=rule.days) if rule.count == "calendar" else calendar.after(last, rule.days)
    reminders = {calendar.on_or_before(day - timedelta(days=before)) for before in rule.remind_days_before}
    return Due(
        rule=rule,
        month=month,
        day=day,
        reminders=tuple(sorted(r for r in reminders if r > last)),
        calendar_known=calendar.known(last.year) and calendar.known(day.year),
    )


def reached(status: Status, rule: Deadline) -> bool:
    """Whether a month in this status has done what the rule asks. A restated one had, before it was restated."""
    return _ORDER.index(status) >= _ORDER.index(Status(rule.reached))
