"""Recompute a month from its evidence pack with Python's standard library alone.

Run it as: python -I -S recompute.py PACK.zip

Reads the frames in journal/records.bin with its own small protobuf reader, judges every total reading by reading, works
out where it stood at the month's edges, and compares opening, closing, energy, emission and adjustments (roll-over, reset,
step back, exchange, change of ratio) of every meter, and energy by time-of-use period, with document.json. It also checks
the SHA-256 of every file, the Merkle proofs and the journal's chain. The signature needs another tool: see README.txt.
Exit code 0: equal; 1: different; 2: wrong usage.
"""

# ruff: noqa: PLR2004  Field numbers, wire types and data types of Sparkplug B, named in the comments beside.
import csv
import hashlib
import io
import json
import struct
import sys
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction
from math import ceil, floor, isfinite
from typing import Any

# In a pack this line is that module's text.
from verification.evidence.judge import BEYOND, Begins, Dated, Entry, Judge, Swap, Unit, position_at

ADJUSTING = ("rollover", "reset", "step_back", "exchange", "ratio_change")
FLOATS = {9: "<f", 10: "<d"}
SIGNED = {1: 8, 2: 16, 3: 32, 4: 64}
UNSIGNED = {5: 8, 6: 16, 7: 32, 8: 64, 13: 64}
KILO = {"": 0, "k": 3, "M": 6, "G": 9}
UNITS = {
    **{prefix + "Wh": ("Wh", Fraction(10) ** power) for prefix, power in KILO.items() if prefix != "G"},
    **{prefix + "varh": ("varh", Fraction(10) ** power) for prefix, power in KILO.items() if prefix != "G"},
    "L": ("L", Fraction(1)), "m3": ("L", Fraction(1000)),
    "kJ": ("kJ", Fraction(1)), "MJ": ("kJ", Fraction(1000)), "GJ": ("kJ", Fraction(1_000_000)),
}  # fmt: skip
"""Declared unit: base unit, base units in one."""
WATT_HOUR = {"Wh": Fraction(1), "varh": Fraction(1), "kJ": Fraction(18, 5)}
"""Base units that 1 W makes in an hour."""

Key = tuple[str, str]
Field = tuple[int, int, int, int]


def say(text: str) -> None:
    sys.stdout.write(text + "\n")


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value & (1 << 64) - 1, at


def fields(data: bytes, at: int, end: int) -> Iterator[Field]:
    """(number, wire type, value or start, end) of every field of a protobuf message."""
    while at < end:
        key, at = varint(data, at)
        wire = key & 7
        if wire == 0:
            value, at = varint(data, at)
            yield key >> 3, wire, value, at
            continue
        size = {1: 8, 5: 4}.get(wire, 0)
        if wire == 2:
            size, at = varint(data, at)
        yield key >> 3, wire, at, at + size
        at += size


def metrics(payload: bytes) -> Iterator[dict[int, Field]]:
    """Sparkplug B: field 2 of a payload is a metric; of its fields the last of a number holds (field 0: the value)."""
    for number, wire, at, end in fields(payload, 0, len(payload)):
        if number == 2 and wire == 2:
            metric: dict[int, Field] = {}
            for field in fields(payload, at, end):
                metric[0 if field[0] >= 10 else field[0]] = field
            yield metric


def text(data: bytes, field: Field | None) -> str:
    return data[field[2] : field[3]].decode() if field else ""


def properties(data: bytes, field: Field | None) -> dict[str, Any]:
    """Field 9 of a metric: keys (1) and values (2) side by side; a value's type is its field 1."""
    keys: list[str] = []
    values: list[Any] = []
    for number, wire, at, end in fields(data, field[2], field[3]) if field else ():
        if number == 1 and wire == 2:
            keys.append(data[at:end].decode())
        elif number == 2 and wire == 2:
            parts = {part[0]: part for part in fields(data, at, end)}
            kind = parts[1][2] if 1 in parts else 0
            value = next((part for number, part in parts.items() if number >= 3), None)
            values.append(
                None
                if value is None
                else number_of(data, value, kind)
                if value[1] != 2
                else text(data, value)
            )
    return dict(zip(keys, values, strict=True))


