"""What the agent counts of its devices, and the text that Prometheus reads."""

import time

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from edge_agent.health import DeviceHealth, Pulse
from edge_agent.live import Live, LiveConfiguration, LiveDevice, LiveDisk, _wall_ms, prometheus


@settings(max_examples=60)
@given(st.lists(st.booleans(), max_size=200))
def test_the_success_ratio_is_that_of_the_newest_64_polls(answered: list[bool]) -> None:
    health = DeviceHealth()
    for i, ok in enumerate(answered):
        health.polled(None if ok else "no answer", 0.1, i)
    assert (health.polls_total, health.failures_total) == (len(answered), answered.count(False))
    newest = answered[-64:]
    assert health.success_ratio == (sum(newest) / len(newest) if newest else None)
    assert health.answers == (bool(answered) and answered[-1])


def test_the_last_error_stays_after_the_meter_has_recovered() -> None:
    health = DeviceHealth()
    health.polled("no answer", 1.0, 1000)
    health.polled(None, 0.2, 2000)
    assert (health.error, health.error_s, health.answered_s, health.latency_s) == (
        "no answer",
        1000,
        2000,
        0.2,
    )


def test_latency_follows_the_answered_polls_only() -> None:
    health = DeviceHealth()
    for _ in range(50):
        health.polled(None, 0.1, 0)
    health.polled("no answer", 30.0, 0)
    assert health.latency_s == pytest.approx(0.1)
    for _ in range(50):
        health.polled(None, 0.4, 0)
    assert health.latency_s == pytest.approx(0.4, rel=0.01)


def test_the_pulse_is_silent_since_its_last_beat() -> None:
    now = [10.0]
    pulse = Pulse(lambda: now[0])
    now[0] = 25.0
    assert pulse.silent_s == 15
    pulse.beat()
    assert pulse.silent_s == 0


def live(*devices: LiveDevice) -> Live:
    return Live(
        gateway='gw "x"\\1',
        version="0.1",
        started_ms=1000,
        now_ms=61_500,
        in_session=True,
        poll_silent_s=1.5,
        backlog=7,
        last=107,
        acked=100,
        clock_source="ntp",
        clock_error_ms=20,
        held=2,
        traffic_bytes=9,
        disk=LiveDisk(5, 10),
        configuration=LiveConfiguration(3, "confirmed"),
        devices=list(devices),
    )


def test_the_metrics_are_what_the_prometheus_library_reads() -> None:
    good = LiveDevice("m1", "line", "1", True, 10, 1, 0.9, 0.25, 60_000, "no answer", 5000)
    new = LiveDevice("m2", "line", "2", False, 0, 0, None, None, None, None, None)
    families = {item.name: item for item in text_string_to_metric_families(prometheus(live(good, new)))}
    assert all(item.documentation and item.type != "unknown" for item in families.values())
    values = {name: [(s.labels, s.value) for s in item.samples] for name, item in families.items()}
    assert values["tanyun_edge_info"][0][0]["gateway"] == 'gw "x"\\1'
    assert values["tanyun_edge_backlog_frames"] == [({}, 7)]
    assert values["tanyun_edge_time_timestamp_seconds"] == [({}, 61.5)]
    assert values["tanyun_edge_configuration_number"] == [({}, 3)]
    labels = {"meter": "m1", "bus": "line", "unit": "1"}
    assert values["tanyun_edge_device_success_ratio"] == [(labels, 0.9)]  # not known of m2
    assert [value for _, value in values["tanyun_edge_device_up"]] == [1, 0]
    assert families["tanyun_edge_device_polls"].type == "counter"


def test_the_status_document_is_read_back_as_it_was_written() -> None:
    said = live(LiveDevice("m1", "line", "1", True, 10, 1, 0.9, 0.25, 60_000, "no answer", 5000))
    assert msgspec.json.decode(msgspec.json.encode(said), type=Live) == said


def test_how_long_ago_does_not_depend_on_a_clock_that_nobody_trusts() -> None:
    """A gateway that boots in 1970 says "5 s ago" all the same."""
    health = DeviceHealth()
    health.polled(None, 0.1, time.monotonic() - 5)
    answered_ms = _wall_ms(health.answered_s)
    assert answered_ms is not None
    assert time.time_ns() / 1e6 - answered_ms == pytest.approx(5000, abs=500)
    assert _wall_ms(None) is None
