"""One reading of one data identifier: what to send, and what the line's bytes answer to it. Pure; the caller owns the line."""

from enum import StrEnum
from typing import Final

from edge_agent.dlt645.frame import (
    BROADCAST,
    FROM_METER,
    FUNCTION,
    MORE,
    READ,
    READ_ADDRESS,
    READ_NEXT,
    REFUSED,
    WILDCARD,
    Dlt645Error,
    ErrorBits,
    Frame,
    FrameReader,
    Refused,
    encode,
)

_DI_BYTES: Final = 4
_MOST_FOLLOW_UPS: Final = 255
_WAKE_UPS: Final = 4
_ALL_WILD: Final = "AA"


def read_request(address: str, di: int, wake_up: int = _WAKE_UPS) -> bytes:
    """The request for a data identifier; Dlt645Error for the broadcast address, to which no meter answers."""
    _readable(address)
    return encode(Frame(address, READ, _di_bytes(di)), wake_up)


def read_next_request(address: str, di: int, sequence: int, wake_up: int = _WAKE_UPS) -> bytes:
    """The request for the follow-up frame number `sequence` (from 1)."""
    _readable(address)
    if not 1 <= sequence <= _MOST_FOLLOW_UPS:
        raise Dlt645Error(f"{sequence} is no number of a follow-up frame")
    return encode(Frame(address, READ_NEXT, _di_bytes(di) + bytes([sequence])), wake_up)


def address_request(wake_up: int = _WAKE_UPS) -> bytes:
    """Asks the only meter of a line for its address. With two meters the answers collide and no frame is sound."""
    return encode(Frame(WILDCARD, READ_ADDRESS), wake_up)


def address_answer(frame: Frame) -> str | None:
    """The address in an answer to `address_request`; None for any other frame."""
    told = frame.data[::-1].hex()
    sound = frame.control == READ_ADDRESS | FROM_METER and told == frame.address and told.isdecimal()
    return told if sound and told != BROADCAST else None


def _readable(address: str) -> None:
    if address == BROADCAST:
        raise Dlt645Error("the broadcast address answers nothing, so nothing can be read from it")


def _di_bytes(di: int) -> bytes:
    if not 0 <= di < 1 << 32:
        raise Dlt645Error(f"{di} is no data identifier")
    return di.to_bytes(_DI_BYTES, "little")


class Next(StrEnum):
    """What a reading waits for."""

    SEND = "send"
    """Send `request()`."""
    RECEIVE = "receive"
    """Feed what the line brings."""
    DONE = "done"
    """`data` is whole."""


class Read:
    """A reading in progress: `request()` to send, `receive()` what comes, until `next` is DONE.

    Frames from another meter, for another identifier, out of order, or echoed from our own side are passed over: they never
    become this reading's data. After a time-out start again with a new `Read`.
    """

    def __init__(self, address: str, di: int) -> None:
        _readable(address)
        self._address, self._di = address, di
        self._reader = FrameReader()
        self._sequence = 0
        self.next = Next.SEND
        self.data = b""

    def request(self) -> bytes:
        """The next request; what an earlier one left on the line is forgotten."""
        self._reader = FrameReader()
        self.next = Next.RECEIVE
        if self._sequence:
            return read_next_request(self._address, self._di, self._sequence)
        return read_request(self._address, self._di)

    def receive(self, data: bytes) -> Next:
        """Take bytes from the line; Refused when the meter says so."""
        for frame in self._reader.feed(data):
            if self.next is Next.RECEIVE:
                self._take(frame)
        return self.next

    def silence(self) -> Next:
        """The line has gone quiet: look behind a false start for the answer."""
        for frame in self._reader.end():
            if self.next is Next.RECEIVE:
                self._take(frame)
        return self.next

    def _take(self, frame: Frame) -> None:
        asked = READ_NEXT if self._sequence else READ
        if not frame.control & FROM_METER or frame.control & FUNCTION != asked or not self._ours(frame):
            return
        if frame.control & REFUSED:
            if len(frame.data) == 1:
                raise Refused(ErrorBits(frame.data[0] & 0x7F))
            return
        part = self._part(frame.data)
        if part is None:
            return
        self.data += part
        more = bool(frame.control & MORE)
        if more and self._sequence == _MOST_FOLLOW_UPS:
            raise Dlt645Error(f"{self._di:08X} does not end after {_MOST_FOLLOW_UPS} frames")
        self._sequence += 1
        self.next = Next.SEND if more else Next.DONE

    def _ours(self, frame: Frame) -> bool:
        """From the meter that was asked; any one for a wildcard, but never from the broadcast address."""
        if not frame.address.isdecimal() or frame.address == BROADCAST:
            return False
        return frame.address.endswith(self._address.replace(_ALL_WILD, ""))

    def _part(self, data: bytes) -> bytes | None:
        """The data behind our identifier; None for another one's or another sequence number."""
        if data[:_DI_BYTES] != _di_bytes(self._di):
            return None
        if not self._sequence:
            return data[_DI_BYTES:]
        return data[_DI_BYTES:-1] if len(data) > _DI_BYTES and data[-1] == self._sequence else None
