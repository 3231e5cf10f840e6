"""The main job from outside: one command, processes killed at random, and the same ledger as if nothing had happened."""

import json
import random
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import pytest

from metering.intervals import QUARTER_MS, local_month, month_of, previous_month, to_ms
from tests.e2e.conftest import DemoRun, alive
from tests.e2e.expected import assert_as_if_undisturbed, ledger_rows, simulator_of

ZONE = ZoneInfo("Asia/Shanghai")
Start = Callable[..., DemoRun]
ROLES = ["meters", "ingest", "stream", "broker", "edge gw-hengjing", "edge gw-yuntu", "edge gw-lvcai"]


def days_ago(days: int) -> tuple[str, int]:
    """A recent local day as the command line takes it, and its first millisecond."""
    day = (datetime.now(ZONE) - timedelta(days=days)).replace(hour=0, minute=0, second=0, microsecond=0)
    return f"{day:%Y-%m-%d}", to_ms(day)


def last_tick(data: Path) -> int:
    """Where the accelerated clock stood last."""
    return int(json.loads((data / "clock.json").read_text(encoding="utf-8"))["tick"])


def kill_at_random(run: DemoRun, dice: random.Random, times: int) -> None:
    """Kill -9 one role after the other, at random moments; then the demo is left alone."""
    kills = 0
    while kills < times:
        time.sleep(dice.uniform(0.3, 2.0))
        assert run.process.poll() is None, run.output
        kills += run.kill(dice.choice(ROLES))


def load_file(folder: Path, month: str) -> tuple[Path, int]:
    """A CSV of made-up metered data for a month, in the layout of interval-end stamps; and its sum in Wh."""
    span, dice, total = local_month(month, ZONE), random.Random(7), 0
    lines = ["date,Usage_kWh"]
    for start in range(span.start_ms, span.end_ms, QUARTER_MS):
        day = datetime.fromtimestamp(start / 1000, ZONE)
        end = datetime.fromtimestamp((start + QUARTER_MS) / 1000, ZONE)
        centi_kwh = dice.randint(0, 15_000)
        total += centi_kwh * 10
        # 0:00 ends the day it names: the stamp keeps the day of the interval, not of its end.
        lines.append(
            f"{day.day}/{day.month}/2018 {end.hour}:{end.minute:02},{centi_kwh // 100}.{centi_kwh % 100:02}"
        )
    path = folder / "load.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path, total


