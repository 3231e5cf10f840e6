"""What is fuzzed: for every door through which bytes of others come in, a function that must return or raise its own error.

A target takes bytes and returns nothing; whatever else it raises is a finding. Where two decoders exist, they must agree.
"""

import base64
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from api.errors import Problem
from api.id_token import TokenError, claims_of
from api.times import Size, parse_moment, parse_range
from edge_agent.buses.frames import Ask, Desynchronised, answer, take_rtu_frames, take_tcp_frame, tcp_request
from edge_agent.buses.frames import crc as modbus_crc
from edge_agent.dlt645 import frame as dlt645
from edge_agent.dlt645 import items as dlt645_items
from edge_agent.profile import Profile, load_profile
from edge_agent.registers import decode as decode_register
from ingest.host import Host
from ingest.session import Stored
from metering import frames
from metering.protobuf_wire import DecodeError, fields
from metering.sparkplug import decode, encode, typed_value
from metering.topics import parse_topic
from storage.segment import Record, pack
from stream.batch import I64, decode_columns, plain_columns
from stream.context import Context
from stream.kernels import decode as kernel
from stream.state import State
from stream.step import step
from tests.fuzz import files, office
from tests.ingest import gateway as said
from tests.stream import strategies as plant


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


def id_token(data: bytes) -> None:
    """A token and the provider's keys, in any bytes: claims, or the one error that there is."""
    token, _, said_keys = data.decode("utf-8", "surrogateescape").partition("\n")
    try:
        keys = json.loads(said_keys)
    except (ValueError, RecursionError):
        keys = said_keys
    with suppress(TokenError):
        claims_of(token, keys if isinstance(keys, dict) else {"keys": keys})


def _tokens() -> list[bytes]:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    keys: list[dict[str, str]] = [
        {"kty": "RSA", "n": "_" * 342, "e": "AQAB"}, {"kty": "EC", "crv": "P-256", "x": "A" * 43, "y": "B" * 43},
        {"kty": "OKP", "crv": "Ed25519", "x": "A" * 42 + "E", "kid": "k", "use": "sig"},
    ]  # fmt: skip
    return [
        f"{part({'alg': name, 'kid': 'k'})}.{part({'sub': '7'})}.{'A' * 86}\n{json.dumps({'keys': keys})}".encode()
        for name in ("RS256", "ES256", "EdDSA", "none")
    ]


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
    "config_registry": Target(files.config_registry, files.toml_seeds("tanyun/demo/park.toml"), 10),
    "config_roles": Target(files.config_roles, files.role_seeds, 1),
    "config_profile": Target(files.config_profile, files.profile_seeds, 1),
    "config_simulator": Target(files.config_simulator, files.toml_seeds("tanyun/demo/simulator.toml"), 1),
    "csv_load": Target(files.csv_load, files.csv_seeds, 1),
    "factor_tables": Target(files.factor_tables, files.factor_seeds, 1),
    "evidence_pack": Target(files.evidence_pack, files.pack_seeds, 1),
    "journal_segment": Target(files.journal_segment, lambda: [pack(r) for r in said.births()], 100),
    "api_times": Target(api_times, _times, 80),
    "id_token": Target(id_token, _tokens, 20),
    "api_bodies": Target(office.api_bodies, office.body_seeds, 1),
    "fact_csv": Target(office.fact_csv, office.csv_seeds, 4),
    "fact_workbook": Target(office.fact_workbook, office.sheet_seeds, 1),
    "fact_json": Target(office.fact_json, office.json_seeds, 10),
    "tariff_file": Target(office.tariff_file, office.tariff_seeds, 2),
    "journal_import": Target(office.journal_import, office.export_seeds, 1),
}
