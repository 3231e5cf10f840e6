"""Recompute a month from its evidence pack with Python's standard library alone.

Run it as: python -I -S recompute.py PACK.zip [PACK-of-the-revision-before.zip]

Reads the frames in journal/records.bin with its own small protobuf reader, judges every total reading by reading, works
out where it stood at the month's edges, and compares opening, closing, energy, emission and adjustments (roll-over, reset,
step back, exchange, change of ratio) of every meter, and energy by time-of-use period, with document.json. From these energies
and the tables it does the books: electricity and emissions of the scope, fuels, heat, certificates, totals, standard coal; and
of a restated month the table of differences. It also checks the SHA-256 of every file, the Merkle proofs and the journal's
chain. The signature needs another tool: see README.txt. Exit code 0: equal; 1: different; 2: wrong usage.
"""

# ruff: noqa: PLR2004  Field numbers of Sparkplug B, named in the comments beside.
import csv
import hashlib
import io
import json
import re
import struct
import sys
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from fractions import Fraction
from itertools import chain
from math import ceil, floor, isfinite
from pathlib import Path
from typing import Any

# In a pack each of these lines is that module's text.
from verification.evidence.integral import Integral
from verification.evidence.judge import BEYOND, Begins, Dated, Judge, Swap, Unit
from verification.evidence.recompute_books import Books, table_of_differences
from verification.evidence.recompute_quarters import Quarters
from verification.evidence.recompute_totals import Total, stood
from verification.evidence.recompute_wire import (
    FLOATS,
    Journal,
    fields,
    metrics,
    number_of,
    properties,
    sha,
    text,
)

PREVIOUS = "previous.json"
UNLISTED = {"manifest.json", "manifest.sig", "public-key.pem"}
ADJUSTING = ("rollover", "reset", "step_back", "exchange", "ratio_change")
KILO = {"": 0, "k": 3, "M": 6, "G": 9}
UNITS = {
    **{prefix + "Wh": ("Wh", Fraction(10) ** power) for prefix, power in KILO.items() if prefix != "G"},
    **{prefix + "varh": ("varh", Fraction(10) ** power) for prefix, power in KILO.items() if prefix != "G"},
    "L": ("L", Fraction(1)), "m3": ("L", Fraction(1000)),
    "W": ("W", Fraction(1)), "kW": ("W", Fraction(1000)), "MW": ("W", Fraction(10**6)),
    "kJ": ("kJ", Fraction(1)), "MJ": ("kJ", Fraction(1000)), "GJ": ("kJ", Fraction(1_000_000)),
}  # fmt: skip
"""Declared unit: base unit, base units in one."""
WATT_HOUR = {"Wh": Fraction(1), "varh": Fraction(1), "kJ": Fraction(18, 5)}
"""Base units that 1 W makes in an hour."""

INTEGRATED = {"power_active": "energy_integrated_total"}
"""A power, and the total that is integrated from it where a meter has none."""

Key = tuple[str, str]


def say(text: str) -> None:
    sys.stdout.write(text + "\n")


