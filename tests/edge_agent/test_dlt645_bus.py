"""DL/T 645 on a line, alone and beside Modbus: byte-level peers, and no word that is another's."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from edge_agent.bus import ModbusBus, NoAnswer, ReadFailed, Refused
from edge_agent.config import Bus, EdgeConfig, load_config
from edge_agent.device import make_device
from edge_agent.dlt645.clock import MeterClockOf, read_meter_time
from edge_agent.outbox import Outbox
from edge_agent.plan import Block
from edge_agent.profile import DLT645, load_profile
from metering.config import ConfigError
from tests.fakes.mixed_line import Asked, dlt, dlt_refusal, dlt_reply, serve_line
from tests.fakes.modbus_peer import Request
from tests.fakes.rtu_peer import pty_peer, rtu_over_tcp_peer, rtu_reply

METER, OTHER = "202411110002", "202411110003"
IMPORT, EXPORT, VOLTS = (Block(DLT645, di, size, ()) for di, size in ((0x00010000, 4), (0x00020000, 4), (0x02010100, 2)))  # fmt: skip
KINDS = ("rtu", "rtu_over_tcp")
Parts = Iterable[bytes | float]


def bcd(digits: str) -> bytes:
    """Digits as the meter sends them, low byte first."""
    return bytes.fromhex(digits)[::-1]


VALUES = {
    "00010000": bcd("12345678"), "00020000": bcd("00000100"), "02010100": bcd("2304"), "02010200": bcd("2311"),
    "02010300": bcd("2298"), "02020100": bcd("805123"), "02020200": bcd("005123"), "02020300": bcd("000000"),
    "02030000": bcd("812345"), "02800002": bcd("4998"), "00010001": bcd("12000000"), "04000401": bcd(METER),
    "04000101": bcd("26112106"), "04000102": bcd("075930"),
}  # fmt: skip


def meter(asked: Request | Asked) -> Parts:
    """A well-behaved meter."""
    assert isinstance(asked, Asked)
    assert asked.control == 0x11, "only reads are ever sent"
    if asked.address != METER:
        return []
    value = VALUES.get(asked.di)
    return [b"\xfe\xfe" + (dlt_refusal(asked, 2) if value is None else dlt_reply(asked, value))]


@asynccontextmanager
async def bus_to(kind: str, answer: Callable[[Any], Parts], **settings: object) -> AsyncIterator[ModbusBus]:
    serving: Any = {"rtu": pty_peer, "rtu_over_tcp": rtu_over_tcp_peer}[kind](answer, serve_line)
    async with serving as place:
        document: dict[str, object] = {
            "id": "b",
            "kind": kind,
            "timeout_s": 0.15,
            "retries": 1,
            "baud": 115200,
        }
        document |= {"device": place} if kind == "rtu" else {"host": "127.0.0.1", "port": place}
        bus = ModbusBus(Bus.model_validate({**document, **settings}))
        try:
            yield bus
        finally:
            bus.close()
            await asyncio.sleep(0)


def run(test: Callable[[], Any]) -> Any:
    return asyncio.run(asyncio.wait_for(test(), 20))


@pytest.mark.parametrize("kind", KINDS)
def test_the_vectors_of_the_standard_go_over_the_line(kind: str) -> None:
    """Read 00010000 of 202411110002: request and reply byte for byte, 123456.78 kWh."""
    heard: list[Asked] = []
    reply = bytes.fromhex("68 02 00 11 11 24 20 68 91 08 33 33 34 33 AB 89 67 45 7E 16")

    def answer(asked: Asked) -> Parts:
        heard.append(asked)
        return [reply]

    async def test() -> list[int]:
        async with bus_to(kind, answer) as bus:
            return await bus.read(METER, IMPORT)

    assert run(test) == list(bcd("12345678"))
    assert heard == [Asked(METER, 0x11, bytes.fromhex("00000100"))]


FAULTS: dict[str, Callable[[Asked], Parts]] = {
    "another meter": lambda a: [dlt(OTHER, 0x91, a.data + bcd("99999999"))],
    "another identifier": lambda a: [
        dlt(METER, 0x91, bytes([a.data[0] ^ 1]) + a.data[1:4] + bcd("99999999"))
    ],
    "the echo alone": lambda a: [dlt(METER, 0x11, a.data)],
    "a broken check sum": lambda a: [dlt_reply(a, bcd("99999999"))[:-2] + b"\x00\x16"],
    "a cut reply": lambda a: [dlt_reply(a, bcd("99999999"))[:-3]],
    "noise": lambda _a: [bytes(range(60, 120)) * 3],
    "a false start": lambda _a: [b"\x68" * 9],
    "a reply of another length": lambda a: [dlt_reply(a, bcd("999999"))],
    "silence": lambda _a: [],
    "a Modbus reply": lambda _a: [rtu_reply(Request(0, 1, 3, 0, 2), [1, 2])],
    "the reply after the time-out": lambda a: [0.2, dlt_reply(a, bcd("12345678"))],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_never_data_and_ends_when_it_ends(kind: str, name: str) -> None:
    bad = True

    def answer(asked: Asked) -> Parts:
        return FAULTS[name](asked) if bad else meter(asked)

    async def test() -> None:
        nonlocal bad
        async with bus_to(kind, answer) as bus:
            for block in (IMPORT, EXPORT):
                try:
                    words = await bus.read(METER, block)
                except ReadFailed:
                    continue
                assert (
                    name == "the reply after the time-out"
                )  # It names its identifier: late, it is still its own.
                assert words == list(bcd("12345678"))
            bad = False
            await asyncio.sleep(0.3 if "after" in name else 0)
            assert await bus.read(METER, EXPORT) == list(bcd("00000100"))
            assert await bus.read(METER, VOLTS) == list(bcd("2304"))

    run(test)


@pytest.mark.parametrize("kind", KINDS)
def test_a_late_reply_is_taken_for_no_other_identifier(kind: str) -> None:
    held: list[bytes] = []

    def answer(asked: Asked) -> Parts:
        held.append(dlt_reply(asked, VALUES[asked.di]))
        return [held.pop(0)] if len(held) > 1 else []

    async def test() -> None:
        async with bus_to(kind, answer, retries=0, timeout_s=0.05) as bus:
            for _round in range(4):
                for block, digits in ((IMPORT, "12345678"), (EXPORT, "00000100"), (VOLTS, "2304")):
                    try:
                        assert await bus.read(METER, block) == list(bcd(digits))
                    except NoAnswer:
                        continue

    run(test)


def test_a_follow_up_frame_is_asked_for_and_joined() -> None:
    """Control bit 5: more to come; the next request is 12H with the frame's number."""

    def answer(asked: Asked) -> Parts:
        if asked.control == 0x11:
            return [dlt(METER, 0xB1, asked.data + b"\x78\x56")]
        assert (asked.control, asked.data[4]) == (0x12, 1)
        return [dlt(METER, 0x92, asked.data[:4] + b"\x34\x12" + b"\x01")]

    async def test() -> list[int]:
        async with bus_to("rtu", answer) as bus:
            return await bus.read(METER, IMPORT)

    assert run(test) == list(bcd("12345678"))


