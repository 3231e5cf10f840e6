"""A short run of the chaos suite: every kind of fault once, one after the other, always the same. The long ones: scripts/chaos."""

import shutil

import pytest

from tanyun.broker import find_mosquitto
from tests.chaos.chain import SERVER
from tests.chaos.faults import FAULTS, Event
from tests.chaos.run import run

TARGETS = {
    "roles": "ingest",
    "links": "mqtt gw-yuntu",
    "disks": "gw-lvcai",
    "gateways": "gw-hengjing",
    SERVER: SERVER,
}


def events() -> list[Event]:
    """Every fault once, and those of the server's disk too."""
    once = [
        Event(0.1, name, TARGETS[kind], number)
        for number, (name, (_fault, kind, _weight)) in enumerate(FAULTS.items())
        if name != "influx_down"
    ]
    server = [Event(0.1, name, SERVER, 99) for name in ("full_disk", "power_cut", "torn_tail")]
    return [
        *once,
        *server,
        Event(0.1, "kill", "broker", 98),
        Event(0.1, "kill", "stream", 97),
        Event(0.1, "kill", "meters", 96),
    ]


@pytest.mark.timeout(600)
@pytest.mark.skipif(find_mosquitto() is None, reason="no mosquitto on this machine")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_after_every_kind_of_fault_the_ledger_says_what_the_meters_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutil, "which", _without_influx(shutil.which))
    outcome = run(7, 0, events=events(), days=1)
    assert outcome.faults >= len(events()) - 5, outcome
    assert outcome.intervals > 16 * 90, outcome
    assert {"gateway_lost", "gateway_found", "broker_lost", "ingest_started", "epoch_started"} <= set(
        outcome.events
    )


def _without_influx(which: object) -> object:
    """InfluxDB has its own outage tests, and takes as long to start as everything else."""
    return lambda name, *rest, **more: None if name == "influxd" else which(name, *rest, **more)  # type: ignore[operator]
