"""What is fuzzed: for every door through which bytes of others come in, a function that must return or raise its own error.

A target takes bytes and returns nothing; whatever else it raises is a finding. Where two decoders exist, they must agree.
"""

import tempfile
import tomllib
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from api.errors import Problem
from api.times import Size, parse_moment, parse_range
from edge_agent.buses.frames import Ask, Desynchronised, answer, take_rtu_frames, take_tcp_frame, tcp_request
from edge_agent.buses.frames import crc as modbus_crc
from edge_agent.config import EdgeConfig
from edge_agent.dlt645 import frame as dlt645
from edge_agent.dlt645 import items as dlt645_items
from edge_agent.profile import Profile, ProfileError, bundled_profiles, load_profile, parse_profile
from edge_agent.registers import decode as decode_register
from edge_agent.simulator.config import SimulatorConfigError, parse_config
from edge_agent.simulator.csvload import LoadFileError, read_days
from factors.table import FactorDataError, FactorTable, bundled_data
from ingest.host import Host
from ingest.session import Stored
from metering import frames
from metering.config import ConfigError, validate
from metering.protobuf_wire import DecodeError, fields
from metering.registry import parse_registry
from metering.sparkplug import decode, encode, typed_value
from metering.topics import parse_topic
from storage.errors import CorruptError
from storage.segment import Record, pack, unpack_all
from stream.batch import I64, decode_columns, plain_columns
from stream.context import Context
from stream.kernels import decode as kernel
from stream.state import State
from stream.step import step
from tanyun.config import ServerConfig
from tests.ingest import gateway as said
from tests.stream import strategies as plant
from verification.evidence.container import Container, ContainerWriter
from verification.evidence.verify import verify_pack

ROOT = Path(__file__).parents[2]


class Target(msgspec.Struct, frozen=True):
    """A door, what usually comes through it, and its part of a run."""

    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    weight: int
    """Its part of all inputs: doors that a stranger reaches, and fast ones, get more."""


# Sparkplug


def _payloads() -> list[bytes]:
    records = [
        *said.births("m"),
        said.frame(1),
        said.lost(1, 3),
        said.ndeath(),
        *plant.births(),
        plant.frame("plain", plant.T0, 5),
    ]
    ack = frames.ack_payload(frames.Ack("abcdef0123456789", 7, 9, said.NOW_MS))
    return [
        *(record.payload for record in records),
        encode(ack),
        encode(frames.rebirth_payload(said.NOW_MS)),
        b"",
    ]


def sparkplug_plain(data: bytes) -> None:
    """The plain codec takes or refuses; what each metric holds is typed or refused; an NCMD is read without a surprise."""
    try:
        payload = decode(data)
    except DecodeError:
        return
    frames.read_ack(payload)
    for metric in payload.metrics:
        with suppress(DecodeError):
            typed_value(metric.value, metric.datatype or 0)


def sparkplug_kernel(data: bytes) -> None:
    """The compiled decoder reads a good frame beside a bad one, and says what the plain one says."""
    good = plant.frame("plain", plant.T0, 5).payload
    columns, status = decode_columns([good, data, good])
    assert status[0] == status[2] == kernel.OK
    assert (columns[columns[:, kernel.FRAME] == 0, 1:] == columns[columns[:, kernel.FRAME] == 2, 1:]).all()
    if status[1] == kernel.OK:
        mine = columns[columns[:, kernel.FRAME] == 1]
        plain = plain_columns(data, 1, "plain")
        assert mine.shape == plain.shape, (mine, plain)
        assert (_meaning(mine) == _meaning(plain)).all(), (mine, plain)
    elif status[1] == kernel.MALFORMED:
        with suppress(DecodeError):
            _none_the_less(data)


def _meaning(columns: I64) -> I64:
    """Rows in which a 32-bit real is what it is as a 64-bit one, all NaN are one, and what has no value has no bits."""
    out = columns.copy()
    short = out[:, kernel.KIND] == kernel.REAL32
    with np.errstate(invalid="ignore"):  # a signalling NaN
        reals = out[short, kernel.BITS].astype(np.uint32).view(np.float32).astype(np.float64)
    out[short, kernel.BITS], out[short, kernel.KIND] = reals.view(np.int64), kernel.REAL64
    truth = out[:, kernel.KIND] == kernel.TRUTH
    out[truth, kernel.BITS] = out[truth, kernel.BITS] != 0
    real = out[:, kernel.KIND] == kernel.REAL64
    out[(out[:, kernel.KIND] == kernel.NULL) | (out[:, kernel.KIND] == kernel.OTHER), kernel.BITS] = 0
    out[real & np.isnan(out[:, kernel.BITS].copy().view(np.float64)), kernel.BITS] = 0
    return out


