"""The meter's own number: the words of its register as text. Pure."""

from collections.abc import Sequence

from edge_agent.profile_model import DLT645, SerialNumber


def serial_text(serial: SerialNumber, words: Sequence[int]) -> str | None:
    """The serial number in its words; None where the meter keeps none (all zeros, all ones, or no text)."""
    data = _bytes(serial, words)
    if not data.strip(b"\0") or not data.strip(b"\xff"):
        return None
    match serial.type:
        case "ascii":
            text = data.split(b"\0")[0].decode("ascii", errors="replace").strip()
            return text if text.isprintable() and text and "\ufffd" not in text else None
        case "bcd":
            return data.hex() if data.hex().isdecimal() else None
        case "uint":
            return str(int.from_bytes(data))
    return data.hex().upper()


def _bytes(serial: SerialNumber, words: Sequence[int]) -> bytes:
    """Most significant byte first; text in reading order."""
    if serial.fc == DLT645:
        return bytes(words[::-1])
    wire = b"".join(word.to_bytes(2) for word in words)
    if serial.byte_order == "little":
        wire = b"".join(wire[at : at + 2][::-1] for at in range(0, len(wire), 2))
    if serial.word_order == "low_first":
        wire = b"".join(wire[at : at + 2] for at in range(len(wire) - 2, -1, -2))
    return wire