@pytest.mark.timeout(900)
def test_a_month_lived_through_kill_minus_nine_is_reported_to_the_last_watt_hour(
    demo: Start, tmp_path: Path
) -> None:
    """Runs 1 to 4 of the issue at once: all of last month, one meter driven by a file, every role killed at random."""
    month = previous_month(month_of(time.time_ns() // 1_000_000, ZONE))
    span = local_month(month, ZONE)
    csv, file_wh = load_file(tmp_path, month)
    out = tmp_path / "reports"
    run = demo("--once", "--fresh", "--out", str(out), "--load", str(csv))
    seed = random.randrange(1 << 32)
    print(f"kill seed {seed}")  # noqa: T201  to repeat a failure
    kill_at_random(run, random.Random(seed), 40)
    assert run.wait(500) == 0, run.output
    config = simulator_of(run.data, csv)
    assert assert_as_if_undisturbed(run.data, config, span.start_ms, last_tick(run.data)) > 16 * 2688
    names = {"hengjing", "yuntu", "lvcai", "shifan"}
    kinds = ("pdf", "xlsx", "csv.zip", "json")
    assert sorted(path.name.partition("_r1.")[2] for path in out.iterdir()) == sorted(kinds * len(names))
    found = [json.loads(path.read_text(encoding="utf-8")) for path in out.glob(f"*_{month}_r1.json")]
    documents = {document["scope"]["id"]: document for document in found}
    assert set(documents) == names
    for document in documents.values():
        assert_document(document)
    driven = next(m for m in documents["hengjing"]["meters"] if m["meter"] == "hj-line1")
    assert int(driven["energy_wh"]) == file_wh


def assert_document(document: dict[str, object]) -> None:
    """The figures that a regulator would recompute first."""
    sums: dict[str, int] = {}
    assert document["outcome"] == "PASS"
    meters = document["meters"]
    assert isinstance(meters, list)
    for meter in meters:
        energy = int(meter["energy_wh"])
        assert energy == int(meter["closing_wh"]) - int(meter["opening_wh"])
        assert int(meter["emission_ug"]) == energy * int(meter["factor_ug_per_wh"])
        assert meter["completeness"] == 1
        assert meter["balance"]["equal"] is True
        sums[meter["role"]] = sums.get(meter["role"], 0) + energy
    formula, energy_table, emissions = document["formula"], document["energy"], document["emissions"]
    assert isinstance(formula, list) and isinstance(energy_table, dict) and isinstance(emissions, list)  # noqa: PT018  one question
    purchased = sum(term["sign"] * sums.get(term["role"], 0) for term in formula)
    assert int(energy_table["purchased_wh"]) == purchased
    assert {line["use"] for line in emissions} == {"enterprise", "park"}
    for line in emissions:
        assert int(line["emission_ug"]) == purchased * int(line["factor_ug_per_wh"])


@pytest.mark.timeout(180)
def test_the_pure_python_broker_carries_the_demo_too(demo: Start) -> None:
    day, start_ms = days_ago(1)
    run = demo("--once", "--fresh", "--since", day, "--broker", "amqtt")
    assert run.wait(150) == 0, run.output
    assert "amqtt" in run.output
    assert_as_if_undisturbed(run.data, simulator_of(run.data), start_ms, last_tick(run.data))


@pytest.fixture
def live(demo: Start) -> Iterator[tuple[DemoRun, int]]:
    """A demo that has gone live, and the time it started from."""
    day, start_ms = days_ago(1)
    run = demo("--fresh", "--since", day)
    run.until(lambda: "Live now" in run.output, 120, "live phase")
    yield run, start_ms
    run.stop()


def api(run: DemoRun, path: str) -> dict[str, object]:
    """A document of the demo's API."""
    port = json.loads((run.data / "ports.json").read_text(encoding="utf-8"))["api"]
    key = (run.data / "secrets" / "api-key").read_text(encoding="ascii").strip()
    headers = {"Authorization": f"Bearer {key}"}
    answer = httpx.get(f"http://127.0.0.1:{port}{path}", headers=headers, timeout=10)
    return dict(answer.raise_for_status().json())


@pytest.mark.timeout(240)
def test_live_totals_and_intervals_agree_while_roles_are_killed(live: tuple[DemoRun, int]) -> None:
    """Coverage may differ in the live phase, energy may not."""
    run, start_ms = live
    for role in ROLES:
        assert run.kill(role)
        time.sleep(1)
    reached = time.time_ns() // 1_000_000
    run.until(lambda: _all_read_since(run.data, reached), 90, "readings after the kills")
    run.stop()
    first = {key: rows[0].opening for key, rows in ledger_rows(run.data).items()}
    for (meter, kind), rows in ledger_rows(run.data).items():
        assert rows[0].start_ms == start_ms
        assert [row.opening for row in rows[1:]] == [row.closing for row in rows[:-1]], (meter, kind)
        with sqlite3.connect(run.data / "ledger.db") as db:
            query = "SELECT position FROM progress WHERE meter=? AND reading_type=?"
            position = db.execute(query, (meter, kind)).fetchone()[0]
        assert sum(row.energy for row in rows) == position - first[meter, kind]


def _all_read_since(data: Path, t_ms: int) -> bool:
    with sqlite3.connect(f"file:{data / 'ledger.db'}?mode=ro", uri=True) as db:
        return int(db.execute("SELECT min(t_ms) FROM progress").fetchone()[0]) > t_ms


@pytest.mark.timeout(240)
def test_ctrl_c_leaves_nothing_running_and_a_second_start_continues(demo: Start) -> None:
    day, start_ms = days_ago(1)
    first = demo("--fresh", "--since", day)
    first.until(lambda: "Live now" in first.output, 120, "live phase")
    pids = first.pids()
    assert len(pids) == 9  # broker, meters, ingest, stream, api, checks, three gateways
    assert first.stop() == 0
    assert not any(map(alive, pids.values()))
    before = ledger_rows(first.data)
    second = DemoRun(first.data)
    try:
        second.until(lambda: "Live now" in second.output, 120, "live phase of the second start")
    finally:
        second.stop()
    for key, rows in ledger_rows(first.data).items():
        closed = [row for row in before[key] if row.closed]
        assert rows[: len(closed)] == closed
        assert rows[0].start_ms == start_ms


def test_a_folder_that_is_not_a_demo_is_not_touched(demo: Start, tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "thesis.txt").write_text("years of work", encoding="utf-8")
    run = demo("--fresh")
    assert run.wait(30) == 78  # EX_CONFIG
    assert "not a demo's" in run.output
    assert (tmp_path / "demo" / "thesis.txt").exists()


@pytest.mark.timeout(240)
@pytest.mark.skipif(
    shutil.which("mosquitto_pub") is None, reason="no mosquitto_pub here (Debian: mosquitto-clients)"
)
def test_malformed_messages_are_quarantined_and_seen_in_the_api(live: tuple[DemoRun, int]) -> None:
    """What the broker lets a gateway publish, ingest still judges."""
    import subprocess  # noqa: PLC0415  only here

    run, _start = live
    port = (run.data / "broker" / "port").read_text(encoding="ascii").strip()
    password = (run.data / "secrets" / "mqtt-gw-yuntu").read_text(encoding="ascii").strip()
    before = api(run, "/api/v1/live")
    for body in (b"not protobuf \xff\xff", b"\x08\x01", b"\x12\x05\x10\xff\x7f\x58\x05"):
        argv = ["mosquitto_pub", "-h", "127.0.0.1", "-p", port, "-u", "gw-yuntu", "-P", password]
        subprocess.run(
            [*argv, "-t", "spBv1.0/shifan/DDATA/gw-yuntu/yt-gate", "-s"], input=body, check=True, timeout=10
        )

    def counted() -> bool:
        counts = api(run, "/api/v1/quarantine")["counts"]
        assert isinstance(counts, dict)
        return set(counts) >= {"malformed", "no_metrics", "unknown_metric"}

    run.until(counted, 20, "quarantine counts")
    run.until(lambda: api(run, "/api/v1/live") != before, 20, "readings that go on")
