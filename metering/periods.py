"""Time-of-use periods (尖峰平谷深谷) in a notation that people write and check: which period every quarter of a day belongs to.

One line per kind of day, separated by line breaks or `|`:

    7-9: peak 16:00-24:00; flat 00:00-02:00, 09:00-11:00, 13:00-16:00; valley 02:00-09:00, 11:00-13:00
    7-9 holiday: deep 11:00-15:00; ...
    12-2: ...

Months first (`1,12`, `6-8`, `12-2`), then the kinds of day that the line is for; a line without kinds is for all days that no other
line of the month names. Every line covers 24 hours exactly once. `22:00-06:00` passes midnight. Boundaries lie on quarter hours,
because the ledger keeps intervals of 15 minutes and none may be split.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from metering.i18n import _

QUARTERS = 96
"""Of a day of 24 hours."""
NONE = 0
"""Code of a quarter that no calendar covers."""
_MINUTES, _DAY, _MONTHS = 15, 1440, 12


class Period(StrEnum):
    """A period of the day, dearest first."""

    SHARP = "sharp"
    PEAK = "peak"
    FLAT = "flat"
    VALLEY = "valley"
    DEEP = "deep"


class DayKind(StrEnum):
    """What a day is to a calendar."""

    WORKDAY = "workday"
    """Monday to Friday but for holidays, and make-up days (调休)."""
    WEEKEND = "weekend"
    HOLIDAY = "holiday"
    """A day off of the State Council's notice, weekends within it included."""
    HOT = "hot"
    """A day that was declared hot; it comes before what else the day is."""


PERIOD_LABELS = {
    Period.SHARP: ("尖峰", "sharp peak"),
    Period.PEAK: ("高峰", "peak"),
    Period.FLAT: ("平段", "flat"),
    Period.VALLEY: ("低谷", "valley"),
    Period.DEEP: ("深谷", "deep valley"),
}
CODES: tuple[Period | None, ...] = (None, *Period)
"""Period by its code."""
_CODE_OF = {period: code for code, period in enumerate(CODES) if period is not None}
_WORDS = {
    **{str(period): period for period in Period},
    **{zh: period for period, (zh, _en) in PERIOD_LABELS.items()},
    "尖": Period.SHARP, "峰": Period.PEAK, "平": Period.FLAT, "谷": Period.VALLEY,
}  # fmt: skip
_KIND_WORDS = {
    **{str(kind): kind for kind in DayKind},
    "工作日": DayKind.WORKDAY, "周末": DayKind.WEEKEND, "节假日": DayKind.HOLIDAY, "高温日": DayKind.HOT,
}  # fmt: skip
_SPAN = re.compile(r"(\d{1,2}):(\d{2})\s*[-–~]\s*(\d{1,2}):(\d{2})")
PLAIN = str.maketrans("，、；：（）", ",,;:()")
"""Full-width punctuation as Chinese keyboards give it."""


class PeriodsError(ValueError):
    """The notation is wrong (its author's fault); `mistakes` lists every one."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = tuple(mistakes)


@dataclass(frozen=True, slots=True)
class Line:
    """One line: the months and kinds of day that it is for, and the code of each of its 96 quarters."""

    months: frozenset[int]
    kinds: frozenset[DayKind]
    """Empty: every day that no other line of the month names."""
    day: bytes


@dataclass(frozen=True, slots=True)
class Periods:
    """A day's periods for every month and kind of day."""

    text: str
    lines: tuple[Line, ...]

    @property
    def by_day(self) -> bool:
        """Whether kinds of day are told apart."""
        return any(line.kinds for line in self.lines)

    def day(self, month: int, kinds: Sequence[DayKind]) -> bytes:
        """Codes of the 96 quarters of a day. `kinds` is what the day is, what counts first standing first."""
        lines = [line for line in self.lines if month in line.months]
        for kind in kinds:
            for line in lines:
                if kind in line.kinds:
                    return line.day
        return next(line.day for line in lines if not line.kinds)


def parse_periods(text: str) -> Periods:
    """The calendar that a text describes; PeriodsError with all its mistakes."""
    mistakes: list[str] = []
    rows = [row.strip() for row in re.split(r"[\n|]", text) if row.strip()]
    lines = [line for row in rows if (line := _line(row, mistakes)) is not None]
    if not mistakes:
        mistakes += _uncovered(lines)
    if mistakes:
        raise PeriodsError(mistakes)
    return Periods("\n".join(rows), tuple(lines))


def _line(row: str, mistakes: list[str]) -> Line | None:
    head, colon, rest = _split(row.translate(PLAIN))
    if not colon:
        mistakes.append(_("{line!r}: a line is `months: period times; period times`").format(line=row))
        return None
    months, kinds, wrong = _head(head)
    day, also = _day(rest)
    mistakes += [f"{head.strip()}: {text}" for text in (*wrong, *also)]
    return Line(months, kinds, day)