def test_what_a_meter_does_not_have_is_refused_and_asked_once() -> None:
    asked_for: list[str] = []

    def answer(asked: Asked) -> Parts:
        asked_for.append(asked.di)
        return meter(asked)

    async def test() -> None:
        async with bus_to("rtu", answer) as bus:
            with pytest.raises(Refused):
                await bus.read(METER, Block(DLT645, 0x00090000, 4, ()))

    run(test)
    assert asked_for == ["00090000"]


def test_the_only_meter_of_a_line_tells_its_address_and_a_new_one_is_found() -> None:
    there, controls = METER, list[int]()

    def answer(asked: Asked) -> Parts:
        controls.append(asked.control)
        if asked.control == 0x13:
            assert asked.address == "A" * 12
            return [dlt(there, 0x93, bcd(there))]
        return [dlt_reply(asked, bcd("00000007"))] if asked.address == there else []

    async def test() -> None:
        nonlocal there
        async with bus_to("rtu", answer, retries=0) as bus:
            for _poll in range(3):
                assert await bus.read("A" * 12, IMPORT) == list(bcd("00000007"))
            assert controls == [0x13, 0x11, 0x11, 0x11]
            there = OTHER
            with pytest.raises(NoAnswer):
                await bus.read("A" * 12, IMPORT)
            assert await bus.read("A" * 12, IMPORT) == list(bcd("00000007"))

    run(test)


