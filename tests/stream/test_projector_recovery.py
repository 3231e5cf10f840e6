"""What goes wrong around the projector: it is killed, InfluxDB is down, wiped, restored or refuses; the end is always the ledger."""

import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from metering.intervals import to_ms
from storage.influx import InfluxDownError, Refused, Retention
from storage.ledger import NewLedgerEvent
from stream.projection import sources
from stream.projector import Loop
from tests.fakes.influx import AnyWriter, InfluxDB
from tests.stream.projector_plant import DAY_MS, IMPORT, MONTH_MS, NOW_MS, ZONE, Plant, quarters, row

KEY = ("gate", IMPORT)
QUARTER = 15 * 60_000
ROOT = str(Path(__file__).parents[2])


def sums(writer: AnyWriter) -> dict[tuple[str, str], tuple[int, int]]:
    rows = writer.query(
        "history", "SELECT sum(energy), count(energy) FROM interval GROUP BY meter, reading_type"
    )
    return {(row["meter"], row["reading_type"]): (row["sum"], row["count"]) for row in rows}


class Script:
    """A serving store in memory that can be told to be down. It remembers the order of what it was given."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.down = False
        self.tries = 0

    def write(self, retention: Retention, lines: Sequence[str]) -> list[Refused]:
        del retention
        self._answer()
        self.lines += lines
        return []

    def query(self, retention: Retention, influxql: str) -> list[dict[str, Any]]:
        del retention
        self._answer()
        name = influxql.split("'")[1]
        marks = [line for line in self.lines if line.startswith(f"projection,source={name} ")]
        return [{"last": float(marks[-1].split("=")[2].split()[0])}] if marks else []

    def _answer(self) -> None:
        self.tries += 1
        if self.down:
            raise InfluxDownError("down")

    def intervals(self) -> list[int]:
        """Start times of quarters in the order they came."""
        return [
            int(line.rpartition(" ")[2])
            for line in self.lines
            if line.startswith("interval,") and ",size=15m" in line
        ]


def test_a_projector_that_is_killed_again_and_again_leaves_no_gap_and_no_double(
    plant: Plant, writer: AnyWriter, influxd: InfluxDB, tmp_path: Path
) -> None:
    for day in range(20):
        plant.commit(quarters(MONTH_MS + day * DAY_MS, 96))
    script = tmp_path / "run.py"
    script.write_text(_RUN.format(folder=str(plant.folder), target=influxd.target), encoding="utf-8")
    for _ in range(4):
        run = subprocess.Popen(
            [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": ROOT}
        )
        assert run.stdout is not None
        for _ in range(3):  # somewhere behind its third step; the fourth is on its way
            run.stdout.readline()
        run.send_signal(signal.SIGKILL)
        run.wait()
        run.stdout.close()
    with plant.projector(writer, influxd.target) as projector:
        left, _ = projector.progress()["ledger"]
        projector.catch_up()
    assert 0 < left < 20
    assert sums(writer) == plant.sums()


_RUN = """
from pathlib import Path
from tests.stream.projector_plant import Plant
from storage.influx import Target, connect
from stream.projection import sources
sources.CHUNK_ROWS = 500
plant = Plant(Path({folder!r}))
target = {target!r}
with plant.projector(connect(target), target) as projector:
    projector.tick()
    while projector.advance():
        print("step", flush=True)