def time_of(text: str) -> int:
    """UTC milliseconds."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def of(row: dict[str, str]) -> Key:
    return row["meter"], row["reading_type"]


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
            gap = int(self.meters[row["meter"]]["power_gap_s"]) * 1000
            gap_ms = gap if row["reading_type"] in INTEGRATED.values() else 0
            dated = Dated(tuple(ratios[of(row)]), tuple(swaps[of(row)]), per_hour, gap_ms)
            self.totals[of(row)] = Total(dated, opening.get(of(row)))
        self.known: dict[str, dict[Any, tuple[Key, int, Unit, float]]] = defaultdict(dict)
        self.energy: dict[Key, int | None] = {}
        """Base units of every total's month, as recomputed."""
        self.judges: dict[Key, Judge | Integral] = {}
        self.frames = 0

    def rows(self, name: str) -> Iterator[dict[str, str]]:
        if name in self.archive.namelist():
            with self.archive.open(name) as file:
                yield from csv.DictReader(io.TextIOWrapper(file, "utf-8-sig", newline=""))

    def table(self, name: str) -> list[dict[str, str]]:
        return list(self.rows(name))

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
            name, said = text(payload, metric.get(1)), properties(payload, metric.get(9))
            key = meter, INTEGRATED.get(name, name)
            if key not in self.totals or said.get("engUnit") not in UNITS:
                continue
            _base, factor = UNITS[said["engUnit"]]
            kind, modulus = metric[4][2], str(said.get("modulus", ""))
            count = Fraction(10) ** said.get("resolution", 0) if kind in FLOATS else Fraction(1)
            worth = factor * Fraction(10) ** said.get("scale", 0) * count
            if name in INTEGRATED:  # whole mW: of a float, rounded on the meter's own side
                count = count / (1000 * worth) if kind in FLOATS else Fraction(1)
                worth = Fraction(1) if kind in FLOATS else 1000 * worth
            turn = int(modulus) if modulus.isdecimal() and int(modulus) < BEYOND else 0
            alias = metric[2][2] if 2 in metric else name
            sign = -1 if name in INTEGRATED and said.get("sign") == -1 else 1
            yield alias, (key, kind, Unit(worth, turn, sign), float(1 / count))

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
            count = raw * counts if isinstance(raw, float) else raw
            if isfinite(count):
                self.totals[key].keep(t, round(count), unit)

    def journal_differences(self) -> Iterator[str]:
        """Feeds every record on the way; names segments that do not lead to the chain that the document states."""
        part = json.loads(self.archive.read("journal/chain.json"))
        value, at, last = bytes.fromhex(part["chain_before"]), part["first"] - 1, b""
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
            self.energy[key] = None
            if line["energy_wh"] is None:
                say(f"{'/'.join(key)}: not determined")
                continue
            judge = self.judged(key)
            start, end = (stood(judge, edge) for edge in self.span)
            unknown = isinstance(judge, Integral) and any(judge.gaps(*self.span))
            energy = self.energy[key] = None if start is None or end is None or unknown else end - start
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

    def period_differences(self, key: Key, judge: Judge | Integral) -> Iterator[str]:
        """Energy by time-of-use period: what the total gained over the stretches of registry/tariffs.csv."""
        lines = [
            line for line in self.document.get("periods", ()) if (line["meter"], line["reading_type"]) == key
        ]
        rows = self.table("registry/tariffs.csv") if lines else []
        whose = key[0] if any(row["meter"] == key[0] for row in rows) else ""
        found: dict[str, int] = defaultdict(int)
        for row in rows:
            if (row["enterprise"], row["meter"]) == (self.meters[key[0]]["enterprise"], whose):
                start, end = (stood(judge, int(row[name])) for name in ("start_ms", "end_ms"))
                found[row["period"]] += (end or 0) - (start or 0)
        for line in lines:
            if line["energy_wh"] != str(found[line["period"]]):
                yield f"{'/'.join(key)} {line['period']}: document {line['energy_wh']}, recomputed {found[line['period']]}"
            say(f"  {line['period']}: {found[line['period']]} Wh")

    def adjustments(self, judge: Judge | Integral) -> list[tuple[int, str, int, int]]:
        """What changed the register within the month besides energy: closing − opening register + these = energy."""
        start, end = self.span
        return sorted(
            (event.t, event.kind, event.register, event.adjustment)
            for event in judge.events
            if event.kind in ADJUSTING and start <= event.t < end
        )

    def adjustment_differences(self, line: dict[str, Any], judge: Judge | Integral) -> Iterator[str]:
        said = sorted(
            (a["t_ms"], a["kind"], int(a["register_wh"]), int(a["wh"]))
            for a in line["balance"]["adjustments"]
        )
        if said != (found := self.adjustments(judge)):
            yield f"{line['meter']}/{line['reading_type']} adjustments: document {said}, recomputed {found}"

    def reported(self) -> dict[Key, int | None]:
        """Energies with the accepted substitutions where the frames leave holes; that one is accepted is the document's word."""
        found, written = dict(self.energy), defaultdict(list)
        for line in self.document["substitutions"]:
            if line["accepted"]:
                written[line["meter"], line["reading_type"]].append(line)
        for key, lines in written.items():
            if found[key] is None:
                beside = self.beside(key, [(time_of(line["start"]), time_of(line["end"])) for line in lines])
                found[key] = None if beside is None else beside + sum(int(line["amount"]) for line in lines)
        return found

    def judged(self, key: Key) -> Judge | Integral:
        ledger = self.rows("ledger.csv") if self.totals[key].dated.gap_ms else ()
        return self.totals[key].judged(row for row in ledger if of(row) == key)

    def followed(self, key: Key) -> Judge | Integral:
        """The same, kept: of totals that a formula counts or a bill names."""
        if key not in self.judges:
            self.judges[key] = self.judged(key)
        return self.judges[key]

    def beside(self, key: Key, holes: list[tuple[int, int]]) -> int | None:
        """What the frames give of the month outside some times, which are in order; None where they do not reach."""
        judge = self.judged(key)
        if isinstance(judge, Integral):  # over a gap nothing is integrated: what was, lies beside it
            return judge.at(self.span[1]) - judge.at(self.span[0])
        edges = [self.span[0], *(edge for hole in holes for edge in hole), self.span[1]]
        whole = 0
        for start, end in zip(edges[::2], edges[1::2]):  # noqa: B905  two lists of one length
            before, after = stood(judge, start), stood(judge, end)
            if start < end and (before is None or after is None):
                return None
            whole += (after or 0) - (before or 0) if start < end else 0
        return whole

    def book_differences(self) -> Iterator[str]:
        """What adds meters up, and what facts and factors add to it."""
        books = Books(self.document, self.table, self.energy, self.reported())
        quarters = Quarters(books, self.rows("ledger.csv"), self.stood_at, self.known_between)
        yield from quarters.row_differences()
        for place, said, found in chain(books.figures(), quarters.lines()):
            for name, value in found.items():
                told = (said or {}).get(name)
                if said is None or (None if told is None else Fraction(told)) != value:
                    yield f"document.json {place}.{name}: document {told}, recomputed {value}"
                say(f"{place}.{name} = {'not determined' if value is None else value}")

    def stood_at(self, key: Key, t: int) -> int | None:
        return stood(self.followed(key), t)

    def known_between(self, key: Key, start: int, end: int) -> bool:
        judge = self.followed(key)
        return isinstance(judge, Judge) or not any(judge.gaps(start, end))

    def revision_differences(self) -> Iterator[str]:
        """The table of differences from the revision before, whose document the pack carries."""
        said = {line["path"]: (line["old"], line["new"]) for line in self.document["changes"]}
        if self.document["revision"] == 1:
            return
        before = json.loads(self.archive.read(PREVIOUS))
        for name in ("scope", "month"):
            if before[name] != self.document[name]:
                yield f"{PREVIOUS} {name}: {before[name]}, this month {self.document[name]}"
        found = table_of_differences(before, self.document)
        say(
            f"revision {self.document['revision']} ({self.document['reason']}) differs in {len(found)} figures"
        )
        for path in dict.fromkeys([*said, *found]):
            if said.get(path) != found.get(path):
                yield f"changes {path}: document {said.get(path)}, recomputed {found.get(path)}"
            say(f"  {path}: {' -> '.join(text or '-' for text in found[path])}")

    def file_differences(self) -> Iterator[str]:
        """Every file against the manifest; there may be no other one, and none twice."""
        listed, there = json.loads(self.archive.read("manifest.json"))["files"], self.archive.namelist()
        for name in sorted({line["name"] for line in listed} ^ ({*there} - UNLISTED)):
            yield f"{name}: {'not listed in the manifest' if name in there else 'missing'}"
        yield from (f"{name}: twice in the pack" for name in there if there.count(name) > 1)
        for line in listed:
            digest = hashlib.sha256()
            with self.archive.open(line["name"]) as file:
                for chunk in iter(lambda file=file: file.read(1 << 20), b""):  # type: ignore[misc]  # bound at once
                    digest.update(chunk)
            if digest.hexdigest() != line["sha256"]:
                yield f"{line['name']}: SHA-256 {digest.hexdigest()}, manifest {line['sha256']}"