def number_of(data: bytes, field: Field, kind: int) -> Any:
    """An integer or float as its Sparkplug data type says; None for everything else."""
    wire, at = field[1], field[2]
    if kind in FLOATS and wire in (1, 5):
        value = struct.unpack_from("<d" if wire == 1 else "<f", data, at)[0]
        return value if isfinite(value) else None
    if wire != 0 or field[0] not in (3, 4, 10, 11):
        return None
    if kind in UNSIGNED:
        return at if not at >> min(UNSIGNED[kind], 63) else None
    if kind not in SIGNED:
        return None
    bits = SIGNED[kind]
    for width in (64 if bits == 64 or at >> 32 else 32, bits):
        low = at - (1 << width) if at >> width - 1 else at
        if at >> width == 0 and -(1 << bits - 1) <= low < 1 << bits - 1:
            return low
    return None


def of(row: dict[str, str]) -> Key:
    return row["meter"], row["reading_type"]


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


class Journal:
    """The segments of journal/records.bin: number and count (uint64, uint32), then a pruned tree (0 hash, 1 record, 2 node)."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.records: list[bytes] = []

    def take(self, size: int) -> bytes:
        data: bytes = self.file.read(size)
        if len(data) != size:
            raise ValueError("journal/records.bin ends too early")
        return data

    def segments(self) -> Iterator[tuple[int, bytes]]:
        """(segment, root); `records` holds its records."""
        while True:
            head = self.file.read(12)
            if not head:
                return
            segment, count = struct.unpack(">QI", head)
            self.records = []
            yield segment, self.tree(0, count)

    def tree(self, low: int, high: int) -> bytes:
        """RFC 6962: leaf = SHA-256(00 record), node = SHA-256(01 left right), the larger power of two on the left."""
        tag = self.take(1)[0]
        if tag == 0:
            return self.take(32)
        if tag == 1:
            record = self.take(struct.unpack(">I", self.take(4))[0])
            self.records.append(record)
            return sha(b"\0", record)
        middle = low + (1 << (high - low - 1).bit_length() - 1)
        left = self.tree(low, middle)
        return sha(b"\1", left, self.tree(middle, high))


class Total:
    """One total of one meter: its readings until all are there, then where it stood and what happened to it."""

    def __init__(self, dated: Dated, begins: Begins | None) -> None:
        self.dated, self.begins = dated, begins
        self.entries: list[Entry] = []

    def keep(self, t: int, count: int, unit: Unit) -> None:
        """A reading; those up to the one that the month begins with are left out."""
        worth = unit.base * self.dated.segments[self.dated.segment_at(t)][1]
        register = count * worth.numerator // worth.denominator
        first = (self.begins.t, self.begins.register) if self.begins else (-1, 0)
        if abs(register) < BEYOND and (t, register) > first:
            self.entries.append(Entry(t, register, unit))

    def judged(self) -> Judge:
        """They count in the order of their time, of equal times the smaller first."""
        judge = Judge(self.dated, self.begins)
        judge.take(sorted(self.entries, key=lambda entry: entry[:2]))
        return judge


class Pack:
    """The pack's tables, and its totals as frames are fed."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive
        self.document = json.loads(archive.read("document.json"))
        self.span = self.document["start_ms"], self.document["end_ms"]
        self.meters = {row["meter"]: row for row in self.table("registry/meters.csv")}
        names = "t_ms", "register", "position", "offset"
        opening = {of(row): Begins(*(int(row[name]) for name in names)) for row in self.table("opening.csv")}
        ratios, swaps = defaultdict(list), defaultdict(list)
        for row in self.table("registry/ratios.csv"):
            ratios[of(row)].append((int(row["since_ms"]), Fraction(row["ratio"])))
        for row in self.table("registry/exchanges.csv"):
            swaps[of(row)].append(Swap(int(row["at_ms"]), Fraction(row["closing"]), Fraction(row["opening"])))
        self.totals: dict[Key, Total] = {}
        for row in self.table("registry/roles.csv"):
            watts = int(self.meters[row["meter"]]["max_power_w"] or 0)
            per_hour = ceil(WATT_HOUR.get(row["unit"], Fraction(0)) * watts)
            dated = Dated(tuple(ratios[of(row)]), tuple(swaps[of(row)]), per_hour)
            self.totals[of(row)] = Total(dated, opening.get(of(row)))
        self.known: dict[str, dict[Any, tuple[Key, int, Unit, float]]] = defaultdict(dict)
        self.frames = 0

    def table(self, name: str) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.archive.read(name).decode("utf-8-sig"), newline="")))

    def feed(self, record: bytes) -> None:
        """A record: received_ms int64, topic length uint16, payload length uint32 (little-endian), topic, payload."""
        _received, size, _payload_size = struct.unpack_from("<qHI", record)
        parts, payload = record[14 : 14 + size].decode().split("/"), record[14 + size :]
        if len(parts) != 5 or parts[4] not in self.meters or self.meters[parts[4]]["gateway"] != parts[3]:
            return
        if parts[2] == "DBIRTH":
            self.known[parts[4]] = dict(self.births(parts[4], payload))
        elif parts[2] == "DDATA":
            self.frames += 1
            self.readings(parts[4], payload)

    def births(self, meter: str, payload: bytes) -> Iterator[tuple[Any, tuple[Key, int, Unit, float]]]:
        """What the birth declares of each total: alias, data type, what a count is worth, counts per raw unit."""
        for metric in metrics(payload):
            key, said = (meter, text(payload, metric.get(1))), properties(payload, metric.get(9))
            if key not in self.totals or said.get("engUnit") not in UNITS:
                continue
            _base, factor = UNITS[said["engUnit"]]
            kind, modulus = metric[4][2], str(said.get("modulus", ""))
            count = Fraction(10) ** said.get("resolution", 0) if kind in FLOATS else Fraction(1)
            worth = factor * Fraction(10) ** said.get("scale", 0) * count
            turn = int(modulus) if modulus.isdecimal() and int(modulus) < BEYOND else 0
            alias = metric[2][2] if 2 in metric else key[1]
            yield alias, (key, kind, Unit(worth, turn), float(1 / count))

    def readings(self, meter: str, payload: bytes) -> None:
        sent = next((field[2] for field in fields(payload, 0, len(payload)) if field[0] == 1), None)
        for metric in metrics(payload):
            known = self.known[meter].get(metric[2][2] if 2 in metric else text(payload, metric.get(1)))
            if known is None or 0 not in metric or (7 in metric and metric[7][2]):
                continue
            key, kind, unit, counts = known
            raw, t = number_of(payload, metric[0], kind), metric[3][2] if 3 in metric else sent
            if raw is None or t is None:
                continue
            self.totals[key].keep(t, round(raw * counts) if isinstance(raw, float) else raw, unit)

    def journal_differences(self) -> Iterator[str]:
        """Feeds every record on the way; names segments that do not lead to the chain that the document states."""
        chain = json.loads(self.archive.read("journal/chain.json"))
        value, at, last = bytes.fromhex(chain["chain_before"]), chain["first"] - 1, b""
        with (
            self.archive.open("journal/roots.bin") as roots,
            self.archive.open("journal/records.bin") as records,
        ):
            journal = Journal(records)
            for segment, root in journal.segments():
                while at < segment:
                    at, last = at + 1, roots.read(32)
                    value = sha(value, at.to_bytes(8, "big"), last)
                if root != last:
                    yield f"journal segment {segment}: its records do not lead to its root"
                for record in journal.records:
                    self.feed(record)
            for last in iter(lambda: roots.read(32), b""):
                at += 1
                value = sha(value, at.to_bytes(8, "big"), last)
        if value.hex() != self.document["journal"]["chain"] or at != self.document["journal"]["segment"] - 1:
            yield "the chain does not lead to the value in document.json"

    def figure_differences(self) -> Iterator[str]:
        """Every meter's opening, closing, energy and emission against the document."""
        ratios = {row["use"]: Fraction(row["factor_ug_per_wh"]) for row in self.table("factors.csv")}
        roles = {(row["meter"], row["reading_type"]): row for row in self.table("registry/roles.csv")}
        for line in self.document["meters"]:
            key = line["meter"], line["reading_type"]
            if line["energy_wh"] is None:
                say(f"{'/'.join(key)}: not determined")
                continue
            judge = self.totals[key].judged()
            start, end = (position_at(judge.points, edge) for edge in self.span)
            energy = None if start is None or end is None else end - start
            role = roles[key]["role"]
            use = role if role in ("pv_generation", "export") else self.document["scope"]["kind"]
            ratio = ratios.get(use) if roles[key]["unit"] == "Wh" else None
            emission = None if energy is None or ratio is None else floor(energy * ratio)
            found = {"opening_wh": start, "closing_wh": end, "energy_wh": energy, "emission_ug": emission}
            for name, value in found.items():
                if line[name] != (None if value is None else str(value)):
                    yield f"{'/'.join(key)} {name}: document {line[name]}, recomputed {value}"
            yield from self.adjustment_differences(line, judge)
            say(f"{'/'.join(key)}: {start} -> {end} = {energy} {roles[key]['unit']}, {emission} ug CO2")
            for t, kind, register, gained in self.adjustments(judge):
                say(f"  {kind} at {t} ms: register {register}, position gains {gained}")
            yield from self.period_differences(key, judge)

    def period_differences(self, key: Key, judge: Judge) -> Iterator[str]:
        """Energy by time-of-use period: what the total gained over the stretches of registry/tariffs.csv."""
        lines = [
            line for line in self.document.get("periods", ()) if (line["meter"], line["reading_type"]) == key
        ]
        rows = self.table("registry/tariffs.csv") if lines else []
        whose = key[0] if any(row["meter"] == key[0] for row in rows) else ""
        found: dict[str, int] = defaultdict(int)
        for row in rows:
            if (row["enterprise"], row["meter"]) == (self.meters[key[0]]["enterprise"], whose):
                start, end = (position_at(judge.points, int(row[name])) for name in ("start_ms", "end_ms"))
                found[row["period"]] += (end or 0) - (start or 0)
        for line in lines:
            if line["energy_wh"] != str(found[line["period"]]):
                yield f"{'/'.join(key)} {line['period']}: document {line['energy_wh']}, recomputed {found[line['period']]}"
            say(f"  {line['period']}: {found[line['period']]} Wh")

    def adjustments(self, judge: Judge) -> list[tuple[int, str, int, int]]:
        """What changed the register within the month besides energy: closing − opening register + these = energy."""
        start, end = self.span
        return sorted(
            (event.t, event.kind, event.register, event.adjustment)
            for event in judge.events
            if event.kind in ADJUSTING and start <= event.t < end
        )

    def adjustment_differences(self, line: dict[str, Any], judge: Judge) -> Iterator[str]:
        said = sorted(
            (a["t_ms"], a["kind"], int(a["register_wh"]), int(a["wh"]))
            for a in line["balance"]["adjustments"]
        )
        if said != (found := self.adjustments(judge)):
            yield f"{line['meter']}/{line['reading_type']} adjustments: document {said}, recomputed {found}"

    def file_differences(self) -> Iterator[str]:
        """Every file against the manifest."""
        for line in json.loads(self.archive.read("manifest.json"))["files"]:
            digest = hashlib.sha256()
            with self.archive.open(line["name"]) as file:
                for chunk in iter(lambda file=file: file.read(1 << 20), b""):  # type: ignore[misc]  # bound at once
                    digest.update(chunk)
            if digest.hexdigest() != line["sha256"]:
                yield f"{line['name']}: SHA-256 {digest.hexdigest()}, manifest {line['sha256']}"


def differences(path: str) -> Iterator[str]:
    with zipfile.ZipFile(path) as archive:
        pack = Pack(archive)
        yield from pack.file_differences()
        yield from pack.journal_differences()
        yield from pack.figure_differences()
        say(f"{pack.frames} frames, {len(pack.totals)} totals")


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        say((__doc__ or "").strip())
        return 2
    try:
        found = next(differences(arguments[0]), None)
    except (
        ValueError,
        KeyError,
        IndexError,
        OSError,
        zipfile.BadZipFile,
        struct.error,
        zlib.error,
    ) as error:
        found = f"the pack cannot be read: {error!r}"
    say("equal" if found is None else f"DIFFERENT: {found}")
    return 0 if found is None else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
