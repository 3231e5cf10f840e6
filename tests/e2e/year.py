"""A plant of which everything is known: a formula of its own gives what every meter shows at every quarter hour.

Load and sun are counted in whole kilowatt quarter hours of 0.8 kWh, so that a count of the boundary meter behind 400/5 is exactly
one of them. Nothing here uses our own step or accounting: sums of these lists are what the months must say.
"""

from bisect import bisect_left
from collections.abc import Iterator
from datetime import date, datetime
from itertools import accumulate
from pathlib import Path
from zoneinfo import ZoneInfo

from metering.frames import PROPERTY_SCALE, PROPERTY_UNIT, SERIAL
from metering.intervals import QUARTER_MS, to_ms
from metering.sparkplug import DataType, Metric, Payload, body_digest, encode
from storage.journal import BirthIndex, Commit, Entry, FrameIndex
from storage.journal_writer import JournalWriter
from storage.segment import Record

ZONE = ZoneInfo("Asia/Shanghai")
MONTHS = ("2025-10", "2025-11", "2025-12", "2026-01", "2026-02")
FIRST = date(2025, 10, 1)
QUARTERS = 152 * 96
"""Five months, and a day after them."""
FESTIVAL = range((date(2026, 2, 15) - FIRST).days, (date(2026, 2, 24) - FIRST).days)
"""Spring Festival: nine days without any load."""
UNIT_WH = 800
PER_UNIT = {"import": 1, "export": 1, "pv": 80, "line1": 48, "line2": 30}
"""Counts of 0.01 kWh per unit; the lines together lose 1/40 of what comes in."""
INITIAL = {"import": 9_000_000, "export": 700_000, "pv": 3_000_000, "line1": 1_000_000, "line2": 20_000}
EPOCH = 11


def at(text: str) -> int:
    """UTC milliseconds of a local time."""
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=ZONE))


START_MS = at("2025-10-01")


def quarter(text: str) -> int:
    """Quarter hours since the beginning, of a local time on the grid."""
    return (at(text) - START_MS) // QUARTER_MS


def _load(q: int) -> int:
    day, slot = divmod(q, 96)
    if day in FESTIVAL:
        return 0
    return 20 + (7 * day + 3 * slot * slot) % 13 + (40 if 32 <= slot < 80 else 0)


def _sun(q: int) -> int:
    day, slot = divmod(q, 96)
    return (slot - 28) * (68 - slot) // 10 * (1 + day % 3) if 28 <= slot < 68 else 0


LOAD, SUN = [_load(q) for q in range(QUARTERS)], [_sun(q) for q in range(QUARTERS)]
UNITS = {
    "import": [max(load - sun, 0) for load, sun in zip(LOAD, SUN, strict=True)],
    "export": [max(sun - load, 0) for load, sun in zip(LOAD, SUN, strict=True)],
    "pv": SUN,
    "line1": LOAD,
    "line2": LOAD,
}
_SUMS = {name: [0, *accumulate(units)] for name, units in UNITS.items()}


def units(name: str, start: str, end: str) -> int:
    """Units between two local times on the grid."""
    return _SUMS[name][quarter(end)] - _SUMS[name][quarter(start)]


def month_units(name: str, month: str) -> int:
    """Units of a month."""
    ends = [*(f"{m}-01" for m in MONTHS), "2026-03-01"]
    place = bisect_left(MONTHS, month)
    return units(name, ends[place], ends[place + 1])


def count(name: str, q: int) -> int:
    """What the register shows at a grid point, as if no meter had ever been exchanged."""
    return INITIAL[name] + PER_UNIT[name] * _SUMS[name][q]


EXCHANGED_Q = quarter("2026-01-14T03:00")
"""The boundary meter is exchanged seven minutes later."""
BEFORE_SWAP = UNITS["import"][EXCHANGED_Q] * 7 // 15
CLOSING = {"import": count("import", EXCHANGED_Q) + BEFORE_SWAP, "export": count("export", EXCHANGED_Q)}
OPENING = {"import": 123_456, "export": 50_000}
GAP = range(quarter("2026-01-31T22:15"), quarter("2026-02-01T02:00"))
"""Readings of the boundary meter that come weeks late."""


def shown(name: str, q: int) -> int:
    """What the meter on the wall shows."""
    if name in OPENING and q > EXCHANGED_Q:
        return count(name, q) - CLOSING[name] + OPENING[name]
    return count(name, q)


def kwh(counts: int) -> str:
    """A display."""
    return f"{counts // 100}.{counts % 100:02d}"


TOTALS = {
    "gate": (("import", "energy_import_total", 1), ("export", "energy_export_total", 2)),
    "pv": (("pv", "energy_generation_total", 3),),
    "line1": (("line1", "energy_import_total", 4),),
    "line2": (("line2", "energy_import_total", 5),),
}
"""Meter → its registers: name here, reading type, alias."""


class Gateway:
    """Writes what the meters show into a real journal, as the one gateway of the site would have it stored."""

    def __init__(self, path: Path) -> None:
        self._writer, self._number, self._reached = JournalWriter(path), 0, 0

    def close(self) -> None:
        """Close the journal."""
        self._writer.close()

    def births(self, serial: str) -> None:
        """Births of all meters; the boundary's with its serial number."""
        self._commit([self._birth(meter, serial if meter == "gate" else "") for meter in TOTALS], START_MS)

    def until(self, text: str) -> None:
        """All readings up to a local time."""
        end = quarter(text)
        while self._reached <= end:
            last = min(self._reached + 95, end)
            entries = [e for q in range(self._reached, last + 1) for e in self._quarter(q)]
            self._commit(entries, START_MS + last * QUARTER_MS)
            self._reached = last + 1

    def late(self) -> None:
        """The readings that were missing, weeks afterwards."""
        self._commit([self._frame("gate", q) for q in GAP], START_MS + self._reached * QUARTER_MS)

    def _quarter(self, q: int) -> Iterator[Entry]:
        for meter in TOTALS:
            if meter != "gate" or q not in GAP:
                yield self._frame(meter, q)

    def _commit(self, entries: list[Entry], now_ms: int) -> None:
        self._writer.commit(Commit(entries=entries), now_ms)

    @staticmethod
    def _birth(meter: str, serial: str) -> Entry:
        metrics = [
            Metric(
                name=reading_type,
                alias=alias,
                datatype=DataType.UINT32,
                properties={PROPERTY_UNIT: "kWh", PROPERTY_SCALE: -2},
            )
            for _name, reading_type, alias in TOTALS[meter]
        ]
        if serial:
            metrics.append(Metric(name=SERIAL, alias=9, datatype=DataType.STRING, value=serial))
        record = Record(f"spBv1.0/park/DBIRTH/gw/{meter}", encode(Payload(tuple(metrics))), START_MS)
        return Entry(record, BirthIndex("gw", meter, EPOCH))

    def _frame(self, meter: str, q: int) -> Entry:
        self._number += 1
        t_ms = START_MS + q * QUARTER_MS
        metrics = tuple(
            Metric(alias=alias, timestamp=t_ms, datatype=DataType.UINT32, value=shown(name, q))
            for name, _reading_type, alias in TOTALS[meter]
        )
        payload = Payload(metrics, t_ms)
        record = Record(f"spBv1.0/park/DDATA/gw/{meter}", encode(payload), t_ms + 200)
        return Entry(record, FrameIndex("gw", meter, EPOCH, self._number, t_ms, body_digest(payload)))
