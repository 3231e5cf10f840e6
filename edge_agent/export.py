"""Frames in a file: what a gateway would have sent, message by message, for a server that its connection does not reach.

A file is gzip: a line of JSON that says what is in it, then records as the journal has them (topic, payload), in the order
of their numbers, each behind the birth it decodes with. gzip's own check sum tells a file that was cut or changed.
"""

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from edge_agent.births import dbirth, frame_aliases, frame_metrics, lost_metrics, nbirth
from edge_agent.drain import Gap, with_gaps
from edge_agent.outbox import Frame, Outbox
from metering.protobuf_wire import uint_field
from metering.sparkplug import encode
from metering.topics import MessageType, Topic
from storage.segment import Record, pack

FORMAT: Final = "tanyun frames 1"
_AT_ONCE: Final = 1000


class Exported(msgspec.Struct, frozen=True):
    """What a file holds."""

    format: str
    park: str
    gateway: str
    epoch: int
    first: int
    last: int
    frames: int
    """Of them, those that are still here."""


def export(
    outbox: Outbox, park: str, gateway: str, first: int, last: int, file: Path, now_ms: int
) -> Exported:
    """Write frames `first` to `last`, as far as they are here, to a file that appears when it is whole."""
    last = min(last, outbox.last)
    held = sum(1 for step in _steps(outbox, first, last) if isinstance(step, Frame))
    said = Exported(FORMAT, park, gateway, outbox.epoch, first, last, held)
    part = file.with_name(f"{file.name}.part")
    with part.open("wb") as raw:
        with gzip.open(raw, "wb") as out:
            out.write(json.dumps(msgspec.to_builtins(said)).encode() + b"\n")
            _write(out, outbox, park, gateway, first, last, now_ms)  # type: ignore[arg-type]  # a GzipFile writes bytes
        raw.flush()
        os.fsync(raw.fileno())
    part.replace(file)
    return said


def _steps(outbox: Outbox, first: int, last: int) -> Iterator[Frame | Gap]:
    sent = first - 1
    while sent < last:
        found, end = outbox.after(sent, _AT_ONCE)
        yield from with_gaps(sent, [frame for frame in found if frame.number <= last], min(end, last), None)
        sent = min(end, last)


def _write(
    out: BinaryIO, outbox: Outbox, park: str, gateway: str, first: int, last: int, now_ms: int
) -> None:
    def put(kind: MessageType, meter: str, body: bytes) -> None:
        out.write(pack(Record(str(Topic(park, kind, gateway, meter)), body, now_ms)))

    put(MessageType.NBIRTH, "", encode(nbirth(outbox, 0, now_ms)))
    declared: dict[str, int] = {}
    births: dict[int, tuple[str, bytes]] = {}
    for step in _steps(outbox, first, last):
        if isinstance(step, Gap):
            thinned = outbox.evicted.is_thinned(step.first, step.last)
            body = lost_metrics(outbox, step.first, step.last, step.t_ms, thinned=thinned)
            put(MessageType.NDATA, "", uint_field(1, now_ms) + body)
            continue
        if step.declaration not in births:
            births[step.declaration] = outbox.declaration(step.declaration)
        meter, birth = births[step.declaration]
        if declared.get(meter) != step.declaration:
            put(MessageType.DBIRTH, meter, encode(dbirth(birth, outbox.epoch, {}, now_ms)))
            declared[meter] = step.declaration
        metrics = frame_metrics(frame_aliases(birth), outbox.epoch, step, historical=True)
        put(MessageType.DDATA, meter, uint_field(1, now_ms) + metrics)
