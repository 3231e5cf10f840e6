"""Which registers a meter refuses outlives the agent: for this map and this meter only, and damage to it costs nothing."""

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.device import Device
from edge_agent.lessons import Lesson
from edge_agent.outbox import Outbox, OutboxError
from edge_agent.plan import plan
from edge_agent.profile import Limits, Profile
from tests.edge_agent.test_bus_reader import ADDRESSES, profile_of, read, reader_of
from tests.edge_agent.test_bus_reader import Device as Refusing
from tests.edge_agent.test_device import Meter, device_of, polled, value
from tests.edge_agent.test_device import profile_of as profile_text

NAMES = ("voltage_l1", "voltage_l2", "voltage_l3", "current_l1", "current_l2", "current_l3")
ROW = '[[register]]\nreading_type = "{}"\naddr = {}\ntype = "uint16"\nunit = "{}"\n'
SERIAL = '[serial]\nfc = 3\naddr = 90\nwidth = 1\ntype = "uint"\nsource = ["S1"]\nconfidence = "A"\n'
MISSING = 2


def toy(revision: int = 1, *, serial: bool = True) -> Profile:
    rows = "".join(ROW.format(name, i, "V" if name.startswith("v") else "A") for i, name in enumerate(NAMES))
    profile = profile_text(rows + (SERIAL if serial else ""))
    return profile.model_copy(update={"revision": revision})


def meter(serial: int = 77) -> Meter:
    found = Meter({(3, i): 100 + i for i in range(len(NAMES)) if i != MISSING})
    found.put(3, 90, serial)
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "o.db"


@pytest.fixture
def outbox(file: Path) -> Iterator[Outbox]:
    outbox = Outbox(file, 100_000_000)
    yield outbox
    outbox.close()


def learned(outbox: Outbox, profile: Profile, at: Meter) -> Device:
    """An agent that has polled until it was certain."""
    device = device_of(profile, outbox)
    for _poll in range(4):
        readings, _error = polled(device, at)
        assert len(readings) == len(NAMES) - 1
    assert [name for reader in device.readers for name in reader.refused] == [NAMES[MISSING]]
    return device


def reads_of_first_poll(device: Device, at: Meter) -> list[tuple[int, int]]:
    at.asked.clear()
    readings, error = polled(device, at)
    assert (len(value(readings)), error) == (len(NAMES) - 1, None)
    return [(addr, count) for _unit, _fc, addr, count in at.asked if addr != 90]


WITHOUT = [(0, MISSING), (MISSING + 1, len(NAMES) - MISSING - 1)]


@pytest.mark.parametrize("serial", [True, False])
def test_a_restarted_agent_does_not_search_again(outbox: Outbox, *, serial: bool) -> None:
    learned(outbox, toy(serial=serial), meter())
    again = device_of(toy(serial=serial), outbox)
    assert reads_of_first_poll(again, meter()) == WITHOUT
    assert [name for reader in again.readers for name in reader.refused] == [NAMES[MISSING]]


def test_what_is_refused_is_tried_again_after_a_minute_and_then_every_hour(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    learned(outbox, toy(serial=False), meter())
    again, at = device_of(toy(serial=False), outbox), meter()
    for later_s, asked in ((0, 0), (61, 1), (3500, 0), (101, 1)):
        now_s += later_s
        assert reads_of_first_poll(again, at)[2:] == [(MISSING, 1)] * asked
    at.put(3, MISSING, 102)
    now_s += 3601
    assert len(polled(again, at)[0]) == len(NAMES)
    third = device_of(toy(serial=False), outbox)
    at.asked.clear()
    assert len(polled(third, at)[0]) == len(NAMES)
    assert len(at.asked) == 1


def test_another_revision_of_the_map_searches_for_itself(outbox: Outbox) -> None:
    learned(outbox, toy(), meter())
    assert len(reads_of_first_poll(device_of(toy(revision=2), outbox), meter())) > len(WITHOUT)


def test_another_meter_is_asked_for_everything(outbox: Outbox) -> None:
    """Exchanged while the agent was down: what the one before refused, this one has."""
    learned(outbox, toy(), meter())
    at = meter(serial=78)
    at.put(3, MISSING, 102)
    again = device_of(toy(), outbox)
    polled(again, at)
    assert len(polled(again, at)[0]) == len(NAMES)
    third = device_of(toy(), outbox)
    at.asked.clear()
    assert len(polled(third, at)[0]) == len(NAMES)


def test_a_meter_exchanged_under_a_running_agent_is_asked_for_everything(outbox: Outbox) -> None:
    device, at = learned(outbox, toy(), meter()), meter(serial=78)
    at.put(3, MISSING, 102)
    device.serial_tries = 1
    polled(device, at)
    assert len(polled(device, at)[0]) == len(NAMES)


@pytest.mark.parametrize("damage", ["", "{", '{"profile":"mine@1","serial":"77","readers":[{"reads":[[3,0,9]],"refused":[[3,2,1]]}]}',
                                    '{"profile":"mine@1","serial":"77","readers":[]}', "\x00\xff", "7"])  # fmt: skip
def test_a_damaged_lesson_costs_nothing_but_learning_it_again(outbox: Outbox, damage: str) -> None:
    learned(outbox, toy(), meter())
    outbox.remember("m", damage)
    again = device_of(toy(), outbox)
    assert len(reads_of_first_poll(again, meter())) > len(WITHOUT)


def test_bytes_that_are_no_text_are_no_lesson(outbox: Outbox, file: Path) -> None:
    learned(outbox, toy(), meter())
    with sqlite3.connect(file) as db:
        db.execute("UPDATE meta SET value = CAST(x'80ff' AS TEXT) WHERE key = 'learned m'")
    db.close()
    again = device_of(toy(), outbox)
    assert len(reads_of_first_poll(again, meter())) > len(WITHOUT)


def test_a_disk_that_takes_nothing_costs_no_reading(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_meter: str, _text: str) -> None:
        raise OutboxError("the disk is full")

    monkeypatch.setattr(outbox, "remember", full)
    learned(outbox, toy(), meter())


@given(ADDRESSES, st.sets(st.integers(0, 125), max_size=12), st.integers(0, 20))
@settings(max_examples=100, deadline=None)
def test_a_reader_that_recalls_reads_exactly_what_the_one_before_read(
    addresses: list[int], refused: set[int], gap: int
) -> None:
    profile, device = profile_of(addresses), Refusing(refused)
    first = reader_of(profile, Limits(gap=gap))
    for _poll in range(3):
        read(first, device)
    names, _error = read(first, device)
    second = reader_of(profile, Limits(gap=gap))
    second.recall(first.lesson)
    device.asked.clear()
    assert read(second, device)[0] == names
    if names:
        assert (
            not any(refused.intersection(range(a, a + count)) for a, count, _ in device.asked)
            or not first.refused
        )


@given(
    st.lists(st.tuples(st.sampled_from([3, 4]), st.integers(0, 20), st.integers(0, 20)), max_size=4),
    st.data(),
)
@settings(max_examples=200, deadline=None)
def test_whatever_is_kept_every_register_is_read_once_or_known_to_be_refused(
    reads: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    refused = data.draw(st.lists(st.sampled_from([(3, 0, 2), (3, 4, 2), (3, 2, 4), (4, 0, 2)]), max_size=3))
    planned = plan(profile_of([0, 2, 4, 10]).registers, Limits(gap=2))
    found = Lesson(tuple(reads), tuple(refused)).blocks(planned)
    if found is not None:
        fields = [field for part in found for block in part for field, _at in block.fields]
        assert sorted(field.addr for field in fields) == [0, 2, 4, 10]