def _none_the_less(data: bytes) -> None:
    """The kernel refuses only what the plain codec refuses, nested messages and texts aside (which it skips)."""
    decode(data)
    raise AssertionError("the plain codec takes what the kernel refuses")


@cache
def _park() -> Host:
    host = Host(said.PARK, Stored({}))
    for record in said.births("m"):
        host.receive(record)
    return host


def ingest_host(data: bytes) -> None:
    """A message of any type from any sender is stored or quarantined; a good frame after it is still taken."""
    kind, payload = (data[0] if data else 0), data[1:]
    topics = (
        "DDATA/gw/m",
        "NDATA/gw",
        "DBIRTH/other/m",
        "NBIRTH/other",
        "NDEATH/other",
        "DDEATH/other/m",
        "DDATA/other/m",
        "DDATA/gw/x",
    )
    host = _park()
    host.reset()
    host.receive(Record(f"spBv1.0/p/{topics[kind % len(topics)]}", payload, said.NOW_MS))
    host.receive(Record(payload[:60].decode("utf-8", "replace"), payload, said.NOW_MS))
    commit = host.close_commit()
    assert len(commit.entries) + len(commit.quarantined) <= 2


def stream_step(data: bytes) -> None:
    """Whatever the journal holds, the step goes on, and the meters it does not concern count on."""
    state, world = _stream()
    kind = data[0] if data else 0
    topic = (
        "DDATA/gw1/plain",
        "DBIRTH/gw1/plain",
        "DDATA/gw2/pv",
        "DBIRTH/gw2/pv",
        "NBIRTH/gw1",
        "DDATA/gw2/heat",
    )[kind % 6]
    records = [Record(f"spBv1.0/p/{topic}", data[1:], plant.T0), plant.frame("tiny", plant.T0 + 1000, 7)]
    step(State.restore(state), records, world)


@cache
def _stream() -> tuple[bytes, Context]:
    state, world = State(), plant.context()
    step(state, [*plant.births(), plant.frame("plain", plant.T0, 5), plant.frame("pv", plant.T0, 5)], world)
    return state.snapshot(), world


def topic_and_wire(data: bytes) -> None:
    """The wire walker ends within its bytes; a topic that parses prints as it was."""
    with suppress(DecodeError):
        for _number, _wire, _start, end in fields(data):
            assert end <= max(len(data), 1 << 64)
    text = data.decode("utf-8", "replace")
    topic = parse_topic(text)
    assert topic is None or str(topic) == text


# Buses


def _modbus() -> list[bytes]:
    body = bytes((1, 3, 4, 1, 2, 3, 4))
    refusal = bytes((1, 0x83, 2))
    return [
        tcp_request(7, Ask(1, 3, 0, 2)), b"\x00\x07\x00\x00\x00\x07" + body, body + modbus_crc(body),
        refusal + modbus_crc(refusal), b"\x00" + body + modbus_crc(body) + b"\x00\x00",
    ]  # fmt: skip


def modbus(data: bytes) -> None:
    """Frames are cut off from the left until nothing is left to cut: each step takes bytes or ends."""
    ask, heard = Ask(1, 3, 0, 2), bytearray(data)
    with suppress(Desynchronised):
        while (size := len(heard)) and (frame := take_tcp_frame(heard)) is not None:
            assert len(heard) < size
            answer(ask, frame.pdu)
    heard = bytearray(data)
    for frame in take_rtu_frames(heard, ask):
        answer(ask, frame.pdu)
    assert len(heard) <= len(data)


def registers(data: bytes) -> None:
    """Any words give a raw value or none."""
    for register in _profile().registers:
        words = [int.from_bytes(data[2 * i : 2 * i + 2]) for i in range(register.width)]
        value = decode_register(register, words)
        assert value is None or value == value  # noqa: PLR0124  NaN is no value


@cache
def _profile() -> Profile:
    return load_profile("siemens_pac3200")


