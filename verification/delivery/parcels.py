"""Parcels: which files are to reach whom, when they are due, and when a failed one is tried again. Pure."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from factors.holidays import Calendar
from metering.intervals import MINUTE_MS, next_month
from storage.deliveries import RECEIPTED, Attempt, FileDigest, ParcelRow
from storage.lifecycle import Subject
from verification.delivery.config import HttpsTarget, SftpTarget, SmtpTarget
from verification.lifecycle import Status

AnyTarget = SmtpTarget | HttpsTarget | SftpTarget
WAITS_MINUTES = (0, 1, 5, 15, 60, 180, 360)
"""Between one attempt and the next; the last for ever: what has no receipt is tried until it has one. Ours."""
_ORDER = tuple(Status)
APART = frozenset({"head", "reminder"})
"""Contents that belong to no month's revision."""


@dataclass(frozen=True, slots=True)
class File:
    """A file on its way."""

    name: str
    media_type: str
    data: bytes

    @property
    def digest(self) -> FileDigest:
        return FileDigest(self.name, len(self.data), hashlib.sha256(self.data).hexdigest())


@dataclass(frozen=True, slots=True)
class Parcel:
    """Files for one target."""

    target: str
    title: str
    files: tuple[File, ...]

    @property
    def key(self) -> str:
        """The same for the same files to the same target: a receiver knows a repetition by it."""
        parts = [self.target, *(f"{file.digest.name}\0{file.digest.sha256}" for file in self.files)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]

    def row(self, now_ms: int) -> ParcelRow:
        return ParcelRow(self.key, self.target, self.title, now_ms, tuple(file.digest for file in self.files))


def due_months(
    target: AnyTarget, months: Mapping[Subject, Status], now: datetime, calendar: Calendar
) -> Iterator[Subject]:
    """The revisions that a target is to have by now: in the right status, and the day has come."""
    if not set(target.content) - APART or not is_open(target, now, calendar):
        return
    for subject, status in months.items():
        wanted = not target.scopes or subject.scope_id in target.scopes
        ready = status is not Status.RESTATED and _ORDER.index(status) >= _ORDER.index(Status(target.status))
        first = date.fromisoformat(f"{next_month(subject.month)}-01").replace(day=target.day)
        if wanted and ready and now.date() >= first:
            yield subject


def head_is_due(target: AnyTarget, now: datetime) -> bool:
    """Whether the day's chain head is to be sent now: every day, holidays too."""
    return "head" in target.content and now.hour >= target.hour


def is_open(target: AnyTarget, now: datetime, calendar: Calendar) -> bool:
    """Whether a target takes parcels at this hour of this day."""
    return now.hour >= target.hour and (not target.workdays_only or calendar.is_workday(now.date()))


def receipted(attempts: Iterable[Attempt]) -> bool:
    """Whether the other side has confirmed."""
    return any(attempt.outcome == RECEIPTED for attempt in attempts)


def next_attempt_ms(attempts: Sequence[Attempt]) -> int:
    """When to try (again): at once at first, then after ever longer waits."""
    if not attempts:
        return 0
    wait = WAITS_MINUTES[min(len(attempts), len(WAITS_MINUTES) - 1)]
    return attempts[-1].at_ms + wait * MINUTE_MS
