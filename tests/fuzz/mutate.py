"""A small mutator: seeds, and what they become when bytes are flipped, cut, doubled and spliced. Seeded, so every input comes again."""

import random
from collections.abc import Iterator, Sequence

MOST_BYTES = 4096
_NASTY = (
    b"\xff" * 9 + b"\x7f", b"\x80" * 10 + b"\x01", b"\xff\xff\xff\xff", b"\x00" * 8, b"\x7f\xf0\x00\x00\x00\x00\x00\x00",
    b"\x7f\xf8\x00\x00\x00\x00\x00\x00",
    b"1e308", b"-1e999", b"NaN", b"nan", b"inf", b"1e999999999", b"9" * 40, b"../../", b"[" * 60, b"{" * 60,
    b"\x12\xff\xff\xff\xff\x0f", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\x00", b"\r\n", b"=cmd|' '!A1", b"PK\x03\x04", b"0x1p-9999",
)  # fmt: skip


def inputs(seeds: Sequence[bytes], dice: random.Random, count: int) -> Iterator[bytes]:
    """The seeds themselves, then mutations of them; `count` in all."""
    for i in range(count):
        yield seeds[i] if i < len(seeds) else mutated(dice, seeds)


def mutated(dice: random.Random, seeds: Sequence[bytes]) -> bytes:
    """One seed after one to six changes."""
    data = bytearray(dice.choice(seeds))
    for _ in range(1 + int(dice.random() * dice.random() * 6)):
        _change(data, dice, seeds)
    return bytes(data[:MOST_BYTES])


def _change(data: bytearray, dice: random.Random, seeds: Sequence[bytes]) -> None:
    at = int(dice.random() * (len(data) + 1))
    kind = int(dice.random() * 8)
    if kind <= 1 and at < len(data):
        data[at] ^= 1 << int(dice.random() * 8)
    elif kind == 2 and at < len(data):
        data[at] = int(dice.random() * 256)
    elif kind == 3:
        data[at:at] = dice.choice(_NASTY)
    elif kind == 4:
        del data[at : at + 1 + int(dice.random() * 16)]
    elif kind == 5:
        data[at : at + 8] = dice.choice(_NASTY)
    elif kind == 6:
        end = at + int(dice.random() * 32)
        data[at:at] = data[at:end] * (1 + int(dice.random() * 3))
    else:
        other = dice.choice(seeds)
        data[at:] = other[int(dice.random() * (len(other) + 1)) :]
