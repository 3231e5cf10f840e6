"""Packs of months in which meters were exchanged, corrected, reset, rolled over: equal, by both recomputations."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from factors.policy import enterprise_policy
from factors.table import FactorTable
from metering.intervals import HOUR_MS, QUARTER_MS, local_month, to_local
from metering.registry import Park, parse_registry
from metering.sparkplug import Property
from storage.journal import Commit, Entry
from storage.journal_writer import JournalWriter
from storage.ledger import LedgerReader
from storage.months import MonthRow
from stream.context import Context
from stream.policy import Policy
from tests.stream.runs import run_through
from tests.verification.conftest import CLOSED_AT_MS, MONTH, PARK, Plant
from tests.verification.test_evidence import Edit, Packed, forged, recompute, replaced
from verification.evidence import manifest as names
from verification.evidence.container import Container
from verification.evidence.verify import verify_pack

IMPORT = "energy_import_total"
EXCHANGED, CORRECTED, TURNING, RESET, TURNED = "m-line", "m-grid", "m-press", "m-resold", "m-two"
MODULI = {TURNING: 1_000_000, TURNED: 496_000}
"""The second one turns over 20 minutes before the month: its witnesses lie on both sides of the edge."""
OPENING_COUNT = 1234
SPAN = local_month(MONTH, parse_registry(msgspec.convert(PARK, dict[str, object])).tz)
SWAPPED_MS = SPAN.start_ms + 11 * 24 * HOUR_MS + 3 * HOUR_MS
RATIO_MS = SPAN.start_ms + 14 * 24 * HOUR_MS + 10 * HOUR_MS + 1
RESET_MS = SPAN.end_ms - 20 * 60_000


def declared(data: Mapping[str, object]) -> Park:
    return parse_registry(json.loads(json.dumps(data)))


def of_meter(data: dict[str, object], meter: str) -> dict[str, object]:
    meters = data["meters"]
    assert isinstance(meters, list)
    found: dict[str, object] = next(m for m in meters if m["id"] == meter)
    return found


@dataclass
class Busy(Plant):
    """Six-hourly frames through the month, quarter-hourly ones at its edges; the real stream's ledger."""

    stuck_ms: int | None = None
    """From here on the PV meter shows something that no rule explains."""

    def _true(self, meter: str, t_ms: int) -> int:
        return super().count((meter, IMPORT), t_ms)

    def count(self, key: tuple[str, str], t_ms: int) -> int:
        """What the display shows."""
        counted = super().count(key, t_ms)
        if key[0] == TURNING:
            return counted % MODULI[TURNING]
        if key[0] == TURNED:
            return counted if counted < MODULI[TURNED] else counted - MODULI[TURNED]
        if key[0] == EXCHANGED and t_ms > SWAPPED_MS:
            return counted - self._true(EXCHANGED, SWAPPED_MS) + OPENING_COUNT
        if key[0] == RESET and t_ms > RESET_MS:
            return counted - self._true(RESET, RESET_MS)
        if self.stuck_ms is not None and key[0] == "m-pv" and t_ms > self.stuck_ms:
            return counted // 2
        return counted

    def declarations(self, *, corrected: bool = True) -> Park:
        data: dict[str, object] = json.loads(json.dumps(PARK))
        closing = Decimal(self._true(EXCHANGED, SWAPPED_MS)) / 100
        of_meter(data, EXCHANGED)["exchanges"] = [
            {
                "at": to_local(SWAPPED_MS, self.park.tz).isoformat(),
                "closing": {IMPORT: str(closing)},
                "opening": {IMPORT: str(Decimal(OPENING_COUNT) / 100)},
            }
        ]
        if corrected:
            at = to_local(RATIO_MS, self.park.tz).isoformat()
            of_meter(data, CORRECTED)["ratio_changes"] = [{"at": at, "ct": "600/5", "reason": "plate"}]
        return declared(data)

    def _properties(self, meter: str) -> dict[str, Property]:  # type: ignore[override]  # ours knows its meter
        more: dict[str, Property] = {"modulus": MODULI[meter]} if meter in MODULI else {}
        return super()._properties(meter) | more

    def _times(self) -> list[int]:
        near = {edge + at for edge in self.month for at in range(-6 * HOUR_MS, 6 * HOUR_MS + 1, QUARTER_MS)}
        return sorted(near | set(range(self.month.start_ms, self.month.end_ms, 6 * HOUR_MS)))

    def _frames(self) -> Iterator[Entry]:
        number = 0
        for t_ms in self._times():
            for meter in self.park.meters:
                number += 1
                yield self._frame(meter.id, meter.gateway, t_ms + 7_000, number)

    def _ledger(self) -> None:
        self.follow(self.park)

    def follow(self, park: Park) -> None:
        policy = Policy(FactorTable.load(), enterprise_policy(), park.tz, date(2026, 11, 1))
        run_through(self.folder / "journal.sqlite", self.folder / "ledger.sqlite", Context(park, policy))

    def noted(self) -> dict[tuple[str, str], int]:
        """(meter, kind) → how many events."""
        found: dict[tuple[str, str], int] = {}
        with LedgerReader(self.folder / "ledger.sqlite") as ledger:
            for event in ledger.events(limit=10_000):
                found[event.meter, event.kind] = found.get((event.meter, event.kind), 0) + 1
        return found


