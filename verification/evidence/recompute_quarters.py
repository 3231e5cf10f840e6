"""Quarter hours, days, bills and declared factors for `recompute.py`, with the standard library alone.

A total that a formula counts is followed from one quarter hour to the next: its rows in ledger.csv, the days, what a meter counted
over a bill's own dates, and emissions by the factors that an enterprise declared. All are differences between positions that the
frames gave.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, time, timedelta, timezone
from fractions import Fraction
from itertools import groupby, pairwise
from math import floor
from typing import Any
from zoneinfo import ZoneInfo

from verification.evidence.recompute_books import Books, added

QUARTER = 900_000
DAY = 86_400_000
UG_PER_WH = 10**6
"""Of 1 kg per kWh."""
BILLED = {"kWh": 1000, "m3": 1000, "GJ": 1_000_000}
"""Base units in one unit of a bill."""

Key = tuple[str, str]
Row = dict[str, str]
Lines = Iterator[tuple[str, "dict[str, Any] | None", dict[str, Any]]]
"""(place in the document, what it says there, what follows)"""


class Clock:
    """Local midnights. On a computer that knows no time zones a day has 24 hours, as all have in China."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.start, self.first = document["start_ms"], date.fromisoformat(document["month"] + "-01")
        try:
            self.zone: ZoneInfo | None = ZoneInfo(document["zone"])
        except (KeyError, OSError):
            self.zone = None

    def midnight(self, day: date) -> int:
        if self.zone is None:
            return int(self.start) + (day - self.first).days * DAY
        return round(datetime.combine(day, time(), self.zone).timestamp()) * 1000

    def days(self, since: date, until: date) -> Iterator[tuple[date, int, int]]:
        """(day, its begin, its end) of every day from one to before another."""
        for number in range((until - since).days):
            day = since + timedelta(days=number)
            yield day, self.midnight(day), self.midnight(day + timedelta(days=1))


