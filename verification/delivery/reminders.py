"""Reminders as parcels: each deadline of each month is called to mind once per stage, and once when it has passed.

A stage begins on a working day before the deadline (`remind_days_before`) and lasts until the next one; a server that was off
on that day makes up for it. What was done meanwhile is not called to mind any more.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from factors.holidays import Calendar
from verification.deadlines import Deadline, Due, due, reached
from verification.delivery.parcels import AnyTarget, File, Parcel, is_open
from verification.lifecycle import Status

CONTENT = "reminder"
LATE = "late"
MONTHS_BACK = 3
"""Months that ended longer ago are not called to mind: their deadlines passed long before. Ours."""

Standing = Mapping[tuple[str, str], Status]
"""(month, scope) → where its newest revision stands."""


@dataclass(frozen=True, slots=True)
class Reminder:
    """A deadline that has not been met, at one of its stages."""

    scope: str
    due: Due
    stage: str
    """The day that the stage began on, or `late`."""


def due_reminders(
    target: AnyTarget, months: Standing, rules: Sequence[Deadline], calendar: Calendar, now: datetime
) -> Iterator[Reminder]:
    """What a target is to be reminded of now."""
    if CONTENT not in target.content or not is_open(target, now, calendar):
        return
    for (month, scope), status in months.items():
        if target.scopes and scope not in target.scopes:
            continue
        for rule in rules:
            found = due(rule, month, calendar)
            stage = stage_of(found, calendar, now.date())
            if stage is not None and not reached(status, rule):
                yield Reminder(scope, found, stage)


def stage_of(found: Due, calendar: Calendar, today: date) -> str | None:
    """The stage that a deadline is in; None before its first reminder, and until the first working day after it."""
    if today > found.day:
        return LATE if today >= calendar.after(found.day, 1) else None
    begun = [day for day in found.reminders if day <= today]
    return begun[-1].isoformat() if begun else None


def parcel(target: AnyTarget, reminder: Reminder, name: str) -> Parcel:
    """The reminder on its way: the same words whenever it is sent within its stage, so that it is one parcel."""
    found, rule = reminder.due, reminder.due.rule
    file = f"reminder_{reminder.scope}_{found.month}_{rule.id}_{reminder.stage}.txt"
    zh, en = _words(reminder, name)
    lines = [zh, en, "", f"依据 / source: {rule.source}", f"时限 / deadline: {found.day.isoformat()}"]
    if not found.calendar_known:
        lines.append(
            "该年度节假日安排未载入，仅按周末计算 / that year's holidays are not known, weekends alone were counted"
        )
    text = "\n".join([*lines, ""])
    return Parcel(target.name, f"{zh} / {en}", (File(file, "text/plain", text.encode()),))


def _words(reminder: Reminder, name: str) -> tuple[str, str]:
    found, rule, who = reminder.due, reminder.due.rule, f"{name} {reminder.due.month}"
    if reminder.stage == LATE:
        return (
            f"逾期：{who} {rule.label_zh}应于 {found.day} 前完成",
            f"Overdue: {who} {rule.label_en} was due on {found.day}",
        )
    days = (found.day - date.fromisoformat(reminder.stage)).days
    return (
        f"提醒：{who} {rule.label_zh}须于 {found.day} 前完成（{reminder.stage} 起尚有 {days} 天）",
        f"Reminder: {who} {rule.label_en} is due on {found.day} ({days} days from {reminder.stage})",
    )
