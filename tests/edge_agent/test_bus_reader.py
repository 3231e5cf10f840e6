"""What a device refuses costs its neighbours nothing; what is silent costs the others little."""

import asyncio
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent import reader as reader_module
from edge_agent.breaker import Breaker
from edge_agent.buses.errors import NoAnswer, ReadFailed, Refused, Unreachable
from edge_agent.buses.stations import Station
from edge_agent.config import load_config
from edge_agent.plan import Block, plan
from edge_agent.profile import Limits, Profile, Register, parse_profile
from edge_agent.reader import Heard, Reader
from metering.config import ConfigError

_NAMES = [
    f"{quantity}_l{phase}" for quantity in ("voltage", "current", "power_active") for phase in (1, 2, 3)
] + ["frequency", "power_factor", "power_reactive"]
_UNITS = {"voltage": "V", "current": "A", "power_active": "kW", "frequency": "Hz", "power_reactive": "kvar"}


def profile_of(addresses: Iterable[int]) -> Profile:
    """Gauges of two words each, at these addresses."""
    rows = [
        {
            "reading_type": name,
            "addr": addr,
            "fc": 3,
            "type": "float32",
            "unit": _UNITS.get(name.rsplit("_l", 1)[0], "1"),
            "source": ["S"],
            "confidence": "A",
        }
        for name, addr in zip(_NAMES, addresses, strict=False)
    ]
    head = tomllib.loads('vendor="T"\nmodel="T"\nrevision=1\nkind="electricity"\nratio_applied_in_meter=true')
    return parse_profile("toy", {**head, "sources": {"S": "made up"}, "register": rows})


class Device:
    """A device that refuses some words, and is silent about others; it counts what it is asked."""

    def __init__(self, refused: Iterable[int] = (), silent: Iterable[int] = ()) -> None:
        self.refused, self.silent = set(refused), set(silent)
        self.there, self.code = True, 2
        self.asked: list[tuple[int, Any, int | None]] = []

    async def read(self, unit: Station, block: Block, *, tries: int | None = None) -> list[int]:
        assert unit == 1
        self.asked.append((block.addr, block.count, tries))
        words = range(block.addr, block.addr + block.count)
        if not self.there or self.silent.intersection(words):
            raise NoAnswer("silence")
        if self.refused.intersection(words):
            raise Refused("refused", self.code)
        return list(words)


def read(reader: Reader, device: Device, **how: bool) -> tuple[set[str], ReadFailed | None]:
    """The reading types that came; each with its own words."""
    heard, error = asyncio.run(reader.read(device, lambda: 1000, **how))
    names = [register.reading_type for register, _words in words_of(heard)]
    assert len(names) == len(set(names))
    assert all(list(words) == [register.addr, register.addr + 1] for register, words in words_of(heard))
    return set(names), error


def words_of(heard: Iterable[Heard]) -> list[tuple[Register, list[int]]]:
    return [
        (register, list(words))
        for one in heard
        for register, words in one.block.split(one.words)
        if isinstance(register, Register)
    ]


def reader_of(profile: Profile, limits: Limits | None = None) -> Reader:
    return Reader("m1", 1, plan(profile.registers, limits or Limits()))


ADDRESSES = st.sets(st.integers(0, 60).map(lambda i: 2 * i), min_size=1, max_size=12).map(sorted)


@given(ADDRESSES, st.sets(st.integers(0, 125), max_size=12), st.integers(0, 20))
@settings(max_examples=200, deadline=None)
def test_exactly_the_registers_that_contain_a_refused_word_are_left_out(
    addresses: list[int], refused: set[int], gap: int
) -> None:
    """Refused words in the gaps between registers cost nobody; afterwards nothing refused is asked for."""
    profile = profile_of(addresses)
    device, reader = Device(refused), reader_of(profile, Limits(gap=gap))
    good = {r.reading_type for r in profile.registers if not {r.addr, r.addr + 1} & refused}
    for poll in range(5):
        names, error = read(reader, device)
        assert names == good
        assert bool(error) == (not good)
        if good and poll == 3:
            device.asked.clear()
    if good:
        assert not any(refused.intersection(range(a, a + count)) for a, count, _ in device.asked)


def test_one_bad_register_of_twelve_is_found_in_a_few_reads_and_two_reads_are_left() -> None:
    device, reader = Device({10}), reader_of(profile_of(range(0, 24, 2)))
    read(reader, device)
    assert len(device.asked) <= 10
    assert [(block.addr, block.count) for block in reader.blocks] == [(0, 10), (12, 12)]