def utc(at: int) -> str:
    return datetime.fromtimestamp(at // 1000, timezone.utc).strftime("%Y-%m-%dT%H:%MZ")  # noqa: UP017  Python 3.10


class Quarters:
    """What lies between two times of a month, for the totals that a formula counts.

    `at` says where a total stood; `known` whether everything between two times is known; `ledger` are the rows of ledger.csv.
    """

    def __init__(
        self,
        books: Books,
        ledger: Iterable[Row],
        at: Callable[[Key, int], "int | None"],
        known: Callable[[Key, int, int], bool],
    ) -> None:
        self.books, self.ledger, self.at, self.known = books, ledger, at, known
        self.document = document = books.document
        self.span = document["start_ms"], document["end_ms"]
        self.clock = Clock(document)
        self.own = books.terms(books.kind, books.scope)
        self.counted = {key for row in books.formulas for key in books.role(row["role"])}
        self.until: dict[Key, int] = {}
        """Where the closed rows of a total end that has no figure: its frames may go further than the ledger went."""

    def between(self, key: Key, start: int, end: int) -> int | None:
        """Base units; None where the frames, or the ledger of a total without a figure, do not reach."""
        opening, closing = self.at(key, start), self.at(key, end)
        told = self.books.energy[key] is not None or end <= self.until.get(key, 0)
        if opening is None or closing is None or not told or not self.known(key, start, end):
            return None
        return closing - opening

    # Rows

    def row_differences(self) -> Iterator[str]:
        """One for every quarter hour of a counted total whose month has a figure, from where it stood to where it stood."""
        missing = {key for key in self.counted if self.books.energy[key] is not None}
        for key, rows in groupby(self.ledger, key=lambda row: (row["meter"], row["reading_type"])):
            if key in missing:
                missing.remove(key)
                for place, said, found in self.rows(key, rows):
                    if said != found:
                        yield f"ledger.csv {'/'.join(key)} {place}: pack {said}, recomputed {found}"
            elif key in self.counted:
                self.until[key] = max((int(row["end_ms"]) for row in rows if row["closed"] == "1"), default=0)
        yield from (f"ledger.csv {'/'.join(key)}: no rows" for key in sorted(missing))

    def rows(self, key: Key, rows: Iterable[Row]) -> Iterator[tuple[str, str, str]]:
        start, end = self.span
        opening = self.at(key, start)
        for row in rows:
            closing, ratio = self.at(key, start + QUARTER), self.books.ratio_of.get(row["factor_id"])
            known = ratio is not None and opening is not None and closing is not None
            emission = floor(closing * ratio) - floor(opening * ratio) if known else ""  # type: ignore[operator]  # all are known
            expected = start, start + QUARTER, opening, closing, emission, 1
            names = "start_ms", "end_ms", "opening", "closing", "emission_ug", "closed"
            for name, value in zip(names, expected):  # noqa: B905  two tuples of one length
                yield f"{utc(start)} {name}", row[name], str(value)
            start, opening = start + QUARTER, closing
        yield "last row", utc(start), utc(end)

    # Days

    def lines(self) -> Lines:
        """Days, bills and declared factors."""
        yield from self.days()
        yield from self.bills()
        yield from self.declared()

    def days(self) -> Lines:
        """Emission of a day: what the running total of the month's days comes to after it, less what it came to before."""
        said = {line["day"]: line for line in self.document["daily"]}
        first, running = self.clock.first, 0
        for day, start, end in self.clock.days(first, first + timedelta(days=len(said))):
            parts = [(sign, self.between(key, start, end)) for sign, key in self.own]
            energy = added(None if wh is None else sign * wh for sign, wh in parts)
            if all(sign < 0 for sign, _wh in parts):
                energy = None
            before, after = (
                self.books.emission(self.books.kind, wh) for wh in (running, running + (energy or 0))
            )
            emission = None if energy is None or before is None or after is None else after - before
            running += energy or 0
            yield f"daily[{day}]", said.get(str(day)), {"energy_wh": energy, "emission_ug": emission}

    # Bills

    def bills(self) -> Lines:
        """What our meter counted over a bill's own dates, beside the bill without its losses and adjustments."""
        said = {line["id"]: line for line in self.document["bills"]}
        for row in self.books.table("facts/bill.csv"):
            name = (
                row["number"]
                if row["enterprise"] == self.books.scope
                else f"{row['enterprise']}/{row['number']}"
            )
            taken = ("transformer_loss", "line_loss", "adjusted")
            expected = Fraction(row["billed"]) - sum(Fraction(row[each] or 0) for each in taken)
            counted = self.billed(row)
            metered = None if counted is None else Fraction(counted, BILLED[row["unit"]])
            difference = None if metered is None else metered - expected
            found = {"expected": expected, "metered": metered, "difference": difference}
            yield f"bills[{name}]", said.get(name), found

    def billed(self, bill: Row) -> int | None:
        """Rows before the month, which have to meet its first one; then its days."""
        key, energy = (bill["meter"], bill["reading_type"]), 0
        since, until = (date.fromisoformat(bill[name]) for name in ("start", "end"))
        at, end = self.clock.midnight(since), self.clock.midnight(until)
        for row in self.books.table("bill-intervals.csv"):
            start = int(row["start_ms"])
            if (row["meter"], row["reading_type"]) == key and at <= start < end:
                if start != at or row["closed"] != "1":
                    return None
                at, energy = int(row["end_ms"]), energy + int(row["closing"]) - int(row["opening"])
                if (
                    at == self.span[0]
                    and key in self.books.energy
                    and self.at(key, at) not in {None, int(row["closing"])}
                ):
                    raise ValueError(
                        f"bill-intervals.csv {'/'.join(key)}: it does not end where the month begins"
                    )
        if at == end:
            return energy
        here = key in self.books.energy and self.span[0] <= at and end <= self.span[1]
        inside = self.between(key, at, end) if here else None
        return None if inside is None else energy + inside

    # Declared factors

    def declared(self) -> Lines:
        """Of every counted total one part per factor, quarter hour by quarter hour; and the scope's sum. The park declares none."""
        said = {line["id"]: line for line in self.document.get("declared", ())}
        found: dict[str, dict[str, Any]] = {}
        series = self.document.get("series", ())
        if series and self.books.kind != "park" and any(sign > 0 for sign, _key in self.own):
            totals = [(sign, key, self.parts(key)) for sign, key in self.own]
            whole = added(None if parts is None else 0 for _sign, _key, parts in totals)
            sums = [(sign, part) for sign, _key, parts in totals for part in (parts or {}).values()]
            found["scope"] = {
                "energy_wh": None if whole is None else sum(sign * wh for sign, (wh, _ug) in sums),
                "emission_ug": None
                if whole is None
                else added(None if ug is None else sign * ug for sign, (_wh, ug) in sums),
            }
            for _sign, key, parts in totals:
                for (name, text), (wh, ug) in (parts or {}).items():
                    found[f"{key[0]}/{name}/{text}"] = {"energy_wh": wh, "emission_ug": ug}
        for name in dict.fromkeys([*said, *found]):
            if name in found or said[name]["energy_wh"] is not None:
                yield f"declared[{name}]", said.get(name), found.get(name, {"": None})

    def parts(self, key: Key) -> dict[tuple[str, str], tuple[int, "int | None"]] | None:
        """(series, value as declared) → (Wh, µg); None for a total without a figure."""
        if self.books.energy[key] is None:
            return None
        start, end = self.span
        found: dict[tuple[str, str], tuple[int, int | None]] = {}
        edges = range(start, end + 1, QUARTER)
        stood = [self.at(key, edge) for edge in edges]
        for (opening, closing), factor in zip(pairwise(stood), self.factors(key[0])):  # noqa: B905  as many as quarter hours
            assert opening is not None and closing is not None  # noqa: S101, PT018  its month has a figure
            ratio = Fraction(factor[1]) * UG_PER_WH if factor[1] else None
            wh, ug = found.get(factor, (0, 0))
            more = None if ratio is None else floor(closing * ratio) - floor(opening * ratio)
            found[factor] = wh + closing - opening, added([ug, more])
        return found

    def factors(self, meter: str) -> list[tuple[str, str]]:
        """Of every quarter hour: a meter with a series of its own takes nothing from its enterprise's."""
        start, end = self.span
        found = [("", "")] * ((end - start) // QUARTER)
        series = self.document.get("series", ())
        whose = meter if any(one["meter"] == meter for one in series) else ""
        for one in series:
            each = one["step_ms"] // QUARTER
            for place, word in enumerate(one["values"].split(" ") if one["meter"] == whose else ()):
                low = (one["start_ms"] - start) // QUARTER + place * each
                if word != "-" and low + each > 0:
                    found[max(low, 0) : low + each] = [(one["id"], word)] * len(
                        found[max(low, 0) : low + each]
                    )
        return found