def _split(row: str) -> tuple[str, str, str]:
    """At the first colon that is not within a time."""
    found = re.search(r":(?!\d{2})", row)
    return (row, "", "") if found is None else (row[: found.start()], ":", row[found.end() :])


def _head(head: str) -> tuple[frozenset[int], frozenset[DayKind], list[str]]:
    months: set[int] = set()
    kinds: set[DayKind] = set()
    wrong = []
    for word in re.split(r"[\s,]+", head.strip()):
        if word in _KIND_WORDS:
            kinds.add(_KIND_WORDS[word])
        elif (found := _months(word)) is not None:
            months |= found
        else:
            known = ", ".join(DayKind)
            wrong.append(
                _("{word!r} is neither a month nor a kind of day ({known})").format(word=word, known=known)
            )
    if not months and not wrong:
        wrong.append(_("which months? e.g. 7-9"))
    return frozenset(months), frozenset(kinds), wrong


def _months(word: str) -> set[int] | None:
    """`7`, `7-9` or `11-2`."""
    found = re.fullmatch(r"(\d{1,2})(?:-(\d{1,2}))?", word)
    if found is None:
        return None
    first, last = int(found[1]), int(found[2] or found[1])
    if not (1 <= first <= _MONTHS and 1 <= last <= _MONTHS):
        return None
    return {(first - 1 + i) % _MONTHS + 1 for i in range((last - first) % _MONTHS + 1)}


def _day(text: str) -> tuple[bytes, list[str]]:
    """The codes of a line's 96 quarters, and what is wrong with it."""
    codes = bytearray(QUARTERS)
    wrong: list[str] = []
    twice: set[int] = set()
    for part in filter(None, (part.strip() for part in text.split(";"))):
        word, _space, spans = part.partition(" ")
        period = _WORDS.get(word)
        if period is None:
            wrong.append(
                _("there is no period {word!r}; there are {known}").format(word=word, known=", ".join(Period))
            )
            continue
        for span in spans.split(","):
            for quarter in _quarters(span.strip(), wrong):
                if codes[quarter]:
                    twice.add(quarter)
                codes[quarter] = _CODE_OF[period]
    wrong += [_("{times} belongs to two periods").format(times=times) for times in _times(sorted(twice))]
    if not wrong:
        missing = [quarter for quarter, code in enumerate(codes) if not code]
        wrong += [_("{times} belongs to no period").format(times=times) for times in _times(missing)]
    return bytes(codes), wrong


def _quarters(span: str, wrong: list[str]) -> Iterator[int]:
    """The quarters of `HH:MM-HH:MM`; one that ends where it begins, or earlier, passes midnight."""
    found = _SPAN.fullmatch(span)
    if found is None:
        wrong.append(_("{span!r} is no stretch of time HH:MM-HH:MM").format(span=span))
        return
    hours = (int(found[1]), int(found[2])), (int(found[3]), int(found[4]))
    start, end = (hour * 60 + minute for hour, minute in hours)
    if start >= _DAY or end > _DAY or any(minute > 59 for _hour, minute in hours):  # noqa: PLR2004
        wrong.append(_("{span!r} is not within a day").format(span=span))
        return
    off = [f"{hour:02}:{minute:02}" for hour, minute in hours if minute % _MINUTES]
    for time in off:
        text = _(
            "{time} is not on a quarter hour: the ledger keeps intervals of 15 minutes, and none may be split"
        )
        wrong.append(text.format(time=time))
    if not off:
        count = ((end - start - 1) % _DAY + 1) // _MINUTES
        yield from ((start // _MINUTES + i) % QUARTERS for i in range(count))


def _times(quarters: Sequence[int]) -> Iterator[str]:
    """Runs of quarters as `HH:MM-HH:MM`."""
    at = 0
    while at < len(quarters):
        end = at + 1
        while end < len(quarters) and quarters[end] == quarters[end - 1] + 1:
            end += 1
        yield f"{clock(quarters[at])}-{clock(quarters[end - 1] + 1)}"
        at = end


def clock(quarter: int) -> str:
    """`HH:MM` at which a quarter of the day begins; 24:00 after the last."""
    return f"{quarter * _MINUTES // 60:02}:{quarter * _MINUTES % 60:02}"


def _uncovered(lines: Sequence[Line]) -> Iterator[str]:
    """Months whose days have no line, or two."""
    for month in range(1, _MONTHS + 1):
        here = [line for line in lines if month in line.months]
        rest = [line for line in here if not line.kinds]
        for kind in DayKind:
            if sum(kind in line.kinds for line in here) > 1:
                yield _("month {month}: two lines for {kind}").format(month=month, kind=kind)
        if len(rest) > 1:
            yield _("month {month}: two lines for the same days").format(month=month)
        named = {kind for line in here for kind in line.kinds}
        missing = [
            str(kind)
            for kind in (DayKind.WORKDAY, DayKind.WEEKEND, DayKind.HOLIDAY)
            if kind not in named and not rest
        ]
        if missing:
            yield _("month {month}: no line for {kinds}").format(month=month, kinds=", ".join(missing))
