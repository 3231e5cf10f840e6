"""Readings from before the time was known: how they are dated once it is, and in which order they get their numbers."""

from collections.abc import Mapping

import msgspec

from edge_agent.outbox import Draft, Held, Outbox
from edge_agent.timekeeper import Offset
from metering import frames
from metering import protobuf_wire as wire
from metering.frames import TimeSource
from metering.sparkplug import DataType, Metric, decode, encode_metrics

_AT_ONCE = 500
_METRIC, _TIMESTAMP = 2, 3
"""Field numbers: a payload's metric, a metric's time (Sparkplug 3.0, 6.4)."""


class Dating:
    """Dates drafts and marks them with the source of their time."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._aliases: dict[int, int | None] = {}

    def dated(self, draft: Draft, offset_ms: int, source: TimeSource) -> Draft:
        """The draft in UTC, with its mark. A declaration of an earlier release has no metric for it, and gets none."""
        body = shifted(draft.body, offset_ms)
        t_ms = draft.t_ms + offset_ms
        alias = self._alias(draft.declaration)
        if alias is not None:
            mark = Metric(alias=alias, timestamp=t_ms, datatype=DataType.STRING, value=source.value)
            body += encode_metrics([mark], with_datatype=False)
        return msgspec.structs.replace(draft, t_ms=t_ms, body=body)

    def _alias(self, declaration: int) -> int | None:
        if declaration not in self._aliases:
            _meter, birth = self._outbox.declaration(declaration)
            metrics = decode(birth).metrics
            self._aliases[declaration] = next(
                (metric.alias for metric in metrics if metric.name == frames.TIME_SOURCE), None
            )
        return self._aliases[declaration]

    def release(self, boot: str, offset: Offset, boot_began_ms: int) -> int:
        """Number everything that waits; how many. Killed in between, it goes on where it was.

        Args:
            boot_began_ms: UTC of the first moment of this boot: nothing of an earlier boot is later.
        """
        offsets = _offsets(self._outbox.held_boots(), boot, offset.ms, boot_began_ms)
        count = 0
        while waiting := self._outbox.held_after(0, _AT_ONCE):
            drafts = [self._of_boot(held, boot, offset, offsets) for held in waiting]
            self._outbox.release(waiting[-1].id, drafts)
            count += len(drafts)
        return count

    def _of_boot(self, held: Held, boot: str, offset: Offset, offsets: Mapping[str, int]) -> Draft:
        source = offset.source if held.boot == boot or offset.guess else TimeSource.ESTIMATED
        return self.dated(held.draft, offsets[held.boot], source)


def _offsets(boots: list[tuple[str, int]], this: str, offset_ms: int, began_ms: int) -> dict[str, int]:
    """Boot → offset. Earlier boots are put as late as they can be: each ended when the next one began."""
    offsets = {this: offset_ms}
    upper = began_ms
    for boot, newest_ms in boots:
        if boot != this:
            upper -= newest_ms
            offsets[boot] = upper
    return offsets


def shifted(body: bytes, offset_ms: int) -> bytes:
    """The same encoded metrics, each of them later by `offset_ms`; every other field stands as it did."""
    out = []
    for number, kind, at, end in wire.fields(body):
        if number == _METRIC and kind == wire.BYTES:
            out.append(wire.bytes_field(_METRIC, _later(body, at, end, offset_ms)))
    return b"".join(out)


def _later(body: bytes, start: int, stop: int, offset_ms: int) -> bytes:
    out = b""
    for number, kind, at, end in wire.fields(body, start, stop):
        if kind == wire.VARINT:
            out += wire.uint_field(number, at + offset_ms if number == _TIMESTAMP else at)
        elif kind == wire.BYTES:
            out += wire.bytes_field(number, body[at:end])
        else:
            out += wire.varint(number << 3 | kind) + body[at:end]
    return out
