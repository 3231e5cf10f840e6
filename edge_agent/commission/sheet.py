"""The commissioning sheet: one JSON document that says what hangs where, what it said, what physics says, and what proves the ratio."""

from typing import Final

import msgspec

from edge_agent.commission.physics import Check
from edge_agent.commission.probe import Probe, RatioState, Verdict
from edge_agent.commission.proof import UNPROVEN, Proof
from edge_agent.commission.read import RegisterReading
from edge_agent.config import Bus, EdgeConfig, PolledMeter
from edge_agent.profile import Profile

VERSION: Final = 1


class SheetError(ValueError):
    """The file is no commissioning sheet of ours; the message says what is wrong with it."""


class Line(msgspec.Struct, frozen=True):
    """The bus and where the meter answers on it."""

    id: str
    kind: str
    endpoint: str
    """`192.0.2.20:502`, or `/dev/ttyUSB0 9600 8E1`."""
    unit: int | str


class Model(msgspec.Struct, frozen=True):
    """What the meter is."""

    vendor: str
    model: str
    profile: str
    revision: int
    serial: str
    """Of the name plate, as the installer read it; empty when nobody did."""
    serial_read: str
    """As the meter itself says it; empty where the profile knows no register for it."""


class Wanted(msgspec.Struct, frozen=True):
    """What the installer enters for the registry."""

    name: str = ""
    roles: dict[str, str] = {}
    """Reading type of a total → role."""
    parent: str = ""
    max_power_w: int | None = None


class Sheet(msgspec.Struct, frozen=True):
    """One meter on the day of its commissioning."""

    version: int
    made: str
    """ISO 8601 with offset, by the gateway's clock."""
    software: str
    installer: str
    park: str
    gateway: str
    meter: str
    line: Line
    model: Model
    registers: list[RegisterReading]
    """Every register: the words as they were on the wire beside what they mean."""
    verdict: Verdict
    checks: list[Check]
    explanations: list[list[dict[str, object]]]
    """The likely mistakes, where something does not hold (fields as in alternatives.Mistake)."""
    proof: Proof
    ratio_statement: str
    wanted: Wanted = Wanted()
    remarks: str = ""


class Visit(msgspec.Struct, frozen=True):
    """What the installer did and entered at the meter."""

    registers: list[RegisterReading]
    probe: Probe
    proof: Proof
    made: str
    software: str
    installer: str
    serial: str
    serial_read: str = ""
    wanted: Wanted = Wanted()
    remarks: str = ""


def make_sheet(config: EdgeConfig, bus: Bus, polled: PolledMeter, profile: Profile, visit: Visit) -> Sheet:
    """The sheet of a visit."""
    return Sheet(
        version=VERSION,
        made=visit.made,
        software=visit.software,
        installer=visit.installer,
        park=config.park,
        gateway=config.gateway,
        meter=polled.id,
        line=Line(bus.id, bus.kind, endpoint(bus), polled.station),
        model=Model(profile.vendor, profile.model, profile.name, profile.revision, visit.serial, visit.serial_read),
        registers=visit.registers,
        verdict=visit.probe.verdict,
        checks=visit.probe.checks,
        explanations=[[msgspec.to_builtins(item) for item in mistakes] for mistakes in visit.probe.mistakes],
        proof=visit.proof,
        ratio_statement=ratio_statement(visit.proof),
        wanted=visit.wanted,
        remarks=visit.remarks,
    )  # fmt: skip


def endpoint(bus: Bus) -> str:
    """Where a bus is, in the words of an installer."""
    parity = {"none": "N", "even": "E", "odd": "O"}[bus.parity]
    line = f"{bus.baud} 8{parity}{bus.stop_bits}"
    if bus.kind == "tcp":
        return f"{bus.host}:{bus.port}"
    return f"{bus.device} {line}" if bus.kind == "rtu" else f"{bus.host}:{bus.port} {line}"


def ratio_statement(proof: Proof) -> str:
    """The one sentence that every sheet and report repeats; both languages."""
    if proof.state is RatioState.PROVEN:
        return "直接接入 / connected directly" if proof.ratios.direct else "变比已证实 / ratio proven"
    if proof.state is RatioState.CONTRADICTED:
        return "变比不符 / ratio contradicted"
    return UNPROVEN


def encode_sheet(sheet: Sheet) -> bytes:
    """The file's bytes: indented, one way only, so that its digest names it."""
    return msgspec.json.format(msgspec.json.encode(sheet), indent=2) + b"\n"


def decode_sheet(data: bytes) -> Sheet:
    """The sheet in a file; SheetError."""
    try:
        sheet = msgspec.json.decode(data, type=Sheet)
    except msgspec.DecodeError as error:
        raise SheetError(str(error)) from error
    if sheet.version != VERSION:
        raise SheetError(f"version {sheet.version}, this release reads {VERSION}")
    return sheet