@pytest.mark.parametrize("kind", KINDS)
def test_modbus_and_dlt645_meters_share_a_line_and_keep_their_words_apart(kind: str) -> None:
    """Each answers late now and then, so replies of one protocol fall into the wait of the other."""
    count, held = 0, list[bytes]()

    def answer(asked: Request | Asked) -> Parts:
        nonlocal count
        count += 1
        if isinstance(asked, Asked):
            said = dlt_reply(asked, VALUES[asked.di])
        else:
            said = rtu_reply(asked, [asked.fc << 12 | asked.addr + i for i in range(asked.words)])
        if count % 5 == 0:
            held.append(said)
            return []
        late, held[:] = list(held), []
        return [*late, 0.002, said]

    async def test() -> int:
        answered = 0
        async with bus_to(kind, answer, retries=2, timeout_s=0.08) as bus:
            for _round in range(8):
                for station, block, truth in (
                    (1, Block(3, 10, 2, ()), [0x300A, 0x300B]),
                    (METER, IMPORT, list(bcd("12345678"))),
                    (1, Block(3, 20, 2, ()), [0x3014, 0x3015]),
                    (METER, VOLTS, list(bcd("2304"))),
                ):
                    try:
                        assert await bus.read(station, block) == truth
                    except ReadFailed:
                        continue
                    answered += 1
        return answered

    assert run(test) >= 24


def test_a_meter_on_modbus_tcp_cannot_be_asked_by_dlt645() -> None:
    async def test() -> None:
        with pytest.raises(ReadFailed, match="needs a bus of kind rtu"):
            await ModbusBus(Bus(id="b", host="127.0.0.1", port=1)).read(METER, IMPORT)

    run(test)


def config(folder: Path, meters: str, kind: str = "rtu", where: str = "/dev/none") -> EdgeConfig:
    place = f'device = "{where}"' if kind == "rtu" else f'host = "127.0.0.1"\nport = {where}'
    path = folder / "edge.toml"
    path.write_text(
        'park = "p"\ngateway = "g"\nbroker = {port = 1, user = "g", password_file = "none"}\n'
        f'outbox = {{path = "o.db"}}\n[[buses]]\nid = "line"\nkind = "{kind}"\n{place}\n{meters}',
        encoding="utf-8",
    )
    return load_config(path)


METERS = f'[[meters]]\nid = "m"\nbus = "line"\naddress = "{METER}"\nprofile = "dlt645_2007"\n'


def test_the_bundled_profile_reads_a_meter_with_its_frozen_total_and_its_address(tmp_path: Path) -> None:
    settings = config(tmp_path, METERS)
    outbox = Outbox(tmp_path / "o.db", 10_000_000)
    device = make_device(settings.meters[0], load_profile("dlt645_2007"), outbox)

    async def test() -> dict[str, tuple[float, int]]:
        async with bus_to("rtu", meter) as bus:
            readings, error = await device.read(bus, lambda: 1000)
            assert error is None
            return {register.name: (raw, register.scale) for register, _t_ms, raw in readings}

    assert run(test) == {
        "energy_import_total": (12_345_678, -2), "energy_export_total": (100, -2),
        "energy_import_total/frozen/1": (12_000_000, -2), "voltage_l1": (2304, -1), "voltage_l2": (2311, -1),
        "voltage_l3": (2298, -1), "current_l1": (-5123, -3), "current_l2": (5123, -3), "current_l3": (0, -3),
        "power_active": (-12345, -4), "frequency": (4998, -2),
    }  # fmt: skip
    assert device.serial == METER
    outbox.close()


