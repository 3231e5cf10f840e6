"""What our own gateways add to Sparkplug: the frame number and the end-to-end ack, as ordinary declared metrics.

A frame is one DDATA (or, for a lost range, one NDATA) with an outbox epoch and a frame number. Ingest answers with an NCMD.
"""

from enum import StrEnum
from typing import Final, NamedTuple

from metering.sparkplug import DataType, Metric, Payload

FRAME_EPOCH: Final = "Frame/Epoch"
FRAME_NUMBER: Final = "Frame/Number"
LOST_FROM: Final = "Frame/Lost From"
"""Node metric: frames from here up to this frame's own number are lost at the gateway; the ack may pass them."""
FRAME_THINNED: Final = "Frame/Thinned"
"""Node metric beside a lost range: only live readings and totals between quarter hours are gone, no energy is unknown."""
TIME_SOURCE: Final = "Frame/Time Source"
"""Device metric, only in frames whose time is not that of the read's own clock: how their readings were dated (`TimeSource`)."""
TIME_REQUEST: Final = "Frame/Time Request"
"""Node metric: a number that the next ack shall bear. The message says nothing else, is no frame, and is stored nowhere."""
SERIAL: Final = "serial"
"""The meter's own number (a string), read after every communication gap: another one means another meter."""
BDSEQ: Final = "bdSeq"
REBIRTH: Final = "Node Control/Rebirth"
NEW_EPOCH: Final = "Node Control/New Epoch"
ACK_JOURNAL: Final = "Node Control/Ack Journal"
ACK_EPOCH: Final = "Node Control/Ack Epoch"
ACK_NUMBER: Final = "Node Control/Ack Number"
ACK_TIME: Final = "Node Control/Ack Time"
ACK_NONCE: Final = "Node Control/Ack Nonce"
"""The number of a time request that this ack answers: its time was taken between the request and the ack."""
RESEND_EPOCH: Final = "Node Control/Resend Epoch"
RESEND_FROM: Final = "Node Control/Resend From"
RESEND_TO: Final = "Node Control/Resend To"

PROPERTY_UNIT: Final = "engUnit"
PROPERTY_SCALE: Final = "scale"
"""Power of ten: value in the unit = raw value × 10^scale."""
PROPERTY_RESOLUTION: Final = "resolution"
"""For a float total: power of ten of one count; count = round half even(raw × 10^-resolution)."""
PROPERTY_MODULUS: Final = "modulus"
"""Counts at which the total rolls over, where the profile knows it."""
PROPERTY_SIGN: Final = "sign"
"""-1 for a gauge whose meter counts the other direction as positive."""
PROPERTY_PROFILE: Final = "profile"


class TimeSource(StrEnum):
    """Where the time of readings came from that were not read under a known time."""

    NTP = "ntp"
    SERVER = "server"
    METER = "meter"
    """A DL/T 645 meter's clock."""
    ESTIMATED = "estimated"
    """Read before a restart that nothing dates: the latest time that is possible."""
    UNTRUSTED = "untrusted"
    """Nobody ever said what time it was; the gateway's own guess."""


class Ack(NamedTuple):
    """Everything up to `number` of outbox `epoch` is stored in journal `journal_id`; the server's time was `t_ms`."""

    journal_id: str
    epoch: int
    number: int
    t_ms: int
    nonce: int | None = None
    """The time request that it answers."""


class Range(NamedTuple):
    """Frames `first` to `last` of an outbox epoch, both included."""

    epoch: int
    first: int
    last: int


def ack_payload(ack: Ack) -> Payload:
    """The NCMD that carries an ack."""
    return Payload(
        (
            Metric(name=ACK_JOURNAL, timestamp=ack.t_ms, datatype=DataType.STRING, value=ack.journal_id),
            Metric(name=ACK_EPOCH, timestamp=ack.t_ms, datatype=DataType.UINT64, value=ack.epoch),
            Metric(name=ACK_NUMBER, timestamp=ack.t_ms, datatype=DataType.UINT64, value=ack.number),
            Metric(name=ACK_TIME, timestamp=ack.t_ms, datatype=DataType.DATETIME, value=ack.t_ms),
            *_nonce(ack),
        ),
        timestamp=ack.t_ms,
    )


def _nonce(ack: Ack) -> tuple[Metric, ...]:
    if ack.nonce is None:
        return ()
    return (Metric(name=ACK_NONCE, timestamp=ack.t_ms, datatype=DataType.UINT64, value=ack.nonce),)


def read_ack(payload: Payload) -> Ack | None:
    """The ack that an NCMD carries, or None when it carries none."""
    values = {metric.name: metric.value for metric in payload.metrics}
    journal, epoch, number, t_ms = (
        values.get(name) for name in (ACK_JOURNAL, ACK_EPOCH, ACK_NUMBER, ACK_TIME)
    )
    if (
        isinstance(journal, str)
        and isinstance(epoch, int)
        and isinstance(number, int)
        and isinstance(t_ms, int)
    ):
        nonce = values.get(ACK_NONCE)
        return Ack(journal, epoch, number, t_ms, nonce if isinstance(nonce, int) else None)
    return None


def resend_payload(wanted: Range, t_ms: int) -> Payload:
    """The NCMD that asks a gateway to send a range again, as far as it still has it."""
    named = {RESEND_EPOCH: wanted.epoch, RESEND_FROM: wanted.first, RESEND_TO: wanted.last}
    return Payload(
        tuple(
            Metric(name=name, timestamp=t_ms, datatype=DataType.UINT64, value=value)
            for name, value in named.items()
        ),
        timestamp=t_ms,
    )


def read_resend(payload: Payload) -> Range | None:
    """The range that an NCMD asks for again, or None when it asks for none."""
    values = {metric.name: metric.value for metric in payload.metrics}
    epoch, first, last = (values.get(name) for name in (RESEND_EPOCH, RESEND_FROM, RESEND_TO))
    if not (isinstance(epoch, int) and isinstance(first, int) and isinstance(last, int)):
        return None
    return Range(epoch, max(first, 1), last)


def rebirth_payload(t_ms: int) -> Payload:
    """The NCMD that asks an edge node to send its births again (tck-id-operational-behavior-data-commands-rebirth-*)."""
    return Payload(
        (Metric(name=REBIRTH, timestamp=t_ms, datatype=DataType.BOOLEAN, value=True),), timestamp=t_ms
    )


def new_epoch_payload(t_ms: int) -> Payload:
    """The NCMD that tells a gateway to number its frames anew: its outbox is a copy of another one, or an old one."""
    return Payload(
        (Metric(name=NEW_EPOCH, timestamp=t_ms, datatype=DataType.BOOLEAN, value=True),), timestamp=t_ms
    )