"""


def test_killed_and_wiped_under_load_influxdb_is_rebuilt_to_equality_with_the_ledger(
    plant: Plant, influxd: InfluxDB, writer: AnyWriter
) -> None:
    """Every point, not only sums: quarters, minutes, events and gauges."""
    plant.now_ms = to_ms(datetime.now(ZONE)) // QUARTER * QUARTER
    begin = plant.now_ms - 48 * QUARTER
    plant.store([plant.birth("gate", ("power_active", "W", 1))])
    with plant.projector(writer, influxd.target) as projector:
        stop = threading.Event()
        thread = threading.Thread(target=Loop(projector, lambda seconds: stop.wait(min(seconds, 0.05))).run)
        thread.start()
        for i in range(48):
            start = begin + i * QUARTER
            plant.commit(quarters(start, 1), [NewLedgerEvent(start, "gate", IMPORT, "late_reading", {})])
            plant.commit([row(KEY, start, 1000 + i, revision=2)])
            plant.store([plant.frame("gate", start + k * 1000, (1, float(i + k))) for k in range(50)])
            if i in {10, 30}:
                assert _until(lambda: projector._positions["ledger"].marked > 0), (
                    "it had written, and knows it"
                )
                influxd.kill()
                influxd.wipe()
                influxd.start()
        assert _until(lambda: all(left == 0 for left, _ in projector.progress().values()))
        stop.set()
        thread.join()
        plant.now_ms += 60_000  # minutes are looked at once a minute
        projector.catch_up()
    assert points(writer) == plant.points()
    minutes = writer.query(
        "live", "SELECT sum(energy), count(energy) FROM interval GROUP BY meter, reading_type"
    )
    ledger = plant.sums()
    assert {(row["meter"], row["reading_type"]): (row["sum"], row["count"] / 15) for row in minutes} == ledger
    assert writer.query("history", "SELECT count(count) FROM event")[0]["count"] == 48
    gauges = writer.query("live", "SELECT sum(value), count(value) FROM reading")[0]
    assert (gauges["sum"], gauges["count"]) == (sum(i + k for i in range(48) for k in range(50)), 48 * 50)


def points(writer: AnyWriter) -> dict[tuple[str, str, int], tuple[float, float]]:
    rows = writer.query("history", "SELECT energy, revision FROM interval GROUP BY meter, reading_type")
    return {
        (row["meter"], row["reading_type"], row["time"]): (row["energy"], row["revision"]) for row in rows
    }


def _until(done: Any) -> bool:
    ready = threading.Event()
    for _ in range(600):
        if done():
            return True
        ready.wait(0.05)
    return False


def test_an_influxdb_restored_from_an_older_copy_gets_what_it_lacks(
    plant: Plant, influxd: InfluxDB, writer: AnyWriter, tmp_path: Path
) -> None:
    plant.commit(quarters(MONTH_MS, 96))
    with plant.projector(writer, influxd.target) as projector:
        projector.catch_up()
        influxd.kill()
        shutil.copytree(influxd.data, tmp_path / "backup")
        influxd.start()
        plant.commit(quarters(MONTH_MS + DAY_MS, 96))
        projector.catch_up()
        influxd.kill()
        influxd.wipe()
        shutil.copytree(tmp_path / "backup", influxd.data)
        influxd.start()
        before = projector._positions["ledger"].floor
        projector.tick()
        assert (before, projector._positions["ledger"].floor) == (2, 1)
        projector.catch_up()
    assert sums(writer) == plant.sums()


def test_a_ledger_that_was_made_again_is_projected_again(
    plant: Plant, influxd: InfluxDB, writer: AnyWriter
) -> None:
    plant.commit([row(KEY, MONTH_MS, 100)])
    with plant.projector(writer, influxd.target) as projector:
        projector.catch_up()
    plant.new_ledger()
    plant.commit([row(KEY, MONTH_MS, 70)])
    with plant.projector(writer, influxd.target) as projector:
        projector.catch_up()
    assert sums(writer) == plant.sums() == {KEY: (70, 1)}


def test_lines_that_are_refused_are_kept_aside_and_nothing_waits_for_them(
    plant: Plant, influxd: InfluxDB, writer: AnyWriter
) -> None:
    plant.commit([row(KEY, MONTH_MS, 1)])
    with plant.projector(writer, influxd.target) as projector:
        projector.catch_up()
        assert writer.write("history", [f'event,meter=x count="a text" {MONTH_MS}']) == []
        plant.commit(
            [row(KEY, MONTH_MS + QUARTER, 2)], [NewLedgerEvent(MONTH_MS, "gate", IMPORT, "late_reading", {})]
        )
        projector.catch_up()
        store = projector._store
        assert store.count("refused") == 1
        [refused] = store.refused()
        assert refused.line.startswith("event,gateway=g1,kind=late_reading,meter=gate count=1.0")
        assert "field type conflict" in refused.reason
        assert projector.progress()["events"] == (0, 1)
    assert sums(writer) == plant.sums()


def test_after_an_outage_the_newest_comes_first_and_the_backlog_after(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "CHUNK_ROWS", 50)
    store = Script()
    with plant.projector(store) as projector:
        projector.catch_up()
        for i in range(500):
            plant.commit([row(KEY, MONTH_MS + i * QUARTER, i)])
        projector.catch_up()
        assert projector.progress()["ledger"] == (0, 500)
    order = [(start - MONTH_MS) // QUARTER for start in store.intervals()]
    assert order[:200] == list(range(300, 500))
    assert order[200:] == list(range(300))


def test_a_second_outage_within_the_backlog_loses_nothing(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "CHUNK_ROWS", 50)
    store = Script()
    with plant.projector(store) as projector:
        projector.tick()
        for burst in range(3):
            for i in range(500):
                plant.commit([row(KEY, MONTH_MS + (burst * 500 + i) * QUARTER, i)])
            for _ in range(6):
                projector.advance()
            projector.advance()  # on its way when the store goes away
            store.down = True
            with pytest.raises(InfluxDownError):
                projector.settle()
            store.down = False
        projector.catch_up()
    assert set(store.intervals()) == {MONTH_MS + i * QUARTER for i in range(1500)}
    assert len(store.intervals()) == 1500, "nothing is written twice without need"


def test_while_the_store_is_down_the_loop_tries_less_and_less_often(plant: Plant) -> None:
    plant.commit([row(KEY, MONTH_MS, 1)])
    store, pauses = Script(), list[float]()
    store.down = True

    def wait(seconds: float) -> bool:
        pauses.extend([seconds] if seconds > 0.5 else [])
        if len(pauses) == 8:
            store.down = False
        return bool(store.intervals())

    with plant.projector(Script()) as projector:
        projector._writer = store
        Loop(projector, wait).run()
        projector.settle()
    # Jitter takes at most half off.
    assert all(0.5 * min(2**i, 60) <= pause <= min(2**i, 60) for i, pause in enumerate(pauses))
    assert store.intervals() == [MONTH_MS]


def test_a_projector_that_starts_before_ledger_and_journal_waits_for_them(tmp_path: Path) -> None:
    plant = Plant(tmp_path / "data")
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    plant.close()
    for path in sorted(plant.folder.iterdir()):
        path.rename(hidden / path.name)
    store = Script()
    with plant.projector(store) as projector:
        projector.catch_up()
        assert projector.progress() == {}
        for path in sorted(hidden.iterdir()):
            path.rename(plant.folder / path.name)
        again = Plant(plant.folder)
        again.commit([row(KEY, NOW_MS - NOW_MS % QUARTER, 1)])
        projector.catch_up()
        again.close()
    assert store.intervals() == [NOW_MS - NOW_MS % QUARTER]