def _dlt645() -> list[bytes]:
    whole = dlt645.encode(
        dlt645.Frame("123456789012", 0x91, bytes.fromhex("00000100 78563412".replace(" ", ""))), 4
    )
    refused = dlt645.encode(dlt645.Frame("123456789012", 0xD1, b"\x02"))
    return [whole, refused, whole + refused, b"\x68" * 12, b"\xfe" * 4 + whole[:9]]


def dlt645_frames(data: bytes) -> None:
    """Frames come out of any stream however it is cut; what they carry decodes or is refused."""
    whole, cut = dlt645.FrameReader(), dlt645.FrameReader()
    at = len(data) // 2
    found = whole.feed(data) + whole.end()
    assert cut.feed(data[:at]) + cut.feed(data[at:]) + cut.end() == found
    for frame in found:
        with suppress(dlt645.Dlt645Error):
            dlt645_items.decode(int.from_bytes(frame.data[:4], "little"), frame.data[4:])


def dlt645_values(data: bytes) -> None:
    """Any bytes as the data of every item."""
    known = list(dlt645_items.ITEMS)
    with suppress(dlt645.Dlt645Error):
        dlt645_items.decode(known[(data[0] if data else 0) % len(known)], data[1:])


# Files


def _toml(*names: str) -> Callable[[], list[bytes]]:
    return lambda: [(ROOT / name).read_bytes() for name in names]


def _document(data: bytes) -> dict[str, object] | None:
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError):
        return None


def config_registry(data: bytes) -> None:
    """A registry loads or has mistakes."""
    document = _document(data)
    if document is not None:
        with suppress(ConfigError):
            parse_registry(document)


def config_roles(data: bytes) -> None:
    """The configurations of gateway and server."""
    document = _document(data)
    for model in (EdgeConfig, ServerConfig):
        if document is not None:
            with suppress(ConfigError):
                validate(document, model, "x.toml")


def config_profile(data: bytes) -> None:
    """A meter profile, which installers write by hand."""
    document = _document(data)
    if document is not None:
        with suppress(ProfileError):
            parse_profile("fuzzed", document)


def config_simulator(data: bytes) -> None:
    """The simulator's park."""
    document = _document(data)
    if document is not None:
        with suppress(SimulatorConfigError):
            parse_config(document)


def _profiles() -> list[bytes]:
    folder = ROOT / "edge_agent" / "profiles"
    return sorted((folder / f"{name}.toml").read_bytes() for name in bundled_profiles()[:4])


def _edge_and_server() -> list[bytes]:
    edge = b"""park = "p"\ngateway = "g"\n[broker]\nuser = "g"\npassword_file = "x"\n[outbox]\npath = "o.db"
[[buses]]\nid = "l"\nhost = "127.0.0.1"\n[[meters]]\nid = "m"\nbus = "l"\nunit = 1\nprofile = "chint_dtsu666"\n"""
    server = b"""registry = "p.toml"\ndata = "d"\nreports = "r"\n[broker]\nuser = "host"\npassword_file = "x"\n[influx]\nurl = "http://127.0.0.1:8086"\n"""
    return [edge, server]


@cache
def _scratch() -> Path:
    return Path(tempfile.mkdtemp(prefix="tanyun-fuzz-"))


def _file(data: bytes, name: str) -> Path:
    path = _scratch() / name
    path.write_bytes(data)
    return path


def csv_load(data: bytes) -> None:
    """A load file of the simulator."""
    with suppress(LoadFileError):
        read_days(_file(data, "load.csv"))


def _csv() -> list[bytes]:
    day = b"".join(b"1/1/2018 %d:%02d,%d.5\n" % (h, m, h + m) for h in range(24) for m in (0, 15, 30, 45))
    return [
        b"date,Usage_kWh\n" + day[14:],
        b"time;kWh\n2018-01-01 00:15;1,5\n2018-01-01 00:30;2\n",
        b"date,Usage_kWh\n1/1/2018 0:15,1e308\n",
    ]


