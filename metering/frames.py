"""What our own gateways add to Sparkplug: the frame number and the end-to-end ack, as ordinary declared metrics.

A frame is one DDATA (or, for a lost range, one NDATA) with an outbox epoch and a frame number. Ingest answers with an NCMD.
"""

from typing import Final, NamedTuple

from metering.sparkplug import DataType, Metric, Payload

FRAME_EPOCH: Final = "Frame/Epoch"
FRAME_NUMBER: Final = "Frame/Number"
LOST_FROM: Final = "Frame/Lost From"
"""Node metric: frames from here up to this frame's own number are lost at the gateway; the ack may pass them."""
BDSEQ: Final = "bdSeq"
REBIRTH: Final = "Node Control/Rebirth"
NEW_EPOCH: Final = "Node Control/New Epoch"
ACK_JOURNAL: Final = "Node Control/Ack Journal"
ACK_EPOCH: Final = "Node Control/Ack Epoch"
ACK_NUMBER: Final = "Node Control/Ack Number"
ACK_TIME: Final = "Node Control/Ack Time"

PROPERTY_UNIT: Final = "engUnit"
PROPERTY_SCALE: Final = "scale"
"""Power of ten: value in the unit = raw value × 10^scale."""
PROPERTY_RESOLUTION: Final = "resolution"
"""For a float total: power of ten of one count; count = round half even(raw × 10^-resolution)."""
PROPERTY_ROLLOVER: Final = "rollover"
"""Counts at which the total rolls over, as a decimal string, where the profile knows it: 2^64 fits no integer property."""
PROPERTY_SIGN: Final = "sign"
"""-1 for a gauge whose meter counts the other direction as positive."""
PROPERTY_PROFILE: Final = "profile"


class Ack(NamedTuple):
    """Everything up to `number` of outbox `epoch` is stored in journal `journal_id`; the server's time was `t_ms`."""

    journal_id: str
    epoch: int
    number: int
    t_ms: int


def ack_payload(ack: Ack) -> Payload:
    """The NCMD that carries an ack."""
    return Payload(
        (
            Metric(name=ACK_JOURNAL, timestamp=ack.t_ms, datatype=DataType.STRING, value=ack.journal_id),
            Metric(name=ACK_EPOCH, timestamp=ack.t_ms, datatype=DataType.UINT64, value=ack.epoch),
            Metric(name=ACK_NUMBER, timestamp=ack.t_ms, datatype=DataType.UINT64, value=ack.number),
            Metric(name=ACK_TIME, timestamp=ack.t_ms, datatype=DataType.DATETIME, value=ack.t_ms),
        ),
        timestamp=ack.t_ms,
    )


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
        return Ack(journal, epoch, number, t_ms)
    return None


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
