"""DL/T 645-2007 frames: `68 address 68 control length data+33H checksum 16`, found in any stream of bytes. Pure.

Only reads are offered. Nothing here can encode a write, a clock broadcast or a trip: a gateway that reads has no use for them.
"""

import re
from dataclasses import dataclass
from enum import IntFlag
from typing import Final

START: Final = 0x68
END: Final = 0x16
WAKE_UP: Final = 0xFE
OFFSET: Final = 0x33

READ: Final = 0x11
READ_NEXT: Final = 0x12
READ_ADDRESS: Final = 0x13
FROM_METER: Final = 0x80
REFUSED: Final = 0x40
MORE: Final = 0x20
FUNCTION: Final = 0x1F

BROADCAST: Final = "9" * 12
"""Every meter hears it and none answers: never an address to read from."""
WILDCARD: Final = "A" * 12
"""The only meter of a line answers to it; two would answer at once."""

MOST_DATA: Final = 200
"""Bytes of data in one frame (a reply; requests are shorter)."""
_OVERHEAD: Final = 12
"""Bytes of a frame without data."""
_ADDRESS_AT, _ADDRESS_BYTES, _SECOND_START_AT, _DATA_AT = 1, 6, 7, 10
_MOST_WAKE_UPS: Final = 4
_ADDRESS = re.compile(r"(AA)*([0-9]{2})*")
"""Shortened addresses fill the leading bytes with AA."""


class Dlt645Error(Exception):
    """Bytes or arguments that are no DL/T 645; the only error this package raises."""


class ErrorBits(IntFlag):
    """Why a meter refuses."""

    OTHER = 0x01
    NO_DATA = 0x02
    PASSWORD = 0x04
    BAUD_RATE = 0x08
    TOO_MANY_ANNUAL_ZONES = 0x10
    TOO_MANY_DAY_SLOTS = 0x20
    TOO_MANY_TARIFFS = 0x40


class Refused(Dlt645Error):
    """The meter's own answer: it does not give this data."""

    def __init__(self, bits: ErrorBits) -> None:
        names = ", ".join(bit.name.lower() for bit in bits if bit.name) or "no reason given"
        super().__init__(f"the meter refuses: {names}")
        self.bits = bits


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame; `data` without the 33H that the wire adds."""

    address: str
    """Twelve decimal digits as on the name plate, highest first."""
    control: int
    data: bytes = b""


def encode(frame: Frame, wake_up: int = 0) -> bytes:
    """The frame on the wire, behind up to four wake-up bytes; Dlt645Error for what no frame can carry."""
    if len(frame.address) != 2 * _ADDRESS_BYTES or not _ADDRESS.fullmatch(frame.address):
        raise Dlt645Error(f"{frame.address!r} is no address of twelve digits")
    if len(frame.data) > MOST_DATA or not 0 <= frame.control <= 0xFF or not 0 <= wake_up <= _MOST_WAKE_UPS:  # noqa: PLR2004  one byte
        raise Dlt645Error(f"a frame carries at most {MOST_DATA} bytes and one control byte")
    address = bytes.fromhex(frame.address)[::-1]
    data = bytes((byte + OFFSET) & 0xFF for byte in frame.data)
    body = bytes([START, *address, START, frame.control, len(data), *data])
    return bytes([WAKE_UP] * wake_up) + body + bytes([checksum(body), END])


def checksum(body: bytes) -> int:
    """The sum of all bytes from the first 68H to the end of the data, modulo 256."""
    return sum(body) & 0xFF


class FrameReader:
    """Finds frames in a stream that may hold anything: after each 68H that begins no frame, the next 68H is tried.

    Keeps at most one unfinished frame. After a silence on the line call `end`: what was waited for will not come.
    """

    def __init__(self) -> None:
        self._kept = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that these bytes complete."""
        self._kept += data
        return self._take(ended=False)

    def end(self) -> list[Frame]:
        """The frames hidden behind a start that was never finished; then nothing is kept."""
        frames = self._take(ended=True)
        self._kept.clear()
        return frames

    def _take(self, *, ended: bool) -> list[Frame]:
        frames: list[Frame] = []
        at = self._kept.find(START)
        while at >= 0:
            length = _length_at(self._kept, at)
            if length is None and not ended:
                break
            frame = _frame_at(self._kept, at, length) if length else None
            if frame is not None:
                frames.append(frame)
            at = self._kept.find(START, at + (length or 1) if frame else at + 1)
        del self._kept[: at if at >= 0 else len(self._kept)]
        return frames


def _length_at(data: bytearray, at: int) -> int | None:
    """Bytes of the frame that begins here: 0 for none, None while too few bytes are there to tell or to hold it."""
    if len(data) > at + _SECOND_START_AT and data[at + _SECOND_START_AT] != START:
        return 0
    if len(data) < at + _DATA_AT:
        return None
    length = data[at + _DATA_AT - 1] + _OVERHEAD
    if length > MOST_DATA + _OVERHEAD:
        return 0
    return length if len(data) >= at + length else None


def _frame_at(data: bytearray, at: int, length: int) -> Frame | None:
    whole = bytes(data[at : at + length])
    address = whole[_ADDRESS_AT:_SECOND_START_AT][::-1].hex().upper()
    sound = whole[-1] == END and whole[-2] == checksum(whole[:-2]) and _ADDRESS.fullmatch(address)
    if not sound:
        return None
    return Frame(address, whole[8], bytes((byte - OFFSET) & 0xFF for byte in whole[_DATA_AT:-2]))