def differences(path: str, older: str | None = None) -> Iterator[str]:
    """Of a pack, and of the one of the revision before, whose document has to be the one that the first carries."""
    if older is not None:
        yield from differences(older)
        with zipfile.ZipFile(path) as archive, zipfile.ZipFile(older) as before:
            if before.read("document.json") != archive.read(PREVIOUS):
                yield f"{PREVIOUS} is not the document of {older}"
    with zipfile.ZipFile(path) as archive:
        pack = Pack(archive)
        said = re.match(r"(.+_\d{4}-\d{2}_r\d+)_evidence", Path(path).name)
        own = f"{pack.document['scope']['id']}_{pack.document['month']}_r{pack.document['revision']}"
        if said and said[1] != own:
            yield f"{Path(path).name}: it is the pack of {own}"
        say(own)
        yield from pack.file_differences()
        yield from pack.journal_differences()
        yield from pack.figure_differences()
        yield from pack.book_differences()
        yield from pack.revision_differences()
        say(f"{pack.frames} frames, {len(pack.totals)} totals")


def main(arguments: list[str]) -> int:
    if len(arguments) not in (1, 2):
        say((__doc__ or "").strip())
        return 2
    try:
        found = next(differences(*arguments), None)
    except (
        ValueError,
        TypeError,
        LookupError,
        ArithmeticError,
        OSError,
        EOFError,
        RuntimeError,
        csv.Error,
        zipfile.BadZipFile,
        struct.error,
        zlib.error,
    ) as error:
        found = f"the pack cannot be read: {error!r}"
    say("equal" if found is None else f"DIFFERENT: {found}")
    return 0 if found is None else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