def factor_tables(data: bytes) -> None:
    """The tables of emission factors, one of them replaced."""
    names = sorted(item.name for item in bundled_data().iterdir() if item.name.endswith(".csv"))
    folder = _scratch() / "factors"
    if not folder.exists():
        folder.mkdir()
        for name in names:
            (folder / name).write_bytes((bundled_data() / name).read_bytes())
    name = names[(data[0] if data else 0) % len(names)]
    kept = (folder / name).read_bytes()
    try:
        (folder / name).write_bytes(data[1:])
        with suppress(FactorDataError):
            FactorTable.load(folder)
    finally:
        (folder / name).write_bytes(kept)


def _factor_rows() -> list[bytes]:
    names = sorted(item.name for item in bundled_data().iterdir() if item.name.endswith(".csv"))
    return [bytes([i]) + (bundled_data() / name).read_bytes()[:3000] for i, name in enumerate(names)]


def evidence_pack(data: bytes) -> None:
    """A ZIP from a stranger: it is read strictly, or named as flawed; nothing is unpacked to disk."""
    path = _file(data, "pack.zip")
    assert not verify_pack(path).equal
    with Container(path) as pack:
        for name in pack.members:
            with suppress(zlib.error):
                pack.content(name)


@cache
def _packs() -> list[bytes]:
    path = _scratch() / "seed.zip"
    path.unlink(missing_ok=True)
    with ContainerWriter(path) as made:
        made.add("a.json", [b'{"a": 1}'])
        made.add("b/c.bin", [bytes(300)])
        for name in ("manifest.json", "manifest.sig", "public-key.pem"):
            made.add(name, [b'{"schema": "x"}'], deflate=False)
    return [path.read_bytes()]


def journal_segment(data: bytes) -> None:
    """A segment's body adds up, or is corrupt; what adds up packs to the same bytes."""
    with suppress(CorruptError):
        assert b"".join(map(pack, unpack_all(data))) == data


# The API


def api_times(data: bytes) -> None:
    """Times as callers write them: a moment, a range, or a problem document."""
    text = data.decode("utf-8", "replace")
    first, _, second = text.partition("/")
    zone = ZoneInfo("Asia/Shanghai")
    with suppress(Problem):
        parse_moment(first, "from", zone)
    with suppress(Problem):
        parse_range(first or None, second or None, list(Size)[len(data) % len(Size)], zone, said.NOW_MS)


def _times() -> list[bytes]:
    return [
        b"2026-10-01", b"2026-10-01T00:00:00+08:00/2026-11-01", b"2026-W01-1/20261001T000000Z",
        b"2026-10-01T00:00:00.123456 08:00/1970-01-01", b"9999-12-31T23:59:59-23:59/0001-01-01",
    ]  # fmt: skip


def _with_kind(seeds: Callable[[], list[bytes]]) -> Callable[[], list[bytes]]:
    return lambda: [bytes([i % 8]) + seed for i, seed in enumerate(seeds() * 2)]


TARGETS: Mapping[str, Target] = {
    "sparkplug_plain": Target(sparkplug_plain, _payloads, 200),
    "sparkplug_kernel": Target(sparkplug_kernel, _payloads, 160),
    "ingest_host": Target(ingest_host, _with_kind(_payloads), 140),
    "stream_step": Target(stream_step, _with_kind(_payloads), 1),
    "topic_and_wire": Target(topic_and_wire, lambda: [*_payloads(), b"spBv1.0/p/DDATA/gw/m"], 100),
    "modbus": Target(modbus, _modbus, 160),
    "registers": Target(registers, lambda: [bytes(8), b"\x7f\xc0\x00\x00" * 2, b"\xff" * 8], 20),
    "dlt645_frames": Target(dlt645_frames, _dlt645, 120),
    "dlt645_values": Target(
        dlt645_values, lambda: [bytes([i]) + bytes(n) for i in range(40) for n in (2, 3, 4)], 4
    ),
    "config_registry": Target(config_registry, _toml("tanyun/demo/park.toml"), 10),
    "config_roles": Target(config_roles, _edge_and_server, 1),
    "config_profile": Target(config_profile, _profiles, 1),
    "config_simulator": Target(config_simulator, _toml("tanyun/demo/simulator.toml"), 1),
    "csv_load": Target(csv_load, _csv, 1),
    "factor_tables": Target(factor_tables, _factor_rows, 1),
    "evidence_pack": Target(evidence_pack, _packs, 1),
    "journal_segment": Target(journal_segment, lambda: [pack(r) for r in said.births()], 100),
    "api_times": Target(api_times, _times, 80),
}