def test_a_refused_register_is_reported_once_when_it_is_certain(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    device, reader = Device({10}), reader_of(profile_of(range(0, 24, 2)))
    for _poll in range(6):
        read(reader, device)
    device.refused.clear()
    monkeypatch.setattr(reader_module, "_ASK_AGAIN_S", 0.0)
    reader._refused = {block: reader_module._Refusals() for block in reader._refused}
    for refusals in reader._refused.values():
        refusals.times = 3
    assert len(read(reader, device)[0]) == 12
    assert [record.getMessage().split(" error")[0].strip() for record in caplog.records] == [
        f"register_refused meter=m1 reading_type={_NAMES[5]} fc=3 addr=10 count=2",
        f"register_answers meter=m1 reading_type={_NAMES[5]} fc=3 addr=10 count=2",
    ]


def test_a_refusal_of_one_poll_costs_one_poll_and_the_plan_is_whole_again() -> None:
    device, reader = Device({10}), reader_of(profile_of(range(0, 24, 2)))
    assert len(read(reader, device)[0]) == 11
    device.refused.clear()
    assert len(read(reader, device)[0]) == 12
    device.asked.clear()
    read(reader, device)
    assert device.asked == [(0, 24, None)]


def test_a_device_that_refuses_everything_is_lost_and_forgets_nothing() -> None:
    """It is starting, or it is another model: no register is condemned for that."""
    device, reader = Device(range(100)), reader_of(profile_of(range(0, 24, 2)))
    for _poll in range(4):
        names, error = read(reader, device)
        assert (names, isinstance(error, Refused)) == (set(), True)
    device.refused.clear()
    assert len(read(reader, device)[0]) == 12


def test_an_illegal_function_is_not_bisected() -> None:
    device, reader = Device(range(40, 60)), reader_of(profile_of([0, 40, 42, 44, 46]))
    device.code = 1
    assert len(read(reader, device)[0]) == 1
    assert [(addr, count) for addr, count, _ in device.asked] == [(0, 2), (40, 8)]


def test_a_device_that_falls_silent_during_the_bisection_is_read_whole_the_next_time() -> None:
    profile = profile_of([0, 2, 4, 40])
    device, reader = Device({4}, silent={2}), reader_of(profile)
    names, error = read(reader, device)
    assert (names, isinstance(error, NoAnswer)) == ({_NAMES[3]}, True)
    device.silent.clear()
    assert read(reader, device) == ({_NAMES[0], _NAMES[1], _NAMES[3]}, None)


def test_a_dead_device_is_given_up_after_two_blocks_and_the_second_is_tried_once() -> None:
    device, reader = Device(silent=range(200)), reader_of(profile_of(range(0, 120, 30)))
    assert read(reader, device)[0] == set()
    assert device.asked == [(0, 2, None), (30, 2, 1)]
    device.asked.clear()
    read(reader, device, probe=True)
    assert device.asked == [(0, 2, 1)]


def test_a_probe_that_is_answered_is_a_whole_poll() -> None:
    device, reader = Device(), reader_of(profile_of(range(0, 120, 30)))
    assert len(read(reader, device, probe=True)[0]) == 4
    assert device.asked[0] == (0, 2, 1)


def test_an_endpoint_that_is_gone_is_asked_once() -> None:
    class Gone(Device):
        async def read(self, unit: Station, block: Block, *, tries: int | None = None) -> list[int]:
            self.asked.append((block.addr, unit, tries))
            raise Unreachable("no connection")

    device, reader = Gone(), reader_of(profile_of(range(0, 120, 30)))
    assert read(reader, device)[0] == set()
    assert len(device.asked) == 1


def test_a_block_that_is_always_silent_is_asked_seldom_and_its_neighbours_always() -> None:
    """Some meters do not refuse what they do not have: they say nothing."""
    device, reader = Device(silent={30}), reader_of(profile_of(range(0, 120, 30)))
    for _poll in range(20):
        assert len(read(reader, device)[0]) == 3
    assert sum(addr == 30 for addr, _, _ in device.asked) >= 4
    reader._breakers[reader.blocks[1]].failed(1.0, 1e9)
    device.asked.clear()
    for _poll in range(20):
        assert len(read(reader, device)[0]) == 3
    assert not any(addr == 30 for addr, _, _ in device.asked)


def test_probing_takes_at_most_a_twentieth_of_the_time() -> None:
    breaker, now_s, cost_s, spent_s = Breaker(), 0.0, 2.0, 0.0
    while not breaker.is_open:
        breaker.failed(cost_s, now_s)
    opened_s = now_s
    for _tick in range(10_000):
        now_s += 1
        if breaker.allows(now_s):
            spent_s += cost_s
            now_s += cost_s
            breaker.failed(cost_s, now_s)
    assert spent_s / (now_s - opened_s) <= 0.05


def test_a_cheap_probe_is_made_at_least_every_minute_and_an_answer_closes_the_breaker() -> None:
    breaker, now_s = Breaker(), 0.0
    for _failure in range(3):
        assert breaker.allows(now_s)
        breaker.failed(0.01, now_s)
    assert breaker.is_open
    assert breaker.allows(now_s)  # the first probe comes at once
    for _failure in range(30):
        breaker.failed(0.01, now_s)
        now_s += 60
        assert breaker.allows(now_s)
    breaker.answered()
    assert not breaker.is_open


def test_two_buses_on_one_serial_port_are_a_mistake(tmp_path: Path) -> None:
    file = tmp_path / "edge.toml"
    line = '[[buses]]\nid = "{}"\nkind = "rtu"\ndevice = "/dev/ttyUSB0"\n'
    file.write_text(line.format("a") + line.format("b"), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert "buses[0].device, buses[1].device: '/dev/ttyUSB0' is given 2 times" in caught.value.mistakes
