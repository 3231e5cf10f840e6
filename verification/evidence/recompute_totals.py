"""One total of one meter for `recompute.py`, with the standard library alone: its readings, and where it stood."""

from collections.abc import Iterable

from verification.evidence.integral import Integral
from verification.evidence.judge import Begins, Dated, Entry, Judge, Unit, position_at


class Total:
    """One total of one meter: its readings until all are there, then where it stood and what happened to it."""

    def __init__(self, dated: Dated, begins: Begins | None) -> None:
        self.dated, self.begins = dated, begins
        self.entries: list[Entry] = []

    def keep(self, t: int, count: int, unit: Unit) -> None:
        """A reading; those up to the one that the month begins with are left out."""
        segment = self.dated.segment_at(t)
        worth = unit.base * self.dated.segments[segment][1]
        register = count * worth.numerator // worth.denominator
        first = (self.begins.t, self.begins.register) if self.begins else (-1, 0)
        # Of powers the first one is needed itself: energy lies between it and the next.
        kept = (t, register) >= first if self.dated.gap_ms else (t, register) > first
        if abs(register) < self.dated.within(segment) and kept:
            self.entries.append(Entry(t, register, unit))

    def judged(self, ledger: Iterable[dict[str, str]]) -> Judge | Integral:
        """They count in the order of their time, of equal times the smaller first; powers from where the ledger stood."""
        judge = Integral(self.dated) if self.dated.gap_ms else Judge(self.dated, self.begins)
        judge.take(sorted(self.entries, key=lambda entry: entry[:2]))
        if isinstance(judge, Integral):
            ends = ("start_ms", "opening"), ("end_ms", "closing")
            judge.anchor((int(row[time]), int(row[position])) for row in ledger for time, position in ends)
        return judge


def stood(judge: Judge | Integral, t: int) -> int | None:
    """Where a total stood; None where no two readings that count enclose the time."""
    if isinstance(judge, Judge):
        return position_at(judge.points, t)
    return judge.at(t) if judge.points and judge.points[0].t <= t <= judge.points[-1].t else None