def busy(folder: Path, *, corrected: bool = True, stuck_ms: int | None = None) -> Busy:
    works = Busy(folder, declared(PARK), SPAN, stuck_ms=stuck_ms)
    works.park = works.declarations(corrected=corrected)
    works.build()
    return works


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    works = busy(tmp_path_factory.mktemp("busy"))
    return Packed(works, works.close(at_ms=CLOSED_AT_MS), Ed25519PrivateKey.from_private_bytes(bytes(32)))


@pytest.fixture(scope="module")
def pack(packed: Packed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed.write(tmp_path_factory.mktemp("packs"))


def meter_lines(rows: list[MonthRow]) -> dict[str, dict[str, object]]:
    document = json.loads(rows[-1].document)
    return {
        line["meter"]: line for line in document["meters"] if line["reading_type"] != "energy_export_total"
    }


def test_the_month_has_what_makes_it_hard(packed: Packed) -> None:
    assert isinstance(packed.works, Busy)
    events = packed.works.noted()
    assert events[EXCHANGED, "exchange"] == 1
    assert events[CORRECTED, "ratio_change"] == 2  # import and export
    assert events[TURNING, "rollover"] >= 2
    assert events[RESET, "reset"] == 1
    assert events[TURNED, "rollover"] == 1
    lines = meter_lines(packed.rows)
    assert all(line["energy_wh"] is not None for line in lines.values())
    counted = packed.works._true(EXCHANGED, SPAN.end_ms) - packed.works._true(EXCHANGED, SPAN.start_ms)
    assert int(str(lines[EXCHANGED]["energy_wh"])) == counted * 10


@pytest.mark.parametrize("scope", ["demo", "jingmi", "guangdian"])
def test_a_month_of_adjustments_is_equal_to_the_last_watt_hour(
    packed: Packed, tmp_path: Path, scope: str
) -> None:
    verdict = verify_pack(packed.write(tmp_path, scope), packed.key.public_key())
    assert verdict.difference is None
    assert verdict.intervals == {"demo": 7, "jingmi": 6, "guangdian": 1}[scope] * 31 * 96


def test_the_script_finds_the_same_and_lists_every_adjustment(pack: Path, tmp_path: Path) -> None:
    done = recompute(pack, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[-1] == "equal"
    with Container(pack) as container:
        document = json.loads(container.read(names.DOCUMENT))
    for line in document["meters"]:
        told = f"{line['opening_wh']} -> {line['closing_wh']} = {line['energy_wh']} Wh"
        place = next(i for i, text in enumerate(lines) if told in text)
        for number, adjustment in enumerate(line["balance"]["adjustments"], start=1):
            assert lines[place + number].startswith(f"  {adjustment['kind']} at {adjustment['t_ms']} ms")


@pytest.mark.parametrize(
    ("name", "edit", "place"),
    [
        (names.EXCHANGES, replaced(",1234", ",1235"), "m-line"),
        (names.RATIOS, replaced(",120\r\n", ",121\r\n"), "m-grid"),
        (names.EVENTS, replaced(",rollover,", ",reset,"), "events.csv m-"),
        (names.EVENTS, replaced("m-line,energy_import_total,", "m-line,energy_import_total,1"), "events.csv m-line"),
        (names.OPENING, replaced("m-two,energy_import_total,1", "m-two,energy_import_total,2"), "opening.csv m-two"),
    ],
)  # fmt: skip
def test_a_forged_declaration_is_found_and_named(
    packed: Packed, pack: Path, tmp_path: Path, name: str, edit: Edit, place: str
) -> None:
    difference = verify_pack(forged(pack, tmp_path, packed.key, {name: edit})).difference
    assert difference is not None
    assert place in difference.place


def test_the_script_names_an_adjustment_that_did_not_happen(
    packed: Packed, pack: Path, tmp_path: Path
) -> None:

    def edit(content: bytes) -> bytes:
        document = json.loads(content)
        line = next(line for line in document["meters"] if line["meter"] == EXCHANGED)
        line["balance"]["adjustments"][0]["kind"] = "reset"
        return json.dumps(document).encode()

    done = recompute(forged(pack, tmp_path, packed.key, {names.DOCUMENT: edit}), tmp_path)
    assert done.returncode == 1
    assert "m-line/energy_import_total adjustments" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "at", [SPAN.start_ms - HOUR_MS, SPAN.start_ms + 15 * 24 * HOUR_MS, SPAN.end_ms - HOUR_MS]
)
def test_a_total_that_waits_for_a_person_has_a_pack_that_is_equal_too(tmp_path: Path, at: int) -> None:
    """Nothing explains what the PV meter shows, from before the month, within it, or at its end."""
    works = busy(tmp_path, stuck_ms=at)
    assert works.noted()["m-pv", "unexplained"] == 1
    packed = Packed(works, works.close(incomplete=True), Ed25519PrivateKey.generate())
    path = packed.write(tmp_path / "packs")
    assert verify_pack(path).difference is None
    done = recompute(path, tmp_path)
    assert "m-pv/energy_generation_total: not determined" in done.stdout
    assert done.stdout.splitlines()[-1] == "equal"


def test_what_was_explained_a_month_later_restates_and_both_revisions_have_their_packs(
    tmp_path: Path,
) -> None:
    """A corrected transformer is declared, and a late frame arrives, after the close: the first revision stays provable."""
    works = busy(tmp_path, corrected=False)
    before = works.close(at_ms=CLOSED_AT_MS)
    packed = Packed(works, before, Ed25519PrivateKey.generate())
    first = packed.write(tmp_path / "at-close")
    writer = JournalWriter(tmp_path / "journal.sqlite")
    late = [
        works._frame(EXCHANGED, "gw1", SPAN.start_ms + 50 * HOUR_MS + 3, 100_000),
        works._frame(CORRECTED, "gw1", SPAN.start_ms + 20 * 24 * HOUR_MS + 4, 100_001),
    ]
    writer.commit(Commit(entries=late), SPAN.end_ms)
    writer.close()
    works.park = works.declarations(corrected=True)
    works.follow(works.park)
    after = works.close("ct_corrected", at_ms=CLOSED_AT_MS + 1)
    assert [row.revision for row in after] == [2, 1, 2]
    assert works.noted()[CORRECTED, "ratio_change"] == 2
    old = packed.write(tmp_path / "later")
    assert old.name == first.name
    verdict = verify_pack(old)
    assert verdict.difference is None
    assert recompute(old, tmp_path).stdout.splitlines()[-1] == "equal"
    new = Packed(works, after, packed.key).write(tmp_path / "later")
    assert new.name != old.name
    assert verify_pack(new).difference is None
    with Container(old) as a, Container(first) as b:
        assert all(a.read(name) == b.read(name) for name in (names.LEDGER, names.EVENTS, names.RATIOS))
