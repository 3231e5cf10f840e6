"""A series of register readings through the public door (journal, stream, ledger) against totals by subtraction: no twin, no kernel.

Days and months are those of the site's zone, over the turn of its clocks, with gaps of days, and a start from zero.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import pytest

from metering.registry import parse_registry
from metering.sparkplug import DataType
from storage.ledger import IntervalRow, LedgerReader
from tests.stream.runs import run_through
from tests.stream.strategies import Device, birth, context, frame
from tests.stream.test_runner import write_journal

WH = 10
"""Per count of 0.01 kWh."""
METER = Device("g", "energy_import_total", "grid_boundary", DataType.UINT32, "kWh", 1, -2)
HOURS = {
    ("Europe/Berlin", "2026-10-25"): 25, ("Europe/Berlin", "2026-03-29"): 23, ("America/New_York", "2026-11-01"): 25,
    ("Australia/Lord_Howe", "2026-10-04"): 23.5, ("Australia/Lord_Howe", "2026-04-05"): 24.5, ("Asia/Kathmandu", "2026-10-31"): 24,
    ("Asia/Shanghai", "2026-02-28"): 24,
}  # fmt: skip
Series = Sequence[tuple[datetime, int]]
"""(time, counts shown)."""


def ledger_of(folder: Path, zone: str, series: Series) -> tuple[list[IntervalRow], list[str]]:
    """Closed intervals and kinds of events, of what a meter has said."""
    registry = parse_registry(
        {
            "id": "p", "name": "p", "zone": zone, "grid_scope": "CN-AH", "enterprises": [{"id": "e", "name": "e"}],
            "sites": [{"id": "s", "enterprise": "e", "name": "s"}], "gateways": [{"id": "g", "site": "s"}],
            "meters": [{"id": "m", "gateway": "g", "roles": {METER.reading_type: METER.role}, "max_power_w": 1_000_000}],
        }
    )  # fmt: skip
    records = [birth("m", METER), *(frame("m", _ms(at), counts, METER) for at, counts in series)]
    write_journal(folder / "journal.db", records, 7)
    run_through(folder / "journal.db", folder / "ledger.db", context(registry))
    with LedgerReader(folder / "ledger.db") as reader:
        rows = [row for row in reader.intervals("m", METER.reading_type, 0, 1 << 62) if row.closed]
        return rows, [event.kind for event in reader.events()]


def _ms(at: datetime) -> int:
    return round(at.timestamp()) * 1000


def energy(rows: Sequence[IntervalRow], start: datetime, end: datetime) -> int:
    return sum(row.energy for row in rows if _ms(start) <= row.start_ms < _ms(end))


def midnights(day: datetime, zone: str, count: int) -> list[datetime]:
    return [(day + timedelta(days=i)).replace(tzinfo=ZoneInfo(zone)) for i in range(count)]


@pytest.mark.parametrize(("zone", "day"), HOURS)
def test_days_of_23_24_and_25_hours_have_what_the_register_rose_by(
    tmp_path: Path, zone: str, day: str
) -> None:
    chance, begin = Random(day), datetime.fromisoformat(day)
    edges = midnights(begin - timedelta(days=2), zone, 6)
    shown, series = 5_000_000, []
    for at in edges:
        series.append((at, shown))
        for minutes in sorted(chance.sample(range(7, 22 * 60), 30)):
            shown += chance.randrange(300)
            series.append((datetime.fromtimestamp(at.timestamp() + minutes * 60, ZoneInfo(zone)), shown))
    rows, events = ledger_of(tmp_path, zone, series)
    register = dict(series)
    for start, end in pairwise(edges):
        assert energy(rows, start, end) == (register[end] - register[start]) * WH
        quarters = [row for row in rows if _ms(start) <= row.start_ms < _ms(end)]
        assert len(quarters) == (_ms(end) - _ms(start)) // 900_000
        if start.date() == begin.date():
            assert len(quarters) == HOURS[zone, day] * 4
    assert not [kind for kind in events if kind != "missing_factor"]


@pytest.mark.parametrize("zone", sorted({zone for zone, _day in HOURS}))
def test_months_of_a_year_read_at_midnight_with_days_missing_add_up(tmp_path: Path, zone: str) -> None:
    chance, shown, series = Random(zone), 0, []
    for at in midnights(datetime(2026, 1, 1), zone, 305):  # noqa: DTZ001  the zone comes after
        shown += chance.randrange(20_000)
        if at.day == 1 or chance.random() > 0.2:
            series.append((at, shown))
    rows, _events = ledger_of(tmp_path, zone, series)
    firsts = [(at, counts) for at, counts in series if at.day == 1]
    assert len(firsts) == 11
    for (start, before), (end, after) in pairwise(firsts):
        assert energy(rows, start, end) == (after - before) * WH
    assert sum(row.energy for row in rows) == (series[-1][1] - series[0][1]) * WH


def test_a_meter_that_began_again_from_zero_counts_both_stretches(tmp_path: Path) -> None:
    begin = datetime.fromisoformat("2026-10-31T20:00:00+01:00")
    before = [(begin + timedelta(minutes=10 * i), 700_000 + 40 * i) for i in range(30)]
    after = [(begin + timedelta(minutes=10 * i), 3 + 40 * (i - 30)) for i in range(30, 60)]
    rows, events = ledger_of(tmp_path, "Europe/Berlin", [*before, *after])
    assert "reset" in events
    running = 20  # counts: the last read, at 05:50, is five minutes into its interval
    assert sum(row.energy for row in rows) == (29 * 40 + 3 + 29 * 40 - running) * WH