def test_the_clock_of_a_meter_is_read_and_never_set() -> None:
    """2026-11-21 07:59:30 Beijing time is 23:59:30 UTC of the day before."""

    async def test() -> None:
        async with bus_to("rtu", meter) as bus:
            said = await read_meter_time(bus, METER, time.monotonic)
            assert said.t_ms == int(datetime(2026, 11, 20, 23, 59, 30, tzinfo=UTC).timestamp()) * 1000
            assert said.asked_s < said.answered_s
            now_ms = await MeterClockOf(bus, METER).utc_ms()
            assert now_ms is not None
            assert 0 <= now_ms - said.t_ms < 5000
            assert await MeterClockOf(bus, OTHER).utc_ms() is None

    run(test)


def test_the_clock_is_asked_again_around_midnight() -> None:
    dates = iter(["26112106", "26112207", "26112207"])

    def answer(asked: Asked) -> Parts:
        return [dlt_reply(asked, bcd(next(dates)) if asked.di == "04000101" else bcd("000001"))]

    async def test() -> int:
        async with bus_to("rtu", answer) as bus:
            return (await read_meter_time(bus, METER, time.monotonic)).t_ms

    assert run(test) == int(datetime(2026, 11, 21, 16, 0, 1, tzinfo=UTC).timestamp()) * 1000


@pytest.mark.parametrize("digits", ["26139906", "26022906"])
def test_a_date_that_is_none_is_no_time(digits: str) -> None:
    def answer(asked: Asked) -> Parts:
        return [dlt_reply(asked, bcd(digits) if asked.di == "04000101" else bcd("120000"))]

    async def test() -> None:
        async with bus_to("rtu", answer) as bus:
            with pytest.raises(ReadFailed, match="no time"):
                await read_meter_time(bus, METER, time.monotonic)

    run(test)


WILD = METERS.replace(METER, "A" * 12)


@pytest.mark.parametrize(
    ("meters", "kind", "where", "mistake"),
    [
        (METERS.replace(f'address = "{METER}"\n', ""), "rtu", "/dev/x", "meters[0].address: dlt645_2007 is a DL/T 645"),
        (METERS + "unit = 3\n", "rtu", "/dev/x", "meters[0].unit: dlt645_2007 is a DL/T 645"),
        (METERS, "tcp", "502", "meters[0].bus: DL/T 645 needs a bus of kind rtu"),
        (METERS.replace("dlt645_2007", "abb_b23"), "rtu", "/dev/x", "meters[0].address: abb_b23 is a Modbus profile"),
        (METERS.replace(METER, "9" * 11), "rtu", "/dev/x", "meters[0].address: "),
        (WILD + METERS.replace('"m"', '"n"'), "rtu", "/dev/x", "meters[0].address: twelve A ask for the only meter"),
        (METERS + METERS.replace('"m"', '"n"'), "rtu", "/dev/x", "meters[0].unit, meters[1].unit: 'bus line address"),
    ],
)  # fmt: skip
def test_a_mistaken_dlt645_meter_is_named(
    tmp_path: Path, meters: str, kind: str, where: str, mistake: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        config(tmp_path, meters, kind, where)
    assert any(line.startswith(mistake) for line in caught.value.mistakes), caught.value.mistakes


def test_the_only_meter_of_a_line_may_be_asked_for_its_address(tmp_path: Path) -> None:
    assert config(tmp_path, WILD).meters[0].station == "A" * 12
